"""What is to be asked next: what is looked at first, as much at once as one request takes.

Plain data and no threads; the caller locks, and says what time it is.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from scd_tui.neuronpedia.address import Feature
from scd_tui.neuronpedia.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff
from scd_tui.neuronpedia.faults import Fault
from scd_tui.neuronpedia.found import BATCH, Found

TRIES = 3
"""How often one feature is asked for while its answer is none, before the fault must be with it."""


class Job(msgspec.Struct, frozen=True):
    """One request: many features in brief, or one in full."""

    kind: Literal["brief", "full"]
    features: tuple[Feature, ...]


class Queue:
    """Features that are wanted and not answered. One request in brief and one in full at a time."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.backoff = Backoff(random)
        self._wanted: dict[Feature, None] = {}
        self._open: Feature | None = None
        self._flying: dict[str, Job] = {}
        self._most = BATCH
        self._problems: dict[Feature, Fault] = {}
        self._hopeless: set[tuple[str, Feature]] = set()
        self._tries: dict[tuple[str, Feature], int] = {}
        self._later: dict[tuple[str, Feature], float] = {}

    def want(self, features: Iterable[Feature]) -> None:
        """Ask for these, in this order, and no longer for those that were wanted before."""
        self._wanted = dict.fromkeys(f for f in features if ("brief", f) not in self._hopeless)

    def open(self, feature: Feature | None) -> None:
        """Ask for everything about this feature, and no longer for the one before."""
        self._open = None if ("full", feature) in self._hopeless else feature

    def drop(self, features: Iterable[Feature], *, full: bool = False) -> None:
        """These were answered from elsewhere; the full record too where `full` says so."""
        for feature in features:
            self._wanted.pop(feature, None)
            if full and feature == self._open:
                self._open = None

    def wanted(self) -> Sequence[Feature]:
        return tuple(self._wanted)

    @property
    def queued(self) -> int:
        """Features that are waiting for an answer, and were not put off."""
        brief = [f for f in self._wanted if ("brief", f) not in self._later]
        full = self._open is not None and ("full", self._open) not in self._later
        return len(brief) + (full and self._open not in brief)

    def problem(self, feature: Feature) -> Fault | None:
        """What went wrong when a feature was last asked for; None if nothing did."""
        return self._problems.get(feature)

    def next(self, kind: Literal["brief", "full"], now: float) -> Job | None:
        """The request to send now; None while there is none, or none may be sent."""
        if kind in self._flying or self.backoff.wait(now) > 0:
            return None
        features = tuple(f for f in self._asked(kind) if self._put_off(kind, f, now) <= 0)
        features = features[: self._most if kind == "brief" else 1]
        if not features:
            return None
        job = self._flying[kind] = Job(kind, features)
        return job

    def wait(self, kind: Literal["brief", "full"], now: float) -> float | None:
        """Seconds until `next` may have a request; None while there is nothing to ask."""
        if kind in self._flying:
            return None
        first = min((self._put_off(kind, f, now) for f in self._asked(kind)), default=None)
        return None if first is None else max(first, self.backoff.wait(now))

    def _asked(self, kind: str) -> Iterable[Feature]:
        if kind == "brief":
            return self._wanted
        return () if self._open is None else (self._open,)

    def _put_off(self, kind: str, feature: Feature, now: float) -> float:
        """Seconds before which a feature is not to be asked for again."""
        return max(0.0, self._later.get((kind, feature), now) - now)

    def answered(self, job: Job, found: Found, host: str, now: float) -> None:
        """A request was answered."""
        self._flying.pop(job.kind, None)
        self._most = BATCH
        self.drop(found.records, full=job.kind == "full")
        for feature in job.features:
            if feature in found.records:
                self._problems.pop(feature, None)
                self._later.pop((job.kind, feature), None)
                self._tries.pop((job.kind, feature), None)
            elif found.damaged:
                self._ask_later(job.kind, feature, Fault("content", found.refused), now)
            else:
                self._give_up(job.kind, feature, Fault("content", found.refused))
        self.backoff.answered(found.remaining, host, now)

    def failed(self, job: Job, fault: Fault, now: float) -> None:
        """A request brought no answer. What it was for stays wanted, unless that is hopeless."""
        self._flying.pop(job.kind, None)
        for feature in job.features:
            self._problems[feature] = fault
        if len(job.features) > 1:
            if fault.kind in ("size", "content"):
                # Whatever it is, it may be in one half alone.
                self._most = max(1, len(job.features) // 2)
        elif fault.kind == "content":
            self._ask_later(job.kind, job.features[0], fault, now)
        elif fault.kind in ("size", "refused") or self._tried(job, fault):
            self._give_up(job.kind, job.features[0], fault)
        self.backoff.failed(fault, now)

    def _tried(self, job: Job, fault: Fault) -> bool:
        """Whether a single feature has failed so often that the fault is with it."""
        if job.kind != "full" or fault.kind not in ("server", "cut", "slow"):
            return False
        key = job.kind, job.features[0]
        self._tries[key] = self._tries.get(key, 0) + 1
        return self._tries[key] >= TRIES

    def try_again(self) -> None:
        """Forget what went wrong: ask at once for what is wanted."""
        self.backoff = Backoff(self.backoff.random)
        self._hopeless.clear()
        self._problems.clear()
        self._tries.clear()
        self._later.clear()

    def _ask_later(self, kind: str, feature: Feature, fault: Fault, now: float) -> None:
        """An answer that could not be understood is none: ask again, each time after twice as long."""
        key = kind, feature
        self._problems[feature] = fault
        self._tries[key] = self._tries.get(key, 0) + 1
        doubled = FIRST_SECONDS["content"] * 2.0 ** min(self._tries[key] - 1, 20)
        self._later[key] = now + min(doubled, LONGEST_SECONDS)
        if kind == "brief" and feature in self._wanted:
            self._wanted[feature] = self._wanted.pop(feature)  # behind those that may be answered

    def _give_up(self, kind: str, feature: Feature, fault: Fault) -> None:
        self._problems[feature] = fault
        self._hopeless.add((kind, feature))
        if kind == "full":
            self._open = None if self._open == feature else self._open
        else:
            self._wanted.pop(feature, None)
