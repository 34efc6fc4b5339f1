"""Does the app grow as long as it is used? Run with `python tests/benchmarks/growth.py`.

All keys that are bound are pressed at random in a terminal, as `tests/faults` does, on the bundled model.
Every ten seconds the memory of the app's process and of its worker is printed: the proportional share of
each, in MB. At the end come the slopes of the second half of the time, in MB per ten minutes, by least
squares; the first half has what is kept up to a bound, such as the last circuits. Garbage and a worker
that loads a model anew make the line uneven: compare the slope with the spread around it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "faults"))

from kinds.keys import Sitting, random_keys
from trial import Field

EVERY = 10.0
"""Seconds between two readings."""


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of (seconds, MB) in MB per ten minutes by least squares, and the spread around it in MB."""
    count = len(points)
    mean_x, mean_y = (sum(point[axis] for point in points) / count for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    left = [y - mean_y - rise * (x - mean_x) for x, y in points]
    return 600 * rise, (sum(one * one for one in left) / count) ** 0.5


def main() -> int:
    parser = argparse.ArgumentParser(prog="growth", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (%(default)s)")
    parser.add_argument("--size", default="80x24", help="columns x lines (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the keys (%(default)s)")
    given = parser.parse_args()
    columns, lines = map(int, given.size.split("x"))
    started = time.monotonic()
    app_line: list[tuple[float, float]] = []
    worker_line: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        field = Field(Path(folder), given.seed, started + 60 * given.minutes)
        sitting = Sitting(field, given.size, (columns, lines))
        first = sitting.app
        for tried in random_keys(field, sitting, (columns, lines)):
            if tried.lost:
                _say(f"lost: {tried.fault}: {tried.lost}")
                return 1
            now = time.monotonic() - started
            due = not app_line or now - app_line[-1][0] >= EVERY
            if due and sitting.app is first and (read := sitting.app.memory()) is not None:
                app, worker = read
                app_line.append((now, app))
                if worker:
                    worker_line.append((now, worker))
                _say(f"{now:6.0f} s  app {app:7.1f} MB  worker {worker:7.1f} MB")
    for name, line in (("app", app_line), ("worker", worker_line)):
        half = [point for point in line if point[0] >= 30 * given.minutes]
        if len(half) > 2:
            rise, around = slope(half)
            _say(f"{name}: {rise:+.2f} MB per ten minutes in the second half, ± {around:.1f} MB")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
