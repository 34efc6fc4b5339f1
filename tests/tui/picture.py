"""A screen as text that can be read in a review: its characters, and below them its styles."""

from collections import Counter
from itertools import groupby
from zlib import crc32

from rich.cells import get_character_cell_size
from rich.style import Style
from textual.strip import Strip

from scd_tui.tui.app import ScdApp

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
COMMONEST = " "
"""The letter of the style that most cells have."""
SECOND = "⁔"
"""Stands for the second cell of a wide character, so that columns are columns in any editor."""


def picture(app: ScdApp) -> str:
    """The screen's characters, a line a row; its styles, a letter a cell; and what the letters are.

    Lines that are styled alike are written once, after the numbers of the first and the last. A
    letter depends on its style alone, as far as letters reach: one style more does not change others.
    """
    screen = [_cells(strip) for strip in app.screen._compositor.render_strips()]
    counts = Counter(style for line in screen for style, _ in line)
    commonest = max(counts, key=lambda style: (counts[style], style))
    letters = _letters(set(counts) - {commonest})
    letters[commonest] = COMMONEST
    styles = ["".join(letters[style] for style, _ in line).rstrip(" ") for line in screen]
    alike, first = [], 0
    for line, lines in groupby(styles):
        last = first + sum(1 for _ in lines) - 1
        name = f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"
        alike.append(f"{name:<6}{line}".rstrip(" "))
        first = last + 1
    legend = sorted((letter, style) for style, letter in letters.items())
    width, height = app.size
    return "\n".join(
        [
            f"=== {width}×{height}",
            *("".join(character for _, character in line).rstrip(" ") for line in screen),
            "=== styles, by line",
            *alike,
            "=== letters",
            *(f"{'·' if letter == COMMONEST else letter} {style}" for letter, style in legend),
            "",
        ]
    )


def _cells(strip: Strip) -> list[tuple[str, str]]:
    """The style and the character of every cell."""
    found: list[tuple[str, str]] = []
    for segment in strip:
        style = _words(segment.style)
        for character in segment.text:
            size = get_character_cell_size(character)
            if size == 0 and found:
                found[-1] = (found[-1][0], found[-1][1] + character)
            else:
                found += [(style, character), *[(style, SECOND)] * (size - 1)]
    return found


def _words(style: Style | None) -> str:
    """`bold #6ca8e8 on #15181d`, with the address where it is a link."""
    if style is None:
        return "none"
    attributes = ("bold", "dim", "italic", "underline", "reverse", "strike")
    words = [name for name in attributes if getattr(style, name)]
    words.append(style.color.name if style.color is not None else "default")
    words += ["on", style.bgcolor.name if style.bgcolor is not None else "default"]
    return " ".join([*words, *([f"link {style.link}"] if style.link else [])])


def _letters(styles: set[str]) -> dict[str, str]:
    free = list(LETTERS)
    letters: dict[str, str] = {}
    for style in sorted(styles):
        start = crc32(style.encode()) % len(LETTERS)
        letters[style] = next(
            letter for letter in LETTERS[start:] + LETTERS[:start] if letter in free
        )
        free.remove(letters[style])
    return letters
