"""How long the worker has given no sign of life."""

import time
from collections.abc import Callable

WORRYING_SECONDS = 10
"""A worker that is well is heard every two seconds, on a loaded machine a few seconds later."""
TICK_SECONDS = 1.0
LATE_SECONDS = 3.0
"""Between two ticks, this app itself stood still: what the worker said meanwhile is still to be read."""


class Silence:
    """The seconds since the worker was heard last, by ticks of `TICK_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard = self._ticked = clock()

    def heard(self) -> None:
        """The worker said something, or was started just now."""
        self._heard = self._clock()

    def tick(self) -> int:
        """Whole seconds of a silence that is worrying; 0 for any shorter one."""
        now = self._clock()
        if now - self._ticked > LATE_SECONDS:
            self._heard = now
        self._ticked = now
        seconds = int(now - self._heard)
        return seconds if seconds >= WORRYING_SECONDS else 0
