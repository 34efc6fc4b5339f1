"""Integrated gradients add up to what is lost, and agree with gradients where the metric is linear."""

import pytest
import torch
from attributing import metric_value, nothing, target_of

from scd_tui.attribution.attribute import Reading, attribute
from scd_tui.attribution.integrated import _summed_gradient, integrated_effects
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import METRICS, Metric, Site


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("position", [-1, 3])
def test_a_site_s_effects_add_up_to_what_the_metric_loses_without_it(
    tiny_model: LanguageModel, reading: Reading, metric: Metric, position: int
) -> None:
    """Completeness of integrated gradients, against a run with only the constants left."""
    target = target_of(tiny_model, reading, metric, position)
    clean = metric_value(target, reading.cut.logits.detach())
    for site, scores in integrated_effects(tiny_model, reading, target, steps=64, batch=64):
        if site.layer == 1:
            constant = reading.encoded[site].constant
            with torch.no_grad():
                without = tiny_model.forward(
                    tiny_model.ids(reading.cut.tokens),
                    [(site, lambda x, constant=constant: constant.reshape(x.shape))],
                )[0]
            lost = float(clean - metric_value(target, without))
            found = float(scores.features.sum() + scores.errors.sum())
            assert found == pytest.approx(lost, abs=0.02, rel=0.01), site


def test_steps_and_batches_come_to_the_same(tiny_model: LanguageModel, reading: Reading) -> None:
    target = target_of(tiny_model, reading, "diff")
    whole = dict(integrated_effects(tiny_model, reading, target, steps=6, batch=6))
    parts = dict(integrated_effects(tiny_model, reading, target, steps=6, batch=4))
    assert list(whole) == list(reversed(reading.sites))
    for site, scores in whole.items():
        torch.testing.assert_close(scores.features, parts[site].features, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(scores.errors, parts[site].errors, atol=1e-5, rtol=1e-4)


def test_near_the_clean_run_it_is_the_gradient(tiny_model: LanguageModel, reading: Reading) -> None:
    """A point just before the end of the way has the clean run's gradient."""
    target = target_of(tiny_model, reading, "diff")
    site = Site(1, "mlp_out")
    plain = attribute(reading, target, nothing)
    near = _summed_gradient(tiny_model, reading, target, site, torch.tensor([1 - 1e-4]))
    torch.testing.assert_close(near, plain.gradients[site], atol=1e-3, rtol=1e-2)
