"""What is on the screen is kept as one goes, and comes back."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from tui.driving import Test
from tui.samples import COMPLETIONS, MODEL, PROMPT, SITES, TRUST, FakeWorker, circuit, site_nodes
from tui.screen import dump, make_app
from tui.scripted import OUTCOME, answer
from tui.test_app import run, settle

from scd_tui.graph import (
    Circuit,
    Edge,
    Marks,
    Node,
    Removal,
    decode_circuit,
    encode_circuit,
    feature_id,
)
from scd_tui.history import History, View
from scd_tui.merging import BOTH
from scd_tui.saved import decode_saved
from scd_tui.tui import keeping
from scd_tui.tui.app import ScdApp
from scd_tui.tui.opening import ago
from scd_tui.tui.place import path_of
from scd_tui.tui.store import CircuitStore
from scd_tui.whereabouts import remember
from scd_tui.worker import protocol as p


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "circuits")


async def kept(app: ScdApp, pilot: Pilot[int]) -> None:
    await settle(pilot)
    await app.keeper.write()


def test_a_circuit_is_kept_as_it_grows_without_being_asked(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "REST_SECONDS", 0.05)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        async with asyncio.timeout(10):
            while not history.entries():
                await pilot.pause(0.05)
        await pilot.press("j", "j", "x")
        await settle(pilot)
        node = app.main.circuit_tree.current
        assert node is not None and node.node is not None
        async with asyncio.timeout(10):
            while True:
                saved = history.load(history.entries()[0].key)
                if saved.view.cursor and saved.view.cursor[-1] == f"node:{node.node}":
                    break
                await pilot.pause(0.05)
        exact = {one.id: one.exact for one in saved.circuit.nodes}
        assert exact[node.node] == 1.21 and saved.circuit.explanations
        assert not [w for w in app.workers if w.group == "keeping" and w.is_running]

    run(test, history=history)


def test_the_end_of_a_sitting_is_kept(history: History) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j", "j", "enter")
        await settle(pilot)
        paths.append(path_of(app.main.circuit_tree.current))

    paths: list[tuple[str, ...]] = []
    run(test, history=history)
    saved = history.load(history.entries()[0].key)
    assert saved.view.cursor == paths[0] and saved.circuit.prompt == PROMPT


def test_an_empty_screen_offers_the_past_and_goes_on_where_one_was(history: History) -> None:
    shown: list[list[tuple[str, ...]]] = []

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j", "enter", "j", "j", "enter", "E")
        await settle(pilot)
        shown.append([path_of(item) for item in app.main.circuit_tree.rows.visible])

    workers: list[FakeWorker] = []

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        text = dump(app)
        assert "goes on with a past circuit" in text and PROMPT in text
        assert app.focused is app.main.prompt_line
        await pilot.press("ctrl+o")
        await settle(pilot)
        assert "Past circuits" in dump(app) and "' question' − ' way'" in dump(app)
        await pilot.press("enter")
        await settle(pilot)
        assert app.main.prompt_line.value == PROMPT
        rows = app.main.circuit_tree.rows
        assert [path_of(item) for item in rows.visible] == shown[0]
        assert app.focused is app.main.circuit_tree
        # The worker has made it again: it can be walked on.
        assert workers[0].of(p.Attribute)
        node = site_nodes(SITES[0])[0].id
        app.session.ask_upstream(node)
        await settle(pilot)
        assert app.session.store.upstream_state(node) == "known"
        assert [path_of(item) for item in rows.visible] == shown[0], "and nothing has moved"

    run(first, history=history)
    run(second, prompt=None, history=history, workers=workers)


def rows_of(app: ScdApp) -> list[tuple[tuple[str, ...], bool]]:
    """Each row that is shown, and whether the cursor is on it."""
    rows = app.main.circuit_tree.rows
    return [(path_of(item), item is rows.current) for item in rows.visible]


def influential(worker: FakeWorker, request: p.Request) -> None:
    """Answers with circuits that can be pruned: of a node that was found, nobody knows its influence."""

    def emit(event: p.Event) -> None:
        if isinstance(event, p.Attributed):
            made = event.circuit
            nodes = [
                msgspec.structs.replace(node, influence=abs(node.effect), inflow=5.0)
                for node in made.nodes
            ]
            made = msgspec.structs.replace(made, nodes=tuple(nodes))
            event = p.Attributed(request=event.request, circuit=made)
        if isinstance(event, p.UpstreamFound):
            # One that the circuit has is the same again, and one that it has not is new.
            new = Node(feature_id(SITES[0], 1000, 3), 0.3, 1.0)
            edges = (*event.edges, Edge(new.id, event.node, 0.2))
            event = msgspec.structs.replace(event, nodes=(new,), edges=edges)
        inner(event)

    inner, worker.emit = worker.emit, emit
    try:
        answer(worker, request)
    finally:
        worker.emit = inner


@pytest.mark.parametrize("keys", ["v", "vvSSe", "---", "SvP", "vvv"])
def test_another_sitting_shows_it_just_as_it_was_left(history: History, keys: str) -> None:
    """View, order, threshold, errors and pruning, and what is unfolded in it."""
    left: list[object] = []

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        # an edge that was not there when the circuit was made, which pruning leaves alone
        assert app.main.circuit_tree.jump_to_node(site_nodes(SITES[5])[0].id)
        await pilot.press("enter")
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        await pilot.press("E", "G", "k", "k", "enter")
        await settle(pilot)
        left.extend((app.main.circuit_tree.rows.look, rows_of(app), dump_tree(app)))

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("ctrl+o", "enter")
        await settle(pilot)
        now = app.main.circuit_tree.rows.look
        assert msgspec.structs.replace(now, only=None) == msgspec.structs.replace(
            left[0], only=None
        )
        assert (now.only is None) == ("P" not in keys)
        assert rows_of(app) == left[1]
        assert dump_tree(app) == left[2] != ""
        while app.main.circuit_tree.rows.look.by != "site":
            await pilot.press("v")
        rows = app.main.circuit_tree.rows.visible
        unfolded = {item.node for item in rows if item.open and item.kind == "node"}
        assert "P" in keys or site_nodes(SITES[5])[0].id in unfolded, "as it was left"
        assert not app.main.circuit_tree.rows.filter

    run(first, history=history, answering=influential)
    run(second, prompt=None, history=history, answering=influential)


def dump_tree(app: ScdApp) -> str:
    """The lines of the tree's pane that say how it is looked at, and what is hidden."""
    return "\n".join(
        line for line in dump(app).splitlines() if " by " in line and " nodes, " in line
    )


async def mark(app: ScdApp, pilot: Pilot[int], note: str) -> None:
    """Unite the first two nodes of the last site, and pin the third with a note."""
    tree, nodes = app.main.circuit_tree, [node.id for node in site_nodes(SITES[-1])[:3]]
    for node in nodes[:2]:
        assert tree.jump_to_node(node)
        await pilot.press("a")
    await pilot.press("U", *"pair", "enter")
    await settle(pilot)
    assert tree.jump_to_node(nodes[2])
    await pilot.press("a", "n", *note, "enter")
    await settle(pilot)


def test_marks_come_back_with_the_circuit_and_the_filter_does_not(history: History) -> None:
    first_nodes = [node.id for node in site_nodes(SITES[-1])[:3]]
    left: list[object] = []

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await mark(app, pilot, "[b]odd")
        await pilot.press("slash", *"resid", "enter")
        await settle(pilot)
        left.append(app.session.store.marks)

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("ctrl+o", "enter")
        await settle(pilot)
        marks = app.session.store.marks
        assert marks == left[0] and marks.pins == (first_nodes[2],)
        assert marks.notes == {first_nodes[2]: "[b]odd"}
        assert [(one.name, one.nodes) for one in marks.supernodes] == [
            ("pair", tuple(first_nodes[:2]))
        ]
        text = dump(app)
        assert "◆ pair" in text and "★ pinned" in text and "by the filter" not in text
        rows = app.main.circuit_tree.rows
        assert not rows.filter and rows.current is not None and rows.current.node == first_nodes[2]

    run(first, history=history)
    run(second, prompt=None, history=history)


@pytest.mark.parametrize("way", ["O", "start"])
def test_a_file_is_looked_at_as_it_was_when_it_was_saved(tmp_path: Path, way: str) -> None:
    left: list[object] = []

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await work_on(app, pilot)
        await pilot.press("v", "E", "j", "j", "s")
        await settle(pilot)
        left.append(worked_on(app))

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        if way == "O":
            await pilot.press("2", "O", "enter")
            await settle(pilot)
        assert worked_on(app) == left[0]
        await pilot.press("v", "v")
        assert app.main.circuit_tree.rows.look.by == "site"
        unfolded = {item.node for item in app.main.circuit_tree.rows.visible if item.open}
        assert site_nodes(SITES[2])[1].id in unfolded

    run(first, save_to=tmp_path)
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    if way == "start":
        saved, view = decode_saved(data)
        run(second, prompt=None, circuit=saved, view=view)
    else:
        run(second, prompt=None, circuit=circuit(prompt="another"), save_to=tmp_path)
    spoilt = msgspec.json.decode(data)
    spoilt["view"] = {"open": 3}
    file.write_bytes(msgspec.json.encode(spoilt))
    found, seen = decode_saved(file.read_bytes())
    assert seen is None
    assert found == decode_circuit(data)


def test_a_circuit_is_not_saved_twice_just_as_it_is(tmp_path: Path) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        async def saved() -> tuple[str, int]:
            await pilot.press("s")
            await settle(pilot)
            return app.session.message, len(list(tmp_path.iterdir()))

        (first, files) = await saved()
        path = first.removeprefix("saved to ")
        assert files == 1 and Path(path).exists()
        already = f"already saved, just as it is, to {path}"
        assert await saved() == (already, 1)
        await pilot.press("j", "j")
        assert await saved() == (already, 1), "where the cursor stands changes nothing"
        await pilot.press("a")
        second, files = await saved()
        assert second == f"saved to {path[:-5]}-2.json" and files == 2
        assert (await saved())[1] == 2
        await pilot.press("a")
        assert await saved() == (already, 2)
        await pilot.press("E")
        assert (await saved())[1] == 3
        Path(path).write_text("{}")
        await pilot.press("C")
        assert (await saved())[1] == 4

    run(test, save_to=tmp_path)


async def ask(app: ScdApp, pilot: Pilot[int], prompt: str) -> None:
    """Type a prompt in place of the one that stands there."""
    app.main.prompt_line.value = prompt
    app.main.action_focus_prompt()
    await pilot.press("enter")
    await settle(pilot)


def worked_on(app: ScdApp) -> tuple[object, ...]:
    """All that a reader has made of a circuit."""
    tree = app.main.circuit_tree
    return app.session.store.marks, tree.rows.look, rows_of(app)


async def work_on(app: ScdApp, pilot: Pilot[int]) -> None:
    """Measure, pin, note, unite, unfold, and look at it otherwise."""
    tree = app.main.circuit_tree
    await mark(app, pilot, "why")
    # Its edges are not in the circuit as it is made.
    assert tree.jump_to_node(site_nodes(SITES[2])[1].id)
    await pilot.press("x", "enter")
    await settle(pilot)
    await pilot.press("S", "minus", "j", "j")


@pytest.mark.parametrize(
    ("quits", "keep"), [((), 0), ((), 200), ((1,), 200), ((2,), 200), ((1, 2), 200)]
)
def test_the_same_question_has_again_all_that_was_made_of_its_circuit(
    tmp_path: Path, quits: tuple[int, ...], keep: int
) -> None:
    """Whether the app is left before another question or after it, or not at all."""
    history = History(tmp_path / "circuits", keep)
    left: list[tuple[object, ...]] = []

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await work_on(app, pilot)
        left.append(worked_on(app))

    async def other(app: ScdApp, pilot: Pilot[int]) -> None:
        await ask(app, pilot, "another question")
        marks, _, _ = worked_on(app)
        assert marks == Marks()

    async def again(app: ScdApp, pilot: Pilot[int]) -> None:
        await ask(app, pilot, PROMPT)
        assert worked_on(app) == left[0]
        assert app.session.store.upstream_state(site_nodes(SITES[2])[1].id) == "known"

    sitting: list[Test] = []
    for number, test in enumerate((first, other, again)):
        if number in quits:
            run(in_turn(sitting), history=history, prompt=None if left else PROMPT)
            sitting = []
        sitting.append(test)
    run(in_turn(sitting), history=history, prompt=None if left else PROMPT)
    if keep:
        saved = {one.prompt: history.load(one.key).circuit.marks for one in history.entries()}
        assert saved == {PROMPT: left[0][0], "another question": Marks()}


def in_turn(tests: list[Test]) -> Test:
    async def all_of_them(app: ScdApp, pilot: Pilot[int]) -> None:
        for test in tests:
            await test(app, pilot)

    return all_of_them


def test_what_was_made_of_it_is_shown_without_taking_the_cursor_from_who_walks_already(
    history: History,
) -> None:
    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        assert app.main.circuit_tree.jump_to_node(site_nodes(SITES[5])[0].id)
        await pilot.press("enter", "a")
        await settle(pilot)

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        tree, mine = app.main.circuit_tree, site_nodes(SITES[-1])[0].id
        store = CircuitStore.of(circuit())
        tree.show(store)
        assert tree.jump_to_node(mine)
        kept = await app.keeper.recall(store)
        assert kept is not None and await app.keeper.recall(store) is None
        tree.recalled(store, kept.view)
        assert tree.current is not None and tree.current.node == mine
        assert store.marks.pins == (site_nodes(SITES[5])[0].id,)
        unfolded = {item.node for item in tree.rows.visible if item.open and item.kind == "node"}
        assert unfolded == set(store.marks.pins)

    run(first, history=history)
    run(second, prompt=None, history=history)


def test_what_was_learned_of_a_circuit_earlier_is_taken_in_and_what_is_known_now_stays() -> None:
    first, second, unfolded = (site_nodes(SITES[number])[0].id for number in (0, 1, 2))
    learned = Node(feature_id(SITES[0], 1000, 3), 0.3, 1.0, exact=0.25, top=True)
    past = circuit().with_exact({first: 0.5, second: 0.75})
    past = msgspec.structs.replace(
        past,
        nodes=(*past.nodes, learned),
        edges=(*past.edges, Edge(learned.id, unfolded, 0.125)),
        expanded=(*past.expanded, unfolded),
        trust=TRUST,
    )
    store = CircuitStore.of(circuit().with_exact({second: 0.7}))
    store.recall(past)
    assert [store.nodes[name].exact for name in (first, second, learned.id)] == [0.5, 0.7, 0.25]
    assert not store.nodes[learned.id].top and not store.is_original(learned.id)
    (group,) = store.upstream(unfolded)
    assert group.edges == (Edge(learned.id, unfolded, 0.125),) and store.trust == TRUST


def test_what_was_tried_is_kept_with_the_circuit_and_in_its_file(
    history: History, tmp_path: Path
) -> None:
    """On one node, on what is pinned, on a supernode and on an edge."""
    top = [node.id for node in site_nodes(SITES[-1])[:3]]
    left: list[Circuit] = []

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        tree = app.main.circuit_tree
        for node in top[:2]:
            assert tree.jump_to_node(node)
            await pilot.press("a")
        await pilot.press("U", *"pair", "enter", "x")
        await settle(pilot)
        assert tree.jump_to_node(top[2])
        await pilot.press("x", "d", "c", "a", "u", "a", "A")
        await settle(pilot)
        pins = app.session.store.marks.pins
        assert len(pins) == 2 and pins[1] == top[2]
        await pilot.press("s")
        await settle(pilot)
        left.append(decode_circuit(next(tmp_path.glob("*.json")).read_bytes()))
        saved = {one.nodes: one for one in left[0].removals if one.into is None}
        assert set(saved) == {tuple(top[:2]), (top[2],), pins}
        assert {one.outcome for nodes, one in saved.items() if len(nodes) > 1} == {OUTCOME}
        (cut,) = (one for one in left[0].removals if one.into is not None)
        assert cut == Removal((pins[0],), OUTCOME, top[2], 0.44)
        assert {n.id: n.exact for n in left[0].nodes}[top[2]] == 1.21

    async def shown(app: ScdApp, pilot: Pilot[int]) -> None:
        tree, pins = app.main.circuit_tree, app.session.store.marks.pins
        assert app.session.snapshot().removals == left[0].removals  # type: ignore[union-attr]
        for kind in ("pins", "super"):
            tree.go(next(n for n, item in enumerate(tree.rows.visible) if item.kind == kind))
            await settle(pilot)
            assert "without them (exact" in dump(app) and "+1.500 predicted, +1.400" in dump(app)
            row = next(line for line in dump(app).splitlines() if "★ pinned" in line)
            assert "+1.400" in row
        assert tree.jump_to_node(top[2])
        await settle(pilot)
        assert "▲ promotes" in dump(app)
        # where a worker makes the circuit again, it measures the strongest nodes again, too
        assert app.session.phase != "none" or "+1.210 exact" in dump(app)
        await pilot.press("d")
        await settle(pilot)
        assert tree.current is not None and tree.current.node == pins[0]
        assert "without this edge (exact)" in dump(app) and "along  +0.440" in dump(app)

    async def again(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("ctrl+o", "enter")
        await settle(pilot)
        await shown(app, pilot)

    run(first, history=history, save_to=tmp_path)
    run(again, prompt=None, history=history)
    run(shown, prompt=None, circuit=left[0])


def test_one_that_is_left_before_its_record_was_read_does_not_replace_it(history: History) -> None:
    """As when a question is changed at once, on a slow disk."""
    pin = site_nodes(SITES[0])[0].id
    view = View(((-1, "place:mlp_out.3"), (0, f"node:{pin}")), ("place:mlp_out.3", f"node:{pin}"))
    history.save(msgspec.structs.replace(circuit(), marks=Marks(pins=(pin,))), view)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        store = CircuitStore.of(circuit())
        app.main.circuit_tree.show(store)
        store.marks = Marks(notes={pin: "new"})
        app.keeper.leave()
        app.main.circuit_tree.show(CircuitStore.of(circuit(prompt="another")))
        await app.keeper.write()
        saved = history.find(circuit())
        assert saved is not None and saved.view == view
        assert saved.circuit.marks == Marks((pin,), {pin: "new"})

    run(test, prompt=None, history=history)


@pytest.mark.parametrize("way", ["O", "start"])
def test_a_file_of_a_question_that_is_kept_takes_nothing_from_it(
    history: History, tmp_path: Path, way: str
) -> None:
    nodes = [node.id for node in site_nodes(SITES[-1])]
    history.save(msgspec.structs.replace(circuit(), marks=Marks(pins=(nodes[0],))), View())
    mine = msgspec.structs.replace(circuit(), marks=Marks(pins=(nodes[1],)))
    (tmp_path / "mine.json").write_bytes(encode_circuit(mine))

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        if way == "O":
            await pilot.press("tab", "O", *"mine", "enter")
        await settle(pilot)
        assert set(app.session.store.marks.pins) == set(nodes[:2])

    opened = mine if way == "start" else None
    run(test, prompt=None, history=history, save_to=tmp_path, circuit=opened)
    (entry,) = history.entries()
    assert set(history.load(entry.key).circuit.marks.pins) == set(nodes[:2])


def test_what_is_done_last_is_kept_though_one_leaves_at_once(history: History) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await kept(app, pilot)
        app.main.circuit_tree.look(order="name")
        nodes.append(app.main.circuit_tree.current.node)  # type: ignore[union-attr]
        app.session.store.marks = Marks(pins=(nodes[0],))  # type: ignore[arg-type]

    nodes: list[object] = []
    run(test, history=history)
    saved = history.load(history.entries()[0].key)
    assert saved.view is not None and saved.view.look is not None
    assert saved.view.look.order == "name" and saved.circuit.marks.pins == tuple(nodes)


def test_nothing_is_written_again_when_nothing_has_changed(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await kept(app, pilot)
        written = history.entries()
        await app.keeper.write()
        assert history.entries() == written

    run(test, history=history)


@pytest.mark.parametrize("line", [1, 2])
def test_a_file_that_was_damaged_between_two_sittings(
    history: History, tmp_path: Path, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its view, the circuit is there all the same; in the circuit, another can be chosen."""
    told: list[str] = []
    monkeypatch.setattr(ScdApp, "notify", lambda self, message, **how: told.append(message))

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j", "enter")
        await settle(pilot)

    run(first, history=history)
    (path,) = (tmp_path / "circuits").glob("*.jsonl")
    lines = path.read_bytes().split(b"\n")
    lines[line] = lines[line][: len(lines[line]) // 2]
    path.write_bytes(b"\n".join(lines))
    history.save(circuit(prompt="an earlier one"), View())

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("ctrl+o", *"be or not", "enter")
        await settle(pilot)
        if line == 1:
            assert app.session.prompt == PROMPT and 'Circuit for " question"' in dump(app)
            assert len(told) == 1 and "How it was looked at cannot be read" in told[0]
            return
        assert app.session.prompt is None and "that circuit cannot be read" in dump(app)
        await pilot.press("ctrl+o", *"earlier", "enter")
        await settle(pilot)
        assert app.session.prompt == "an earlier one"

    run(second, prompt=None, history=history)


def test_each_circuit_has_its_own_pruning(history: History) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("P")
        await settle(pilot)
        rows = app.main.circuit_tree.rows
        only, pruned = rows.look.only, rows.left_out.pruned
        assert only is not None and pruned
        app.session.set_target(COMPLETIONS[1].token.id)
        await settle(pilot)
        assert app.main.circuit_tree.rows.look.only is None
        assert app.session.back()
        await settle(pilot)
        rows = app.main.circuit_tree.rows
        assert (rows.look.only, rows.left_out.pruned) == (only, pruned)
        assert app.session.forward()
        await settle(pilot)
        assert app.main.circuit_tree.rows.look.only is None

    run(test, history=history, answering=influential)


def test_the_list_is_narrowed_by_typing_and_forgets_on_the_second_press(history: History) -> None:
    for prompt in ("first [b]thing[/]", "second thing", "another"):
        history.save(circuit(prompt=prompt), View())

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("ctrl+o")
        await settle(pilot)
        await pilot.press(*"thing")
        assert "2 of" in dump(app) and "another" not in dump(app)
        await pilot.press(*" SEC", "delete")
        assert "delete again" in dump(app)
        assert len(history.entries()) == 3
        await pilot.press("delete")
        assert sorted(history.prompts()) == ["another", "first [b]thing[/]"]
        await pilot.press(*["backspace"] * 4, "down", "enter")
        await settle(pilot)
        assert app.session.prompt == "first [b]thing[/]"
        await pilot.press("o")
        await settle(pilot)
        await pilot.press("escape")
        assert len(app.screen_stack) == 1

    run(test, prompt=None, history=history)


def test_one_that_was_spoilt_meanwhile_is_told(history: History, tmp_path: Path) -> None:
    entry = history.save(circuit(prompt="x"), View())
    assert entry is not None

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("o")
        await settle(pilot)
        path = tmp_path / "circuits" / f"{entry.key}.jsonl"
        path.write_bytes(path.read_bytes().splitlines()[0])
        await pilot.press(*"x", "enter")
        await settle(pilot)
        assert "cannot be read" in dump(app)
        assert 'Circuit for " question"' in dump(app)

    run(test, history=history)


def test_nothing_is_kept_yet_and_where_nothing_can_be_written_it_is_told_once(
    tmp_path: Path,
) -> None:
    async def nothing(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("o")
        await settle(pilot)
        assert "no past circuits" in dump(app)

    run(nothing)
    (tmp_path / "file").write_text("")

    async def told(app: ScdApp, pilot: Pilot[int]) -> None:
        await kept(app, pilot)
        assert "this circuit is not kept" in app.session.message
        app.session.say("")
        app.keeper.touched()
        await kept(app, pilot)
        assert app.session.message == ""

    run(told, history=History(tmp_path / "file" / "folder"))


def test_a_circuit_of_another_model_starts_a_worker_for_it(history: History) -> None:
    made = circuit(prompt="of another model")
    other = msgspec.structs.replace(made, model=msgspec.structs.replace(made.model, name="other"))
    history.save(other, View())
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("o")
        await settle(pilot)
        await pilot.press(*"another", "enter")
        await settle(pilot)
        assert len(workers) == 2
        assert [one.model for one in workers[1].of(p.Load)] == ["other:topk"]  # type: ignore[attr-defined]
        assert workers[1].of(p.Attribute)
        assert app.session.prompt == "of another model"
        # Back at the first model's circuit, nothing is asked of the wrong model.
        assert app.session.back() and app.session.prompt == PROMPT
        await settle(pilot)
        asked = len(workers[1].sent)
        await pilot.press("1", "j", "enter")
        await settle(pilot)
        assert "the worker has other:topk: R loads demo" in dump(app)
        assert len(workers[1].sent) == asked
        await pilot.press("R")
        await settle(pilot)
        assert workers[2].of(p.Load)[0].model == "demo"  # type: ignore[attr-defined]
        assert 'Circuit for " way"' in dump(app)

    run(test, workers=workers, history=history)


def from_a_folder(worker: FakeWorker, request: p.Request) -> None:
    """Has a model that no name finds, in a folder that may be gone."""
    mine = msgspec.structs.replace(MODEL, name="mine", dictionaries="own")
    if isinstance(request, p.Load):
        if request.model == "/there/mine:/there/own":
            worker.emit(p.Loaded(request=request.request, model=mine))
        else:
            why = f"there is no model {request.model!r}"
            worker.emit(p.Failed(request=request.request, kind="input", message=why))
    elif isinstance(request, p.Attribute):
        made = msgspec.structs.replace(circuit(prompt=request.prompt), model=mine)
        worker.emit(p.Attributed(request=request.request, circuit=made))
    else:
        answer(worker, request)


@pytest.mark.parametrize("kept_place", [True, False])
def test_a_model_of_a_folder_is_loaded_from_there_again(history: History, kept_place: bool) -> None:
    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await kept(app, pilot)

    run(first, model="/there/mine:/there/own", history=history, answering=from_a_folder)
    (entry,) = history.entries()
    assert (entry.model, entry.given) == ("mine", "/there/mine:/there/own")
    saved = history.load(entry.key)
    assert b"/there" not in encode_circuit(saved.circuit), "a file to pass on has no path of ours"
    if not kept_place:
        history.forget(entry.key)
        history.save(saved.circuit, View())
    workers: list[FakeWorker] = []

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("ctrl+o", "enter")
        await settle(pilot)
        (load,) = workers[-1].of(p.Load)
        if kept_place:
            assert load.model == entry.given  # type: ignore[attr-defined]
            assert workers[-1].of(p.Attribute)
        else:
            assert load.model == "mine:own"  # type: ignore[attr-defined]
            assert "scd-tui --model, with where it is now" in app.session.message
        assert app.session.prompt == PROMPT

    run(second, prompt=None, history=history, answering=from_a_folder, workers=workers)


@pytest.mark.parametrize("way", ["O", "start"])
@pytest.mark.parametrize("known", [True, False])
def test_the_model_of_a_file_is_looked_for_where_it_lay(
    history: History, tmp_path: Path, way: str, known: bool
) -> None:
    """Another question to the same model was kept: that says where it is."""
    mine = msgspec.structs.replace(MODEL, name="mine", dictionaries="own")
    made = msgspec.structs.replace(circuit(prompt="of a file"), model=mine)
    # Its own record does not say, as those that were written by older versions.
    history.save(made, View())
    (tmp_path / "one.json").write_bytes(encode_circuit(made))
    if known:
        other = msgspec.structs.replace(circuit(), model=mine)
        history.save(other, View(), given="/there/mine:/there/own")
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("tab", *(("O", "enter") if way == "O" else "R"))
        await settle(pilot)
        (load,) = workers[-1].of(p.Load)
        assert load.model == ("/there/mine:/there/own" if known else "mine:own")  # type: ignore[attr-defined]
        node = site_nodes(SITES[-1])[0].id
        assert app.main.circuit_tree.jump_to_node(node)
        if not known:
            assert "scd-tui --model, with where it is now, then o" in app.session.message
        await pilot.press("x")
        await settle(pilot)
        if known:
            assert app.session.prompt == "of a file" and workers[-1].of(p.Ablate)
            assert app.session.store.nodes[node].exact == 1.21
        else:
            assert app.session.message.startswith("mine:own was not loaded: R tries it again")
            assert "model not loaded" in dump(app) and "loading model" not in dump(app)

    opened = made if way == "start" else None
    run(
        test,
        prompt=None,
        history=history,
        circuit=opened,
        save_to=tmp_path,
        answering=from_a_folder,
        workers=workers,
    )
    given = "/there/mine:/there/own" if known else ""
    assert {entry.given for entry in history.entries()} == {given}, "and not forgotten"


@pytest.mark.parametrize("way", ["O", "start", "named"])
def test_the_model_of_a_file_is_found_by_the_note_of_any_command(
    history: History, tmp_path: Path, way: str
) -> None:
    """Nothing of it is in the history: it was made, and saved, by another command."""
    mine = msgspec.structs.replace(MODEL, name="mine", dictionaries="own")
    made = msgspec.structs.replace(circuit(prompt="of a file"), model=mine)
    (tmp_path / "one.json").write_bytes(encode_circuit(made))
    remember(msgspec.structs.replace(mine, revision="another"), "/other/mine.toml")
    remember(mine, "/there/mine:/there/own")
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("tab", *(("O", "enter") if way == "O" else "R"))
        await settle(pilot)
        (load,) = workers[-1].of(p.Load)
        named = "/named/mine.toml" if way == "named" else "/there/mine:/there/own"
        assert load.model == named  # type: ignore[attr-defined]

    run(
        test,
        prompt=None,
        history=history,
        circuit=None if way == "O" else made,
        given="/named/mine.toml" if way == "named" else "",
        save_to=tmp_path,
        answering=from_a_folder,
        workers=workers,
    )


def test_a_file_is_opened_by_its_name_or_path(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(encode_circuit(circuit(prompt="in one")))
    (tmp_path / "spoilt.json").write_text("{}")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "two.json").write_bytes(encode_circuit(circuit(prompt="in two")))

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("O", *"one", "enter")
        await settle(pilot)
        assert app.session.prompt == "in one"
        await pilot.press("O")
        await settle(pilot)
        await pilot.press(*"spoilt", "enter")
        await settle(pilot)
        assert "spoilt.json cannot be opened: not a circuit file" in dump(app)
        for name in ("two", "three"):
            await pilot.press("O")
            await settle(pilot)
            app.screen.query_one("#choose").value = str(folder / f"{name}.json")  # type: ignore[attr-defined]
            await pilot.pause()
            await pilot.press("enter")
            await settle(pilot)
        assert app.session.prompt == "in two"
        assert "three.json cannot be read: No such file" in dump(app)

    run(test, save_to=tmp_path)


def test_earlier_prompts_come_back_with_the_arrow_keys(history: History) -> None:
    for prompt in ("first", "second"):
        history.save(circuit(prompt=prompt), View())

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        line = app.main.prompt_line
        await pilot.press(*"dra", "up")
        assert line.value == "second"
        await pilot.press("up", "up")
        assert line.value == "first"
        await pilot.press("down", "down")
        assert line.value == "dra"
        await pilot.press("f", "t", "enter")
        await settle(pilot)
        await pilot.press("i", "up")
        assert line.value == "second"
        await pilot.press("down")
        assert line.value == "draft"

    run(test, prompt=None, history=history)


def test_times_are_told_in_one_unit() -> None:
    assert [ago(t) for t in (3, 60, 7300, 200_000)] == ["now", "1 min ago", "2 h ago", "2 d ago"]


def test_an_app_without_a_history_writes_nothing(tmp_path: Path) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await kept(app, pilot)

    run(test)
    assert not list(Path().glob("*.jsonl"))
    assert make_app().keeper.history.entries() == []


def test_what_another_app_does_to_the_circuit_meanwhile_is_kept_and_shown(
    history: History,
) -> None:
    first, second, third = (node.id for node in site_nodes(SITES[-1])[:3])

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        tree = app.main.circuit_tree
        assert tree.jump_to_node(first)
        await pilot.press("n", *"mine", "enter", "a")
        await kept(app, pilot)
        # another app opens it, takes the pin off, and writes notes: one on the same node
        theirs = history.find(circuit())
        assert theirs is not None and theirs.circuit.marks.pins == (first,)
        marks = Marks(notes={first: "theirs", second: "[b]more"})
        other = msgspec.structs.replace(theirs.circuit.with_exact({third: 0.5}), marks=marks)
        history.write(other, View(), seen=theirs.seen)
        assert tree.jump_to_node(first)
        await pilot.press("n", "end", *" too")
        await app.keeper.write()  # what they wrote comes in while the note is being typed
        await pilot.press("enter")
        await kept(app, pilot)
        both = Marks(notes={first: f"mine too{BOTH}theirs", second: "[b]more"})
        assert app.session.store.marks == both
        found = history.find(circuit())
        assert found is not None and found.circuit.marks == both
        assert app.session.store.nodes[third].exact is not None
        assert tree.jump_to_node(second)
        await settle(pilot)
        assert "[b]more" in dump(app), "and it is on the screen"
        # what is taken off here is taken off there, though they never look
        await pilot.press("n", "ctrl+u", "enter")
        await kept(app, pilot)
        found = history.find(circuit())
        assert found is not None and second not in found.circuit.marks.notes

    run(test, history=history)


def test_a_pin_that_is_taken_off_while_it_is_being_written_stays_off(history: History) -> None:
    node = site_nodes(SITES[-1])[0].id

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await kept(app, pilot)
        app.session.store.marks = Marks(pins=(node,))
        app.keeper.touched()
        writing = asyncio.ensure_future(app.keeper.write())
        await asyncio.sleep(0)
        app.session.store.marks = Marks()
        app.keeper.touched()
        app.keeper.leave()
        await writing
        await app.keeper.write()
        assert not app.session.store.marks.pins
        found = history.find(circuit())
        assert found is not None and not found.circuit.marks.pins

    run(test, history=history)
