"""Numbers as text: one format each, so that columns align and signs are always printed."""

import math
from collections.abc import Sequence

MINUS = "−"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = " ▁▂▃▄▅▆▇█"


def signed(value: float, width: int = 0, digits: int = 3) -> str:
    """`+1.320` or `−0.110`, right-aligned in `width`; fewer digits where it would not fit."""
    if not math.isfinite(value):
        return "n/a".rjust(width)
    # A value that rounds to nothing has no sign worth showing.
    for places in range(digits, -1, -1):
        text = f"{abs(value):.{places}f}"
        if not width or len(text) < width:
            break
    zero = not any(character in "123456789" for character in text)
    sign = " " if zero else MINUS if value < 0 else "+"
    return (sign + text).rjust(width)


def percent(fraction: float | None, width: int = 0, digits: int = 0) -> str:
    """`78%`; `n/a` for None and for anything that is not finite."""
    if fraction is None or not math.isfinite(fraction):
        return "n/a".rjust(width)
    return f"{100 * fraction:.{digits}f}%".rjust(width)


def probability(value: float, width: int = 0) -> str:
    """A probability in percent with a decimal; `<0.1%` and `>99.9%` for what is not quite 0 or 1."""
    if not math.isfinite(value):
        return "n/a".rjust(width)
    text = f"{100 * value:.1f}%"
    if 0 < value < 0.0005:
        text = "<0.1%"
    elif 0.9995 <= value < 1:
        text = ">99.9%"
    return text.rjust(width)


def counted(count: int, one: str, more: str = "") -> str:
    """`1 node`, `2 nodes`; `more` where the plural does not end in s alone."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def in_bytes(count: float) -> str:
    """`7.31 GB`, `302 MB`, `12 kB`; GB are 10⁹ bytes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * size:
            value = count / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{count:.0f} bytes"


def bar(fraction: float, width: int) -> str:
    """A horizontal bar of `width` cells, filled to `fraction` in eighths of a cell.

    Anything above zero shows at least one eighth.
    """
    if width <= 0 or not math.isfinite(fraction):
        return " " * width
    clamped = min(1.0, max(0.0, fraction))
    eighths = round(clamped * width * 8)
    if clamped > 0 and eighths == 0:
        eighths = 1
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def meter(done: float, total: float, width: int) -> str:
    """A progress bar with its empty part visible: `██████░░░░`."""
    filled = round(width * min(1.0, done / total)) if total > 0 else 0
    return "█" * filled + "░" * (width - filled)


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def tenths(value: float, maximum: float) -> int:
    """`value` in tenths of `maximum`, from 1 to 9 for anything above zero; 0 for nothing."""
    if value <= 0 or maximum <= 0 or not math.isfinite(value / maximum):
        return 0
    return max(1, min(9, math.floor(10 * value / maximum)))


def sparkline(heights: Sequence[float], width: int) -> str:
    """At most `width` bars of one cell, each the sum of its share of `heights`, in eighths of the largest.

    Anything above zero shows at least one eighth.
    """
    count = len(heights)
    cells = min(width, count)
    if cells <= 0:
        return ""
    sums = [0.0] * cells
    for index, height in enumerate(heights):
        if math.isfinite(height):
            sums[index * cells // count] += max(0.0, height)
    largest = max(sums)
    if largest <= 0:
        return " " * cells
    return "".join(
        _LEVELS[max(1, round(8 * value / largest))] if value > 0 else " " for value in sums
    )
