"""Text from outside, made safe to show.

Tokens, prompts, explanations and file names are data. A byte-level vocabulary holds every byte there
is, so a raw token can carry an escape sequence, and a bidirectional override can make a line read
as something else. `visible` is the one function that every such string passes on its way to a
screen; nothing that it returns can move a cursor, change a colour or reorder a line.
"""

import re
import unicodedata

_NAMED = {"\n": "⏎", "\t": "⇥"}
_MARKS = frozenset({"Mn", "Me"})
"""Signs that are drawn over the one before them."""
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidi, zero-width), surrogate, private, unassigned, line and paragraph separators."""


def _changes_width(code: int) -> bool:
    """Whether terminals disagree on how wide the character before it is then.

    Variation selectors and skin tones: what one draws in two cells another draws in one, or in four.
    """
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x1F3FB <= code <= 0x1F3FF


def _spell(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def is_unsafe(character: str) -> bool:
    """Whether a terminal may obey a character, or not draw it."""
    return unicodedata.category(character) in _UNSAFE_CATEGORIES


class _Visible(dict[int, str]):
    """A `str.translate` table that classifies each character once, the first time it is met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character in _NAMED:
            shown = _NAMED[character]
        elif is_unsafe(character) or _changes_width(code):
            shown = _spell(character)
        else:
            shown = character
        self[code] = shown
        return shown


_TABLE = _Visible()


def visible(text: str) -> str:
    """Return `text` with every control, format and unassigned character spelled out.

    Newline and tab become `⏎` and `⇥`; the rest `\\xNN`, `\\uNNNN` or `\\UNNNNNNNN`. A mark that would
    be drawn over what stands before the text is drawn over `◌`.
    """
    shown = text.translate(_TABLE)
    return "◌" + shown if shown and unicodedata.category(shown[0]) in _MARKS else shown


_SPELLED = re.compile(r"(?:\\x[89a-f][0-9a-f])+")


def whole(text: str) -> str:
    """Joined texts of tokens, with the characters that were split between them in one piece again.

    A token spells bytes that are no character of their own as `\\xNN`; those of several tokens can be one.
    """

    def read(spelled: re.Match[str]) -> str:
        raw = bytes.fromhex(spelled[0].replace("\\x", ""))
        return raw.decode("utf-8", errors="backslashreplace")

    return _SPELLED.sub(read, text)


def shorten(text: str, width: int) -> str:
    """Cut `text` to at most `width` characters, with `…` where something is missing."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
