"""The table of a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass

from trial import Kind, Tried


@dataclass(frozen=True)
class Row:
    """What came of one kind."""

    kind: Kind
    tried: int
    lost: tuple[Tried, ...]
    seconds: float


def as_markdown(rows: Sequence[Row]) -> str:
    """A line for each kind, and the sum of all."""
    lines = ["| faults | tried | survived | lost |", "|---|---:|---:|---:|"]
    lines += [_line(row.kind.title, row.tried, len(row.lost)) for row in rows]
    lines.append(_line("all", sum(r.tried for r in rows), sum(len(r.lost) for r in rows)))
    return "\n".join(lines)


def _line(title: str, tried: int, lost: int) -> str:
    return f"| {title} | {tried:,} | {tried - lost:,} | {lost:,} |"
