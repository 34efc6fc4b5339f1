"""Circuits, timed: from tokens to finished records, in parts, and what is asked of them afterwards."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import torch

from scd_tui.attribution.attribute import Attribution, attribute, read, strongest
from scd_tui.attribution.circuit import circuit_graph, strongest_edges
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.metric import positions_of, resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.bench.procedure import spread
from scd_tui.bench.stopwatch import Now
from scd_tui.graph import NodeId, Settings, Site, Token, error_id, feature_id, parse_node
from scd_tui.timings import Parts

_A_SITE = 5
"""Nodes of a site that are followed afterwards."""


@dataclass(frozen=True)
class Question:
    """A prompt, and how many nodes a site are wanted."""

    model: LanguageModel
    dictionaries: Mapping[Site, Dictionary]
    tokens: tuple[Token, ...]
    settings: Settings


@dataclass(frozen=True)
class Timed:
    """A circuit and how long it took."""

    attribution: Attribution
    parts: Parts


@dataclass(frozen=True)
class Upstream:
    """Milliseconds for the edges into one more node, over nodes of early, middle and late sites."""

    nodes: int
    median_ms: float
    worst_ms: float


def make(question: Question, now: Now) -> Timed:
    """One circuit, with the settings' nodes a site over all positions and the largest error nodes."""
    model, tokens = question.model, question.tokens
    start = now()
    reading = read(model, tokens, question.dictionaries, said=positions_of(tokens, 1))
    was_read = now()
    logits = reading.cut.logits_by_position()
    best = int(logits[len(tokens) - 1].argmax())
    target = resolve_target(model, tokens, logits, target=best)
    attribution = attribute(reading, target, strongest(question.settings.top))
    was_attributed = now()
    circuit_graph(attribution, question.settings)
    return Timed(
        attribution,
        Parts(
            reading_s=was_read - start,
            attribution_s=was_attributed - was_read,
            records_s=now() - was_attributed,
        ),
    )


def targets(attribution: Attribution) -> int:
    """Nodes that edges were computed into: the selected ones, and the metric."""
    return 1 + sum(len(chosen) for chosen in attribution.selected.values())


def best(question: Question, runs: int, now: Now) -> tuple[int, float]:
    """How many targets a circuit has, and seconds of the fastest run."""
    found = []
    for _ in range(runs):
        gc.collect()
        timed = make(question, now)
        found.append(timed.parts.total_s)
        number = targets(timed.attribution)
        del timed  # its graph would lie beside the next one
    return number, min(found)


def best_parts_and_upstream(question: Question, runs: int, now: Now) -> tuple[Parts, Upstream]:
    """The parts of the fastest run; and each circuit is asked for the edges into some more nodes.

    A node's edges are computed once a circuit, so that every run needs a new one.
    """
    found: list[Parts] = []
    followed: dict[NodeId, list[float]] = {}
    for _ in range(runs):
        gc.collect()
        timed = make(question, now)
        found.append(timed.parts)
        for node in not_followed(timed.attribution):
            start = now()
            strongest_edges(timed.attribution, node, question.settings.edges)
            followed.setdefault(node, []).append(now() - start)
        del timed  # its graph would lie beside the next one
    fastest = [1000 * min(seconds) for seconds in followed.values()]
    upstream = Upstream(len(fastest), median(fastest), max(fastest))
    return min(found, key=lambda parts: parts.total_s), upstream


def not_followed(attribution: Attribution, count: int = _A_SITE) -> tuple[NodeId, ...]:
    """The strongest features of an early, a middle and a late site that no edges were computed into."""
    reading, found = attribution.reading, []
    for site in spread(reading.sites):
        taken = attribution.selected[site]
        select = strongest(len(taken) + count)
        candidates = select(reading, site, attribution.effects[site])
        features = [node for node in candidates if parse_node(node).kind == "feature"]
        found += [node for node in features if node not in taken][:count]
    return tuple(found)


def compared(attribution: Attribution) -> tuple[NodeId, ...]:
    """Targets for the published procedure: a feature and an error of an early, a middle, a late site.

    All at the metric's position, where the feature is the site's strongest.
    """
    reading, at = attribution.reading, attribution.target.position
    found: list[NodeId] = []
    for site in spread(reading.sites):
        encoded, effects = reading.encoded[site], attribution.effects[site].features
        sizes = torch.where(encoded.positions == at, effects.abs(), -1.0)
        if len(sizes) and float(sizes.max()) >= 0:
            found.append(feature_id(site, int(encoded.indices[int(sizes.argmax())]), at))
        found.append(error_id(site, at))
    return tuple(found)
