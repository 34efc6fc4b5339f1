from typing import Any

import msgspec
import pytest
from tiny import PROMPT
from tui.samples import COMPLETIONS, SITES, circuit

from scd_tui.attribution.explain import Explanation, explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.comparison import Pair, compare, unknown
from scd_tui.graph import (
    Circuit,
    Edge,
    Node,
    NodeId,
    Settings,
    SiteSummary,
    Token,
    error_id,
    feature_id,
    parse_node,
)
from scd_tui.pruning import without_position

A = feature_id(SITES[2], 7, 3)
B = feature_id(SITES[2], 7, 5)
C = feature_id(SITES[0], 1, 3)
E = error_id(SITES[0], 3)
LEAF = NodeId("embed/token@3")


def made(
    effects: dict[NodeId, float], edges: dict[tuple[NodeId, NodeId], float], **new: Any
) -> Circuit:
    base = circuit()
    root = base.target.root
    nodes = (Node(root, 3.0, 0.0), *(Node(name, value, 1.0) for name, value in effects.items()))
    return msgspec.structs.replace(
        base,
        nodes=nodes,
        edges=tuple(Edge(s, t, w) for (s, t), w in edges.items()),
        expanded=(),
        **new,
    )


def by_name(pairs: tuple[Pair, ...]) -> dict[str, tuple[float | None, float | None]]:
    return {pair.name: (pair.a, pair.b) for pair in pairs}


def test_a_circuit_is_the_same_as_itself_and_as_a_rerun_that_rounds_otherwise() -> None:
    found = compare(circuit(), circuit())
    assert found.same and found.differs == () and found.overlap == (1.0, 1.0)
    nodes = tuple(
        msgspec.structs.replace(node, effect=node.effect * (1 + 1e-5)) for node in circuit().nodes
    )
    assert compare(circuit(), msgspec.structs.replace(circuit(), nodes=nodes)).same
    changed = (*nodes[:-1], msgspec.structs.replace(nodes[-1], effect=nodes[-1].effect + 0.01))
    found = compare(circuit(), msgspec.structs.replace(circuit(), nodes=changed))
    assert not found.same and found.nodes[0].name == nodes[-1].id
    assert not compare(circuit(), msgspec.structs.replace(circuit(), metric_value=3.3)).same
    assert not compare(
        circuit(), msgspec.structs.replace(circuit(), edges=circuit().edges[1:])
    ).same


def test_nodes_are_listed_in_both_or_in_one_and_sorted_by_how_much_they_change() -> None:
    a = made({A: 2.0, C: -0.5, E: 0.05}, {(C, A): 0.4})
    b = made({A: 0.5, C: -0.6, B: 0.3, LEAF: -0.9}, {(C, A): -0.1, (E, A): 0.2})
    found = compare(a, b)
    assert found.by == "node"
    assert [pair.name for pair in found.listed("both")] == [A, C]
    assert [pair.name for pair in found.listed("a")] == [E]
    assert [pair.name for pair in found.listed("b")] == [LEAF, B]
    assert [pair.change for pair in found.listed("both")] == pytest.approx([-1.5, -0.1])
    assert found.overlap == pytest.approx((2.5 / 2.55, 1.1 / 2.3))
    assert by_name(found.edges) == {f"{C} → {A}": (0.4, -0.1), f"{E} → {A}": (None, 0.2)}


def test_how_much_changes_is_not_known_of_what_one_of_them_does_not_list() -> None:
    a = made({A: 2.0, C: -0.5, E: 0.05}, {(C, A): 0.4})
    b = made({A: 1.9, B: 0.3, E: 0.05, LEAF: -0.9}, {(C, A): -0.1, (E, A): 0.2})
    found = compare(a, b)
    # changes that are known, even none, stand before the large effects of which it is not
    assert [pair.name for pair in found.nodes] == [A, E, LEAF, C, B]
    assert [pair.change for pair in found.nodes] == pytest.approx([-0.1, 0.0, None, None, None])
    assert [pair.change for pair in found.edges] == pytest.approx([-0.5, None])
    assert (unknown(found.nodes), unknown(found.edges)) == (3, 1)


def complete(made: Circuit, count: int) -> Circuit:
    """The circuit with `count` active features at the site of A and B."""
    sites = [
        msgspec.structs.replace(site, active=count) if site.site == SITES[2] else site
        for site in made.sites
    ]
    return msgspec.structs.replace(made, sites=tuple[SiteSummary, ...](sites))


def test_a_feature_is_nothing_where_all_that_are_active_at_its_site_are_listed() -> None:
    a, b = made({A: 2.0, C: -0.5}, {}), complete(made({B: 0.3}, {}), 1)
    (pair,) = (pair for pair in compare(a, b).nodes if pair.name == A)
    assert (pair.listed, pair.b, pair.change) == ("a", 0.0, -2.0)
    assert by_name(compare(a, b).nodes)[C] == (-0.5, None), "another site"
    assert by_name(compare(a, complete(b, 2)).nodes)[A] == (2.0, None), "one is not listed"
    patched = msgspec.structs.replace(b, contrast_prompt="other", contrast_tokens=b.tokens)
    assert by_name(compare(a, patched).nodes)[A] == (2.0, None), "the other prompt has more"


def test_sums_over_different_positions_are_not_held_against_each_other() -> None:
    a, b = made({A: 2.0, B: 0.5, C: 1.0}, {(C, A): 0.4}), made({A: 1.5, C: 1.5}, {(C, B): 0.1})
    found = compare(a, b, "feature")
    name = without_position(A)
    assert [(pair.name, pair.a, pair.b, pair.change) for pair in found.nodes] == [
        (without_position(C), 1.0, 1.5, 0.5),
        (name, 2.5, 1.5, None),
    ]
    assert [(pair.a, pair.b, pair.change) for pair in found.edges] == [(0.4, 0.1, None)]
    # unless both sums are of all that there is
    found = compare(complete(a, 2), complete(b, 1), "feature")
    assert found.nodes[0].name == name and found.nodes[0].change == -1.0
    found = compare(complete(a, 2), complete(made({}, {}), 0), "feature")
    assert (found.nodes[0].name, found.nodes[0].change) == (name, -2.5)
    found = compare(a, complete(made({}, {}), 0), "feature")
    assert [pair.change for pair in found.nodes] == [None, None], "A may not list all of it"


@pytest.mark.parametrize("top", [2, 1000])
def test_each_change_is_that_of_the_true_effects(tiny_loaded: LoadedModel, top: int) -> None:
    def asked(prompt: str) -> Explanation:
        settings = Settings(top=top, edges=2)
        return explain(tiny_loaded, prompt, target=7, contrast=11, settings=settings)

    a, b = asked(PROMPT), asked("the cat sat on the mat. To or")

    def truth(made: Explanation, node: str) -> float:
        ref = parse_node(node)
        if ref.kind == "feature":
            assert ref.site is not None and ref.index is not None
            here = made.attribution.reading.activations(ref.site, ref.index)[ref.position]
            if here == 0:
                return 0.0
        return made.attribution.effect(ref.id)

    found = compare(a.circuit, b.circuit)
    for pair in found.nodes:
        true = truth(b, pair.name) - truth(a, pair.name)
        assert pair.change is None or pair.change == pytest.approx(true)
    alone = [pair for pair in found.nodes if pair.listed != "both"]
    features = [pair for pair in alone if parse_node(pair.name).kind == "feature"]
    assert any(pair.change is not None for pair in features) == (top == 1000)
    # what is not listed is not always nothing
    missed = [p for p in alone if p.b is None and truth(b, p.name) != 0]
    assert missed or top == 1000


def test_prompts_of_different_length_are_compared_by_feature_with_positions_summed() -> None:
    a = made({A: 2.0, B: 0.5, E: 0.1, LEAF: 1.0}, {(C, A): 0.4, (C, B): 0.1, (LEAF, A): 1.0})
    longer = (*a.tokens, Token(99, "!"))
    b = made({A: 1.0, NodeId("embed/token@10"): 0.7, LEAF: 0.2}, {}, tokens=longer, prompt="other")
    found = compare(a, b)
    assert found.by == "feature"
    name = without_position(A)
    assert by_name(found.nodes) == {
        name: (2.5, 1.0),
        without_position(E): (0.1, None),
        "embed/token ' not'": (1.0, 0.2),
        "embed/token '!'": (0.0, 0.7),
    }
    changes = {pair.name: pair.change for pair in found.nodes}
    assert changes["embed/token '!'"] == 0.7, "there is no such token in A"
    assert changes["embed/token ' not'"] == pytest.approx(-0.8), "it is there once in both"
    assert changes[name] is None, "at two positions in A, and at one in B"
    c = without_position(C)
    assert by_name(found.edges)[f"{c} → {name}"] == (0.5, None)
    assert by_name(found.edges)[f"embed/token ' not' → {name}"] == (1.0, None)
    assert compare(a, b, "node").by == "node"


def test_what_was_asked_differently_is_said_and_what_cannot_be_compared() -> None:
    other = circuit(COMPLETIONS[2], None, "logp", prompt="another")
    found = compare(circuit(), other)
    assert {d.what: (d.a, d.b) for d in found.differs} == {
        "prompt": (circuit().prompt, "another"),
        "target": ("' question'", "' only'"),
        "contrast": ("' way'", ""),
        "metric": ("diff", "logp"),
    }
    assert any("unit" in note for note in found.notes) and not found.same
    model = msgspec.structs.replace(circuit().model, dictionaries="relu")
    found = compare(circuit(), msgspec.structs.replace(circuit(), model=model))
    assert any("different dictionaries" in note for note in found.notes)
    tokens = (Token(1, "x"), *circuit().tokens[1:])
    found = compare(circuit(), msgspec.structs.replace(circuit(), tokens=tokens))
    assert any("tokens differ" in note for note in found.notes)


def test_measured_effects_and_labels_come_along_but_not_over_sums() -> None:
    source = circuit().model.sources[str(SITES[2])]
    a = made({A: 2.0, B: 0.5}, {}, explanations={f"{source}/7": "be\x1b"})
    a = a.with_exact({A: 1.9})
    found = compare(a, a, "node")
    pair = next(pair for pair in found.nodes if pair.name == A)
    assert (pair.exact_a, pair.exact_b, pair.label) == (1.9, 1.9, r"be\x1b")
    assert compare(a, a, "feature").nodes[0].exact_a is None
