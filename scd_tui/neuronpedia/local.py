"""Feature records that were made on this machine from a text, by `scd-tui contexts`."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from scd_tui.neuronpedia.cache import pack, unpack
from scd_tui.neuronpedia.records import FeatureRecord
from scd_tui.neuronpedia.store import Store
from scd_tui.text import visible

AT_ONCE = 500
"""Records that are written in one transaction."""


class Made(msgspec.Struct, frozen=True):
    """What records were made from: the text's name, its tokens, features by source."""

    text: str
    tokens: int
    features: dict[str, int] = {}


MADE_HERE = "made here:"
"""Begins the label of a feature that nobody has explained."""
_TOKENS = 3


def made_label(record: FeatureRecord) -> str:
    """What a record's numbers say of its feature: `made here: on " gave", " give"`.

    The tokens on which it is strongest, the strongest first, as the contexts have them; where it is
    above zero nowhere, the tokens that its direction promotes. "" where there is neither.
    """
    peaks = [one.tokens[one.max_index] for one in record.activations if one.max_value > 0]
    promoted = [text for text, effect in record.positive_logits if effect > 0]
    for words, found in (("on", peaks), ("promotes", promoted)):
        if found:
            told = list(dict.fromkeys(found))[:_TOKENS]
            return f"{MADE_HERE} {words} " + ", ".join(f'"{visible(text)}"' for text in told)
    return ""


class LocalFeatures:
    """Records of one model with one set of dictionaries, named by its reference, in `folder`.

    Raises OSError when the folder cannot be had.
    """

    def __init__(self, folder: Path, reference: str) -> None:
        self._store = Store(folder)
        self._reference = reference
        made = self.made()
        self.name = "" if made is None else f"made here from {made.text}, {made.tokens:,} tokens"

    def made(self) -> Made | None:
        return unpack(self._store.get(self._key("made")), Made)

    def record(self, source: str, index: int) -> FeatureRecord | None:
        return unpack(self._store.get(self._key(f"{source}/{index}")), FeatureRecord)

    def label(self, source: str, index: int) -> str | None:
        """In a few words on which tokens the feature is strongest; marked as no explanation."""
        record = self.record(source, index)
        return None if record is None else made_label(record) or None

    def put(self, source: str, records: Iterable[FeatureRecord]) -> int:
        """Keep the records of one source, and say how many there were. Raises OSError."""
        count = 0
        waiting: dict[str, bytes] = {}
        for record in records:
            waiting[self._key(f"{source}/{record.index}")] = pack(record)
            count += 1
            if len(waiting) >= AT_ONCE:
                self._write(waiting)
                waiting = {}
        self._write(waiting)
        return count

    def finish(self, made: Made) -> None:
        """Say what the records were made from. Raises OSError."""
        self._write({self._key("made"): pack(made)})

    def close(self) -> None:
        self._store.close()

    def _write(self, items: dict[str, bytes]) -> None:
        if items and not self._store.put(items):
            raise OSError(f"{self._store.folder} cannot be written")

    def _key(self, name: str) -> str:
        return f"1 {self._reference} {name}"
