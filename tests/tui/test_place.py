from hypothesis import given, settings
from hypothesis import strategies as st
from tui.samples import circuit

from scd_tui.history import View
from scd_tui.tui.place import path_of, restore, view_of
from scd_tui.tui.rows import Rows
from scd_tui.tui.store import CircuitStore


def fresh() -> Rows:
    rows = Rows()
    rows.reset(CircuitStore.of(circuit()))
    return rows


def shown(rows: Rows) -> list[tuple[str, ...]]:
    return [path_of(item) for item in rows.visible]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=25), st.integers(0, 400))
def test_what_was_unfolded_comes_back_with_the_cursor(
    steps: list[tuple[int, bool]], cursor: int
) -> None:
    rows = fresh()
    for index, fold in steps:
        index %= len(rows)
        (rows.fold if fold else rows.unfold)(index)
    rows.move(cursor)
    view = view_of(rows.top, rows.current)
    again = fresh()
    restore(again, view)
    assert shown(again) == shown(rows)
    assert path_of(again.current) == path_of(rows.current)
    assert view_of(again.top, again.current) == view


def test_rows_that_are_gone_are_passed_over() -> None:
    rows = fresh()
    view = View(
        (
            *((-1, "place:resid_post.3"), (0, "node:resid_post.3/999@0"), (1, "group:mlp_out.3")),
            *((7, "place:mlp_out.3"), (-9, "x"), (-1, "place:nowhere.3")),
        ),
        ("place:resid_post.3", "node:resid_post.3/999@0"),
    )
    restore(rows, view)
    assert rows.current is not None and rows.current.key == "resid_post.3"
    assert [item.key for item in rows.top if item.open] == ["resid_post.3"]
    restore(rows, View())
    assert len(rows) == len(rows.top)
