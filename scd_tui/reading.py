"""Reading files that somebody else may have made: regular files of a bounded size, without waiting.

A path can lead to a device that never ends, to a FIFO that nobody writes into, or to the terminal that the
app reads its keys from. Such a path is refused in one sentence before a byte is read. `-` stands for
standard input where a command says so.
"""

import errno
import os
import stat
import sys
from io import FileIO
from pathlib import Path
from typing import IO

_MIB = 1 << 20

CIRCUIT = 256 * _MIB
"""Bytes of a circuit file, and of a past circuit: 100,000 nodes take some 30 MB."""
LINE = 16 * _MIB
"""Bytes of the first line of a past circuit, which lists show."""
PROMPT = 4 * _MIB
"""Bytes of a prompt: more than any model's context."""
TEXT = 256 * _MIB
"""Bytes of a text to measure on."""
TOML = _MIB
"""Bytes of a TOML file: a model, a prompt set, the configuration."""
DESCRIPTION = 16 * _MIB
"""Bytes of a JSON file that describes a model, a dictionary, or which files the weights are in."""
NOTE = 64 << 10
"""Bytes of a note on where a model lies."""
RESULT = 16 * _MIB
"""Bytes of kept results of dictionary checks and model checks, and of listings of what was unpacked."""
RECORDS = 256 * _MIB
"""Bytes of a file of feature records, packed or not."""

STANDARD_INPUT = Path("-")
"""What stands for standard input on the command line."""

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
)
_TERMINALS = frozenset({"/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})
_CHUNK = _MIB
_PART = 8 << 10


class Unreadable(OSError):
    """A file that is not read. `strerror` is a clause that says why and what to do, `filename` the path."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(errno.EINVAL, why, str(path))
        self.why = why

    def __str__(self) -> str:
        return f"{self.filename} cannot be read: {self.why}"


def open_regular(path: Path) -> FileIO:
    """A regular file, opened for reading without a buffer and without waiting.

    Raises Unreadable, or another OSError, on anything else.
    """
    # O_NONBLOCK: a FIFO without a writer would be waited for. O_NOCTTY: a terminal would become ours.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        handle = os.open(path, flags)
    except ValueError:  # a path with a zero byte in it
        raise Unreadable(path, "no file can have this name; check the path") from None
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, or a device that is not there
            raise Unreadable(path, _not_regular(path, "a socket or a device")) from None
        if error.errno == errno.ELOOP:
            raise Unreadable(
                path, "its symbolic links lead round in a circle; give another file"
            ) from None
        raise
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = next((words for holds, words in _KINDS if holds(mode)), "something else")
            raise Unreadable(path, _not_regular(path, kind))
        return FileIO(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _not_regular(path: Path, kind: str) -> str:
    if str(path) in _TERMINALS:
        return f"it is {kind}, not a regular file; - stands for standard input"
    return f"it is {kind}, not a regular file; give a regular file"


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError, such as Unreadable."""
    with open_regular(path) as file:
        return _whole(file, path, most)


def read_text(path: Path, most: int) -> str:
    """The same as UTF-8 text, each line ended by a newline alone. Raises OSError."""
    return as_text(read_bytes(path, most), path).replace("\r\n", "\n").replace("\r", "\n")


def as_text(data: bytes, path: Path | str) -> str:
    """Bytes of a file as UTF-8 text. Raises Unreadable."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable(path, "it is not UTF-8 text; save it as UTF-8") from None


def read_start(path: Path, most: int) -> bytes:
    """At most the first `most` bytes of a regular file, which may be larger. Raises OSError."""
    with open_regular(path) as file:
        return _at_most(file, most)


def read_line(path: Path, most: int) -> bytes:
    """The first line of a regular file, or its first `most` bytes if the line is longer. Raises OSError."""
    line = b""
    with open_regular(path) as file:
        while len(line) < most and (part := file.read(min(_PART, most - len(line)))):
            head, end, _ = part.partition(b"\n")
            line += head
            if end:
                break
    return line


def is_regular(path: Path) -> bool:
    """Whether a regular file is at the path, also through symbolic links. Nothing is opened."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def require_regular(path: Path) -> None:
    """Raise OSError, such as Unreadable, unless a regular file that can be opened is at the path.

    For files that a library opens by itself, which would wait for a FIFO.
    """
    open_regular(path).close()


def expanded(path: str | Path) -> Path:
    """A path whose ~ is a home, or the path as it is where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user, or no home
        return Path(path)


def name_of(path: Path) -> str:
    """The name of what a path leads to, or its own where its links lead round in a circle."""
    try:
        return path.resolve().name
    except (OSError, RuntimeError):
        return path.name


def said(error: OSError) -> str:
    """What the system, or this module, says of a file, with its path."""
    if isinstance(error, Unreadable) or not error.strerror:
        return str(error)
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror}"


class StandardInput:
    """Standard input as a file that can be read once."""

    def __init__(self) -> None:
        self._taken = False

    def read(self, most: int) -> bytes:
        """All of it, up to its end. Raises Unreadable if it is too large, closed, or was read before."""
        if self._taken:
            raise Unreadable("standard input", "it was read already; use - once in a command")
        self._taken = True
        if sys.stdin is None:
            raise Unreadable("standard input", "it is closed; give a file")
        return _whole(sys.stdin.buffer, "standard input", most)


def _whole(file: IO[bytes] | FileIO, path: Path | str, most: int) -> bytes:
    size = -1 if isinstance(path, str) else os.fstat(file.fileno()).st_size
    data = b"" if size > most else _at_most(file, most + 1)
    if size > most or len(data) > most:
        raise Unreadable(path, f"it is larger than {_in_words(most)}; give a smaller file")
    return data


def _at_most(file: IO[bytes] | FileIO, most: int) -> bytes:
    """Up to `most` bytes, whatever size the file claims: files in /proc claim 0, and files grow."""
    parts: list[bytes] = []
    left = most
    while left > 0 and (part := file.read(min(_CHUNK, left))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _in_words(size: int) -> str:
    return f"{size // _MIB} MiB" if size >= _MIB else f"{size // 1024} KiB"
