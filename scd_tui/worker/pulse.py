"""Signs of life, given by a thread of the worker for as long as the worker moves.

A worker that waits for a request is well. One that answers is well as long as it uses the processor
or reads from a disk: a kernel that runs for minutes does, and so does a model that is being loaded.
A deadlock, a device that never answers and a process that was stopped do neither, and nothing is said.
"""

import contextlib
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from scd_tui.worker.protocol import Alive, Message

BEAT_SECONDS = 2.0
LEAST_CPU_SECONDS = 0.001
"""Processor time between two beats that is more than the beat's own bookkeeping leaves in the count."""


class Spent(NamedTuple):
    """What the process has used since its start, without the thread that counts."""

    cpu_seconds: float
    read_bytes: int
    page_faults: int

    def moved_since(self, before: "Spent") -> bool:
        return (
            self.cpu_seconds - before.cpu_seconds >= LEAST_CPU_SECONDS
            or self.read_bytes > before.read_bytes
            or self.page_faults > before.page_faults
        )


class Pulse:
    """Sends `Alive` while `waiting()` is true or the process moves."""

    def __init__(
        self,
        send: Callable[[Message], None],
        waiting: Callable[[], bool],
        *,
        spent: Callable[[], Spent] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._send = send
        self._waiting = waiting
        self._spent = spent or spent_so_far
        self._sleep = sleep

    def beat_forever(self) -> None:
        """Beat until nobody listens any more."""
        before: Spent | None = None
        with contextlib.suppress(OSError):
            while True:
                now = self._spent()
                if before is None or self._waiting() or now.moved_since(before):
                    self._send(Alive(request=0))
                before = now
                self._sleep(BEAT_SECONDS)


def spent_so_far() -> Spent:
    """Called in the thread that counts, whose own processor time is left out."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    # as /proc says it where there is one: getrusage has no bytes that came over a network
    read = _read_bytes()
    return Spent(time.process_time() - time.thread_time(), read, faults)


_OWN_READS = Path("/proc/self/io")


def _read_bytes() -> int:
    try:
        lines = _OWN_READS.read_text("ascii").splitlines()
        return int(dict(line.split(": ") for line in lines)["read_bytes"])
    except (OSError, ValueError, KeyError):
        return 0
