"""The real app in a pseudo-terminal, driven key by key: what it writes, and when."""

import fcntl
import math
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pyte

ROOT = Path(__file__).parents[2]
LEAST = """
from textual.app import App
from textual.widgets import Static

class Least(App):
    def compose(self):
        yield Static("Prompt")

Least().run()
"""
"""The least that an app of this library does before it shows a word."""
CODE = """
import sys
from scd_tui.tui.run import run_app
raise SystemExit(run_app("a prompt", worker_command=sys.argv[1:]))
"""
MOVE_BYTES = 1_500
"""The budget of a cursor move."""
MOVING = 0.03
"""Seconds from the answer to a key to the next: a key that is held down."""
QUIET = 0.05
"""Seconds without a byte after which the answer to a key has ended."""


Report = Callable[[str, object], None]
"""Is told of what was measured, and its value."""


def on_rows(rows: int, busy: bool) -> "Driven":
    """The app on a worker with a circuit of `rows` rows, which computes all the time if `busy`."""
    worker = [sys.executable, str(ROOT / "tests/benchmarks/busy_worker.py"), str(rows)]
    return Driven(CODE, *worker, "busy" if busy else "idle")


class Driven:
    """Python code in a terminal of `size` (lines, columns), with `environment` added to ours.

    `chunks` is what it wrote, piece by piece, and when (by `time.perf_counter`).
    """

    def __init__(
        self,
        code: str,
        *arguments: str,
        size: tuple[int, int] = (40, 120),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        words = [sys.executable, "-c", code, *arguments]
        self.size = size
        self.output = bytearray()
        self.chunks: list[tuple[float, bytes]] = []
        self._home = tempfile.TemporaryDirectory()
        homes = {f"XDG_{kind}_HOME": self._home.name for kind in ("CONFIG", "STATE", "CACHE")}
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", PYTHONPATH=str(ROOT))
            # What others have kept at home takes time to read, and shows.
            os.environ.update({**homes, **environment})
            # Compiled once, as an installed program is, wherever the tests are run.
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
            os.environ["PYTHONPYCACHEPREFIX"] = str(
                Path(tempfile.gettempdir()) / "scd-tui-bytecode"
            )
            os.execv(sys.executable, words)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def read(self, seconds: float) -> bytes:
        """What comes within so long; b"" if nothing does."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return b""
        try:
            chunk = os.read(self.fd, 1 << 16)
        except OSError:  # the other end is closed
            time.sleep(seconds)
            return b""
        self.output += chunk
        self.chunks.append((time.perf_counter(), chunk))
        return chunk

    def until(self, text: bytes, seconds: float = 60) -> float:
        """Wait for text on the screen; returns the seconds since the start."""
        end = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < end, f"{text!r} never came: {bytes(self.output[-2000:])!r}"
            self.read(0.02)
        return time.perf_counter() - self.started

    def rest(self, seconds: float = 0.5) -> None:
        """Read until nothing has come for so long."""
        while self.read(seconds):
            pass

    def key(self, keys: bytes, quiet: float = QUIET) -> tuple[float, float, int]:
        """Seconds to the first and to the last byte of the answer, and how many bytes it has."""
        start = time.perf_counter()
        os.write(self.fd, keys)
        first = last = 0.0
        count = 0
        wait = 2.0
        while chunk := self.read(wait):
            last = time.perf_counter() - start
            first = first or last
            count += len(chunk)
            wait = quiet
        return first, last, count

    def screens(self) -> Iterator[tuple[float, float, list[str]]]:
        """What a terminal has shown, in turn: from when, until when (or for ever), and its lines."""
        screen = pyte.Screen(*reversed(self.size))
        stream = pyte.ByteStream(screen)
        ends = [when for when, _ in self.chunks[1:]]
        for (when, chunk), end in zip(self.chunks, [*ends, math.inf], strict=True):
            stream.feed(chunk)
            yield when, end, screen.display

    def resident_mb(self) -> float:
        """Resident memory of the app's own process, in MB."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) * 1024 / 1e6

    def cpu_seconds(self) -> float:
        """What the app's own process has computed since its start, however long it had to wait for that."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.read(0.02) if select.select([self.fd], [], [], 0)[0] else time.sleep(0.02)
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        self._home.cleanup()


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
