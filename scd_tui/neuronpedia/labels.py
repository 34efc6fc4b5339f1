"""Explanations for the nodes of a circuit, from records that lie on this machine."""

from pathlib import Path

import msgspec

from scd_tui.graph import Circuit, parse_node
from scd_tui.neuronpedia.bundled import BundledFeatures


def with_labels(circuit: Circuit, features: Path | None) -> Circuit:
    """The circuit with the label of every feature in it that has one, by `source/index`."""
    if features is None:
        return circuit
    records = BundledFeatures(features)
    labels: dict[str, str] = {}
    for node in circuit.nodes:
        ref = parse_node(node.id)
        source = circuit.model.sources.get(str(ref.site)) if ref.kind == "feature" else None
        if source is None or ref.index is None:
            continue
        label = records.label(source, ref.index)
        if label is not None:
            labels[f"{source}/{ref.index}"] = label
    return msgspec.structs.replace(circuit, explanations=labels)
