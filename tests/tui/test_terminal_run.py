"""The app in a terminal of its own: what is left there after it has gone."""

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
from pathlib import Path

import pytest
from tui.samples import circuit

from scd_tui.graph import encode_circuit

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from pathlib import Path
from scd_tui.graph import decode_circuit
from scd_tui.tui.run import run_app
raise SystemExit(run_app(circuit=decode_circuit(Path(sys.argv[1]).read_bytes())))
"""


class Terminal:
    """A pty with the app on a saved circuit in it."""

    def __init__(self, file: Path, env: dict[str, str], size: tuple[int, int] = (24, 80)) -> None:
        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(env)
            os.execv(sys.executable, [sys.executable, "-c", CODE, str(file)])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def until(self, text: bytes, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while text not in self.output:
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} never came: {self.output[-2000:]!r}")
            self.read(0.1)

    def quiet(self, seconds: float) -> None:
        """Read until nothing has come for so long."""
        before = -1
        while before != len(self.output):
            before = len(self.output)
            self.read(seconds)

    def read(self, seconds: float) -> None:
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if ready:
            try:
                self.output += os.read(self.fd, 1 << 16)
            except OSError:
                time.sleep(seconds)  # the other end is closed

    def wait(self) -> int:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.read(0.02)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("it did not leave")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "circuit.json"
    path.write_bytes(encode_circuit(circuit()))
    return path


def environment(**extra: str) -> dict[str, str]:
    # The size is the terminal's, whatever is exported.
    size = {"COLUMNS": "30", "LINES": "6"}
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    return {"PYTHONPATH": str(ROOT), **terminal, **size, **extra}


@pytest.mark.parametrize(("how", "code"), [(b"q", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_terminal_is_left_as_it_was(file: Path, how: bytes | int, code: int) -> None:
    terminal = Terminal(file, environment())
    terminal.until(b"resid_post 3")
    if isinstance(how, bytes):
        os.write(terminal.fd, how)
    else:
        os.kill(terminal.pid, how)
    assert terminal.wait() == code
    for mode in (b"1049", b"1000", b"1003", b"2004"):
        on = terminal.output.rfind(b"\x1b[?" + mode + b"h")
        assert on < terminal.output.rfind(b"\x1b[?" + mode + b"l") or on < 0, mode
    assert terminal.output.rfind(b"\x1b[?25l") < terminal.output.rfind(b"\x1b[?25h")


def test_a_terminal_that_goes_away_takes_the_app_with_it(file: Path) -> None:
    """As when a connection drops: nobody reads what the app writes any more, even while it writes."""
    terminal = Terminal(file, environment(), size=(60, 200))
    terminal.until(b"resid_post 3")
    os.write(terminal.fd, b"E" + b"\x1b[6~" * 50)
    os.close(terminal.fd)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        pid, status = os.waitpid(terminal.pid, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
            return
        time.sleep(0.05)
    os.kill(terminal.pid, signal.SIGKILL)
    raise AssertionError("it outlived its terminal")


def test_over_ssh_the_mouse_is_left_alone_and_without_colour_none_is_sent(file: Path) -> None:
    terminal = Terminal(file, environment(SSH_CONNECTION="10.0.0.1 1 10.0.0.2 22", NO_COLOR="1"))
    terminal.until(b"resid_post 3")
    os.write(terminal.fd, b"jjq")
    assert terminal.wait() == 0
    assert b"\x1b[?1003h" not in terminal.output
    codes = re.findall(rb"\x1b\[([0-9;]*)m", terminal.output)
    coloured = [code for code in codes if re.search(rb"(^|;)(3[0-8]|4[0-8]|9[0-7])(;|$)", code)]
    assert not coloured
    assert any(b"7" in code.split(b";") for code in codes), "the cursor is in reverse"


def test_moving_costs_little_and_rest_nothing(file: Path) -> None:
    terminal = Terminal(file, environment(), size=(40, 120))
    terminal.until(b"resid_post 3")
    terminal.quiet(0.6)

    def cost(keys: bytes, seconds: float) -> int:
        before = len(terminal.output)
        os.write(terminal.fd, keys)
        terminal.quiet(seconds)
        return len(terminal.output) - before

    moves = sorted(cost(b"j", 0.04) for _ in range(5))
    assert moves[2] <= 1_500
    terminal.quiet(0.5)
    assert max(cost(b"k", 0.3) for _ in range(2)) <= 1_500 + 8_000
    os.write(terminal.fd, b"E")
    terminal.quiet(0.5)
    assert cost(b"\x1b[6~", 0.05) <= 20_000 + 8_000
    terminal.quiet(0.5)
    assert cost(b"", 0.6) == 0
    os.write(terminal.fd, b"q")
    assert terminal.wait() == 0
