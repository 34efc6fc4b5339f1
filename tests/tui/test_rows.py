from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tui.samples import LAST, LEAVES, SITES, circuit, edges_into, site_nodes, summary

from scd_tui.graph import Edge, Node, NodeId, Site, feature_id, parse_node
from scd_tui.tui.item import Item
from scd_tui.tui.rows import Rows
from scd_tui.tui.store import CircuitStore


def make(label: Callable[[NodeId], str] | None = None) -> Rows:
    rows = Rows(label=label)
    rows.reset(CircuitStore.of(circuit()))
    return rows


def names(rows: Rows) -> list[str]:
    return [f"{'  ' * item.depth}{item.key}" for item in rows.visible]


def find(rows: Rows, key: str) -> int:
    return next(index for index, item in enumerate(rows.visible) if item.key == key)


def consistent(rows: Rows) -> None:
    """The list on the screen is what walking the tree afresh gives."""
    walked: list[Item] = []

    def walk(items: list[Item]) -> None:
        for item in items:
            walked.append(item)
            if item.open and item.children:
                walk(item.children)

    walk(rows.top)
    assert rows.visible == walked
    assert 0 <= rows.cursor < len(rows.visible)
    for item in walked:
        assert item.parent is None or item in (item.parent.children or ())


def test_the_top_level_is_the_metric_then_sites_from_the_last_to_the_embeddings() -> None:
    rows = make()
    top = [item.key for item in rows.top]
    assert top[0] == circuit().target.root
    assert top[1:4] == ["resid_post.3", "mlp_out.3", "attn_out.3"]
    assert top[-2:] == ["attn_out.0", "embed"]


def test_a_new_circuit_shows_the_nodes_of_the_last_site_only() -> None:
    rows = make()
    assert [item.depth for item in rows.visible].count(1) == 10
    assert rows.visible[2].parent is rows.visible[1]
    effects = [abs(rows.store.nodes[item.node].effect) for item in rows.visible[2:12] if item.node]
    assert effects == sorted(effects, reverse=True)


def test_unfolding_a_node_shows_its_upstream_sites_with_their_edges() -> None:
    rows = make()
    before = len(rows)
    assert rows.unfold(2)
    group = rows.visible[3]
    node = rows.visible[2].node
    assert node is not None
    edges = [edge for one in rows.store.upstream(node) for edge in one.edges]
    strongest = max(edges, key=lambda edge: abs(edge.weight))
    assert (group.kind, group.key, group.target) == (
        "group",
        parse_node(strongest.source).place,
        node,
    )
    assert rows.visible[4].node == strongest.source
    assert rows.visible[4].weight is not None
    weights = [abs(item.weight) for item in rows.visible[4:9] if item.weight is not None]
    assert weights == sorted(weights, reverse=True)
    assert len(rows) == before + 3 + 15
    consistent(rows)
    assert rows.fold(2)
    assert len(rows) == before
    consistent(rows)


def test_a_node_is_walked_to_the_embeddings_and_there_the_tree_ends() -> None:
    rows = make()
    deep, index = 0, 2
    while True:
        item = rows.visible[index]
        assert item.node is not None
        if not rows.foldable(item):
            break
        if rows.store.upstream_state(item.node) == "unknown":
            site = Site(*_site_of(item.node))
            rows.store.add_upstream(item.node, LEAVES, edges_into(item.node, SITES.index(site)))
        assert rows.unfold(index)
        index += 2  # past the group, to its strongest edge
        deep += 1
        consistent(rows)
    assert deep > 2
    assert str(rows.visible[index].node).startswith("embed/")
    assert not rows.unfold(index)


def _site_of(node: NodeId) -> tuple[int, str]:
    kind, layer = node.split("/")[0].split(".")
    return int(layer), kind


def test_unknown_edges_show_a_note_until_they_come() -> None:
    rows = make()
    rows.unfold(find(rows, "mlp_out.0"))
    index = find(rows, "mlp_out.0") + 1
    node = rows.visible[index].node
    assert node is not None
    rows.unfold(index)
    assert rows.visible[index + 1].kind == "note"
    rows.store.mark_pending(node)
    rows.update_node(node)
    assert rows.visible[index + 1].kind == "note"
    rows.store.add_upstream(node, LEAVES, edges_into(node, 0))
    rows.update_node(node)
    assert [item.kind for item in rows.visible[index + 1 : index + 3]] == ["group", "node"]
    consistent(rows)


def test_a_node_that_is_unfolded_twice_is_updated_in_both_places() -> None:
    rows = make()
    node = site_nodes(SITES[0])[0].id
    for target in (site_nodes(SITES[-1])[0].id, site_nodes(SITES[-1])[1].id):
        rows.store.add_upstream(target, (), [Edge(node, target, 0.5)])
    rows.update()
    for target in (site_nodes(SITES[-1])[0].id, site_nodes(SITES[-1])[1].id):
        rows.unfold(find(rows, target))
    places = [i for i, item in enumerate(rows.visible) if item.node == node]
    assert len(places) == 2
    for place in reversed(places):
        rows.unfold(place)
    rows.store.add_upstream(node, LEAVES, edges_into(node, 0))
    rows.update_node(node)
    assert sum(item.kind == "group" and item.target == node for item in rows.visible) == 2
    consistent(rows)


def test_the_cursor_stays_on_its_row_while_rows_come_and_go() -> None:
    rows = make()
    rows.move(find(rows, "mlp_out.3"))
    rows.unfold(2)
    assert rows.current is not None and rows.current.key == "mlp_out.3"
    rows.fold(2)
    assert rows.current.key == "mlp_out.3"
    rows.move(5)
    rows.fold(1)
    assert rows.current.key == "resid_post.3"


def test_sites_that_arrive_later_go_where_they_belong() -> None:
    store = CircuitStore()
    rows = Rows(store)
    for site in (SITES[-1], SITES[-3], SITES[-2]):
        store.add_site(summary(site), site_nodes(site))
        rows.update()
    assert [item.key for item in rows.top] == ["resid_post.3", "mlp_out.3", "attn_out.3"]
    store.finish(circuit())
    rows.update()
    assert rows.top[0].kind == "root"
    consistent(rows)


def test_nodes_that_edges_led_to_are_folded_away_but_counted() -> None:
    made = circuit()
    extra = Node(feature_id(SITES[-2], 1000, 3), 0.001, 0.5)
    edge = Edge(extra.id, made.expanded[1], 0.2)
    more = msgspec.structs.replace(made, nodes=(*made.nodes, extra), edges=(*made.edges, edge))
    rows = Rows()
    rows.reset(CircuitStore.of(more))
    index = find(rows, "mlp_out.3")
    rows.unfold(index)
    assert rows.visible[index + 11].kind == "more"
    rows.unfold(index + 11)
    assert rows.visible[index + 12].node == extra.id
    consistent(rows)


def test_the_filter_searches_names_tokens_and_labels_and_counts_what_it_hides() -> None:
    wanted = site_nodes(SITES[4])[2].id
    rows = make(lambda node: "opening bracket" if node == wanted else "")
    rows.set_filter("BRACKET")
    assert [item.key for item in rows.visible] == [str(SITES[4]), wanted]
    assert rows.matches == 1
    assert rows.hidden == rows.searched - 2 > 100
    rows.set_filter("error")
    assert all(item.kind == "place" or "error" in str(item.node) for item in rows.visible)
    rows.set_filter("question")
    assert rows.matches == 0 and not rows.visible and rows.current is None
    rows.set_filter("")
    consistent(rows)


def test_labels_that_come_while_the_filter_is_on_are_found() -> None:
    first, second = (site_nodes(SITES[4])[n].id for n in (2, 5))
    labels = {first: "opening bracket"}
    rows = make(lambda node: labels.get(node, ""))
    rows.set_filter("bracket")
    assert not rows.search_again(), "nothing new"
    labels[site_nodes(SITES[2])[0].id] = "something else"
    assert not rows.search_again(), "nothing that is looked for"
    rows.move(find(rows, first))
    labels[site_nodes(SITES[6])[0].id] = "closing bracket"
    labels[second] = "closing bracket"
    assert rows.search_again()
    found = [item.node for item in rows.visible if item.kind == "node"]
    assert set(found) == {first, second, site_nodes(SITES[6])[0].id} and rows.matches == 3
    assert rows.current is not None and rows.current.node == first, "the cursor stays with its node"
    assert not rows.search_again()


def test_labels_that_change_while_the_filter_is_on_are_left_out() -> None:
    first, second = (site_nodes(SITES[4])[n].id for n in (2, 5))
    labels = {first: "opening bracket", second: "closing bracket"}
    rows = make(lambda node: labels.get(node, ""))
    rows.set_filter("bracket")
    labels[first] = "opening quotation mark"
    assert rows.search_again()
    assert [item.node for item in rows.visible if item.kind == "node"] == [second]
    rows.set_filter("")
    consistent(rows)


def test_a_row_above_a_match_that_comes_to_match_is_a_change_of_their_number() -> None:
    labels: dict[NodeId, str] = {}
    rows = make(lambda node: labels.get(node, ""))
    rows.unfold(2)
    above, below = rows.visible[2].node, rows.visible[4].node
    assert above is not None and below is not None and rows.visible[4].depth > 1
    labels[below] = "bracket"
    rows.set_filter("bracket")
    shown, matches = list(rows.visible), rows.matches
    assert above in [item.node for item in shown]
    labels[above] = "bracket"
    assert rows.search_again(), "the number stands on the screen"
    assert rows.visible == shown and rows.matches == matches + 1


def test_a_match_can_be_unfolded_below_the_filter() -> None:
    rows = make()
    node = site_nodes(SITES[-1])[0].id
    rows.set_filter(node)
    index = find(rows, node)
    rows.unfold(index)
    assert rows.visible[index + 1].kind == "group"
    assert len(rows) > 16
    rows.fold(index)
    assert len(rows) == index + 1
    rows.set_filter("")
    consistent(rows)


def test_siblings_parents_and_positions() -> None:
    rows = make()
    rows.unfold(2)
    rows.move(2)
    assert rows.sibling_index(-1) is None
    rows.move(rows.sibling_index(1) or 0)
    assert rows.cursor == 2 + 1 + 18
    assert rows.parent_index() == 1
    here = rows.store.token(LAST)
    assert here == " the"
    rows.move(2)
    at = rows.position_index(-1)
    assert at is not None and "@8" in rows.visible[at].key
    rows.move(at)
    assert rows.position_index(1) == 2


def test_everything_can_be_folded_and_unfolded_at_once() -> None:
    rows = make()
    rows.unfold_all()
    assert len(rows) == 1 + len(SITES) * 11 + 1 + len(LEAVES)
    rows.move(50)
    rows.fold_all()
    assert len(rows) == 2 + len(SITES)
    consistent(rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ufcgx"), st.integers(0, 400)), max_size=25))
def test_any_order_of_operations_leaves_a_true_list(steps: list[tuple[str, int]]) -> None:
    rows = make()
    for kind, number in steps:
        index = number % len(rows.visible)
        item = rows.visible[index]
        if kind == "u":
            rows.unfold(index)
        elif kind == "f":
            rows.fold(index)
        elif kind == "c":
            rows.move(index)
        elif kind == "g" and item.node is not None and item.kind == "node":
            rows.store.add_upstream(item.node, LEAVES, edges_into(item.node, 0))
            rows.update_node(item.node)
        elif kind == "x":
            rows.set_filter("error" if number % 2 else "")
            if rows.filter:
                assert rows.matches <= len(rows.visible)
                rows.set_filter("")
        consistent(rows)


def test_the_end_of_a_filter_puts_the_cursor_back_unless_it_was_put_elsewhere() -> None:
    rows = make()
    rows.unfold_all()
    rows.move(25)
    here = rows.current
    for text in ("e", "err", "error", "error@9"):
        rows.set_filter(text)
    assert rows.current is not here
    rows.set_filter("")
    assert rows.current is here
    rows.set_filter("error")
    rows.move(rows.visible.index(next(i for i in rows.visible[rows.cursor :] if i.kind == "node")))
    there = rows.current
    assert there is not here
    rows.set_filter("")
    assert rows.current is there
    rows.set_filter("no such thing")
    assert rows.current is None
    rows.set_filter("")
    assert rows.current is there


def test_a_tree_of_fifty_thousand_rows_splices_in_one_place() -> None:
    store = CircuitStore()
    site = Site(0, "mlp_out")
    nodes = [Node(feature_id(site, n, n % 50), 1 / (n + 1), 1.0, top=True) for n in range(50_000)]
    store.add_site(summary(site), nodes)
    rows = Rows()
    rows.reset(store)
    assert len(rows) == 50_001
    kept = [id(item) for item in rows.visible]
    target = rows.visible[25_000].node
    assert target is not None
    store.add_upstream(target, LEAVES, edges_into(target, 0))
    built: list[Item] = []
    original = Rows._rebuild

    class Counting(Rows):
        def _rebuild(self, item: Item) -> None:
            built.append(item)
            original(self, item)

    rows.__class__ = Counting
    rows.unfold(25_000)
    assert len(built) == 2  # the node and its one group: no other row was touched
    assert [id(item) for item in rows.visible[:25_001]] == kept[:25_001]
    assert [id(item) for item in rows.visible[25_006:]] == kept[25_001:]
    found = list(edges_into(target, 6))
    store.add_upstream(target, [node for site in SITES for node in site_nodes(site)], found)
    rows.update_node(target)
    assert len(built) == 2 + 1 + 3 and len(rows) == 50_001 + 3 + len(found)
    rows.fold(25_000)
    assert len(rows) == 50_001


def with_edges(*weights: tuple[str, float]) -> tuple[Rows, NodeId]:
    """Rows of a circuit whose first node has these edges, from sources by name; it is unfolded."""
    store = CircuitStore.of(circuit())
    node = site_nodes(SITES[-1])[0].id
    sources = [Node(NodeId(name), 1.0, 1.0) for name, _ in weights]
    store.add_upstream(node, sources, [Edge(NodeId(name), node, w) for name, w in weights])
    rows = Rows()
    rows.reset(store)
    rows.unfold(find(rows, node))
    return rows, node


EDGES = (
    *(("attn_out.3/1@9", -0.003), ("attn_out.3/2@9", 0.2), ("mlp_out.3/1@9", 0.003)),
    *(("mlp_out.3/2@9", -0.002), ("resid_post.2/1@9", 0.9), ("resid_post.2/2@9", 0.001)),
    ("resid_post.2/3@9", 0.0091),
)


def below(rows: Rows, node: NodeId) -> list[str]:
    at = find(rows, node)
    return [item.key for item in rows.visible[at + 1 : rows.subtree_end(at)]]


def test_edges_stand_by_size_over_sites_and_weak_ones_in_one_row() -> None:
    rows, node = with_edges(*EDGES)
    assert below(rows, node) == [
        *("resid_post.2", "resid_post.2/1@9", "resid_post.2/3@9"),
        *("attn_out.3", "attn_out.3/2@9"),
        "weak",
    ], "0.0091 is not below 1% of 0.9"
    weak = rows.visible[find(rows, "weak")]
    assert weak.children is not None and weak.target == node
    weights = [child.weight for child in weak.children]
    assert weights == [-0.003, 0.003, -0.002, 0.001] or weights == [0.003, -0.003, -0.002, 0.001]
    rows.unfold(find(rows, "weak"))
    consistent(rows)
    opened = rows.visible[find(rows, "weak") + 1]
    assert opened.target == node and opened.names_site


def test_every_edge_stands_in_one_row_whatever_is_weak() -> None:
    rows, node = with_edges(*EDGES)
    rows.unfold(find(rows, "weak"))
    assert sorted(key for key in below(rows, node) if "/" in key) == sorted(n for n, _ in EDGES)


def test_a_single_weak_edge_keeps_its_row() -> None:
    rows, node = with_edges(("attn_out.3/1@9", 0.5), ("mlp_out.3/1@9", 0.001))
    assert below(rows, node) == ["attn_out.3", "attn_out.3/1@9", "mlp_out.3", "mlp_out.3/1@9"]


def test_the_filter_finds_folded_edges_and_a_threshold_leaves_them_out() -> None:
    rows, node = with_edges(*EDGES)
    rows.set_filter("mlp_out.3/2@9")
    assert [item.key for item in rows.visible if item.key in ("weak", "mlp_out.3/2@9")] == [
        *("weak", "mlp_out.3/2@9"),
    ]
    rows.set_filter("")
    consistent(rows)
    rows.set_look(msgspec.structs.replace(rows.look, least=0.5))
    assert "weak" not in below(rows, node)
    consistent(rows)
