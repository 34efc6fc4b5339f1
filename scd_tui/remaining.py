"""How long work of several kinds will still take, from how long each kind has taken so far."""

import time
from collections.abc import Callable


class Remaining:
    """Counts pieces of work. `pieces` says of each kind how many there are, and `guess` how many seconds
    one takes, as long as none has been done.
    """

    def __init__(
        self,
        pieces: dict[str, int],
        guess: dict[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = dict(pieces)
        self._guess = guess
        self._clock = clock
        self._took: dict[str, tuple[int, float]] = {}
        self._last = clock()

    def done(self, kind: str, pieces: int = 1) -> None:
        """Pieces of one kind were done since this was last called, or since the beginning."""
        now = self._clock()
        count, seconds = self._took.get(kind, (0, 0.0))
        self._took[kind] = count + pieces, seconds + now - self._last
        self._left[kind] = max(0, self._left[kind] - pieces)
        self._last = now

    def correct(self, kind: str, left: int) -> None:
        """There are so many pieces of a kind left, it turns out."""
        self._left[kind] = left

    @property
    def begun(self) -> bool:
        """Whether any piece has been done."""
        return bool(self._took)

    @property
    def seconds(self) -> float:
        """That are left."""
        return sum(left * self._each(kind) for kind, left in self._left.items())

    def _each(self, kind: str) -> float:
        count, seconds = self._took.get(kind, (0, 0.0))
        return seconds / count if count else self._guess[kind]


def about(seconds: float) -> str:
    """A time in words that claim no more than is known: `under 10 s`, `about 40 s`, `about 3 min`."""
    if seconds < 10:
        return "under 10 s"
    if seconds < 90:
        return f"about {round(seconds / 10) * 10} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
