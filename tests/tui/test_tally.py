"""The line below the tree: the counts of what is hidden stay, whatever the width."""

import pytest
from tui.samples import circuit

from scd_tui.history import Look
from scd_tui.tui.ink import plain, width_of
from scd_tui.tui.rows import Rows
from scd_tui.tui.store import CircuitStore
from scd_tui.tui.tally import tally


def rows() -> Rows:
    """Hidden for every reason there is: pruned, errors, weak, and by the filter."""
    found = Rows()
    found.reset(CircuitStore.of(circuit()))
    kept = frozenset(list(found.store.nodes)[::2])
    found.set_look(Look(errors=False, least=0.02, only=kept))
    found.set_filter("77")
    return found


@pytest.mark.parametrize("width", [38, 60, 66, 76, 90, 108])
def test_what_is_hidden_is_counted_at_every_width(width: int) -> None:
    shown = rows()
    line = tally(shown, width)
    text = plain(line)
    assert width_of(line) == width and "…" not in text
    out = shown.left_out
    each = (f"{out.pruned} pruned", f"{out.errors} error", f"{out.weak} below")
    assert all(words in text for words in each) or f"{out.total} nodes" in text
    assert f"{shown.hidden} row" in text


def test_with_room_for_all_it_says_all() -> None:
    text = plain(tally(rows(), 108))
    assert text.startswith(" by site") and "140 nodes, hidden: " in text


def test_one_is_one() -> None:
    shown = Rows()
    made = circuit()
    shown.reset(CircuitStore.of(made))
    shown.set_look(Look(only=frozenset(node.id for node in made.nodes[2:])))
    assert "hidden: 1 pruned" in plain(tally(shown, 90))
