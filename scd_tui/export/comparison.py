"""A comparison of two circuits as text."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from scd_tui.comparison import Comparison, Pair
from scd_tui.numbers import percent, signed
from scd_tui.text import shorten

NUMBER = 8
_LABEL = 60


def comparison_lines(found: Comparison, names: tuple[str, str], top: int) -> Iterator[str]:
    """The whole comparison; of each list the `top` largest, and how many more there are."""
    yield f"A  {names[0]}"
    yield f"B  {names[1]}"
    for differs in found.differs:
        yield f"{differs.what}: A {differs.a or 'none'}, B {differs.b or 'none'}"
    yield from (f"note: {note}" for note in found.notes)
    if found.same:
        yield "The two are the same: every effect and every edge, to rounding."
        return
    a, b = found.value_a, found.value_b
    yield f"metric {signed(a)} in A, {signed(b)} in B, {signed(b - a)} more"
    unit = "nodes" if found.by == "node" else "features, positions summed"
    both, only_a, only_b = (
        found.where(*which) for which in ((True, True), (True, False), (False, True))
    )
    share_a, share_b = found.overlap
    yield (
        f"{unit}: {len(both)} in both ({percent(share_a)} of A's Σ|effect|, {percent(share_b)} of "
        f"B's), {len(only_a)} only in A, {len(only_b)} only in B"
    )
    lists = (
        ("in both, by how much they change", both),
        ("only in A", only_a),
        ("only in B", only_b),
        ("edges, by how much they change", list(found.edges)),
    )
    for title, pairs in lists:
        yield from _table(title, pairs, top)


def _table(title: str, pairs: Sequence[Pair], top: int) -> Iterator[str]:
    if not pairs:
        return
    shown = pairs[:top]
    width = max(cell_len(text) for text in (title, *(pair.name for pair in shown)))
    heads = "".join(text.rjust(NUMBER) + " " for text in ("A", "B", "B − A"))
    yield ""
    yield f"{_pad(title, width)} {heads}".rstrip()
    for pair in shown:
        numbers = "".join(
            ("·".rjust(NUMBER) if value is None else signed(value, NUMBER)) + " "
            for value in (pair.a, pair.b, pair.change)
        )
        label = shorten(pair.label, _LABEL)
        yield f"{_pad(pair.name, width)} {numbers} {label}".rstrip()
    if len(pairs) > top:
        yield f"… and {len(pairs) - top} more (--top {len(pairs)} shows all)"


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
