"""Lines of a tree as text for a console: a line costs a few microseconds, where Rich's own tree takes a
hundred, and a circuit has up to a hundred thousand."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style
from rich.text import Text

from scd_tui.saying import clean_lines

Line = tuple[tuple[str, str], ...]
"""Texts that are safe to print, each with a Rich style."""
_GUIDE_STYLE = "dim"


class Row(NamedTuple):
    """A line below its branch. `last` says of each branch on the way down whether it is the last."""

    line: Line
    last: tuple[bool, ...] = ()

    @property
    def guide(self) -> str:
        """What stands before the line."""
        if not self.last:
            return ""
        return _trunk(self.last[:-1]) + ("└── " if self.last[-1] else "├── ")

    @property
    def below(self) -> str:
        """What stands before the rest of a line that was wrapped."""
        return _trunk(self.last)


def _trunk(last: tuple[bool, ...]) -> str:
    return "".join("    " if one else "│   " for one in last)


def printed(rows: Iterable[Row], console: Console) -> Iterator[str]:
    """The rows as text with the escapes of `console`.

    On a terminal what is too long is wrapped below its guide; anywhere else each row is one line.
    """
    ink = _inks(console)
    width = console.width if console.is_terminal else None
    for row in rows:
        guide = row.guide
        if width is not None and len(guide) + sum(cell_len(t) for t, _ in row.line) > width:
            text = Text.assemble(*row.line)
            for n, part in enumerate(text.wrap(console, max(8, width - len(guide)))):
                before = row.below if n else guide
                yield ink(before, _GUIDE_STYLE) + "".join(
                    ink(segment.text, str(segment.style or ""))
                    for segment in part.render(console)
                    if segment.text
                )
        else:
            yield ink(guide, _GUIDE_STYLE) + "".join(ink(text, style) for text, style in row.line)


def _inks(console: Console) -> Callable[[str, str], str]:
    """A function that puts a style around a text, as far as the console has colours."""
    if console.color_system is None:
        return lambda text, style: clean_lines(text)
    system = COLOR_SYSTEMS[console.color_system]
    ends: dict[str, tuple[str, str]] = {"": ("", "")}

    def ink(text: str, style: str) -> str:
        if not text:
            return ""
        if (pair := ends.get(style)) is None:
            parsed = Style.parse(style)
            if console.no_color:
                parsed = parsed.without_color
            before, after = parsed.render("\0", color_system=system).split("\0")
            ends[style] = pair = before, after
        return f"{pair[0]}{clean_lines(text)}{pair[1]}"

    return ink
