"""Conservation, whatever is asked: sites, dictionaries, metric, position and settings drawn at random."""

from dataclasses import dataclass
from functools import cache

import torch
from attributing import everything, plain_gradients, target_of
from hypothesis import given, settings
from hypothesis import strategies as st
from saes import EVERY_KIND, SaeKind, random_sae

from scd_tui.attribution.attribute import Attribution, attribute, read
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import METRICS, SITE_KINDS, Metric, Site

PROMPTS = ("the cat sat on the mat. To be", "the mat sat on the cat. be To")
SITES = tuple(Site(layer, kind) for layer in range(3) for kind in SITE_KINDS)
FEW = settings(max_examples=20, deadline=None)


@dataclass(frozen=True)
class Asked:
    """What is attributed on the tiny model, with which dictionaries."""

    dictionaries: tuple[tuple[Site, SaeKind], ...]
    metric: Metric
    position: int
    against_another_prompt: bool
    freeze_patterns: bool


@cache
def dictionary(site: Site, kind: SaeKind) -> Dictionary:
    return Dictionary(site, random_sae(32, 48, seed=SITES.index(site), kind=kind))


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    sites = draw(st.lists(st.sampled_from(SITES), min_size=1, max_size=5, unique=True))
    kinds = [draw(st.sampled_from(EVERY_KIND)) for _ in sites]
    return Asked(
        tuple(zip(sites, kinds, strict=True)),
        draw(st.sampled_from(METRICS)),
        draw(st.integers(0, 8)),
        draw(st.booleans()),
        draw(st.booleans()),
    )


def attribution_of(model: LanguageModel, asked: Asked) -> Attribution:
    """With the edges into every active feature and every error."""
    clean, patch = (model.prompt(text) for text in PROMPTS)
    reading = read(
        *(model, clean, {site: dictionary(site, kind) for site, kind in asked.dictionaries}),
        freeze_patterns=asked.freeze_patterns,
        contrast=patch if asked.against_another_prompt else None,
    )
    target = target_of(model, reading, asked.metric, asked.position)
    return attribute(reading, target, everything)


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Within what float32 sums of terms that are larger than their sum come to."""
    room = 2e-4 * (1 + float(expected.abs().max()) if len(expected) else 1.0)
    torch.testing.assert_close(found, expected, atol=room, rtol=1e-3)


@FEW
@given(asked())
def test_features_error_and_constant_add_up_to_the_gradient_along_the_activation(
    tiny_model: LanguageModel, asked: Asked
) -> None:
    """Invariants (a) and (b): with another prompt, along the difference of the two activations."""
    found = attribution_of(tiny_model, asked)
    reading = found.reading
    if not asked.freeze_patterns:
        for place, gradient in plain_gradients(tiny_model, reading, found.target).items():
            torch.testing.assert_close(found.gradients[place], gradient, atol=1e-4, rtol=1e-3)
    for place, scores in found.effects.items():
        total = scores.errors + scores.constants + scores.leaves
        if isinstance(place, Site):
            total = total.index_add(0, reading.encoded[place].positions, scores.features)
        moved = reading.cut.activation(place)
        if reading.against is not None:
            moved = moved - reading.against[place]
        assert_near(total, (found.gradients[place] * moved).sum(dim=-1))


@FEW
@given(asked())
def test_the_edges_out_of_every_node_add_up_to_its_effect(
    tiny_model: LanguageModel, asked: Asked
) -> None:
    """Invariant (g), for features, errors, constants and embeddings."""
    found = attribution_of(tiny_model, asked)
    for place, effects in found.effects.items():
        for name in ("features", "errors", "constants", "leaves"):
            expected = getattr(effects, name)
            out = sum(
                (getattr(into[place], name) for into in found.edges.values() if place in into),
                torch.zeros_like(expected),
            )
            assert_near(out, expected)
