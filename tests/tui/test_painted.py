"""A terminal shows the same after what is left of each write as after all of it."""

import random
from pathlib import Path

import pyte
import pytest
from tui.test_thin import frame, shown

from scd_tui.tui.painted import Painted

WIDTH, HEIGHT = 90, 12
TEXTS = ("ab", "  ", "→", "x" * 5, "“e.g.”", " ", "日本", "e\u0301", "👍🏽", "▁▂█", "a  b   c    d")
STYLES = (
    "",
    "1",
    "31",
    "1;38;2;205;211;219",
    "38;2;205;211;219;48;2;21;24;29",
    "38;2;161;162;164;48;2;21;24;29",
    "48;2;21;24;29",
    "7;38;2;60;64;72;48;2;21;24;29",
    "4;31",
    "9;48;2;21;24;29",
)


def update(draw: random.Random, texts: tuple[str, ...] = TEXTS) -> str:
    """Some runs of text as Textual writes them: a place, then pieces in styles, with a last move.

    None reaches the right margin, where this terminal and others differ.
    """
    written = []
    for _ in range(draw.randint(1, 12)):
        row = draw.randint(1, HEIGHT)
        written.append(f"\x1b[{row};{draw.randint(1, WIDTH - 60)}H")
        for _ in range(draw.randint(1, 5)):
            style, text = draw.choice(STYLES), draw.choice(texts)
            written.append(f"\x1b[{style}m{text}\x1b[0m" if style else text)
        written.append(draw.choice(["", "\n"]) if row < HEIGHT else "")
    return "".join(written) + f"\x1b[{draw.randint(1, HEIGHT)};{draw.randint(1, WIDTH)}H"


class Terminal:
    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.Stream(self.screen)
        self.write("\x1b[?7l")  # as Textual does: long lines are not wrapped

    def write(self, data: str) -> None:
        self._stream.feed(data)

    def cells(self) -> list[list[tuple[object, ...]]]:
        """All that can be seen: on a space, no colour of letters."""
        width, height = self.screen.columns, self.screen.lines
        return [[_seen(self.screen.buffer[y][x]) for x in range(width)] for y in range(height)]


def _seen(char: pyte.screens.Char) -> tuple[object, ...]:
    lines = (char.underscore, char.strikethrough, char.reverse)
    if char.data == " " and not any(lines):
        return " ", char.bg
    return char.data, char.fg, char.bg, char.bold, char.italics, *lines


@pytest.mark.parametrize("seed", range(30))
def test_a_terminal_shows_the_same(seed: int) -> None:
    draw = random.Random(seed)
    whole, less = Terminal(), Terminal()
    painted = Painted(WIDTH, HEIGHT)
    for _ in range(20):
        data = update(draw)
        whole.write(data)
        less.write(painted.changes(data))
        assert less.cells() == whole.cells()
        at = (whole.screen.cursor.y, whole.screen.cursor.x)
        assert (less.screen.cursor.y, less.screen.cursor.x) == at


@pytest.mark.parametrize("seed", range(3))
def test_tmux_shows_the_same(tmp_path: Path, seed: int) -> None:
    first, second = frame(seed, 20, 80), frame(seed + 100, 20, 80)
    painted = Painted(80, 24)
    less = painted.changes(first) + painted.changes(second)
    pair = []
    for name, data in (("whole", first + second), ("less", less)):
        terminal = Terminal(80, 24)
        terminal.write(shown(tmp_path / name, data).replace("\n", "\r\n"))
        pair.append(terminal.cells())
    assert pair[0] == pair[1] and pair[0] != Terminal(80, 24).cells()


def test_nothing_is_written_twice() -> None:
    painted = Painted(WIDTH, HEIGHT)
    data = update(random.Random(1), TEXTS[:6])
    assert painted.changes(data)
    assert painted.changes(data) == ""


def test_of_a_line_that_is_drawn_again_only_what_changes_is_written() -> None:
    painted = Painted(WIDTH, HEIGHT)
    painted.changes("\x1b[3;1H\x1b[31meffect +1.25 exact\x1b[0m                \x1b[1;1H")
    again = painted.changes("\x1b[3;1H\x1b[31meffect +1.39 exact\x1b[0m                \x1b[1;1H")
    assert again == "\x1b[3;11H\x1b[31m39\x1b[0m\x1b[1;1H"


def test_styles_that_alternate_are_named_once_each() -> None:
    painted = Painted(WIDTH, HEIGHT)
    line = "".join(f"\x1b[38;2;1;2;{n % 2}mword{n}\x1b[0m" for n in range(8))
    written = painted.changes(f"\x1b[1;1H{line}")
    assert written.count("38;2;1;2;0") == written.count("38;2;1;2;1") == 1


@pytest.mark.parametrize(
    "between",
    ["\x1b[?1049h", "\x1b[2J", "\x1b[5;1Habc\x1b[K", "plain text", "\x1bc", "\x9b2J", "\x1b[3S"],
)
def test_after_anything_that_is_not_known_all_is_written_again(between: str) -> None:
    painted = Painted(WIDTH, HEIGHT)
    first = painted.changes("\x1b[2;2H\x1b[31mabc\x1b[0m")
    assert painted.changes(between)
    assert painted.changes("\x1b[2;2H\x1b[31mabc\x1b[0m") == first


@pytest.mark.parametrize(
    "harmless",
    ["\x07", "\x1b[?2026h", "\x1b[?25l", "\x1b]52;c;aGk=\x07", "\x1b]2;title\x1b\\", "\x1b[>1u"],
)
def test_what_changes_no_cell_is_passed_on_and_all_stays_known(harmless: str) -> None:
    painted = Painted(WIDTH, HEIGHT)
    painted.changes("\x1b[2;2Habc")
    assert painted.changes(harmless) == harmless
    assert painted.changes("\x1b[2;2Habc") == ""


def test_a_link_is_written_where_another_was() -> None:
    painted = Painted(WIDTH, HEIGHT)
    data = "\x1b[1;1H\x1b]8;id=1;https://a.example/\x1b\\page\x1b]8;;\x1b\\ "
    assert painted.changes(data) == "\x1b[1;1H\x1b]8;;https://a.example/\x1b\\page\x1b]8;;\x1b\\ "
    assert painted.changes(data.replace("id=1", "id=2")) == ""
    assert "https://b.example/" in painted.changes(data.replace("a.ex", "b.ex"))


def test_what_is_forgotten_is_written_again() -> None:
    painted = Painted(WIDTH, HEIGHT)
    first = painted.changes("\x1b[2;2Habc")
    painted.forget()
    assert painted.changes("\x1b[2;2Habc") == first
