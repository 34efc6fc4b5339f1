"""Explanations for the nodes of a circuit, from what lies on this machine: nobody is asked."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from scd_tui.graph import Circuit, parse_node
from scd_tui.neuronpedia.address import SITE, Feature
from scd_tui.neuronpedia.bundled import BundledFeatures


def with_labels(
    circuit: Circuit,
    features: Path | None,
    cache: Path | None = None,
    site: str = SITE,
    made: Path | None = None,
) -> Circuit:
    """The circuit with the label of every feature in it that has one, by `source/index`.

    From the records in `features`, or from what was fetched of Neuronpedia at `site` into `cache`, and
    where that has none, from the contexts that were made here, which are in `made`.
    """
    if features is not None:
        return _labelled(circuit, BundledFeatures(features).label)
    return _with_fetched(_with_made(circuit, made), cache, site)


def _with_made(circuit: Circuit, made: Path | None) -> Circuit:
    if made is None or not made.is_dir():
        return circuit
    from scd_tui.neuronpedia.local import LocalFeatures

    try:
        records = LocalFeatures(made, circuit.model.reference)
    except OSError:
        return circuit
    with contextlib.closing(records):
        return _labelled(circuit, records.label)


def _with_fetched(circuit: Circuit, cache: Path | None, site: str) -> Circuit:
    if cache is None or not circuit.model.neuronpedia or not cache.is_dir():
        return circuit
    from scd_tui.neuronpedia.cache import Cache

    try:
        known = Cache(cache, site)
    except OSError:
        return circuit

    def label(source: str, index: int) -> str | None:
        entry = known.get(Feature(circuit.model.neuronpedia, source, index))
        if entry is None or entry.record is None or not entry.record.explanations:
            return None
        return entry.record.explanations[0].description

    with contextlib.closing(known):
        return _labelled(circuit, label)


def _labelled(circuit: Circuit, label: Callable[[str, int], str | None]) -> Circuit:
    labels = dict(circuit.explanations)
    for node in circuit.nodes:
        ref = parse_node(node.id)
        if ref.kind != "feature" or ref.index is None:
            continue
        source = circuit.model.sources.get(str(ref.site), str(ref.site))
        text = label(source, ref.index)
        if text is not None:
            labels[f"{source}/{ref.index}"] = text
    return msgspec.structs.replace(circuit, explanations=labels)
