"""Text that a terminal would obey, and whether any of it came through."""

import re
import unicodedata

CLIPBOARD = "\x1b]52;c;aGFja2Vk\x07"
"""Has a terminal put a text on the clipboard."""
HOSTILE = (
    f"evil{CLIPBOARD}",
    "\x1b[2J\x1b[31mred\x1b[0m",
    "begun\nscd-tui: a second line\rback\x08\x08",
    "\x9b31m\x85C1\x7f",
    "\u202eright to left\u2066\u200b\u2028",
    "[bold red]markup[/] [link=http://x]:smile:[/]",
)
OTHERS = (None, True, 0, -1, 1.5, "", "x", [], {}, [1], {"a": 1})
NUMBERS = (10**9, 10**19, -(10**9), 10**400, 1e308)

_OURS = re.compile(r"\x1b\[[0-9;]*m")
"""A colour."""
_DRAWN = re.compile(r"\x1b\[\?25[lh]|\x1b\[[0-9]*[AKG]|\x1b\[2K|\r")
"""What a bar of progress is drawn with."""


def unclean(text: str, *, terminal: bool = False) -> str:
    """What of `text` a terminal would obey, in words; "" if nothing. On a terminal there are colours."""
    if terminal:
        text = _DRAWN.sub("", _OURS.sub("", text.replace("\r\n", "\n")))
    for character in text:
        if character != "\n" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return f"{character!r} was printed"
    if "begun\n" in text:
        return "a second line was faked"
    return ""
