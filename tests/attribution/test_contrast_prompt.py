"""Clean and patch: the difference between two prompts of equal length is attributed."""

import pytest
import torch
from attributing import everything, metric_value, nothing, plain_gradients, target_of
from saes import EVERY_KIND, SaeKind
from tiny import random_dictionaries

from scd_tui.attribution.ablation import ablated_logits
from scd_tui.attribution.attribute import attribute, read
from scd_tui.attribution.integrated import integrated_effects
from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError
from scd_tui.graph import NodeRef, Site

CLEAN, PATCH = "the cat sat on the mat. To be", "the mat sat on the cat. be To"


@pytest.fixture(params=EVERY_KIND, ids=str)
def pair(request: pytest.FixtureRequest, tiny_model: LanguageModel):
    """The dictionaries, and the tokens of both prompts."""
    kind: SaeKind = request.param
    dictionaries = random_dictionaries(tiny_model.layers, tiny_model.width, kind=kind)
    clean, patch = tiny_model.prompt(CLEAN), tiny_model.prompt(PATCH)
    assert len(clean) == len(patch)
    return dictionaries, clean, patch


def test_a_site_s_effects_are_the_difference_of_the_activations_along_the_gradient(
    tiny_model: LanguageModel, pair
) -> None:
    dictionaries, clean, patch = pair
    reading = read(tiny_model, clean, dictionaries, contrast=patch)
    other = read(tiny_model, patch, dictionaries)
    target = target_of(tiny_model, reading)
    attribution = attribute(reading, target, nothing)
    for place, gradient in plain_gradients(tiny_model, reading, target).items():
        scores = attribution.effects[place]
        found = torch.zeros_like(scores.errors)
        if isinstance(place, Site):
            found.index_add_(0, reading.encoded[place].positions, scores.features)
        found += scores.errors + scores.constants + scores.leaves
        moved = reading.cut.activation(place) - other.cut.activation(place)
        torch.testing.assert_close(found, (moved * gradient).sum(-1), atol=2e-4, rtol=1e-4)


def test_the_features_of_both_prompts_take_part_each_with_what_it_has_more_than_there(
    tiny_model: LanguageModel, pair
) -> None:
    dictionaries, clean, patch = pair
    reading = read(tiny_model, clean, dictionaries, contrast=patch)
    here, there = read(tiny_model, clean, dictionaries), read(tiny_model, patch, dictionaries)
    only_there = 0
    for site, encoded in reading.encoded.items():
        width = dictionaries[site].width

        def grid(one, values, width=width):
            dense = torch.zeros(len(clean), width)
            dense[one.positions, one.indices] = values
            return dense

        mine, theirs = here.encoded[site], there.encoded[site]
        expected = grid(mine, mine.strengths) - grid(theirs, theirs.strengths)
        torch.testing.assert_close(grid(encoded, encoded.strengths), expected)
        torch.testing.assert_close(grid(encoded, encoded.values), grid(mine, mine.values))
        on = (grid(mine, mine.values) != 0) | (grid(theirs, theirs.values) != 0)
        assert len(encoded.values) == int(on.sum())
        only_there += int((encoded.values == 0).sum())
    assert only_there > 0


def test_edges_out_of_a_node_add_up_to_its_effect(tiny_model: LanguageModel, pair) -> None:
    dictionaries, clean, patch = pair
    reading = read(tiny_model, clean, dictionaries, contrast=patch)
    target = target_of(tiny_model, reading)
    attribution = attribute(reading, target, everything)
    for place, scores in attribution.effects.items():
        features, errors = torch.zeros_like(scores.features), torch.zeros_like(scores.errors)
        for into in attribution.edges.values():
            if place in into:
                features += into[place].features
                errors += into[place].errors
        torch.testing.assert_close(features, scores.features, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(errors, scores.errors, atol=1e-3, rtol=1e-3)


def test_nodes_pull_as_they_do_in_the_prompt_alone(tiny_model: LanguageModel, pair) -> None:
    """And what only the contrast prompt has, which is no function of the prompt, does not pull."""
    dictionaries, clean, patch = pair
    reading = read(tiny_model, clean, dictionaries, contrast=patch)
    target = target_of(tiny_model, reading)
    here = attribute(reading, target, nothing)
    alone = attribute(read(tiny_model, clean, dictionaries), target, nothing)
    only_there = 0
    for site, encoded in reading.encoded.items():
        for position in range(len(clean)):
            error = NodeRef("error", position, site)
            torch.testing.assert_close(here.pull(error), alone.pull(error))
        rows = range(0, len(encoded.values), 7)
        for row in rows:
            place = int(encoded.positions[row]), site, int(encoded.indices[row])
            node = NodeRef("feature", *place)
            if float(encoded.values[row]) == 0:
                assert not here.pull(node).any()
                only_there += 1
            else:
                torch.testing.assert_close(here.pull(node), alone.pull(node))
    assert only_there > 0


def test_a_node_taken_out_is_set_to_what_it_is_in_the_other_prompt(
    tiny_model: LanguageModel, pair
) -> None:
    dictionaries, clean, patch = pair
    reading = read(tiny_model, clean, dictionaries, contrast=patch)
    other = read(tiny_model, patch, dictionaries)
    site, position = Site(1, "mlp_out"), 4
    error = NodeRef("error", position, site)
    found = ablated_logits(tiny_model, reading, [error], [-1])[0, 0]

    def swap(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[0, position] -= reading.clean[site].error[position] - other.clean[site].error[position]
        return x

    with torch.no_grad():
        expected = tiny_model.forward(tiny_model.ids(clean), [(site, swap)])[0, -1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_integrated_from_the_other_prompt_a_site_adds_up_to_patching_it(
    tiny_model: LanguageModel, pair
) -> None:
    dictionaries, clean, patch = pair
    reading = read(tiny_model, clean, dictionaries, contrast=patch)
    target = target_of(tiny_model, reading)
    for site, scores in integrated_effects(tiny_model, reading, target, steps=64, batch=64):
        if site == Site(2, "mlp_out"):
            assert reading.against is not None
            with torch.no_grad():
                patched = tiny_model.forward(
                    tiny_model.ids(clean),
                    [(site, lambda x, site=site: reading.against[site].reshape(x.shape))],
                )[0]
            clean_value = metric_value(target, reading.cut.logits.detach())
            lost = float(clean_value - metric_value(target, patched))
            total = float(scores.features.sum() + scores.errors.sum() + scores.constants.sum())
            assert total == pytest.approx(lost, abs=0.02, rel=0.01)


def test_prompts_of_different_length_are_refused(tiny_model: LanguageModel) -> None:
    dictionaries = random_dictionaries(tiny_model.layers, tiny_model.width)
    with pytest.raises(InputError, match="of the same length"):
        read(
            *(tiny_model, tiny_model.prompt(CLEAN), dictionaries),
            contrast=tiny_model.prompt(CLEAN)[:-1],
        )
