"""Fewer bytes for the same screen: what a terminal is told of colours again is left out.

Rich ends every piece of text with a reset and names all of the next one's style anew. Over a slow line
these names are most of what a key costs. Every write begins and ends without a style, as Rich's do.
"""

import re
from functools import lru_cache

_STYLE = re.compile(r"\x1b\[([0-9;:]*)m")
_UNSTYLED = re.compile(r"(?:\x1b\[[0-9;]*H|\x1b\]8;[^\x07\x1b]*\x1b\\)*")
"""What no style has an effect on: moves of the cursor, and the two ends of a link."""
_OFF = {
    "colour": "39",
    "background": "49",
    "weight": "22",
    "3": "23",
    "4": "24",
    "7": "27",
    "9": "29",
}


def thin(data: str) -> str:
    """The same for a terminal, in fewer bytes."""
    written: list[str] = []
    actual = wanted = ""
    position = 0
    for found in _STYLE.finditer(data):
        between, position = data[position : found.start()], found.end()
        if between:
            blank = not between.strip(" ") and look_of_blanks(actual) == look_of_blanks(wanted)
            if actual != wanted and not blank and not _UNSTYLED.fullmatch(between):
                written.append(change(actual, wanted))
                actual = wanted
            written.append(between)
        # A style that does not begin with a reset is laid over the one before.
        wanted = "" if found[1] in ("", "0") else f"{wanted};{found[1]}".removeprefix(";")
    rest = data[position:]
    if actual != wanted:
        written.append(change(actual, wanted))
    written.append(rest)
    return "".join(written)


@lru_cache(maxsize=4096)
def change(old: str, new: str) -> str:
    """The shortest way from one style to another."""
    if not new:
        return "\x1b[0m"
    anew = f"\x1b[{f'0;{new}' if old else new}m"
    before, after = _parts(old), _parts(new)
    if before is None or after is None:
        return anew
    codes = []
    for name, value in before.items():
        # Bold and dim are ended by one code, so that one cannot take the other's place.
        if name not in after or (name == "weight" and after[name] != value):
            codes.append(_OFF[name])
    for name, value in after.items():
        if before.get(name) != value:
            codes.append(value)
    changed = f"\x1b[{';'.join(codes)}m" if codes else ""
    return min(changed, anew, key=len)


@lru_cache(maxsize=4096)
def look_of_blanks(style: str) -> str:
    """The part of a style that shows on a space: its background, unless lines are drawn over it."""
    parts = _parts(style)
    if parts is None or any(line in parts for line in ("4", "7", "9")):
        return style
    return parts.get("background", "")


def _parts(style: str) -> dict[str, str] | None:
    """A style's codes by what they set; None if one of them is of another kind."""
    parts: dict[str, str] = {}
    codes = iter(style.split(";") if style else ())
    for code in codes:
        if code in ("38", "48"):
            name = "colour" if code == "38" else "background"
            kind = next(codes, "")
            values = [next(codes, "") for _ in range({"5": 1, "2": 3}.get(kind, 0))]
            if not values or not all(value.isdigit() for value in values):
                return None
            parts[name] = ";".join([code, kind, *values])
        elif code in ("1", "2"):
            parts["weight"] = f"{parts['weight']};{code}" if "weight" in parts else code
        elif code in ("3", "4", "7", "9"):
            parts[code] = code
        elif code.isdigit() and (30 <= int(code) <= 39 or 90 <= int(code) <= 97):
            parts["colour"] = code
        elif code.isdigit() and (40 <= int(code) <= 49 or 100 <= int(code) <= 107):
            parts["background"] = code
        else:
            return None
    return parts
