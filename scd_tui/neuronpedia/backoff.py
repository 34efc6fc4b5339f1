"""How long to leave a service alone after it failed: longer each time, and never in step."""

from collections.abc import Callable

import msgspec

from scd_tui.neuronpedia.faults import Fault, FaultKind

FIRST_SECONDS: dict[FaultKind, float] = {
    "offline": 4.0,
    "server": 4.0,
    "cut": 4.0,
    "slow": 15.0,
    "limited": 60.0,
    "page": 15.0,
    "size": 15.0,
    "content": 30.0,
    "redirect": 60.0,
    "refused": 60.0,
}
"""The service says with no 429 when its hour is over, so that one begins with a minute."""
LONGEST_SECONDS = 900.0
HOUR = 3_600.0
FEW = 100
"""Requests left in an hour below which they are spread over it."""


class Trouble(msgspec.Struct, frozen=True):
    """Why nothing is asked now, and until when (in the seconds of the clock that is used)."""

    kind: FaultKind
    message: str
    until: float


class Backoff:
    """When the next request may go out. `random` gives numbers in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.random = random
        self._failures = 0
        self._until = 0.0
        self.trouble: Trouble | None = None

    def wait(self, now: float) -> float:
        """Seconds until a request may go out; 0 when it may now."""
        return max(0.0, self._until - now)

    def failed(self, fault: Fault, now: float) -> None:
        """Wait twice as long as last time, less up to half at random, or as long as we are told."""
        self._failures += 1
        seconds = FIRST_SECONDS[fault.kind] * 2.0 ** min(self._failures - 1, 20)
        seconds = min(seconds, LONGEST_SECONDS) * (1 - self.random() / 2)
        if fault.wait is not None:
            seconds = max(seconds, min(fault.wait, HOUR))
        self._until = now + seconds
        self.trouble = Trouble(fault.kind, fault.message, self._until)

    def answered(self, remaining: int | None, host: str, now: float) -> None:
        """Go on, or more slowly when the service says that few requests are left in this hour."""
        self._failures = 0
        self._until = now
        self.trouble = None
        if remaining is None or remaining >= FEW:
            return
        if remaining <= 0:
            self.failed(Fault("limited", f"{host} limits the rate of requests"), now)
        else:
            self._until = now + HOUR / (remaining + 1)
            words = f"{host} takes {remaining} more requests this hour"
            self.trouble = Trouble("limited", words, self._until)
