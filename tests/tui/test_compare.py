"""Two circuits side by side on the screen."""

from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from tui.samples import SITES, circuit, other_circuit
from tui.screen import dump
from tui.test_app import run, settle

from scd_tui.comparison import compare
from scd_tui.graph import Node, encode_circuit, error_id, feature_id
from scd_tui.history import History, View
from scd_tui.tui.app import ScdApp
from scd_tui.tui.compare import CompareScreen, PairList, pair_line, side_lines
from scd_tui.tui.ink import plain


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path / "circuits")
    history.save(other_circuit(), View())
    return history


async def opened(app: ScdApp, pilot: Pilot[int]) -> CompareScreen:
    await pilot.press("D")
    await settle(pilot)
    assert "Compare with" in dump(app) and "' way' − ' only'" in dump(app)
    assert "' question' −" not in dump(app), "not with itself"
    await pilot.press("enter")
    await settle(pilot)
    assert isinstance(app.screen, CompareScreen)
    return app.screen


@pytest.mark.parametrize("size", [(80, 24), (120, 35), (200, 60)])
def test_both_are_told_apart_at_every_size(history: History, size: tuple[int, int]) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await opened(app, pilot)
        text = dump(app)
        assert "→ ' question' − ' way'" in text and "→ ' way' − ' only'" in text
        both = len(compare(circuit(), other_circuit()).listed("both"))
        assert f"listed in both {both}" in text and f"node by node: {both} in both" in text
        assert "? not known: 4" in text
        assert all(cell_len(line) == size[0] for line in text.splitlines())
        await pilot.press("tab")
        assert "listed in A alone 3, B − A not known of 3" in dump(app)
        await pilot.press("tab", "j")
        text = dump(app)
        assert (
            "listed in B alone 1, B − A not known of 1" in text
            and "mlp_out.0/1023@4" in text
            and "+0.770" in text
        )
        await pilot.press("escape")
        assert app.screen is app.main

    run(test, size, history=history)


@pytest.mark.parametrize("width", [80, 120])
def test_each_side_says_against_which_prompt_it_is(width: int) -> None:
    held = msgspec.structs.replace(circuit(), contrast_prompt="To be or not to do, that is a way")
    lines = [plain(line) for line in side_lines("A", held, 3.21, width)]
    assert lines[1].strip() == 'against "To be or not to do, that is a way"'
    long = msgspec.structs.replace(held, contrast_prompt="To be or not to word " + "word " * 40)
    lines = [plain(line) for line in side_lines("A", long, 3.21, width)]
    assert lines[1].strip().startswith('against "…word word') and lines[1].endswith('…"')
    assert all(cell_len(line) < width for line in lines)
    assert len(side_lines("A", circuit(), 3.21, width)) == 1


def test_the_screen_has_room_for_the_prompts_that_both_are_against(tmp_path: Path) -> None:
    history = History(tmp_path / "circuits")
    held = msgspec.structs.replace(other_circuit(), contrast_prompt="To do or not to do")
    history.save(held, View())

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await opened(app, pilot)
        lines = dump(app).splitlines()
        assert lines[1].startswith(" B ") and lines[2].strip() == 'against "To do or not to do"'
        assert lines[3].startswith(" node by node: ") and lines[5].startswith(" listed in both ")

    run(test, (80, 24), history=history)


def test_a_row_leads_to_its_node_and_one_that_is_missing_is_told(history: History) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        screen = await opened(app, pilot)
        found = compare(circuit(), other_circuit())
        first = found.listed("both")[0]
        assert screen.pairs.current is not None and screen.pairs.current.name == first.name
        await pilot.press("j", "k", "enter")
        await settle(pilot)
        assert app.screen is app.main
        item = app.main.circuit_tree.current
        assert item is not None and item.node == first.name
        assert first.name in dump(app)
        screen = await opened(app, pilot)
        await pilot.press("G", "enter")
        await settle(pilot)
        assert "mlp_out.0/1023@4 is not in this circuit" in dump(app)

    run(test, history=history)


def test_positions_are_summed_and_the_order_changed_with_the_cursor_kept(history: History) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("o")
        sizes = [row.pair.size for row in screen.pairs.rows[1:20] if row.pair is not None]
        assert sizes == sorted(sizes, reverse=True) and "by size" in dump(app)
        await pilot.press("f")
        await settle(pilot)
        assert "sums of listed positions" in dump(app)
        name = screen.pairs.current.name if screen.pairs.current else ""
        assert "@" not in name
        await pilot.press("enter")
        await settle(pilot)
        item = app.main.circuit_tree.current
        assert item is not None and item.node is not None and item.node.startswith(f"{name}@")

    run(test, history=history)


def test_by_size_too_what_is_not_known_comes_after_what_is() -> None:
    # One feature, at two positions in A and at one in B, and an error that both have.
    nodes = {feature_id(SITES[0], 7, 3): 2.0, feature_id(SITES[0], 7, 5): 0.5}
    a, b = (
        msgspec.structs.replace(
            circuit(),
            edges=(),
            nodes=tuple(Node(name, size, 1.0) for name, size in found.items()),
        )
        for found in (
            {**nodes, error_id(SITES[0], 3): 0.1},
            {feature_id(SITES[0], 7, 3): 2.0, error_id(SITES[0], 3): 0.1},
        )
    )
    shown = PairList(name="pairs")
    for by_size in (False, True):
        shown.show(compare(a, b, "feature"), by_size)
        names = [row.pair.name for row in shown.rows if row.pair is not None]
        assert names == ["attn_out.0/error", "attn_out.0/7"]
        assert shown.rows[0].unknown == 1


def test_a_file_can_be_the_other(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_bytes(encode_circuit(other_circuit()))

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("D")
        await settle(pilot)
        await pilot.press(*"other", "enter")
        await settle(pilot)
        assert isinstance(app.screen, CompareScreen)

    run(test, save_to=tmp_path)


def test_before_there_is_a_circuit_there_is_nothing_to_compare() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("tab", "D")
        await settle(pilot)
        assert "no circuit to compare yet" in dump(app)

    run(test, prompt=None)


def test_what_is_missing_is_a_dot_and_how_much_it_changes_not_known() -> None:
    pair = compare(circuit(), other_circuit()).listed("b")[0]
    assert plain(pair_line(pair, 2.0, 80)).split()[1:] == ["·", "+0.770", "?"]
