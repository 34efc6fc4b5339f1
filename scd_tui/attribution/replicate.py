"""The post's prompts asked anew: what its tables showed, and what its way of loading makes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import torch

from scd_tui.attribution.attribute import Attribution, Scores
from scd_tui.attribution.circuit import explained_and_not, node_record, share
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.explain import (
    Explanation,
    ablate,
    explain,
    measured_circuit,
    tokens_in_play,
)
from scd_tui.attribution.gate import askable, measure
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.validation import validate
from scd_tui.attribution.way import way_up
from scd_tui.attribution.windows import Windows, token_windows, without_sinks
from scd_tui.catalog.prompts import Prompt
from scd_tui.catalog.texts import Text
from scd_tui.errors import InputError
from scd_tui.graph import Circuit, Metric, NodeId, Site, feature_id, parse_node
from scd_tui.judge import Published, judge
from scd_tui.replication import (
    LOOKED_AT,
    Answer,
    AsPublished,
    Gated,
    LoadedAsPublished,
    PromptReplication,
    Replication,
    Shift,
    Step,
)

METRICS: tuple[Metric, ...] = ("logp", "diff")
"""The post's loss, negated, and ours."""
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Share:
    """Of a prompt's node effects at a site: active features a token, and what they explain."""

    active: float
    share: float | None


def last_site(attribution: Attribution) -> Site:
    """The site that the model computes last."""
    return attribution.reading.sites[-1]


def strongest_feature(circuit: Circuit, site: Site) -> NodeId:
    """The feature of largest |effect| at a site. Raises InputError if none is active there."""
    here = [
        node
        for node in circuit.nodes
        if (ref := parse_node(node.id)).site == site and ref.kind == "feature"
    ]
    if not here:
        raise InputError(f"no feature is active at {site}")
    return max(here, key=lambda node: abs(node.effect)).id


def with_way(attribution: Attribution, circuit: Circuit, way: Sequence[Step]) -> Circuit:
    """The circuit with the nodes and edges of a way in it too."""
    nodes = {node.id: node for node in circuit.nodes}
    edges = {(edge.source, edge.target): edge for edge in circuit.edges}
    for step in way:
        edges.update({(edge.source, edge.target): edge for edge in step.edges})
        for node in (step.node, *(edge.source for edge in step.edges)):
            if node not in nodes:
                nodes[node] = node_record(attribution, node)
    return msgspec.structs.replace(
        circuit,
        nodes=tuple(nodes.values()),
        edges=tuple(edges.values()),
        expanded=tuple(dict.fromkeys([*circuit.expanded, *(step.node for step in way)])),
    )


def answer(
    loaded: LoadedModel,
    prompt: Prompt,
    metric: Metric,
    text: Text,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> tuple[Answer, Explanation]:
    """A prompt under one metric, against the likeliest other token where that needs one.

    Raises InputError on what the model cannot be asked.
    """
    explanation = explain(loaded, prompt.text, target=prompt.target, metric=metric)
    circuit, attribution = measured_circuit(explanation), explanation.attribution
    top = strongest_feature(circuit, last_site(attribution))
    removed = ablate(explanation, top)
    in_play = tokens_in_play(removed).tolist()

    def shifts(ids: Sequence[int], sign: int) -> tuple[Shift, ...]:
        found = [(i, float(removed.shifts[i])) for i in ids[:LOOKED_AT]]
        return tuple(Shift(loaded.model.token(i), nats) for i, nats in found if nats * sign > 0)

    way = way_up(attribution, top)
    return (
        Answer(
            circuit=with_way(attribution, circuit, way),
            top=top,
            effect=removed.predicted,
            exact=removed.exact,
            promoted=shifts(in_play, 1),
            suppressed=shifts(in_play[::-1], -1),
            way=way,
            validation=validate(explanation, text, on_progress),
        ),
        explanation,
    )


@torch.no_grad()
def share_by(dictionary: Dictionary, x: torch.Tensor, gradient: torch.Tensor) -> Share:
    """What a dictionary makes of activations `[pos, d]`, at the metric's gradient there `[pos, d]`."""
    encoded = dictionary.encode(x)
    zero = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    scores = Scores(
        encoded.along(gradient[None])[0], (encoded.error * gradient).sum(dim=-1), zero, zero
    )
    return Share(len(encoded.values) / len(x), share(*explained_and_not(encoded, scores)))


@torch.no_grad()
def as_published(loaded: LoadedModel, attribution: Attribution) -> AsPublished:
    """The same activations and gradients read by the dictionaries as the post's code runs them.

    Sinks are left out. A site at a time: without a selection a third of a dictionary's features may be
    active at a token.
    """
    sites, counted = [], attribution.reading.counted
    for site, dictionary in loaded.dictionaries.items():
        x = attribution.reading.cut.activation(site)[counted]
        gradient = attribution.gradients[site][counted]
        right = share_by(dictionary, x, gradient)
        plain = share_by(dictionary.as_plain_relu(), x, gradient)
        sites.append(
            LoadedAsPublished(
                site=site,
                active=right.active,
                active_as_published=plain.active,
                share=right.share,
                share_as_published=plain.share,
            )
        )
    site = last_site(attribution)
    last = attribution.target.position
    x, gradient = attribution.reading.cut.activation(site), attribution.gradients[site]
    encoded = loaded.dictionaries[site].as_plain_relu().encode(x[last : last + 1])
    effects = encoded.along(gradient[None, last : last + 1])[0]
    chosen = effects.abs().argsort(descending=True, stable=True)[:LOOKED_AT]
    tops = tuple(
        (feature_id(site, int(encoded.indices[row]), last), float(effects[row]))
        for row in chosen.tolist()
    )
    return AsPublished(sites=tuple(sites), tops=tops)


def gated(
    loaded: LoadedModel,
    dictionaries: Mapping[Site, Dictionary],
    published: Mapping[Site, Published],
    windows: Windows,
    prompts: Sequence[Prompt],
    on_progress: Callable[[int, int], None],
) -> Gated:
    """The load gate of these dictionaries."""
    asked = askable(loaded.model, prompts, first=windows.first)
    measured = tuple(measure(loaded.model, dictionaries, windows, asked, on_progress=on_progress))
    return Gated(
        measured=measured,
        verdicts=tuple(judge(found, published.get(found.site)) for found in measured),
    )


def replicate(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    text: Text,
    tokens: int,
    published: Mapping[Site, Published],
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Replication:
    """All of it. The gate is measured on about `tokens` tokens of `text`, the means of curves too.

    A prompt that the model cannot be asked is in the report with the reason. `on_progress(stage, done,
    total)` is called all along; what it raises ends the work.
    """
    model = loaded.model
    first = model.bos if loaded.identity.prepends_bos else None
    windows = without_sinks(
        model,
        Windows(token_windows(model, text.text, tokens, first=first), first),
        loaded.dictionaries.values(),
    )
    plain = {site: d.as_plain_relu() for site, d in loaded.dictionaries.items()}
    gates = [
        gated(
            *(loaded, dictionaries, published, windows, prompts),
            lambda done, total, stage=stage: on_progress(stage, done, total),  # type: ignore[misc]
        )
        for stage, dictionaries in (
            ("gate", loaded.dictionaries),
            ("gate, loaded as the post's code loads them", plain),
        )
    ]
    found = []
    for prompt in prompts:
        found.append(_prompt(loaded, prompt, text, on_progress))
    return Replication(
        text=text.name, gate=gates[0], gate_as_published=gates[1], prompts=tuple(found)
    )


def _prompt(
    loaded: LoadedModel, prompt: Prompt, text: Text, on_progress: OnProgress
) -> PromptReplication:
    answers: list[Answer] = []
    loaded_as_published = None
    try:
        for metric in METRICS:
            made, explanation = answer(
                *(loaded, prompt, metric, text),
                lambda stage, done, total, metric=metric: on_progress(  # type: ignore[misc]
                    f"{prompt.text!r} by {metric}: {stage}", done, total
                ),
            )
            answers.append(made)
            if metric == METRICS[0]:
                loaded_as_published = as_published(loaded, explanation.attribution)
    except InputError as error:
        return PromptReplication(text=prompt.text, target=prompt.target, refused=str(error))
    return PromptReplication(
        text=prompt.text,
        target=prompt.target,
        completions=answers[0].circuit.completions,
        answers=tuple(answers),
        as_published=loaded_as_published,
    )
