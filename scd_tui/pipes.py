"""Writing to what is no regular file: pipes, devices, and descriptors that this process was given.

Nothing here waits for ever. A pipe that nobody reads, or whose reader takes nothing for
`PATIENCE_SECONDS`, is an OSError.
"""

import errno
import fcntl
import os
import select
import stat
import sys
from pathlib import Path

PATIENCE_SECONDS = 30.0
"""How long the reader of a pipe may take nothing."""
_CHUNK = 4096
"""Bytes that go into a pipe at once without waiting, once it says that it has room (POSIX: PIPE_BUF)."""


def pour(path: Path, data: bytes) -> None:
    """Write to a pipe or a device. Raises OSError: ENXIO where nobody reads the pipe."""
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _pour(handle, data)
    finally:
        os.close(handle)


def pour_into(descriptor: int, data: bytes) -> None:
    """Write to a descriptor that this process was started with. Raises OSError."""
    inherited(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # what was printed before comes before
    _pour(descriptor, data)


def inherited(descriptor: int) -> None:
    """Raises OSError (EBADF) unless this process was started with this descriptor, open for writing.

    Those that it opened itself, say of a cache, are not inheritable.
    """
    try:
        usable = descriptor <= 2 or os.get_inheritable(descriptor)
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            usable = False
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            usable = False
    except (OSError, OverflowError):
        usable = False
    if not usable:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _pour(handle: int, data: bytes) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLOUT)
    view = memoryview(data)
    while view:
        if not poll.poll(PATIENCE_SECONDS * 1000):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        try:
            view = view[os.write(handle, view[:_CHUNK]) :]
        except BlockingIOError:
            continue
