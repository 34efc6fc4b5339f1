import os
import pty
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scd_tui.doctor.tmux import Tmux, ask_tmux, capabilities_of

LISTED = r"""Terminal 0: xterm-256color for /dev/pts/5, flags=0x20:
 192: Ms: (string) \033]52;%p1%s;%p2%s\a
 197: RGB: [missing]
 210: Smulx: [missing]
Terminal 1: vt220 for /dev/pts/7, flags=0x0:
 192: Ms: [missing]
 197: RGB: (flag) true
 198: XT: (flag) false
"""


def test_of_several_terminals_each_has_its_own_capabilities() -> None:
    assert capabilities_of(LISTED, "/dev/pts/5") == {"Ms"}
    assert capabilities_of(LISTED, "/dev/pts/7") == {"RGB"}
    assert capabilities_of(LISTED, "/dev/pts/70") == capabilities_of("", "") == frozenset()


def test_versions_are_compared_as_numbers() -> None:
    def tmux(version: str) -> Tmux:
        return Tmux(version=version, set_clipboard="on", escape_time=0)

    assert tmux("3.10").at_least(3, 4) and not tmux("3.3a").at_least(3, 4)
    assert tmux("next-3.4").at_least(3, 4) and tmux("master").at_least(9, 0)


def test_outside_of_tmux_and_without_an_answer_there_is_none() -> None:
    assert ask_tmux({"PATH": os.environ["PATH"]}) is None
    assert ask_tmux({"PATH": os.environ["PATH"], "TMUX": "/nonexistent/socket,1,0"}) is None
    assert ask_tmux({"PATH": "/nonexistent", "TMUX": "/nonexistent/socket,1,0"}) is None


@contextmanager
def attached(socket: Path, term: str, *options: str) -> Iterator[None]:
    """A terminal of that kind on a tmux, whose output is read by nobody."""
    child, terminal = pty.fork()
    if child == 0:
        env = {**os.environ, "TERM": term}
        os.execvpe("tmux", ["tmux", "-S", str(socket), *options, "attach"], env)
    try:
        end = time.monotonic() + 10
        while not tmux(socket, "list-clients") and time.monotonic() < end:
            time.sleep(0.05)
        yield
    finally:
        tmux(socket, "detach-client")
        os.close(terminal)
        os.waitpid(child, 0)


def tmux(socket: Path, *words: str) -> str:
    done = subprocess.run(["tmux", "-S", str(socket), *words], capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.skipif(
    shutil.which("tmux") is None and "CI" not in os.environ, reason="tmux is not installed"
)
def test_a_real_tmux_says_what_it_and_its_terminal_can_do(tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    tmux(socket, *("-f", os.devnull, "new-session", "-d", "-x", "80", "-y", "24", "exec cat"))
    try:
        pid, session = tmux(socket, "display-message", "-p", "#{pid} #{session_id}").split()
        env = {**os.environ, "TMUX": f"{socket},{pid},{session.removeprefix('$')}"}
        alone = ask_tmux(env)
        assert alone is not None and alone.client == "" and alone.utf8
        assert f"tmux {alone.version}" == tmux(socket, "-V")
        assert (alone.set_clipboard, alone.escape_time) == (
            tmux(socket, "show-options", "-sv", "set-clipboard"),
            int(tmux(socket, "show-options", "-sv", "escape-time")),
        )
        tmux(socket, "set-option", "-s", "escape-time", "7")
        tmux(socket, "set-option", "-s", "set-clipboard", "off")
        with attached(socket, "xterm-256color", "-u"):
            shown = ask_tmux(env)
            assert shown is not None and (shown.client, shown.utf8) == ("xterm-256color", True)
            assert "Ms" in shown.capabilities
            assert (shown.escape_time, shown.set_clipboard) == (7, "off")
        with attached(socket, "vt220"):
            plain = ask_tmux(env)
            assert plain is not None and plain.client == "vt220"
            assert "Ms" not in plain.capabilities
    finally:
        tmux(socket, "kill-server")
