"""Nodes at other strengths and curves of what is pinned, on the worker double."""

from rich.cells import cell_len
from textual.pilot import Pilot
from tui.driving import press, run
from tui.samples import COMPLETIONS, SITES, FakeWorker, site_nodes
from tui.screen import dump
from tui.scripted import answer

from scd_tui.curves import Column, Curve
from scd_tui.tui.app import ScdApp
from scd_tui.tui.curve_screen import curve_lines, inked
from scd_tui.tui.ink import plain
from scd_tui.tui.scaling import FACTORS, chart, scale_lines
from scd_tui.worker import protocol as p

TOP = site_nodes(SITES[-1])


def test_a_node_is_scaled_and_the_completions_move_with_it() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "j", "j", "asterisk")
        (request,) = workers[0].of(p.Scale)
        assert request.node == TOP[0].id  # type: ignore[attr-defined]
        assert request.factors[0] == 0 and request.factors[-1] == 10  # type: ignore[attr-defined]
        text = dump(app)
        assert "×1" in text and "metric +3.210, the estimate says +3.210" in text
        await press(pilot, "right")
        text = dump(app)
        assert "×1.5" in text and "metric +3.460, the estimate says +3.510" in text
        assert len(workers[0].of(p.Scale)) == 1, "all strengths were run at once"
        await press(pilot, "0")
        text = dump(app)
        assert "×0" in text and " way" in text and " question " not in text.split("completions")[1]
        await press(pilot, "left")
        assert "×0" in dump(app)
        await press(pilot, "9", "l")
        assert "×10" in dump(app)
        await press(pilot, "1", "escape")
        assert len(app.screen_stack) == 1

    run(test, workers=workers)


def test_only_features_and_errors_are_scaled() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        for keys in (("g",), ("g", "j"), ("E", "G")):
            await press(pilot, *keys, "asterisk")
            assert "feature or an error" in app.session.message
        assert not workers[0].of(p.Scale)

    run(test, workers=workers)


def test_the_chart_has_what_was_measured_beside_the_estimate() -> None:
    values = tuple(1.0 + min(f, 3.0) for f in FACTORS)  # it saturates, the estimate does not
    scaled = p.Scaled(
        request=1,
        node=TOP[0].id,
        factors=FACTORS,
        values=values,
        slope=1.0,
        completions=(COMPLETIONS,) * len(FACTORS),
    )
    lines = [plain(line) for line in chart(scaled, FACTORS.index(4.0), 80)]
    measured = [row for row in range(9) if "●" in lines[row]]
    assert sum(line.count("●") for line in lines) == len(FACTORS)
    column = 10 + 3 * FACTORS.index(3.0)
    top = next(row for row in measured if lines[row][column] == "●")
    assert all(lines[top][10 + 3 * n] == "●" for n in range(FACTORS.index(3.0), len(FACTORS)))
    assert "│" in lines[top + 1]
    assert not any("·" in line[10 + 3 * FACTORS.index(5.0) :] for line in lines)
    assert max(map(cell_len, map(plain, scale_lines(scaled, 0, 80)))) <= 80


def test_the_curve_of_what_is_pinned_is_drawn() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "V")
        assert "pin features first" in app.session.message
        await press(pilot, "g", "j", "j", "a", "j", "a", "V")
        (request,) = workers[0].of(p.Curves)
        assert set(request.nodes) == set(app.session.store.marks.pins)  # type: ignore[attr-defined]
        text = dump(app)
        assert "What 2 chosen features do alone" in text
        assert "faithfulness by number of nodes, errors kept" in text
        assert "◆ features that were chosen" in text and "0.90 faithful, 0.20 without" in text
        assert all(cell_len(line) == 140 for line in text.splitlines())
        await press(pilot, "escape")
        assert len(app.screen_stack) == 1

    run(test, workers=workers)


def test_the_curve_of_a_supernode_is_drawn_from_its_row() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "j", "j", "a", "j", "a", "U", *"both", "enter")
        (group,) = app.session.store.marks.supernodes
        rows = app.main.circuit_tree.rows.visible
        place = next(n for n, item in enumerate(rows) if item.kind == "super")
        app.main.circuit_tree.jump(place)
        await press(pilot, "V")
        (request,) = workers[0].of(p.Curves)
        assert request.nodes == group.nodes

    run(test, workers=workers)


def test_curves_that_take_long_show_progress_and_esc_gives_them_up() -> None:
    workers: list[FakeWorker] = []

    def slow(worker: FakeWorker, request: p.Request) -> None:
        if isinstance(request, p.Curves):
            worker.emit(p.Progress(request=request.request, stage="curves", done=2, total=6))
        else:
            answer(worker, request)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "j", "j", "a", "V")
        assert "curves 2/6 ████░" in dump(app)
        await press(pilot, "escape")
        (request,) = workers[0].of(p.Curves)
        assert p.Cancel(request=request.request) in workers[0].sent
        assert "curves" not in dump(app).splitlines()[-1]

    run(test, workers=workers, answering=slow)


def test_a_curve_that_was_refused_says_why() -> None:
    refused = Column(
        nodes="features",
        baseline="zero",
        errors=True,
        order="chosen",
        count=1,
        refused="too near [b]for[/] a ratio",
    )
    text = " ".join(plain(line).strip() for line in curve_lines([refused], 80))
    assert "no curve: too near [b]for[/] a ratio" in text


def test_a_drawing_keeps_its_text_and_its_colours() -> None:
    curve = Curve(sizes=(0, 1, 10), faithfulness=(0, 0.4, 1), completeness=(1, 0.5, 0))
    column = Column(
        nodes="features", baseline="zero", errors=True, order="chosen", count=10, curve=curve
    )
    from scd_tui.export.curves import plot

    lines = inked(plot([column], 60))
    assert len(lines) == 15 and {cell_len(plain(line)) for line in lines} == {60}
    inks = {ink for line in lines for _, ink in line}
    assert inks == {"dim", "good"}
