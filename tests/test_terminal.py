"""The installed app in a real terminal, as a newcomer uses it: typed at, and read off the screen."""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminals import Terminal

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None and "CI" not in os.environ, reason="tmux is not installed"
)


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


@pytest.mark.parametrize("key", ["", "?"], ids=["main", "help"])
def test_the_whole_screen_comes_back_from_the_shell(tmp_path: Path, key: str) -> None:
    program = Path(sys.executable).with_name("scd-tui")
    terminal = Terminal(tmp_path, 120, 35, "sh", "-c", "PS1='shell> ' exec bash --norc -i")
    try:
        terminal.wait("shell>")
        terminal.type(str(program))
        terminal.press("Enter")
        terminal.wait("Prompt", "leaves the prompt line", "gate ✓")
        terminal.press("Tab", *key)
        terminal.settle()
        before = terminal.screen()
        terminal.press("C-z")
        terminal.wait("shell>", "Stopped")
        terminal.type("fg")
        terminal.press("Enter")
        terminal.wait("Prompt")
        terminal.settle()
        assert terminal.screen() == before
    finally:
        terminal.close()


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
