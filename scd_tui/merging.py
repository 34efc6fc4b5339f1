"""Two answers to one question, in one: what this program has, and what another has written meanwhile.

Merged item by item: a pin, a note, a supernode, a node's exact effect, the edges into a node, a trial.
Marks can be taken off as well as put on, so they are held against what both began from (`base`): what
only one of the two changed is as that one has it. Where both changed the same note, both texts are kept,
this program's first; of a supernode, the nodes of both; what one changed and the other took off, stays.
All else only grows: of two that both have, this program's is taken.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from scd_tui.graph import (
    Circuit,
    Marks,
    Node,
    NodeId,
    Removal,
    Supernode,
    Trust,
    parse_node,
)

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")

BOTH = " · also: "
"""Between two notes that were written on the same node at the same time."""


def merged_marks(base: Marks, ours: Marks, theirs: Marks) -> Marks:
    """Pins, notes and supernodes of both, without those that either took off since `base`."""
    if ours == theirs or theirs == base:
        return ours
    pins = [dict.fromkeys(one.pins, True) for one in (base, ours, theirs)]
    groups = [{group.name: group for group in one.supernodes} for one in (base, ours, theirs)]
    return Marks(
        pins=tuple(_merged(pins[0], pins[1], pins[2], _first)),
        notes=_merged(base.notes, ours.notes, theirs.notes, _both_texts),
        supernodes=tuple(_merged(groups[0], groups[1], groups[2], _both_groups).values()),
    )


def merged_note(base: str, ours: str, theirs: str) -> str:
    """The same for the text of one note, "" for none."""
    return _settled(base or None, ours or None, theirs or None, _both_texts) or ""


def merged(base: Marks, ours: Circuit, theirs: Circuit) -> Circuit:
    """`ours` with all that `theirs`, an answer to the same question, has besides.

    What says how the answer was computed, and its numbers, are those of `ours`.
    """
    theirs = _within(theirs, len(ours.tokens))
    followed = set(ours.expanded)
    known = {(edge.source, edge.target) for edge in ours.edges}
    more = (edge for edge in theirs.edges if edge.target not in followed)
    return msgspec.structs.replace(
        ours,
        contrast_value=_either(ours.contrast_value, theirs.contrast_value),
        share_explained=_either(ours.share_explained, theirs.share_explained),
        nodes=_nodes(ours.nodes, theirs.nodes),
        edges=(*ours.edges, *(e for e in more if (e.source, e.target) not in known)),
        expanded=tuple(dict.fromkeys((*ours.expanded, *theirs.expanded))),
        flow=_either(ours.flow, theirs.flow),
        trust=_trust(ours.trust, theirs.trust),
        explanations={**theirs.explanations, **ours.explanations},
        marks=merged_marks(base, ours.marks, theirs.marks),
        removals=tuple({_tried(one): one for one in (*theirs.removals, *ours.removals)}.values()),
    )


def _nodes(ours: Iterable[Node], theirs: Iterable[Node]) -> tuple[Node, ...]:
    found = {node.id: node for node in ours}
    for node in theirs:
        known = found.get(node.id)
        if known is None:
            # it was learned of later than the circuit was made, in which it would be
            found[node.id] = msgspec.structs.replace(node, top=False)
        elif known.exact is None or known.influence is None or known.inflow is None:
            found[node.id] = msgspec.structs.replace(
                known,
                exact=_either(known.exact, node.exact),
                influence=_either(known.influence, node.influence),
                inflow=_either(known.inflow, node.inflow),
            )
    return tuple(found.values())


def _trust(ours: Trust | None, theirs: Trust | None) -> Trust | None:
    if ours is None or theirs is None:
        return _either(ours, theirs)
    return msgspec.structs.replace(ours, edges=_either(ours.edges, theirs.edges))


def _tried(removal: Removal) -> tuple[frozenset[NodeId], NodeId | None]:
    """What two trials have in common that are the same trial."""
    return frozenset(removal.nodes), removal.into


def _within(circuit: Circuit, positions: int) -> Circuit:
    """A circuit without what lies beyond so many positions: no file can hold both."""
    if len(circuit.tokens) <= positions:
        return circuit

    def inside(*names: NodeId) -> bool:
        return all(parse_node(name).position < positions for name in names)

    marks = circuit.marks
    return msgspec.structs.replace(
        circuit,
        nodes=tuple(node for node in circuit.nodes if inside(node.id)),
        edges=tuple(edge for edge in circuit.edges if inside(edge.source, edge.target)),
        expanded=tuple(name for name in circuit.expanded if inside(name)),
        removals=tuple(removal for removal in circuit.removals if inside(*removal.names)),
        marks=Marks(
            pins=tuple(pin for pin in marks.pins if inside(pin)),
            notes={name: text for name, text in marks.notes.items() if inside(name)},
            supernodes=tuple(group for group in marks.supernodes if inside(*group.nodes)),
        ),
    )


# --- three ways -----------------------------------------------------------------------------------


def _merged(
    base: Mapping[_Key, _Item],
    ours: Mapping[_Key, _Item],
    theirs: Mapping[_Key, _Item],
    both: Callable[[_Item, _Item], _Item],
) -> dict[_Key, _Item]:
    """All items of both, in our order first, each as `_settled` has it."""
    found = {}
    for key in dict.fromkeys((*ours, *theirs)):
        one = _settled(base.get(key), ours.get(key), theirs.get(key), both)
        if one is not None:
            found[key] = one
    return found


def _settled(
    base: _Item | None,
    ours: _Item | None,
    theirs: _Item | None,
    both: Callable[[_Item, _Item], _Item],
) -> _Item | None:
    """An item that is `base` where both began, None where it is not there."""
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    if ours is None or theirs is None:  # one took off what the other changed
        return _either(ours, theirs)
    return both(ours, theirs)


def _either(ours: _Item | None, theirs: _Item | None) -> _Item | None:
    return theirs if ours is None else ours


def _first(ours: _Item, theirs: _Item) -> _Item:
    return ours


def _both_texts(ours: str, theirs: str) -> str:
    """Two notes in one; one alone where it says what the other says too."""
    if theirs in ours:
        return ours
    return theirs if ours in theirs else f"{ours}{BOTH}{theirs}"


def _both_groups(ours: Supernode, theirs: Supernode) -> Supernode:
    return Supernode(ours.name, tuple(dict.fromkeys((*ours.nodes, *theirs.nodes))))
