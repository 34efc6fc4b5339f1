import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tui.samples import circuit, edges_into

from scd_tui.history import By, View
from scd_tui.tui.look import BY
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
@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["fold", "unfold", *BY])), max_size=25),
    st.integers(0, 400),
)
def test_what_was_unfolded_comes_back_with_the_cursor_however_it_is_grouped(
    steps: list[tuple[int, str]], cursor: int
) -> None:
    rows = fresh()
    for index, what in steps:
        if what in BY:
            group(rows, what)
        else:
            (rows.fold if what == "fold" else rows.unfold)(index % len(rows))
    rows.move(cursor)
    view = view_of(rows.top, rows.current, rows.look, rows.others)
    again = fresh()
    restore(again, view)
    for _ in BY:
        assert shown(again) == shown(rows)
        assert path_of(again.current) == path_of(rows.current)
        assert view_of(again.top, again.current, again.look, again.others) == view_of(
            rows.top, rows.current, rows.look, rows.others
        )
        by = BY[(BY.index(rows.look.by) + 1) % len(BY)]
        if by not in rows.others:
            break
        for one in (rows, again):
            group(one, by)


def group(rows: Rows, by: By) -> None:
    rows.set_look(msgspec.structs.replace(rows.look, by=by))


def test_a_way_of_grouping_comes_back_as_it_was_left() -> None:
    rows = fresh()
    for index in (1, 2, 3, 4, 5, 30):
        rows.unfold(index)
    rows.move(7)
    left, cursor = shown(rows), rows.current
    assert cursor is not None and cursor.depth > 2
    group(rows, "token")
    rows.unfold(len(rows) - 1)
    by_token = shown(rows)
    group(rows, "effect")
    group(rows, "site")
    assert shown(rows) == left and rows.current is cursor
    group(rows, "token")
    assert shown(rows) == by_token
    # What one goes to elsewhere is looked for here, and nothing is folded for that.
    group(rows, "effect")
    rows.move(40)
    other = rows.current
    assert other is not None and other.node is not None
    group(rows, "site")
    assert rows.current is not None and rows.current.node == other.node
    assert set(left) <= set(shown(rows))
    # What was learned meanwhile is there.
    group(rows, "token")
    assert other.node is not None
    rows.store.add_upstream(other.node, (), edges_into(other.node, 2))
    rows.update_node(other.node)
    group(rows, "site")
    rows.unfold(rows.cursor)
    assert {item.kind for item in rows.current.children or ()} == {"group"}


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
