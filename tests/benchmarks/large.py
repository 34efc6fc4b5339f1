"""A circuit with as many rows as one likes."""

import msgspec
from tui.samples import LAST, SITES, circuit

from scd_tui.graph import Circuit, Node, feature_id


def large_circuit(rows: int) -> Circuit:
    """The sample circuit with about `rows` strongest nodes, shared out over its sites."""
    each = max(1, rows // len(SITES))
    nodes = [
        Node(
            feature_id(site, n, n % (LAST + 1)),
            (each - n) / each * (1 - 2 * (n % 2)),
            1.0,
            top=True,
        )
        for site in SITES
        for n in range(each)
    ]
    made = circuit()
    others = [node for node in made.nodes if not node.top]
    kept = {node.id for node in [*nodes, *others]}
    edges = tuple(e for e in made.edges if e.source in kept and e.target in kept)
    expanded = tuple(name for name in made.expanded if name in kept)
    return msgspec.structs.replace(made, nodes=(*others, *nodes), edges=edges, expanded=expanded)
