"""A lock between programs on one machine, or on machines that share a folder and its locks.

It is the system's: one whose holder dies, however, is free at once, and the file that carries it can lie
there for ever. Nobody waits long for it. Where there are no locks, as on some network folders, or one
is held by a program that was stopped, work goes on without.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_SECONDS = 1.0
_PAUSE_SECONDS = 0.005


@contextmanager
def locked(path: Path, seconds: float | None = None) -> Iterator[bool]:
    """Hold the lock that the file `path` carries, made if need be, or go on without after so long.

    Yields whether it is held. To be called in a thread, never by what draws the screen.
    """
    handle = _opened(path)
    try:
        yield handle is not None and _taken(handle, WAIT_SECONDS if seconds is None else seconds)
    finally:
        if handle is not None:
            os.close(handle)  # and with it the lock


def _opened(path: Path) -> int | None:
    try:
        # neither a link nor a pipe of that name leads elsewhere or blocks
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(path, flags, 0o600)
    except OSError:
        return None


def _taken(handle: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE_SECONDS)
        except OSError:  # there are no locks here
            return False
        else:
            return True
