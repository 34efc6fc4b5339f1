"""From a prompt and a target to a circuit: the whole of it, as the app and the command line ask for it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import torch

from scd_tui.attribution.ablation import ablated_logits, exact_effects
from scd_tui.attribution.attribute import Attribution, attribute, read, strongest
from scd_tui.attribution.circuit import circuit_graph, share_explained, site_summary
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.metric import resolve_target, value_at, warnings
from scd_tui.attribution.trust import nodes_to_measure, trust
from scd_tui.graph import (
    Circuit,
    Completion,
    Metric,
    NodeId,
    NodeRef,
    Settings,
    Site,
    parse_node,
)


@dataclass(frozen=True)
class Explanation:
    """A circuit, with all that is needed to ask it more."""

    loaded: LoadedModel
    attribution: Attribution
    circuit: Circuit


@dataclass(frozen=True)
class Ablation:
    """What removing one node did.

    `clean`, `without` `[vocabulary]`: log-probabilities with and without the node, in nats.
    """

    predicted: float
    exact: float
    clean: torch.Tensor
    without: torch.Tensor
    completions: tuple[Completion, ...]

    @property
    def shifts(self) -> torch.Tensor:
        """`[vocabulary]`: log-probability that the node lends each token, in nats."""
        return self.clean - self.without


TOKENS_IN_PLAY = 100
"""Tokens that an ablation's effect on the vocabulary is told of. Among all of them, the largest shifts
are those of tokens that the model would not say either way."""


def tokens_in_play(ablation: Ablation) -> torch.Tensor:
    """Ids of the 100 likeliest tokens with or without the node, most promoted first."""
    best = torch.maximum(ablation.clean, ablation.without)
    likeliest = best.argsort(descending=True, stable=True)[:TOKENS_IN_PLAY]
    return likeliest[ablation.shifts[likeliest].argsort(descending=True, stable=True)]


def explain(
    loaded: LoadedModel,
    prompt: str,
    *,
    target: str | int,
    contrast: str | int | None = None,
    metric: Metric = "diff",
    position: int | None = None,
    settings: Settings | None = None,
    on_site: Callable[[Attribution, Site], None] = lambda attribution, site: None,
) -> Explanation:
    """Make the circuit behind a completion, without its exact effects and trust.

    Raises InputError on prompts, targets and positions that do not exist.
    """
    settings = settings or Settings()
    start = time.perf_counter()
    tokens = loaded.model.prompt(prompt)
    reading = read(loaded.model, tokens, loaded.dictionaries)
    read_at = time.perf_counter()
    logits = reading.cut.logits.detach()
    wanted = resolve_target(
        loaded.model,
        tokens,
        logits,
        target=target,
        contrast=contrast,
        metric=metric,
        position=position,
    )
    attribution = attribute(reading, wanted, strongest(settings.top), on_site)
    nodes, edges, expanded = circuit_graph(attribution, settings)
    done = time.perf_counter()
    circuit = Circuit(
        prompt=prompt,
        tokens=tokens,
        model=loaded.identity,
        settings=settings,
        target=wanted,
        metric_value=attribution.value,
        share_explained=share_explained(attribution),
        completions=loaded.model.completions(logits[wanted.position], settings.completions),
        sites=tuple(site_summary(attribution, site) for site in reversed(reading.sites)),
        nodes=nodes,
        edges=edges,
        expanded=expanded,
        seconds={"reading": read_at - start, "attribution": done - read_at},
        notes=warnings(wanted),
    )
    return Explanation(loaded, attribution, circuit)


def measure(explanation: Explanation) -> Iterator[tuple[dict[NodeRef, float], int, int]]:
    """Ablate the strongest nodes, batch by batch: `(effects of the batch, done, total)`.

    The selected error nodes are measured too, after the features that trust is made of.
    """
    attribution = explanation.attribution
    nodes = dict.fromkeys(nodes_to_measure(attribution))
    for chosen in attribution.selected.values():
        nodes.update(dict.fromkeys(parse_node(node) for node in chosen))
    done = 0
    reading, target = attribution.reading, attribution.target
    for batch in exact_effects(explanation.loaded.model, reading, target, list(nodes)):
        done += len(batch)
        yield batch, done, len(nodes)


def measured_circuit(explanation: Explanation) -> Circuit:
    """The circuit with the exact effects of its strongest nodes, and its trust."""
    start = time.perf_counter()
    exact: dict[NodeRef, float] = {}
    for batch, _, _ in measure(explanation):
        exact.update(batch)
    circuit = explanation.circuit.with_exact({node.id: value for node, value in exact.items()})
    return msgspec.structs.replace(
        circuit,
        trust=trust(explanation.attribution, exact),
        seconds={**circuit.seconds, "trust": time.perf_counter() - start},
    )


@torch.no_grad()
def ablate(explanation: Explanation, node: NodeId, count: int) -> Ablation:
    """Remove one node for real. Raises InputError on embeddings and the root."""
    attribution, model = explanation.attribution, explanation.loaded.model
    target, ref = attribution.target, parse_node(node)
    clean = attribution.reading.cut.logits.detach()[target.position]
    without = ablated_logits(model, attribution.reading, [ref], target.position)[0]
    return Ablation(
        predicted=attribution.effect(node),
        exact=float(value_at(target, clean) - value_at(target, without)),
        clean=clean.log_softmax(dim=-1),
        without=without.log_softmax(dim=-1),
        completions=model.completions(without, count),
    )
