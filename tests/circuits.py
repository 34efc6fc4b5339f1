"""Circuits of a few nodes, made up for tests of what is computed from records alone."""

from scd_tui.graph import (
    Circuit,
    Completion,
    Edge,
    ModelIdentity,
    Node,
    NodeId,
    Settings,
    Target,
    Token,
)

_WANTED = Completion(Token(7, " question"), 0.06, 1.5)
TARGET = Target("diff", 8, _WANTED, Completion(Token(11, " way"), 0.05, 1.25))
ROOT: NodeId = TARGET.root


def circuit_of(*nodes: Node, edges: tuple[Edge, ...]) -> Circuit:
    """A circuit of these nodes, the first of which is `ROOT`; what edges lead into is expanded."""
    return Circuit(
        prompt="x",
        tokens=tuple(Token(index, str(index)) for index in range(9)),
        model=ModelIdentity(
            name="demo",
            revision="abc",
            dictionaries="topk",
            dictionaries_revision="def",
            device="cpu",
            layers=2,
            context=64,
            vocabulary=100,
        ),
        settings=Settings(),
        target=TARGET,
        metric_value=0.25,
        share_explained=0.5,
        completions=(_WANTED,),
        sites=(),
        nodes=nodes,
        edges=edges,
        expanded=tuple(dict.fromkeys(edge.target for edge in edges)),
    )
