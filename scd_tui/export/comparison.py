"""A comparison of two circuits as text."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from scd_tui.comparison import UNKNOWN, Comparison, Pair, listed, unknown
from scd_tui.numbers import percent, signed
from scd_tui.text import shorten, visible

NUMBER = 8
_LABEL = 60


def comparison_lines(found: Comparison, names: tuple[str, str], top: int) -> Iterator[str]:
    """The whole comparison; of each list the `top` largest, and how many more there are."""
    yield f"A  {names[0]}"
    yield f"B  {names[1]}"
    for differs in found.differs:
        yield f"{differs.what}: A {differs.a or 'none'}, B {differs.b or 'none'}"
    if found.against is not None:
        yield f"contrast prompt: {visible(found.against)} in both"
    yield from (f"note: {note}" for note in found.notes)
    if found.same:
        yield "The two are the same: every effect and every edge, to rounding."
        return
    a, b = found.value_a, found.value_b
    yield f"metric {signed(a)} in A, {signed(b)} in B, {signed(b - a)} more"
    unit = "nodes" if found.by == "node" else "features, listed positions summed"
    both, only_a, only_b = (len(found.listed(by)) for by in ("both", "a", "b"))
    share_a, share_b = found.overlap
    yield (
        f"{unit}: {both} listed in both ({percent(share_a)} of A's Σ|effect|, {percent(share_b)} of "
        f"B's), {only_a} in A alone, {only_b} in B alone"
    )
    nodes, edges = unknown(found.nodes), unknown(found.edges)
    if nodes or edges:
        yield (
            f"{UNKNOWN}: B − A is not known, of {nodes} of these and {edges} edges: what one does not "
            "list need not be nothing there"
        )
    for what, pairs in (("", found.nodes), ("edges ", found.edges)):
        yield from _table(
            f"{what}listed in both, by how much they change", listed(pairs, "both"), top
        )
        yield from _table(f"{what}listed in A alone", listed(pairs, "a"), top)
        yield from _table(f"{what}listed in B alone", listed(pairs, "b"), top)


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
            (missing.rjust(NUMBER) if value is None else signed(value, NUMBER)) + " "
            for value, missing in ((pair.a, "·"), (pair.b, "·"), (pair.change, UNKNOWN))
        )
        label = shorten(pair.label, _LABEL)
        yield f"{_pad(pair.name, width)} {numbers} {label}".rstrip()
    if len(pairs) > top:
        yield f"… and {len(pairs) - top} more (--top {len(pairs)} shows all)"


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
