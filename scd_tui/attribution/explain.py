"""From a prompt and a target to a circuit: the whole of it, as the app and the command line ask for it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import torch

from scd_tui.attribution.ablation import ablated_logits, exact_effects, measured_edges
from scd_tui.attribution.attribute import Attribution, Reading, attribute, read, strongest
from scd_tui.attribution.circuit import circuit_graph, share_explained, site_summary
from scd_tui.attribution.finite import require_finite_values
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.methods import effects_by
from scd_tui.attribution.metric import positions_of, resolve_target, value_at, warnings
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.question import ask
from scd_tui.attribution.room import asked_of, require
from scd_tui.attribution.trust import edges_to_measure, nodes_to_measure, trust, trust_scores
from scd_tui.errors import InputError
from scd_tui.graph import (
    Circuit,
    Metric,
    ModelIdentity,
    NodeId,
    NodeRef,
    Settings,
    Site,
    Target,
    Token,
    TrustScores,
    parse_node,
)
from scd_tui.numbers import counted
from scd_tui.wording import without_dictionaries


@dataclass(frozen=True)
class Explanation:
    """A circuit, with all that is needed to ask it more."""

    loaded: LoadedModel
    attribution: Attribution
    circuit: Circuit


@dataclass(frozen=True)
class Trial:
    """What a change of the model did to its answer.

    `predicted`: what the metric was estimated to lose; `exact`: what it lost. `clean`, `changed`
    `[vocabulary]`: log-probabilities before and after, in nats, where the target's first token is read.
    """

    predicted: float
    exact: float
    clean: torch.Tensor
    changed: torch.Tensor

    @classmethod
    def of(cls, attribution: Attribution, predicted: float, logits: torch.Tensor) -> "Trial":
        """From logits `[steps, vocabulary]` of the changed model."""
        clean = attribution.reading.cut.logits_at(attribution.target.positions).detach()
        require_finite_values(logits, "after this ablation")
        return cls(
            predicted,
            float(value_at(attribution.target, clean) - value_at(attribution.target, logits)),
            clean[0].log_softmax(dim=-1),
            logits[0].log_softmax(dim=-1),
        )

    @property
    def shifts(self) -> torch.Tensor:
        """`[vocabulary]`: log-probability that each token has lost, in nats."""
        return self.clean - self.changed


TOKENS_IN_PLAY = 100
"""Tokens that an ablation's effect on the vocabulary is told of. Among all of them, the largest shifts
are those of tokens that the model would not say either way."""


def tokens_in_play(trial: Trial) -> torch.Tensor:
    """Ids of the 100 likeliest tokens before or after, those first that lost most."""
    best = torch.maximum(trial.clean, trial.changed)
    likeliest = best.argsort(descending=True, stable=True)[:TOKENS_IN_PLAY]
    return likeliest[trial.shifts[likeliest].argsort(descending=True, stable=True)]


def explain(
    loaded: LoadedModel,
    prompt: str,
    *,
    target: str | int | Sequence[int] | None = None,
    contrast: str | int | Sequence[int] | None = None,
    metric: Metric = "diff",
    position: int | None = None,
    continuation: int | None = None,
    contrast_prompt: str | None = None,
    settings: Settings | None = None,
    on_site: Callable[[Attribution, Site], None] = lambda attribution, site: None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Explanation:
    """Make the circuit behind a completion, without its exact effects and trust.

    Without a target it is the likeliest token. `question.ask` says what targets of several tokens and
    continuations are, `attribute.read` what a contrast prompt is: to it the same tokens are appended as
    to the prompt. `on_progress` tells of the slow part of the methods that have one. Raises
    InputError on prompts, targets and positions that do not exist; NoRoom, before it starts, on a prompt
    that memory is too short for.
    """
    if not loaded.dictionaries:
        name = loaded.identity.name
        if loaded.identity.dictionaries:
            raise InputError(f"none of the dictionaries can be used in {name}: choose others")
        raise InputError(without_dictionaries(name))
    settings = settings or Settings()
    if settings.freeze_patterns and (unheld := loaded.model.unheld_patterns):
        raise InputError(
            "attention patterns cannot be held in this model: its attention does not read them from "
            f"the hook in {counted(len(unheld), 'layer')} of {loaded.model.layers}; leave patterns free"
        )
    model, start = loaded.model, time.perf_counter()
    asked = asked_of(
        *(model, loaded.dictionaries),
        prompts=1 if contrast_prompt is None else 2,
        averaged=settings.method == "integrated",
    )
    require(asked, model.device, len(model.prompt(prompt)) + (continuation or 1) - 1)
    question = ask(
        *(model, prompt),
        target=target,
        contrast=contrast,
        position=position,
        continuation=continuation,
    )
    other = None
    if contrast_prompt is not None:
        other = model.prompt(contrast_prompt)
        other += question.tokens[len(question.tokens) - question.forced :]
    said = positions_of(question.tokens, len(question.target), question.position)
    reading = read(
        *(model, question.tokens, loaded.dictionaries),
        freeze_patterns=settings.freeze_patterns,
        contrast=other,
        said=said,
        skip_first=settings.skip_first,
        sinks=settings.sinks,
    )
    read_at = time.perf_counter()
    logits = reading.cut.logits_by_position()
    wanted = resolve_target(
        *(model, question.tokens, logits),
        target=question.target,
        contrast=question.contrast,
        metric=metric,
        position=question.position,
    )
    attribution = attribute(
        reading,
        wanted,
        strongest(settings.top),
        on_site,
        effects_of=effects_by(settings.method, model, reading, wanted, on_progress),
    )
    graph = circuit_graph(attribution, settings)
    done = time.perf_counter()
    circuit = Circuit(
        prompt=prompt,
        tokens=question.tokens,
        forced=question.forced,
        contrast_prompt=contrast_prompt,
        contrast_tokens=other or (),
        model=loaded.identity,
        settings=settings,
        target=wanted,
        metric_value=attribution.value,
        contrast_value=_value_there(reading, wanted),
        share_explained=share_explained(attribution),
        completions=model.completions(logits[wanted.position], settings.completions),
        sites=tuple(site_summary(attribution, site) for site in reversed(reading.sites)),
        nodes=graph.nodes,
        edges=graph.edges,
        expanded=graph.expanded,
        flow=graph.flow,
        seconds={"reading": read_at - start, "attribution": done - read_at},
        notes=(
            *warnings(wanted),
            *_bos_once(model, prompt),
            *_nothing_differs(question.tokens, other, wanted),
            *cautions(loaded.identity, len(question.tokens)),
            *loaded.notes,
        ),
        sinks=reading.positions.sinks,
    )
    return Explanation(loaded, attribution, circuit)


def _value_there(reading: Reading, target: Target) -> float | None:
    """The metric of a target in the contrast prompt."""
    if (there := reading.logits_there) is None:
        return None
    return float(value_at(target, torch.stack([there[at] for at in target.positions])))


def _bos_once(model: LanguageModel, prompt: str) -> tuple[str, ...]:
    """That a BOS which was typed is the one that every prompt begins with."""
    if not model.says_bos_itself(prompt):
        return ()
    bos = model.tokenize(prompt)[0].text
    return (f"the prompt begins with {bos!r} itself: it is not put before it once more",)


def _nothing_differs(
    tokens: Sequence[Token], other: Sequence[Token] | None, target: Target
) -> tuple[str, ...]:
    """Why all effects are 0 where two prompts are one as far as the metric reads."""
    read = max(target.positions) + 1
    if other is None or tuple(tokens[:read]) != tuple(other[:read]):
        return ()
    return (
        "the contrast prompt is the prompt as far as the metric reads it: nothing differs, and every "
        "effect is 0; change a token before that",
    )


def cautions(model: ModelIdentity, tokens: int) -> tuple[str, ...]:
    """What a reader of a circuit of so many tokens should know of its dictionaries."""
    found = []
    failed = sum(1 for gate in model.gate if gate.passed is False)
    if failed:
        found.append(
            f"{failed} of {len(model.gate)} dictionaries failed the load gate: what they say of "
            "this prompt means little (scd-tui check tells more)"
        )
    trained = model.training_context
    if trained is not None and tokens > trained:
        found.append(
            f"the prompt has {tokens} tokens and the dictionaries were trained on texts of {trained}: "
            "what they say of later positions is less sure"
        )
    return tuple(found)


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


def measure_edges(explanation: Explanation) -> Iterator[TrustScores | None]:
    """Measure the strongest edges, batch by batch: at last their trust, until then None."""
    attribution = explanation.attribution
    edges = edges_to_measure(attribution)
    ends = [(parse_node(edge.source), edge.target) for edge in edges]
    exact: list[float] = []
    for batch in measured_edges(explanation.loaded.model, attribution, ends):
        exact += batch
        yield None
    yield trust_scores([edge.weight for edge in edges], exact)


def measured_circuit(explanation: Explanation) -> Circuit:
    """The circuit with the exact effects of its strongest nodes, and the trust of nodes and edges."""
    start = time.perf_counter()
    exact: dict[NodeRef, float] = {}
    for batch, _, _ in measure(explanation):
        exact.update(batch)
    circuit = explanation.circuit.with_exact({node.id: value for node, value in exact.items()})
    *_, edges = measure_edges(explanation)
    return msgspec.structs.replace(
        circuit,
        trust=msgspec.structs.replace(trust(explanation.attribution, exact), edges=edges),
        seconds={**circuit.seconds, "trust": time.perf_counter() - start},
    )


@torch.no_grad()
def ablate(explanation: Explanation, node: NodeId) -> Trial:
    """Remove one node for real. Raises InputError on embeddings and the root."""
    attribution, model = explanation.attribution, explanation.loaded.model
    ref, where = parse_node(node), attribution.target.positions
    without = ablated_logits(model, attribution.reading, [ref], where)[0]
    return Trial.of(attribution, attribution.effect(node), without)
