"""Thinned output is the same on a terminal."""

import random
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from terminals import Terminal

from scd_tui.tui.thin import thin

COLOURS = [None, "default", "red", "bright_blue", "color(120)", "#e0aa10", "#102030", "#e0aa11"]


def frame(seed: int, lines: int, width: int) -> str:
    """Lines of pieces in styles of all sorts, with moves between them, as Rich writes them."""
    draw = random.Random(seed)
    console = Console(force_terminal=True, color_system="truecolor", width=width)

    def flag() -> bool | None:
        return draw.choice([None, None, True, False])

    written: list[str] = []
    for y in range(lines):
        written.append(f"\x1b[{y + 1};1H")
        segments = []
        for _ in range(8):
            style = Style(
                color=draw.choice(COLOURS),
                bgcolor=draw.choice(COLOURS),
                bold=flag(),
                dim=flag(),
                italic=flag(),
                underline=flag(),
                reverse=flag(),
                strike=flag(),
                blink=draw.choice([None, None, None, True]),
                link=draw.choice([None, None, "https://example.org/"]),
            )
            text = draw.choice(["ab", "  ", "→", "x" * 5])
            segments.append(Segment(text, draw.choice([None, style, style, style])))
        written.append(console._render_buffer(segments))
    return "".join(written)


def shown(folder: Path, data: str) -> str:
    """What a terminal has on its screen after this, with colours and all attributes."""
    folder.mkdir()
    (folder / "data").write_bytes(data.encode())
    code = "import sys; sys.stdout.write(open('data').read()); sys.stdout.flush(); input()"
    terminal = Terminal(folder, 80, 24, sys.executable, "-c", code)
    try:
        terminal.settle(0.2)
        return terminal._call("capture-pane", "-p", "-e")
    finally:
        terminal.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_terminal_shows_the_same(tmp_path: Path, seed: int) -> None:
    first, second = frame(seed, 20, 80), frame(seed + 100, 20, 80)
    assert first != second
    whole = shown(tmp_path / "whole", first + second)
    assert whole == shown(tmp_path / "thin", thin(first) + thin(second))
    assert whole != shown(tmp_path / "other", first)
    assert len(thin(second)) < len(second)


def test_a_style_is_named_once_and_no_style_is_left_behind() -> None:
    written = thin(
        "\x1b[1;31mab\x1b[0m\x1b[2;3H\x1b[1;31mcd\x1b[0m\x1b[1;32me\x1b[0m f\x1b[2mg\x1b[0m"
    )
    assert written == "\x1b[1;31mab\x1b[2;3Hcd\x1b[32me\x1b[0m f\x1b[2mg\x1b[0m"


def test_spaces_need_no_colour_of_letters_but_their_background_and_lines() -> None:
    assert thin("\x1b[31;44mab\x1b[0m\x1b[32;44m  \x1b[0m\x1b[31;44mc\x1b[0m") == (
        "\x1b[31;44mab  c\x1b[0m"
    )
    for style in ("31;45", "31;44;4", "31;44;7", "31;44;9", "44;53"):
        data = f"\x1b[31;44mab\x1b[0m\x1b[{style}m  \x1b[0m\x1b[31;44mc\x1b[0m"
        assert "ab\x1b[" in thin(data), style


def test_what_erases_is_not_done_in_a_colour() -> None:
    """Terminals erase in the background that is set."""
    assert (
        thin("\x1b[41ma\x1b[0m\x1b[K\x1b[41mb\x1b[0m") == "\x1b[41ma\x1b[0m\x1b[K\x1b[41mb\x1b[0m"
    )


@pytest.mark.parametrize("style", ["53", "38;9;1", "4:3", "38", "38;2;1", "5", "73;1"])
def test_a_style_that_is_not_known_is_set_anew(style: str) -> None:
    data = f"\x1b[31ma\x1b[0m\x1b[{style}mb\x1b[0m\x1b[31mc\x1b[0m"
    assert re.findall(r"\x1b\[0;([0-9;:]+)m", thin(data)) == [style, "31"]
