"""Node effects and ablations on SmolLM2, by the engine and by transformers with sae_lens alone."""

from typing import Any

import pytest
import torch
from real.plain import Parts, PlainReading, Transformer, furthest
from real.question import CONTRAST_PROMPT, PROMPT
from real.training import SITES
from torch import Tensor

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import Attribution
from scd_tui.attribution.explain import Explanation
from scd_tui.attribution.load import LoadedModel
from scd_tui.graph import NodeRef, Site

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

ESTIMATED = 1e-4
"""Of the largest effect at a site, the sink left out, whose effects are others' size."""
ABLATED = 1e-5
"""Of the largest ablation, on average; a single one is rounded as logits of 20 are in float32."""


def test_logits_are_those_of_plain_transformers(
    loaded: LoadedModel, transformer: Transformer
) -> None:
    for text in (PROMPT, CONTRAST_PROMPT):
        model, tokens = loaded.model, loaded.model.prompt(text)
        found = model.forward(model.ids(tokens))[0]
        torch.testing.assert_close(found, transformer.logits(text), atol=1e-3, rtol=1e-4)


@pytest.fixture(scope="module", params=["prompt", "contrast prompt"])
def both(
    request: pytest.FixtureRequest,
    explanation: Explanation,
    contrasted: Explanation,
    plain: PlainReading,
    plain_contrast: PlainReading,
) -> tuple[Explanation, PlainReading, dict[Site, Parts], PlainReading | None]:
    """A circuit, the same prompt read plainly, its nodes, and the contrast prompt if there is one."""
    if request.param == "prompt":
        return explanation, plain, dict(plain.parts), None
    parts = {site: part.minus(plain_contrast.parts[site]) for site, part in plain.parts.items()}
    return contrasted, plain, parts, plain_contrast


def dense(attribution: Attribution, site: Site, width: int) -> Tensor:
    """`[pos, d_sae]`: effects of a site's features."""
    encoded, scores = attribution.reading.encoded[site], attribution.effects[site]
    found = torch.zeros(len(scores.errors), width, dtype=torch.float64)
    found[encoded.positions, encoded.indices] = scores.features.double()
    return found


def test_effects_are_activations_times_gradients(both: Any, report: list[str]) -> None:
    explanation, plain, parts, other = both
    attribution = explanation.attribution
    assert attribution.value == pytest.approx(plain.value, abs=1e-4)
    assert attribution.reading.sites == SITES
    worst = 0.0
    for site in SITES:
        expected = plain.effects(site, parts[site])
        # the sink's effects are of another size, and are held to the same size as the others'
        size = float(expected[1:].abs().max())
        worst = max(worst, furthest(dense(attribution, site, expected.shape[1]), expected, size))
        scores, g = attribution.effects[site], plain.g[site]
        errors = (parts[site].error * g).sum(dim=-1)
        constants = (parts[site].constant * g).sum(dim=-1)
        worst = max(worst, furthest(scores.errors, errors, size))
        worst = max(worst, furthest(scores.constants, constants, size))
    before = 0.0 if other is None else other.x[None]
    leaves = ((plain.x[None] - before) * plain.g[None]).sum(dim=-1)
    worst = max(worst, furthest(attribution.effects["token"].leaves, leaves))
    report.append(f"node effects: furthest from autograd by {worst:.1e} of the largest")
    assert worst < ESTIMATED


def test_ablations_are_what_plain_transformers_lose(
    both: Any, loaded: LoadedModel, report: list[str]
) -> None:
    explanation, plain, parts, _ = both
    nodes: list[NodeRef] = []
    for site in SITES:
        effects = plain.effects(site, parts[site])[1:]
        for row in effects.abs().flatten().topk(4).indices.tolist():
            position, index = divmod(row, effects.shape[1])
            nodes.append(NodeRef("feature", position + 1, site, index))
        worst = int((parts[site].error * plain.g[site]).sum(dim=-1)[1:].abs().argmax())
        nodes.append(NodeRef("error", worst + 1, site))
    attribution = explanation.attribution
    found: dict[NodeRef, float] = {}
    for batch in exact_effects(loaded.model, attribution.reading, attribution.target, nodes):
        found |= batch
    expected = plain.without(
        [
            (
                node.site,
                node.position,
                plain.written(node.site, parts[node.site], node.index, node.position),
            )
            for node in nodes
            if node.site is not None
        ]
    )
    assert float(expected.abs().max()) > 0.05
    size = float(expected.abs().max())
    assert size > 0.5
    off = (torch.tensor([found[node] for node in nodes]) - expected).abs() / size
    mean, worst_of_all = float(off.mean()), float(off.max())
    report.append(
        f"ablations: off from plain transformers by {mean:.1e} of the largest, {size:.2f}, on average, "
        f"and {worst_of_all:.1e} at most"
    )
    assert mean < ABLATED
    assert worst_of_all < 2 * ABLATED
