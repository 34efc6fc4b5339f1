"""Walking the tree by key: every action, on the worker double."""

import msgspec
import pytest
from textual.pilot import Pilot
from tui.driving import here, press, run
from tui.samples import LAST, SITES, FakeWorker, circuit, edges_into, site_nodes
from tui.screen import dump
from tui.scripted import answer

from scd_tui.graph import Circuit, Node, Supernode, decode_circuit, parse_node
from scd_tui.tui.app import ScdApp
from scd_tui.worker import protocol as p

TOP = site_nodes(SITES[-1])


def said(app: ScdApp) -> str:
    return app.session.message


def test_down_goes_along_the_strongest_edge_and_up_to_where_it_leads() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "j", "j", "d")
        edges = edges_into(TOP[0].id, len(SITES) - 1)
        strongest = max(edges, key=lambda edge: abs(edge.weight))
        item = app.main.circuit_tree.current
        assert item is not None
        assert (item.node, item.target) == (strongest.source, TOP[0].id)
        text = dump(app)
        assert f"{TOP[0].id} the › {strongest.source}" in text, "the way that was gone is told"
        await press(pilot, "d", "d", "d")
        assert app.main.circuit_tree.current.depth >= 7
        await pilot.resize_terminal(101, 40)
        await press(pilot)
        assert "… › " in dump(app), "its beginning is left out where there is no room"
        await press(pilot, "u", "u", "u")
        assert here(app) == strongest.source
        await press(pilot, "u", "u")
        assert here(app) == circuit().target.root

    run(test)


def test_edges_that_are_not_known_are_computed_first_with_a_sign_that_turns() -> None:
    workers: list[FakeWorker] = []
    held: list[p.Request] = []

    def slow(worker: FakeWorker, request: p.Request) -> None:
        if isinstance(request, p.Upstream):
            held.append(request)
        else:
            answer(worker, request)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        node = site_nodes(SITES[3])[0].id
        tree = app.main.circuit_tree
        assert tree.jump_to_node(node)
        await press(pilot, "d")
        assert here(app) == node
        shown = dump(app)
        assert any(sign in shown for sign in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"), "what is computed turns a sign"
        frames = set()
        for _ in range(6):
            await pilot.pause(0.13)
            frames.add(tree._frame)
        assert len(frames) > 2
        answer(workers[0], held[0])
        await press(pilot)
        item = tree.current
        assert item is not None and item.target == node, "and then the strongest edge is gone to"
        assert tree._spinner is None or not tree.rows.store.pending
        await pilot.pause(0.3)
        assert tree._spinner is None, "at rest nothing turns"

    run(test, workers=workers, answering=slow)


def test_a_node_met_again_is_marked_and_leads_to_where_it_was_unfolded() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        tree = app.main.circuit_tree
        await press(pilot, "g", "j", "j", "d", "right")
        first = tree.current
        assert first is not None and first.open
        node = first.node
        await press(pilot, "f")
        assert here(app) == node and tree.current is not first, "its own place, at its site"
        assert "↑" in dump(app)
        assert tree.rows.first_place(tree.current) is first
        await press(pilot, "f")
        assert tree.current is first
        await press(pilot, "left", "f")
        assert tree.rows.first_place(tree.current) is None, "where it is folded, nothing is above"

    run(test)


def test_back_and_forward_go_through_jumps_and_then_through_questions() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "j", "j")
        start = here(app)
        await press(pilot, "d")
        second = app.main.circuit_tree.current
        await press(pilot, "d")
        third = app.main.circuit_tree.current
        await press(pilot, "H")
        assert app.main.circuit_tree.current is second
        await press(pilot, "backspace")
        assert here(app) == start
        await press(pilot, "L", "L")
        assert app.main.circuit_tree.current is third
        await press(pilot, "L")
        assert "nothing further" in said(app)
        await press(pilot, "1", "j", "enter", "2")
        assert 'Circuit for " way"' in dump(app)
        await press(pilot, "H")
        assert 'Circuit for " question"' in dump(app)
        assert app.main.circuit_tree.current is third, "the tree is as it was left"
        await press(pilot, "H", "H", "H")
        assert here(app) == start and "where you began" in said(app)
        await press(pilot, "L", "L", "L")
        assert 'Circuit for " way"' in dump(app)

    run(test)


def test_the_same_feature_at_another_token_and_the_thread_through_the_layers() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        tree = app.main.circuit_tree
        assert tree.jump_to_node(site_nodes(SITES[5])[2].id)
        node = parse_node(here(app) or "")
        await press(pilot, "left_curly_bracket")
        earlier = parse_node(here(app) or "")
        assert (earlier.site, earlier.index) == (node.site, node.index)
        assert earlier.position == node.position - 1
        await press(pilot, "right_curly_bracket")
        assert here(app) == node.id
        await press(pilot, "right_parenthesis")
        assert parse_node(here(app) or "").site == SITES[6]
        assert "alike to 0.91, edge +0.120" in said(app)
        await press(pilot, "left_parenthesis")
        assert parse_node(here(app) or "").site == SITES[5]
        ways = [request.way for request in workers[0].of(p.Neighbour)]  # type: ignore[attr-defined]
        assert ways == ["earlier", "later", "above", "below"]
        await press(pilot, "H", "H", "H", "H")
        assert here(app) == node.id
        assert tree.jump_to_node(site_nodes(SITES[-1])[0].id)
        await press(pilot, "right_parenthesis")
        assert "nothing like it is at a site downstream" in said(app)
        await press(pilot, "g", "right_parenthesis")

    run(test, workers=workers)


def test_nodes_are_grouped_by_site_by_token_or_not_at_all() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        rows = lambda: app.main.circuit_tree.rows  # noqa: E731
        await press(pilot, "g", "j", "j", "j")
        node = here(app)
        await press(pilot, "v")
        assert here(app) == node, "the cursor stays with its node"
        at = parse_node(node or "").position
        current = app.main.circuit_tree.current
        assert current is not None and current.parent is not None
        assert current.parent.key == f"@{at}"
        text = dump(app)
        assert " by token" in text and f"{parse_node(node or '').place}/" in text
        assert [item.key for item in rows().top[1:]] == [f"@{n}" for n in range(LAST, -1, -1)]
        await press(pilot, "v")
        assert here(app) == node and " by effect" in dump(app)
        effects = [
            abs(rows().store.nodes[item.node].effect) for item in rows().top[1:] if item.node
        ]
        assert effects == sorted(effects, reverse=True) and len(effects) > 100
        await press(pilot, "v")
        assert here(app) == node and " by site" in dump(app)

    run(test)


@pytest.mark.parametrize(
    ("presses", "key"),
    [
        (1, lambda node: -node.effect),
        (2, lambda node: -abs(node.exact or 0)),
        (3, lambda node: -parse_node(node.id).position),
        (4, lambda node: (parse_node(node.id).index is None, parse_node(node.id).index or 0)),
    ],
)
def test_nodes_are_sorted_by_what_one_likes(presses: int, key) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, *["S"] * presses)
        rows = app.main.circuit_tree.rows
        nodes: list[Node] = [
            rows.store.nodes[item.node]
            for item in rows.visible[2:12]
            if item.node is not None and item.parent is rows.visible[1]
        ]
        assert len(nodes) == 10
        if presses < 4:
            assert [key(n) for n in nodes] == sorted(key(n) for n in nodes)
        else:
            assert parse_node(nodes[0].id).kind == "error"
            assert [n.id for n in nodes[1:]] == [
                n.id for n in sorted(nodes[1:], key=lambda n: parse_node(n.id).index or 0)
            ]
        assert "sorted by" in dump(app)
        await press(pilot, *["S"] * (5 - presses))
        assert "sorted by" not in dump(app).splitlines()[-3]

    run(test)


def test_weak_nodes_and_errors_are_hidden_and_always_counted() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        rows = app.main.circuit_tree.rows
        assert "none hidden" in dump(app)
        await press(pilot, "e")
        errors = sum(parse_node(name).kind == "error" for name in rows.store.nodes)
        assert f"hidden: {errors} errors" in dump(app)
        assert not any("error" in item.key for item in rows.visible)
        await press(pilot, *["minus"] * 7)
        least = 0.1 * max(abs(n.effect) for s in SITES for n in site_nodes(s))
        weak = [
            name
            for name, node in rows.store.nodes.items()
            if abs(node.effect) < least
            and name != rows.store.root
            and parse_node(name).kind != "error"
        ]
        assert f"{len(weak)} below" in dump(app)
        await press(pilot, "E")
        shown = [item for item in rows.visible if item.kind == "node" and item.node is not None]
        assert shown and all(abs(rows.store.nodes[i.node].effect) >= least for i in shown)  # type: ignore[index]
        assert rows.visible.count(rows.current) == 1
        await press(pilot, "f")
        await press(pilot, *["plus"] * 9, "e")
        assert "none hidden" in dump(app)
        hidden = rows.left_out
        assert hidden.total == 0

    run(test)


def test_edges_are_left_out_by_the_same_threshold() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "j", "j", "enter", *["minus"] * 8)
        rows = app.main.circuit_tree.rows
        least = 0.2 * rows.store.largest_at_sites
        weights = [item.weight for item in rows.visible if item.weight is not None]
        assert weights and all(abs(weight) >= least for weight in weights)
        all_edges = edges_into(TOP[0].id, len(SITES) - 1)
        assert len(weights) == sum(abs(edge.weight) >= least for edge in all_edges) < len(all_edges)

    run(test)


def with_influence() -> Circuit:
    """The sample with all of the influence on the strongest node of the last site, by one edge."""
    made = circuit()
    root, kept = made.target.root, TOP[0].id
    nodes = tuple(
        msgspec.structs.replace(
            node,
            influence=1.0 if node.id in (root, kept) else 0.0,
            inflow=1.0 if node.id == root else 0.0,
        )
        for node in made.nodes
    )
    return msgspec.structs.replace(made, nodes=nodes)


def test_a_circuit_is_pruned_by_influence_and_back() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        rows = app.main.circuit_tree.rows
        total = len(rows.store.nodes)
        await press(pilot, "P", "E")
        assert [item.node for item in rows.visible if item.kind == "node"] == [TOP[0].id]
        assert f"{total - 2} pruned" in dump(app)
        await press(pilot, "P")
        assert "none hidden" in dump(app)
        assert len([item for item in rows.visible if item.kind == "node"]) > 100

    run(test, prompt=None, circuit=with_influence())


def test_a_file_without_influence_is_not_pruned_but_told() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "P")
        assert "attribute it again" in said(app)
        assert "none hidden" in dump(app)

    run(test, prompt=None, circuit=circuit())


def test_pins_notes_and_supernodes_are_on_the_screen_and_in_the_file(tmp_path) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        rows = app.main.circuit_tree.rows
        await press(pilot, "g", "j", "j", "a", "j", "j", "a")
        pinned = [TOP[0].id, rows.store.marks.pins[1]]
        assert rows.store.marks.pins == tuple(pinned)
        text = dump(app)
        assert "★ pinned" in text and "2 nodes" in text and " ★" in text
        total = sum(rows.store.nodes[name].effect for name in pinned)
        assert f"{total:+.3f}".replace("-", "−") in text
        await press(pilot, "n", *"[b]why[/]", "enter")
        assert "✎" in dump(app)
        await press(pilot, "a")
        assert rows.store.marks.pins == tuple(pinned[:1])
        await press(pilot, "a", "U", *"question features", "enter")
        assert rows.store.marks.supernodes == (Supernode("question features", tuple(pinned)),)
        assert not rows.store.marks.pins
        current = app.main.circuit_tree.current
        assert current is not None and current.kind == "super"
        assert "◆ question features" in dump(app)
        await press(pilot, "right")
        assert "resid_post.3/" in dump(app)
        await press(pilot, "s")
        saved = decode_circuit(next(tmp_path.iterdir()).read_bytes())
        assert saved.marks == rows.store.marks
        assert saved.marks.notes == {pinned[1]: "[b]why[/]"}
        await press(pilot, "a")
        assert rows.store.marks.pins == tuple(pinned), "taken apart, its nodes are pinned"
        assert not rows.store.marks.supernodes
        await press(pilot, "g", "j", "a")
        assert not rows.store.marks.pins

    run(test, save_to=tmp_path)


def test_what_a_note_cannot_be_on_is_told_and_an_empty_one_takes_it_off() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "n")
        assert "put the cursor on a node" in said(app)
        await press(pilot, "U")
        assert "pin the nodes first" in said(app)
        await press(pilot, "g", "j", "j", "n", "x", "enter")
        assert app.session.store.marks.notes == {TOP[0].id: "x"}
        await press(pilot, "n", "backspace", "enter")
        assert app.session.store.marks.notes == {}
        await press(pilot, "n", "y", "escape")
        assert app.session.store.marks.notes == {} and len(app.screen_stack) == 1

    run(test)


def test_pinned_nodes_a_subtree_and_an_edge_are_ablated_and_told() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        rows = app.main.circuit_tree.rows
        await press(pilot, "A")
        assert "pin nodes first" in said(app)
        await press(pilot, "c")
        assert "put the cursor on an edge" in said(app)
        await press(pilot, "g", "j", "j", "a", "j", "a", "A")
        (request,) = workers[0].of(p.Remove)
        assert set(request.nodes) == set(rows.store.marks.pins)  # type: ignore[attr-defined]
        assert "predicted +1.500, exact +1.400" in said(app)
        await press(pilot, "g", "j")
        assert "+1.400" in dump(app), "the row of what is pinned has what was measured"
        text = dump(app)
        assert "without them" in text and "▲ promotes" in text and " way" in text
        await press(pilot, "x")
        assert len(workers[0].of(p.Remove)) == 2
        index = next(
            n
            for n, item in enumerate(rows.visible)
            if item.node == TOP[0].id and item.parent is not None and item.parent.kind == "place"
        )
        app.main.circuit_tree.go(index)
        await press(pilot, "d")
        item = app.main.circuit_tree.current
        assert item is not None
        await press(pilot, "c")
        (cut,) = workers[0].of(p.CutEdge)
        assert (cut.source, cut.target) == (item.node, item.target)  # type: ignore[attr-defined]
        text = dump(app)
        assert "without this edge" in text and "along  +0.440" in text
        await press(pilot, "u", "X")
        request = workers[0].of(p.Remove)[-1]
        expected = {edge.source for edge in edges_into(TOP[0].id, len(SITES) - 1)}
        assert set(request.nodes) == {TOP[0].id, *expected}  # type: ignore[attr-defined]
        assert "from here down" in said(app)

    run(test, workers=workers)


def test_the_heads_that_carried_an_edge_are_asked_for_at_rest_once() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "j", "j", "d")
        (asked,) = workers[0].of(p.Heads)
        assert asked.node == TOP[0].id  # type: ignore[attr-defined]
        text = dump(app)
        assert "L2H3" in text and "L2H0" in text
        await press(pilot, "j", "k")
        assert len(workers[0].of(p.Heads)) == 1

    run(test, workers=workers)


def test_without_a_worker_experiments_say_why_not() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        for key in ("X", "right_parenthesis"):
            app.session.say("")
            await press(pilot, "g", "j", "j", key)
            assert "not in this file: R starts" in said(app)

    run(test, prompt=None, circuit=circuit())


def test_what_is_hidden_is_counted_where_it_would_stand() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "j", "j", "enter", *["minus"] * 8)
        rows = app.main.circuit_tree.rows
        least = 0.2 * rows.store.largest_at_sites
        text = dump(app)
        for group in rows.store.upstream(TOP[0].id):
            weak = sum(abs(edge.weight) < least for edge in group.edges)
            count = len(group.edges)
            edges = (
                f"of {count} edges, {count - weak} shown" if weak else f"{count} strongest edges"
            )
            assert edges in text
        weak = sum(abs(node.effect) < least for node in TOP)
        site = next(line for line in text.splitlines() if "▾ resid_post 3" in line)
        assert weak and f"9 of 151, {weak} hidden" in site

    run(test, (120, 40))
