"""Trust over prompt sets as a Markdown table, which is readable in a terminal as it stands."""

from collections.abc import Sequence

from scd_tui.text import visible

HEADINGS = (
    *("set", "metric", "method", "prompts"),
    *("ρ of sizes", "signed ρ", "signs agree", "relative error", "ρ of edges"),
)


def cell(middle: float | None, worst: float | None) -> str:
    """`median (worst)`, or `n/a`."""
    return "n/a" if middle is None or worst is None else f"{middle:.2f} ({worst:.2f})"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table with columns padded to equal width. The first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| "
        + " | ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def trust_row(
    name: str,
    metric: str,
    method: str,
    prompts: int,
    cells: Sequence[tuple[float | None, float | None]],
) -> tuple[str, ...]:
    """One row under `HEADINGS`; `cells` are (median, worst) of each statistic, of edges last."""
    return (visible(name), metric, method, str(prompts), *(cell(*pair) for pair in cells))
