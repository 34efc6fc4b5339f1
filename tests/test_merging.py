"""Two answers to one question in one: nothing that either did is lost, and nothing comes back."""

import random

import msgspec
import pytest
from tui.samples import SITES, TRUST, circuit, edges_into, site_nodes
from tui.scripted import OUTCOME

from scd_tui.graph import (
    Circuit,
    Edge,
    Marks,
    Node,
    Removal,
    Supernode,
    decode_circuit,
    encode_circuit,
    feature_id,
)
from scd_tui.merging import BOTH, merged, merged_marks, merged_note
from scd_tui.tui.store import CircuitStore

NAMES = [node.id for node in site_nodes(SITES[-1])]
A, B, C = NAMES[:3]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "wanted"),
    [
        ("", "", "", ""),
        ("", "x", "", "x"),
        ("", "", "x", "x"),
        ("x", "", "x", ""),
        ("x", "x", "", ""),
        ("x", "y", "x", "y"),
        ("x", "x", "y", "y"),
        ("x", "", "y", "y"),
        ("x", "y", "", "y"),
        ("x", "y", "y", "y"),
        ("x", "y", "z", f"y{BOTH}z"),
        ("", "y", "z", f"y{BOTH}z"),
        ("", f"y{BOTH}z", "z", f"y{BOTH}z"),
        ("", "z", f"y{BOTH}z", f"y{BOTH}z"),
    ],
)
def test_a_note_is_as_who_changed_it_has_it_and_both_texts_where_both_did(
    base: str, ours: str, theirs: str, wanted: str
) -> None:
    assert merged_note(base, ours, theirs) == wanted
    marks = [Marks(notes={A: text} if text else {}) for text in (base, ours, theirs)]
    assert merged_marks(*marks).notes == ({A: wanted} if wanted else {})


def test_pins_and_supernodes_are_merged_one_by_one() -> None:
    old, two = Supernode("old", (A,)), Supernode("two", (A,))
    base = Marks(pins=(A, B), supernodes=(old, two))
    ours = Marks(pins=(B, C), supernodes=(two, Supernode("mine", (C,))))  # A, `old` taken off
    theirs = Marks(pins=(A, B, NAMES[3]), supernodes=(old, Supernode("two", (A, B))))
    found = merged_marks(base, ours, theirs)
    assert found.pins == (B, C, NAMES[3])
    assert found.supernodes == (Supernode("two", (A, B)), Supernode("mine", (C,)))
    both = merged_marks(base, Marks(supernodes=(Supernode("two", (A, C)),)), theirs)
    assert both.supernodes == (Supernode("two", (A, C, B)),), "changed by both: the nodes of both"


def test_random_edits_of_two_are_all_there_when_both_have_merged() -> None:
    """Against the plainest account: for each item what base, one and the other have of it."""
    numbers = random.Random(3)
    for _ in range(300):
        base, ours, theirs = (_some(numbers) for _ in range(3))
        one, other = merged_marks(base, ours, theirs), merged_marks(base, theirs, ours)
        assert set(one.pins) == set(other.pins) and set(one.notes) == set(other.notes)
        for name in NAMES:
            was, here, there = (name in marks.pins for marks in (base, ours, theirs))
            assert (name in one.pins) == ((here or there) if not was else (here and there))
            texts = [marks.notes.get(name) for marks in (base, ours, theirs)]
            for text in texts[1:]:
                if text is not None and text != texts[0]:
                    assert text in one.notes[name] and text in other.notes[name]
        again = merged_marks(ours, one, ours)
        assert again == one, "to merge what was merged changes nothing"


def _some(numbers: random.Random) -> Marks:
    pins = tuple(name for name in NAMES if numbers.random() < 0.5)
    notes = {name: numbers.choice("xyz") for name in NAMES if numbers.random() < 0.5}
    return Marks(pins, notes)


def _theirs() -> Circuit:
    """The same question, with everything that can be learned of a circuit later."""
    learned = Node(feature_id(SITES[0], 1000, 3), 0.3, 1.0, exact=0.25, top=True)
    unfolded = site_nodes(SITES[2])[0].id
    past = circuit().with_exact({A: 0.5, B: 0.75})
    return msgspec.structs.replace(
        past,
        nodes=(*past.nodes, learned),
        edges=(*past.edges, Edge(learned.id, unfolded, 0.125)),
        expanded=(*past.expanded, unfolded),
        trust=TRUST,
        explanations={"a/1": "theirs", "b/2": "theirs"},
        marks=Marks(pins=(learned.id,), notes={B: "b"}),
        removals=(Removal((A,), OUTCOME), Removal((A,), OUTCOME, into=B, along=0.5)),
    )


def test_all_that_is_learned_of_a_circuit_is_of_both() -> None:
    ours = msgspec.structs.replace(
        circuit().with_exact({B: 0.7}),
        explanations={"b/2": "ours"},
        removals=(Removal((A, B), OUTCOME),),
        marks=Marks(notes={A: "a"}),
    )
    found, theirs = merged(Marks(), ours, _theirs()), _theirs()
    assert decode_circuit(encode_circuit(found)) == found, "it is a circuit that opens"
    exact = {node.id: node.exact for node in found.nodes}
    learned = feature_id(SITES[0], 1000, 3)
    assert (exact[A], exact[B], exact[learned]) == (0.5, 0.7, 0.25)
    assert found.explanations == {"a/1": "theirs", "b/2": "ours"} and found.trust == TRUST
    assert {(r.nodes, r.into) for r in found.removals} == {((A,), None), ((A,), B), ((A, B), None)}
    assert found.marks == Marks(pins=theirs.marks.pins, notes={A: "a", B: "b"})
    assert set(found.expanded) == set(theirs.expanded) and set(found.edges) == set(theirs.edges)
    # the store merges what is on the screen by rules of its own: the same must come of it
    store = CircuitStore.of(ours)
    store.recall(theirs)
    shown = store.snapshot()
    assert shown is not None
    for name in ("nodes", "edges", "expanded", "removals"):
        assert sorted(map(repr, getattr(shown, name))) == sorted(map(repr, getattr(found, name)))
    assert (shown.trust, shown.marks) == (found.trust, found.marks)


def test_what_lies_beyond_the_tokens_is_left_out_so_that_the_file_opens() -> None:
    """A continuation that came out otherwise on another machine."""
    short = circuit()
    tokens = short.tokens
    long = msgspec.structs.replace(_theirs(), tokens=(*tokens, tokens[0]))
    beyond = feature_id(SITES[3], 7, len(tokens))
    root = long.target.root
    long = msgspec.structs.replace(
        long,
        nodes=(*long.nodes, Node(beyond, 0.1, 1.0)),
        edges=(*long.edges, Edge(beyond, root, 0.1)),
        expanded=(*long.expanded, beyond),
        marks=Marks((beyond, A), {beyond: "x", A: "y"}, (Supernode("g", (A, beyond)),)),
        removals=(Removal((beyond,), OUTCOME), Removal((A,), OUTCOME)),
    )
    found = merged(Marks(), short, long)
    assert decode_circuit(encode_circuit(found)) == found
    assert found.marks == Marks((A,), {A: "y"})
    assert edges_into(root, len(SITES))[0] in found.edges
