from typing import Any

import msgspec
import pytest
from tui.samples import COMPLETIONS, SITES, circuit

from scd_tui.comparison import Pair, compare
from scd_tui.graph import Circuit, Edge, Node, NodeId, Token, error_id, feature_id
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


def test_nodes_are_in_both_or_in_one_and_sorted_by_how_much_they_change() -> None:
    a = made({A: 2.0, C: -0.5, E: 0.05}, {(C, A): 0.4})
    b = made({A: 0.5, C: -0.6, B: 0.3}, {(C, A): -0.1, (E, A): 0.2})
    found = compare(a, b)
    assert found.by == "node"
    assert [pair.name for pair in found.nodes] == [A, B, C, E]
    assert [pair.change for pair in found.nodes] == pytest.approx([-1.5, 0.3, -0.1, -0.05])
    assert [pair.name for pair in found.where(True, True)] == [A, C]
    assert [pair.name for pair in found.where(True, False)] == [E]
    assert [pair.name for pair in found.where(False, True)] == [B]
    assert found.overlap == pytest.approx((2.5 / 2.55, 1.1 / 1.4))
    assert by_name(found.edges) == {f"{C} → {A}": (0.4, -0.1), f"{E} → {A}": (None, 0.2)}


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
        "embed/token '!'": (None, 0.7),
    }
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
