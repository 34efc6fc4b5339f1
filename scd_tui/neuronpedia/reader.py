"""Looks features up behind the screen: in the cache, and then from Neuronpedia.

Three threads, for the cache, for what is seen in brief and for the record that is open. The last two
share one queue and one backoff. Nothing here waits for disk or network in the caller's thread.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

import msgspec

from scd_tui.neuronpedia.address import Feature
from scd_tui.neuronpedia.backoff import Trouble
from scd_tui.neuronpedia.entries import Entry, entry_of
from scd_tui.neuronpedia.faults import Fault
from scd_tui.neuronpedia.found import BATCH, Found
from scd_tui.neuronpedia.queue import Job, Queue

READ_AT_ONCE = 64
"""Cache entries that are read before what was found is passed on."""


class Asks(Protocol):
    """What the reader needs of a `Client`."""

    @property
    def host(self) -> str: ...
    def full(self, feature: Feature) -> Found: ...
    def brief(self, features: tuple[Feature, ...]) -> Found: ...
    def close(self) -> None: ...


class Keeps(Protocol):
    """What the reader needs of a `Cache`."""

    def get_many(self, features: Iterable[Feature]) -> dict[Feature, Entry]: ...
    def put(self, entries: Mapping[Feature, Entry]) -> None: ...


class Clock:
    """Real time. Tests have one of their own."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        """Wait, with the lock held, until something changed or so many seconds are over."""
        changed.wait(seconds)


class Status(msgspec.Struct, frozen=True):
    """Features that wait for an answer, those that are wanted in all, and those that are known.

    `trouble` is why nothing is asked now, `retry` the seconds until something is again.
    """

    queued: int
    wanted: int
    known: int
    trouble: Trouble | None = None
    retry: float = 0.0


class Reader:
    """Looks up what is wanted; `listener` gets entries and is called from the reader's threads.

    `client` makes the client when it is first needed; None asks nobody, and only the cache is read.
    `asking` is called once, before the first request of all. Without a cache nothing is kept.
    """

    def __init__(
        self,
        client: Callable[[], Asks] | None,
        cache: Callable[[], Keeps | None],
        listener: Callable[[Mapping[Feature, Entry]], None],
        *,
        asking: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        randomness: Callable[[], float] = random.random,
    ) -> None:
        self._new_client = client
        self._new_cache = cache
        self._listener = listener
        self._asking = asking
        self._clock = clock or Clock()
        self._changed = threading.Condition()
        self._queue = Queue(randomness)
        self._client: Asks | None = None
        self._making = threading.Lock()
        self._cache: Keeps | None = None
        self._ready = False
        self._known: dict[Feature, Entry] = {}
        self._not_kept: set[Feature] = set()
        self._unread: dict[Feature, None] = {}
        self._wanted: tuple[Feature, ...] = ()
        self._open: Feature | None = None
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def asks(self) -> bool:
        """Whether anybody but the cache is asked."""
        return self._new_client is not None

    def want(self, features: Iterable[Feature]) -> None:
        """Look these up, what is looked at first; what was wanted before and is not here is not."""
        with self._changed:
            self._wanted = tuple(dict.fromkeys(features))
            self._unread = dict.fromkeys(f for f in self._wanted if not self._looked_for(f))
            self._requeue()
            self._wake()

    def open(self, feature: Feature | None) -> None:
        """Look up everything about this feature, and no longer about the one before."""
        with self._changed:
            self._open = feature
            if feature is not None and not self._looked_for(feature):
                self._unread = {feature: None, **self._unread}
            self._requeue()
            self._wake()

    def try_again(self) -> None:
        """Do not wait any longer for what went wrong to mend, and read the cache again.

        What the service left out of its answers is asked for again too.
        """
        with self._changed:
            self._queue.try_again()
            self._not_kept.clear()  # another process may have fetched them meanwhile
            for feature in [f for f, entry in self._known.items() if entry.record is None]:
                del self._known[feature]
                self._not_kept.add(feature)
            self._requeue()
            self._wake()

    def problem(self, feature: Feature) -> Fault | None:
        """What went wrong when a feature was last asked for; None if nothing did."""
        with self._changed:
            return self._queue.problem(feature)

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing is asked now; None if that is not so."""
        return self._queue.backoff.trouble

    def status(self) -> Status:
        with self._changed:
            known = sum(feature in self._known for feature in self._wanted)
            now = self._clock.monotonic()
            backoff = self._queue.backoff
            queued = self._queue.queued + len(self._unread)
            return Status(queued, len(self._wanted), known, backoff.trouble, backoff.wait(now))

    def close(self) -> None:
        """Stop; a request that is under way is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._client is not None:
            self._client.close()

    def _looked_for(self, feature: Feature) -> bool:
        """Whether the cache was read for a feature, or need not be."""
        return feature in self._known or feature in self._not_kept

    # --- the threads --------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._threads and not self._closed and (self._wanted or self._open):
            work: dict[str, Callable[[], None]] = {"cache": self._read_all}
            if self._new_client is not None:
                work["brief"] = lambda: self._ask_all("brief")
                work["full"] = lambda: self._ask_all("full")
            for name, target in work.items():
                thread = threading.Thread(target=target, name=f"neuronpedia-{name}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._changed.notify_all()

    def _requeue(self) -> None:
        """Tell the queue what the cache has not answered, or not freshly."""
        if self._new_client is None:
            return
        now = self._clock.time()
        self._queue.want(f for f in self._wanted if f not in self._unread and self._lacks(f, now))
        feature = self._open
        if feature is None or feature in self._unread or not self._lacks(feature, now, full=True):
            feature = None
        self._queue.open(feature)

    def _lacks(self, feature: Feature, now: float, *, full: bool = False) -> bool:
        entry = self._known.get(feature)
        if entry is None or entry.stale(now):
            return True
        return full and entry.depth != "full" and entry.state != "unknown"

    def _read_all(self) -> None:
        while True:
            with self._changed:
                while not self._unread and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                features = tuple(self._unread)[:READ_AT_ONCE]
            self._read(features)

    def _ask_all(self, kind: Literal["brief", "full"]) -> None:
        while True:
            with self._changed:
                while (job := self._next(kind)) is None:
                    wait = self._queue.wait(kind, self._clock.monotonic())
                    self._clock.wait(self._changed, None if self._filling(kind) else wait)
                    if self._closed:
                        return
            self._ask(job)

    def _next(self, kind: Literal["brief", "full"]) -> Job | None:
        return None if self._filling(kind) else self._queue.next(kind, self._clock.monotonic())

    def _filling(self, kind: Literal["brief", "full"]) -> bool:
        """Whether a request in brief would be fuller for waiting until the cache has been read."""
        return kind == "brief" and bool(self._unread) and self._queue.queued < BATCH

    def _read(self, features: tuple[Feature, ...]) -> None:
        if not self._ready:
            self._cache = self._new_cache()
            self._ready = True
        found = {} if self._cache is None else self._cache.get_many(features)
        with self._changed:
            for feature in features:
                self._unread.pop(feature, None)
            self._known.update(found)
            self._not_kept.update(feature for feature in features if feature not in found)
            self._requeue()
            self._changed.notify_all()
        self._tell(found)

    def _ask(self, job: Job) -> None:
        client = self._client_to_ask()
        try:
            found = (
                client.full(job.features[0]) if job.kind == "full" else client.brief(job.features)
            )
        except Exception as error:
            # A mistake of ours must not end the thread, and with it every later answer.
            odd = f"an answer of {client.host} could not be understood"
            fault = error if isinstance(error, Fault) else Fault("content", odd)
            with self._changed:
                self._queue.failed(job, fault, self._clock.monotonic())
                self._changed.notify_all()
            self._tell({})
            return
        now = self._clock.time()
        entries = {f: entry_of(r, job.kind, now, client.host) for f, r in found.records.items()}
        with self._changed:
            denied = {f for f, entry in entries.items() if self._denies(f, entry)}
            entries = {
                f: self._with_what_was_seen(f, e)
                for f, e in entries.items()
                if f not in denied and self._adds(f, e, now)
            }
            self._known.update(entries)
            if denied:
                found = Found(
                    {f: record for f, record in found.records.items() if f not in denied},
                    found.remaining,
                    f"{client.host} has sent this feature before and now does not know it",
                )
            self._queue.answered(job, found, client.host, self._clock.monotonic())
            self._requeue()
            self._changed.notify_all()
        # On the screen first: writing may have to wait for another process.
        self._tell(entries)
        if self._cache is not None:
            self._cache.put(entries)

    def _denies(self, feature: Feature, entry: Entry) -> bool:
        """Whether an answer says that a feature of which there is a record does not exist."""
        known = self._known.get(feature)
        return entry.record is None and known is not None and known.record is not None

    def _adds(self, feature: Feature, entry: Entry, now: float) -> bool:
        """Whether an answer says no less than what is known: two can be under way at once."""
        known = self._known.get(feature)
        return known is None or known.stale(now) or entry.rank >= known.rank

    def _with_what_was_seen(self, feature: Feature, entry: Entry) -> Entry:
        """An answer in brief, with the activations of a full record that it is fresher than.

        All of it is asked for when the feature is opened, but that may fail, and then they were lost.
        """
        known = self._known.get(feature)
        if known is None or known.record is None or entry.record is None:
            return entry
        if known.rank <= entry.rank:
            return entry
        record = msgspec.structs.replace(entry.record, activations=known.record.activations)
        return msgspec.structs.replace(entry, record=record)

    def _client_to_ask(self) -> Asks:
        # Not under the lock that callers take: what the client is made of has to be imported.
        with self._making:
            if self._client is None:
                assert self._new_client is not None
                self._asking()
                self._client = self._new_client()
            return self._client

    def _tell(self, entries: Mapping[Feature, Entry]) -> None:
        with self._changed:
            if self._closed:
                return
        self._listener(entries)
