"""What Neuronpedia said, kept on this machine: three states, each with where it is from and when.

A feature was never looked up (no entry), or it was and is explained, unexplained or unknown there.
What was looked up one by one lies in a store of bounded size; whole sources that were fetched ahead
lie in another, in blocks, and are never evicted.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from scd_tui.decoding import Undecodable, decode_json
from scd_tui.neuronpedia.address import Feature
from scd_tui.neuronpedia.entries import Entry, State
from scd_tui.neuronpedia.records import Explanation, FeatureRecord, in_order
from scd_tui.neuronpedia.store import Store

SCHEMA = 1
"""Part of every key: entries of another version are as if they had never been."""
SIZE_LIMIT = 256 << 20
BLOCK = 256
"""Features of one row in the store of whole sources."""
MAXIMUM_VALUE = 16 << 20
"""Bytes that a value may unpack to."""
T = TypeVar("T")
_Block = dict[int, tuple[Explanation, ...]]


class SourceStatus(msgspec.Struct, frozen=True):
    """How much of one source was fetched ahead: files by name, and their number in all."""

    model: str
    source: str
    done: tuple[str, ...] = ()
    total: int = 0
    explained: int = 0
    fetched: float = 0.0
    origin: str = ""

    @property
    def complete(self) -> bool:
        return 0 < self.total <= len(self.done)


class CacheStatus(msgspec.Struct, frozen=True):
    """What there is: features looked up one by one, bytes of both stores, sources fetched ahead."""

    features: int
    looked_up_bytes: int
    ahead_bytes: int
    sources: tuple[SourceStatus, ...]


class Cache:
    """Entries by feature, of the service at `site`. Safe for threads, and for several processes.

    Reading takes milliseconds at most. What cannot be written is not kept, and nothing is lost by
    that but time. Raises OSError when the folder cannot be had.
    """

    def __init__(
        self,
        folder: Path,
        site: str,
        *,
        limit: int = SIZE_LIMIT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._site = site
        self._now = now
        self._looked_up = Store(folder / "looked-up", limit)
        self._ahead = Store(folder / "ahead")
        self._sources: dict[tuple[str, str], SourceStatus] = {}

    def close(self) -> None:
        self._looked_up.close()
        self._ahead.close()

    def clear(self) -> None:
        """Forget everything."""
        self._looked_up.clear()
        self._ahead.clear()
        self._sources.clear()

    def status(self) -> CacheStatus:
        return CacheStatus(
            self._looked_up.count(), self._looked_up.size(), self._ahead.size(), self.sources()
        )

    # --- features -----------------------------------------------------------------------------

    def get(self, feature: Feature) -> Entry | None:
        """The best that is known: what is fresh before what is stale, then the deeper, the newer."""
        now = self._now()
        found = [e for e in (self._looked(feature), self._fetched_ahead(feature)) if e is not None]
        return max(found, key=lambda e: (not e.stale(now), e.rank, e.fetched), default=None)

    def get_many(self, features: Iterable[Feature]) -> dict[Feature, Entry]:
        """Entries of those features that were looked up."""
        return {feature: entry for feature in features if (entry := self.get(feature)) is not None}

    def put(self, entries: Mapping[Feature, Entry]) -> None:
        """Keep these. A record in brief does not take the place of a fresh one in full."""
        now = self._now()
        items = {}
        for feature, entry in entries.items():
            old = self._looked(feature)
            if old is not None and old.rank > entry.rank and not old.stale(now):
                continue
            items[self._key("feature", feature)] = pack(entry)
        if items:
            self._looked_up.put(items)

    def _looked(self, feature: Feature) -> Entry | None:
        key = self._key("feature", feature)
        entry = unpack(self._looked_up.get(key), Entry)
        if entry is None:
            return None
        record = entry.record
        if record is not None and (record.model_id, record.source, record.index) != (
            feature.model,
            feature.source,
            feature.index,
        ):
            return None
        return entry

    # --- whole sources ------------------------------------------------------------------------

    def source(self, model: str, source: str) -> SourceStatus | None:
        """How far a source was fetched ahead; None if it never was."""
        known = self._sources.get((model, source))
        if known is not None and known.complete:
            return known
        found = self._stored_source(model, source)
        if found is not None:
            self._sources[model, source] = found
        return found

    def _stored_source(self, model: str, source: str) -> SourceStatus | None:
        return unpack(self._ahead.get(self._key("source", f"{model}/{source}")), SourceStatus)

    def sources(self) -> tuple[SourceStatus, ...]:
        """Every source of which something was fetched ahead."""
        return tuple(s for name in self._names() if (s := self.source(*name)) is not None)

    def _names(self) -> list[tuple[str, str]]:
        return unpack(self._ahead.get(self._key("sources", "")), list[tuple[str, str]]) or []

    def put_file(
        self,
        model: str,
        source: str,
        name: str,
        total: int,
        explanations: Mapping[int, tuple[Explanation, ...]],
        origin: str,
        *,
        whole: bool = True,
    ) -> SourceStatus | None:
        """Take in one of the `total` bulk files of a source. None if it could not be kept.

        A file of which not the `whole` was understood does not count as fetched.
        """
        blocks: dict[int, dict[int, tuple[Explanation, ...]]] = {}
        for index, some in explanations.items():
            blocks.setdefault(index // BLOCK, {})[index] = some

        def work() -> SourceStatus | None:
            status = self._stored_source(model, source) or SourceStatus(model, source)
            items = {}
            new = 0
            for number, block in blocks.items():
                key = self._block(model, source, number)
                merged = unpack(self._ahead.get(key), _Block) or {}
                new += len(block.keys() - merged.keys())
                for index, some in block.items():
                    # Several explanations of one feature can lie in different files.
                    merged[index] = in_order((*merged.get(index, ()), *some))
                items[key] = pack(merged)
            status = msgspec.structs.replace(
                status,
                done=tuple(dict.fromkeys((*status.done, name))) if whole else status.done,
                total=total,
                explained=status.explained + new,
                fetched=self._now(),
                origin=origin,
            )
            names = dict.fromkeys((*self._names(), (model, source)))
            items[self._key("source", f"{model}/{source}")] = pack(status)
            items[self._key("sources", "")] = pack(list(names))
            return status if self._ahead.put(items) else None

        kept = self._ahead.atomically(work, None)
        if kept is not None:
            self._sources[model, source] = kept
        return kept

    def forget_source(self, model: str, source: str) -> None:
        """Begin a source anew: its blocks are overwritten as they come."""
        self._sources.pop((model, source), None)
        self._ahead.delete(self._key("source", f"{model}/{source}"))

    def _fetched_ahead(self, feature: Feature) -> Entry | None:
        status = self.source(feature.model, feature.source)
        if status is None:
            return None
        key = self._block(feature.model, feature.source, feature.index // BLOCK)
        block = unpack(self._ahead.get(key), _Block) or {}
        explanations = block.get(feature.index)
        if explanations is None and not status.complete:
            return None
        record = FeatureRecord(
            feature.model, feature.source, feature.index, explanations=explanations or ()
        )
        state: State = "explained" if explanations else "unexplained"
        return Entry(state, "label", status.fetched, status.origin, record, bulk=True)

    def _key(self, kind: str, name: object) -> str:
        return f"{SCHEMA} {self._site} {kind} {name}"

    def _block(self, model: str, source: str, number: int) -> str:
        return self._key("block", f"{model}/{source}/{number}")


def pack(value: object) -> bytes:
    """A value as compressed JSON."""
    return zlib.compress(msgspec.json.encode(value), 1)


def unpack(data: bytes | None, kind: type[T]) -> T | None:
    """The value in these bytes; None where they are damaged, too large, or none."""
    if data is None:
        return None
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(data, MAXIMUM_VALUE)
        if not unpacking.eof:
            return None
        return decode_json(text, kind)
    except (zlib.error, Undecodable):
        return None
