"""The records of a validation: how much of the metric a circuit's nodes carry alone, by their number.

A column is one way to take nodes out and one order to put them back in. `faithfulness` of n nodes is
(m(C) - m(∅)) / (m(M) - m(∅)), with C the n first, ∅ none of them and M the whole model; `completeness`
is that of all nodes but those. Metrics are in the metric's own unit.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from scd_tui.graph import ModelIdentity, Record, Target

Kind = Literal["features", "neurons"]
Stand = Literal["contrast", "zero", "mean"]
Order = Literal["effect", "random", "chosen"]

STANDS: tuple[Stand, ...] = get_args(Stand)
"""In the order in which they are shown. A circuit with a contrast prompt has no curves at zero."""
ENOUGH = 0.8
"""The faithfulness at which the nodes needed for it are counted."""


class Curve(Record, frozen=True, kw_only=True):
    """Faithfulness and completeness of the n first nodes, for each n of `sizes`."""

    sizes: tuple[int, ...]
    faithfulness: tuple[float, ...]
    completeness: tuple[float, ...]


class Column(Record, frozen=True, kw_only=True):
    """One curve, and how it was made.

    `baseline` stands in for nodes that are out: nothing, their mean over a text, or what they are in the
    contrast prompt; `errors` says whether what the dictionaries leave unexplained is kept, and is None for
    neurons, which have none; `order` is by |effect|, the mean over random ones, or by |effect| of those
    that a reader chose. `count` nodes there are in all, `empty` is m(∅). `needed` nodes have a
    faithfulness of `ENOUGH` where one node fewer has less; None where no size has. Without a curve,
    `refused` is the reason, and `empty` is None where nothing could be run at all.
    """

    nodes: Kind
    baseline: Stand
    errors: bool | None
    order: Order
    count: int
    empty: float | None = None
    curve: Curve | None = None
    needed: int | None = None
    refused: str = ""

    @property
    def passing(self) -> bool:
        """Whether a size beyond `needed` has less than `ENOUGH` again."""
        if self.curve is None or self.needed is None:
            return False
        points = zip(self.curve.sizes, self.curve.faithfulness, strict=True)
        return any(size > self.needed and value < ENOUGH for size, value in points)


def held_against(columns: Iterable[Column]) -> bool:
    """Whether they are of a circuit with a contrast prompt."""
    return any(column.baseline == "contrast" for column in columns)


class Validation(Record, frozen=True, kw_only=True):
    """All curves of one circuit.

    `metric_value` is m(M). Means are over `text_tokens` tokens of the text called `text`; random
    orders are drawn with `seeds`. `notes` are what a reader of the numbers should know.
    """

    prompt: str
    model: ModelIdentity
    target: Target
    metric_value: float
    text: str
    text_tokens: int
    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
