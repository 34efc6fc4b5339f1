"""Standard input and output as a user's shell may leave them: closed, full, half written, without a reader.

A descriptor that is closed would be taken by the next file that is opened, which is then written into. So
`hold` occupies the three first. `mended` puts streams in the place of Python's own: they write all of what
they are given or fail, spell out control characters, and keep quiet where stderr cannot be written.
"""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from scd_tui.saying import clean_lines, say

_BUFFER = 1 << 16
_WAIT = 1000
"""Milliseconds between two looks at a pipe that is full and does not block."""


def hold() -> None:
    """Occupy those of the first three descriptors that are closed.

    Reading the first or writing the second then fails as before, for want of the permission; what is
    written to the third is lost.
    """
    for number, how in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # the lowest that is free is this one, since those below it are taken
            os.open(os.devnull, how)
            os.set_inheritable(number, True)


class Whole(io.RawIOBase):
    """A descriptor that takes all that it is given: also a pipe that does not block, or takes a part.

    After a write that failed, which `failed` says why, nothing more is written. A `quiet` one raises
    nothing.
    """

    def __init__(self, number: int, *, quiet: bool) -> None:
        self._number = number
        self._quiet = quiet
        self.failed: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def move(self, number: int) -> int:
        """Write to another descriptor from here on; returns the one before."""
        before, self._number = self._number, number
        return before

    def drop(self) -> None:
        """Write nothing more: whoever ends in a hurry waits for no reader."""
        self.failed = self.failed or OSError("dropped")

    def write(self, data: Any) -> int:
        """Raises OSError the first time that it cannot be written."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.failed is None:
            try:
                done += os.write(self._number, view[done:])
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._number, select.POLLOUT)
                poll.poll(_WAIT)
            except OSError as error:
                self.failed = error
                if not self._quiet:
                    raise
        return len(view)


class CleanText(io.TextIOWrapper):
    """Text to a descriptor, with every control character but the newline spelled out."""

    def write(self, text: str) -> int:
        """What libraries print passes here too, and may quote a file."""
        super().write(clean_lines(text))
        return len(text)

    def write_as_it_is(self, text: str) -> int:
        """Of text that this program made and cleaned: colours, scripts."""
        return super().write(text)


class AsItIs:
    """A stream for those who clean what they write; otherwise the stream beneath."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if isinstance(self._stream, CleanText):
            return self._stream.write_as_it_is(text)
        return self._stream.write(text)


def put_script(text: str) -> None:
    """Print text that this program made, with the tabs that are in it."""
    AsItIs(sys.stdout).write(text)


def mended(stream: TextIO | None, number: int, *, quiet: bool) -> TextIO:
    """A stream of clean text in the place of Python's own one for this descriptor."""
    raw = Whole(number, quiet=quiet)
    # what Python was told to leave unbuffered is written line by line
    unbuffered = stream is None or getattr(stream, "write_through", False)
    errors = "backslashreplace" if stream is None else stream.errors
    return CleanText(
        io.BufferedWriter(raw, _BUFFER),
        encoding="utf-8" if stream is None else stream.encoding,
        # a terminal of another encoding gets `?` for what it has no sign for
        errors="replace" if errors == "strict" else errors,
        newline="\n",
        line_buffering=quiet or unbuffered or raw.isatty(),
    )


def whole(stream: TextIO | None) -> Whole | None:
    """What a mended stream writes through; None of another stream."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", None)
    return raw if isinstance(raw, Whole) else None


def mend() -> None:
    """Have all three streams be there, and those that write write as `mended` says."""
    hold()
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "rb", closefd=False)))
    for name, number, quiet in (("stdout", 1, False), ("stderr", 2, True)):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, mended(stream, number, quiet=quiet))


@contextmanager
def native_messages() -> Iterator[None]:
    """Keep what libraries in C and Rust write to stderr themselves, and say it afterwards in clean lines.

    Where an exception comes out it has its own words. Nothing is kept where stderr is another's.
    """
    raw = whole(sys.stderr)
    if raw is None or not hasattr(os, "memfd_create"):
        yield
        return
    own, kept = os.dup(2), os.memfd_create("stderr")
    raw.move(own)
    os.dup2(kept, 2)
    try:
        yield
    finally:
        os.dup2(own, 2)
        raw.move(2)
        os.close(own)
        failed = sys.exc_info()[0] is not None
        said = b"" if failed else os.pread(kept, _BUFFER, 0)
        os.close(kept)
    for line in said.decode("utf-8", "backslashreplace").splitlines():
        if line.strip():
            say("scd-tui", f"a library says: {line}")
