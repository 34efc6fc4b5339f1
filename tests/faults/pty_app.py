"""The app in a pseudo-terminal: keys go in as bytes, and what a user would see is read back."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pyte

EXCEPTION = re.compile(r"Traceback \(most|\b[A-Z][A-Za-z]{2,}(?:Error|Exception)\b")
"""What no user should read."""
WORKER_ENDED = re.compile(r"the worker (exited|was killed|was stopped: it)")
MODES = (b"1049", b"1000", b"1003", b"2004")
"""What is switched on in a terminal, and is to be off again when the app has gone."""
ANSWER_SECONDS = 20.0
"""Until the screen shows what a key must change. A loaded machine is slow."""
TAIL, LAST_WORDS = 12_000, 1_200
"""Bytes of its output that are kept, and characters of those that are told."""


class PtyApp:
    """The app as a user starts it, in `folder`. `size` is columns, lines."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], size: tuple[int, int], *words: str
    ) -> None:
        # An environment with another terminal around it would be used for the clipboard.
        kept = {name: value for name, value in environment.items() if not name.startswith("TMUX")}
        kept |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(folder)
                os.execve(sys.executable, [sys.executable, "-m", "scd_tui", *words], kept)
            finally:
                os._exit(127)
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._tail = b""
        self._modes: dict[bytes, bool] = {}
        self.exit_status: int | None = None
        self._process = psutil.Process(self.pid)
        self.resize(*size)

    # --- in and out ---------------------------------------------------------------------------

    def resize(self, columns: int, lines: int) -> None:
        packed = struct.pack("HHHH", lines, columns, 0, 0)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.TIOCSWINSZ, packed)
        self._screen.resize(lines, columns)

    def write(self, data: bytes) -> None:
        """All of it in one write, as a slow line joins it."""
        with contextlib.suppress(OSError):  # it has gone, which `alive` says
            os.write(self._fd, data)

    def read(self, quiet: float, most: float) -> None:
        """Take in what it draws, until nothing came for `quiet` seconds or `most` are over."""
        end = time.monotonic() + most
        while time.monotonic() < end:
            ready, _, _ = select.select([self._fd], [], [], quiet)
            if not ready:
                return
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                return  # the other end is closed
            self._take(data)

    def _take(self, data: bytes) -> None:
        for name, on in re.findall(rb"\x1b\[\?(\d+)([hl])", self._tail[-16:] + data):
            self._modes[name] = on == b"h"
        self._tail = (self._tail + data)[-TAIL:]
        self._stream.feed(data)

    def screen(self) -> str:
        return "\n".join(self._screen.display)

    def until(self, shows: Callable[[str], bool], seconds: float = ANSWER_SECONDS) -> bool:
        """Whether the screen shows something in time."""
        end = time.monotonic() + seconds
        while not shows(self.screen()):
            if time.monotonic() > end or not self.alive:
                return False
            self.read(0.05, 0.2)
        return True

    # --- what is wrong ------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        if self.exit_status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read(0.05, 1)
                self.exit_status = os.waitstatus_to_exitcode(status)
        return self.exit_status is None

    def lost(self, may_leave: bool = False) -> str:
        """What a user has lost by now, in one sentence; `may_leave` where a key that quits was sent."""
        if not self.alive:
            if self.exit_status or not may_leave:
                return f"the app ended with {self.exit_status}: {self._last_words()}"
            left_on = [name.decode() for name in MODES if self._modes.get(name)]
            return f"the terminal still has {left_on}" if left_on else ""
        screen = self.screen()
        # below the frames, for what a feature's contexts quote may well be a traceback
        if found := EXCEPTION.search(screen.rpartition("╰")[2]):
            self.read(1, 5)
            return f"{found[0]!r} is on the screen: {self._last_words()}"
        if found := WORKER_ENDED.search(screen):
            return f"{found[0]!r} is on the screen"
        control = {c for c in screen if c != "\n" and (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0)}
        return f"control characters on the screen: {control!r}" if control else ""

    def _last_words(self) -> str:
        """What it wrote last, such as a traceback, without the sequences of a terminal."""
        text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b.", b"", self._tail).decode(errors="replace")
        return " ".join(text.split())[-LAST_WORDS:]

    def memory(self) -> tuple[float, float] | None:
        """MB of the app's process and of its worker's, 0 where that is none; None once it has ended."""
        with contextlib.suppress(psutil.Error):
            app, worker = memory_of(self._process), 0.0
            for child in self._process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    worker += memory_of(child)
            return app, worker
        return None

    def close(self) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            end = time.monotonic() + 5
            while self.alive and time.monotonic() < end:
                self.read(0.05, 0.1)
            if self.alive:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.exit_status = -9
        with contextlib.suppress(OSError):
            os.close(self._fd)


def memory_of(process: psutil.Process) -> float:
    """The proportional share of a process in MB; where there is none, what is resident."""
    try:
        return float(process.memory_full_info().pss) / 1e6
    except (AttributeError, psutil.AccessDenied):
        return float(process.memory_info().rss) / 1e6
