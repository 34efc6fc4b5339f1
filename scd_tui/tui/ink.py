"""Lines of styled text: spans of (text, ink), where an ink names a style that the theme gives.

Every pane draws spans. Nothing on the way knows markup, so text from outside cannot style, link or
crash anything; and what a pane says can be tested as plain text.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from rich.cells import cell_len, get_character_cell_size

Ink = Literal[
    "text",
    "dim",
    "heading",
    "name",
    "token",
    "label",
    "towards",
    "away",
    "good",
    "warn",
    "bad",
    "key",
    "shade1",
    "shade2",
    "shade3",
    "peak",
]
Span = tuple[str, Ink]
Line = tuple[Span, ...]

INKS: tuple[Ink, ...] = get_args(Ink)


def width_of(spans: Iterable[Span]) -> int:
    """Terminal cells that the spans take."""
    return sum(cell_len(text) for text, _ in spans)


def plain(spans: Iterable[Span]) -> str:
    return "".join(text for text, _ in spans)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` terminal cells, with `…` where something is missing."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    taken, used = 0, 0
    for character in text:
        size = get_character_cell_size(character)
        if used + size > width - 1:
            break
        taken, used = taken + 1, used + size
    return text[:taken] + "…"


def cut_start(text: str, width: int) -> str:
    """The end of `text` in at most `width` terminal cells, with `…` where something is missing."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    end = cut(text[::-1], width)[:-1][::-1]
    # A mark whose letter is cut off would be drawn over the sign for what is missing.
    while end and get_character_cell_size(end[0]) == 0:
        end = end[1:]
    return "…" + end


def pad(text: str, width: int) -> str:
    """`text` cut or filled to exactly `width` terminal cells."""
    text = cut(text, width)
    return text + " " * (width - cell_len(text))


def fit(spans: Sequence[Span], width: int) -> list[Span]:
    """The spans cut or filled to exactly `width` cells."""
    line: list[Span] = []
    room = width
    for index, (text, ink) in enumerate(spans):
        size = cell_len(text)
        # The last span that fits gives up a cell for the sign that there was more.
        more = any(rest for rest, _ in spans[index + 1 :])
        if size < room or (size == room and not more):
            line.append((text, ink))
            room -= size
            continue
        shown = cut(text + ("…" if more else ""), room)
        line.append((shown, ink))
        room -= cell_len(shown)
        break
    if room > 0:
        line.append((" " * room, "text"))
    return line


def between(
    left: Sequence[Span], right: Sequence[Span], width: int, keep_right: bool = False
) -> list[Span]:
    """`left` and `right` at the two ends of a line.

    Where both do not fit, `right` is dropped; or, with `keep_right`, `left` is cut.
    """
    room = width - width_of(right)
    if room <= width_of(left) and not (keep_right and room > 0):
        return fit(left, width)
    return [*fit(left, room), *right]


def wrap(spans: Iterable[Span], width: int, indent: int = 0) -> list[Line]:
    """Break spans into lines of at most `width` cells, after spaces where possible.

    Lines after the first start with `indent` spaces. A word wider than a line is broken anywhere. A
    word can have several inks: a change of ink is no place to break.
    """
    width = max(width, indent + 2)
    lines: list[Line] = []
    line: list[Span] = []
    used = start = 0
    for word in _words(spans):
        size = width_of(word)
        bare = size - _trailing_spaces(word)
        if used + bare > width and used > start:
            lines.append(tuple(line))
            line, used, start = [(" " * indent, "text")] if indent else [], indent, indent
            if not bare:
                continue  # a line does not start with the spaces that ended the one before
        for text, ink in word:
            while text:
                head = _take(text, width - used)
                if head:
                    line.append((head, ink))
                    used += cell_len(head)
                    text = text[len(head) :]
                if text and not text.strip(" "):
                    break  # spaces hang over the end of a line
                if text:
                    lines.append(tuple(line))
                    line, used, start = [(" " * indent, "text")] if indent else [], indent, indent
    if used > start or not lines:
        lines.append(tuple(line))
    return lines


def flow(lead: Sequence[Span], pieces: Iterable[Sequence[Span]], width: int) -> list[Line]:
    """`lead`, then pieces that are not torn apart, as many on a line as fit; wider ones are wrapped.

    Lines after the first start with two spaces.
    """
    lines = wrap(lead, width, indent=2)
    line = list(lines.pop())
    used = width_of(line)
    for piece in pieces:
        size = width_of(piece) - _trailing_spaces(piece)
        if used + size > width and line:
            lines.append(tuple(line))
            line, used = [], 0
        if not line:
            line, used = [("  ", "text")], 2
        if used + size > width:
            *above, last = wrap([*line, *piece], width, indent=2)
            lines += above
            line, used = list(last), width_of(last)
        else:
            line += piece
            used += width_of(piece)
    return [*lines, tuple(line)]


def _words(spans: Iterable[Span]) -> list[list[Span]]:
    """Words, each with the spaces after it, as lists of spans."""
    words: list[list[Span]] = []
    open_word = False
    for text, ink in spans:
        begin = 0
        for index in range(1, len(text) + 1):
            at_end = index == len(text)
            if at_end or (text[index] != " " and text[index - 1] == " "):
                piece = (text[begin:index], ink)
                if open_word and (begin > 0 or not piece[0].startswith(" ")):
                    words[-1].append(piece)
                elif open_word and piece[0].strip(" "):
                    words.append([piece])  # a token with its leading space starts a word
                elif open_word:
                    words[-1].append(piece)
                else:
                    words.append([piece])
                open_word = not piece[0].endswith(" ")
                begin = index
    return words


def _trailing_spaces(word: Sequence[Span]) -> int:
    text = plain(word)
    return len(text) - len(text.rstrip(" "))


def _take(text: str, width: int) -> str:
    """As many characters from the start as fit in `width` cells; "" if none does."""
    used = 0
    for index, character in enumerate(text):
        used += get_character_cell_size(character)
        if used > width:
            return text[:index]
    return text
