"""The installed app in a real terminal, as a newcomer uses it: typed at, and read off the screen."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 60
"""Until the screen must show what is waited for; the worker's libraries alone take several to load."""

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None and "CI" not in os.environ, reason="tmux is not installed"
)


class Terminal:
    """A tmux pane of its own server, on a socket in `folder`."""

    def __init__(self, folder: Path, width: int, height: int, *command: str) -> None:
        self._tmux = ("tmux", "-S", str(folder / "socket"), "-f", os.devnull)
        self._call(
            *("new-session", "-d", "-x", str(width), "-y", str(height)),
            *("-e", "COLORTERM=truecolor", "-c", str(folder)),
            *("; ".join([subprocess.list2cmdline(command), "echo left with $?; exec cat"]),),
        )

    def _call(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        self._call("send-keys", *keys)

    def type(self, text: str) -> None:
        self._call("send-keys", "-l", text)

    def screen(self) -> str:
        return self._call("capture-pane", "-p")

    def clipboard(self) -> str:
        """What was copied last."""
        return self._call("show-buffer")

    def wait(self, *words: str | re.Pattern[str] | Callable[[str], bool]) -> str:
        """The first screen that has all the words; fails with the last one seen."""
        end = time.monotonic() + SECONDS
        while True:
            screen = self.screen()
            missing = [word for word in words if not _has(screen, word)]
            if not missing:
                return screen
            assert time.monotonic() < end, f"no {missing} on the screen:\n{screen}"
            time.sleep(0.1)

    def row(self, word: str) -> str:
        """The line of the screen that holds `word`."""
        return next(line for line in self.screen().splitlines() if word in line)

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)


def _has(screen: str, word: str | re.Pattern[str] | Callable[[str], bool]) -> bool:
    if isinstance(word, str):
        return word in screen
    return bool(word.search(screen)) if isinstance(word, re.Pattern) else word(screen)


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    width, height = getattr(request, "param", (140, 40))
    program = Path(sys.executable).with_name("scd-tui")
    terminal = Terminal(tmp_path, width, height, str(program))
    yield terminal
    terminal.close()


EFFECT = r"[+−]\d+\.\d+"


def test_a_newcomer_s_first_minutes(terminal: Terminal) -> None:
    """Types a prompt, chooses a completion, unfolds two levels, reads, ablates, quits."""
    terminal.wait("Prompt", "Completions", "Circuit")

    terminal.type("Make America Great")
    terminal.press("Enter")
    terminal.wait(' Circuit for " Again"', "trust", re.compile(r"● Again +\d+\.\d%"))

    second = terminal.screen().split("○")[1].split()[0]
    terminal.press("1", "Down", "Enter")
    terminal.wait(f'Circuit for " {second}"' if second.isalpha() else second)
    terminal.press("Up", "Enter")
    terminal.wait(' Circuit for " Again"', "trust")

    terminal.press("2", "g", "Down", "Right", "Right")
    first = terminal.wait(re.compile(rf"├[▸▾] \S+ +\S* +{EFFECT}"))
    assert "edges" not in first
    terminal.press("Right")
    terminal.wait("strongest edges")
    terminal.press("Right")
    terminal.wait(re.compile(rf"→ {EFFECT}"))
    terminal.press("Right", "Right")
    screen = terminal.wait(lambda s: s.count("strongest edges") >= 4)
    depth = max(len(m[0]) for m in re.finditer(r"[│ ├└]+[▸▾]", screen))
    assert depth >= 5

    feature = re.compile(r"╭─ \w+\.\d/\d+@\d+ ")
    for _ in range(20):
        if feature.search(terminal.screen()):
            break
        terminal.press("Down")
        time.sleep(0.4)
    terminal.wait(feature)
    terminal.wait("top activations", "density", re.compile("fires|promotes"))

    terminal.press("y")
    terminal.wait("copied")
    assert terminal.clipboard() in terminal.screen(), "tmux has it, with its default settings"

    terminal.press("x")
    terminal.wait(
        "without it (exact, in this prompt)",
        re.compile(rf"effect {EFFECT} estimated, {EFFECT} exact"),
        "top then",
    )

    terminal.press("q")
    terminal.wait("left with 0")


@pytest.mark.parametrize("terminal", [(80, 24)], indirect=True)
def test_one_pane_at_a_time_in_a_small_terminal(terminal: Terminal) -> None:
    terminal.wait("Prompt")
    terminal.type("Copyright (C")
    terminal.press("Enter")
    screen = terminal.wait("Circuit for", "trust", "resid_post 3")
    assert "Completions" not in screen
    terminal.press("1")
    assert "Circuit for" not in terminal.wait("Completions", "●)")
    terminal.press("3")
    terminal.wait(lambda s: "Completions" not in s and "Circuit for" not in s)
    terminal.press("?")
    terminal.wait("Help", "show every key")
    terminal.press("Escape")
    terminal.wait(lambda s: "show every key" not in s)
    terminal.press("q")
    terminal.wait("left with 0")


def test_a_hostile_prompt_is_shown_as_typed(terminal: Terminal) -> None:
    terminal.wait("Prompt")
    terminal.type("[red]a[/] [@click=app.quit]b [/INST]")
    terminal.press("Enter")
    terminal.wait("[red]a[/] [@click=app.quit]b [/INST]", "Circuit for", "trust")
    terminal.press("q")
    terminal.wait("left with 0")
