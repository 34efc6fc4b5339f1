"""What must hold of every attribution, whatever the weights: conservation, twice, and agreement with
an ordinary backward pass and with finite differences.
"""

import pytest
import torch
from attributing import everything, plain_gradients, target_of
from tiny import PROMPT

from scd_tui.attribution.attribute import (
    Attribution,
    Reading,
    Scores,
    Select,
    attribute,
    read,
    strongest,
)
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.graph import METRICS, Metric, Site, feature_id, parse_node

CLOSE = 2e-5
"""float32 sums of a few hundred terms of order one."""


def attribution_of(
    model: LanguageModel,
    reading: Reading,
    metric: Metric = "diff",
    *,
    position: int = -1,
    select: Select | None = None,
) -> Attribution:
    target = target_of(model, reading, metric, position)
    return attribute(reading, target, select or strongest(2))


@pytest.fixture(scope="module")
def attribution(tiny_model: LanguageModel, reading: Reading) -> Attribution:
    return attribution_of(tiny_model, reading, select=everything)


@pytest.mark.parametrize("metric", METRICS)
def test_nodes_of_a_position_sum_to_gradient_times_activation(
    tiny_model: LanguageModel, reading: Reading, metric: Metric
) -> None:
    """Invariant (a): features + error + constant = g · x, everywhere."""
    result = attribution_of(tiny_model, reading, metric)
    for site in reading.sites:
        encoded, scores = reading.encoded[site], result.effects[site]
        total = scores.errors + scores.constants
        total = total.index_add(0, encoded.positions, scores.features)
        expected = (result.gradients[site] * reading.cut.activation(site)).sum(dim=-1)
        torch.testing.assert_close(total, expected, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("position", [-1, 3])
@pytest.mark.parametrize("metric", METRICS)
def test_gradients_are_those_of_an_ordinary_backward_pass(
    tiny_model: LanguageModel, reading: Reading, metric: Metric, position: int
) -> None:
    """Invariant (b): the cut pass, put together again, is backpropagation through the whole model."""
    result = attribution_of(tiny_model, reading, metric, position=position)
    for place, gradient in plain_gradients(tiny_model, reading, result.target).items():
        torch.testing.assert_close(result.gradients[place], gradient, atol=CLOSE, rtol=CLOSE)


def test_edges_out_of_every_node_sum_to_its_effect(attribution: Attribution) -> None:
    """Invariant (g): to features, errors and the root together, for features, errors, constants, leaves."""
    sums: dict[Place, Scores] = {}
    for into in attribution.edges.values():
        for place, scores in into.items():
            old = sums.get(place)
            sums[place] = (
                scores
                if old is None
                else Scores(
                    old.features + scores.features,
                    old.errors + scores.errors,
                    old.constants + scores.constants,
                    old.leaves + scores.leaves,
                )
            )
    assert set(sums) == set(attribution.reading.cut.order)
    for place, total in sums.items():
        effects = attribution.effects[place]
        for name in ("features", "errors", "constants", "leaves"):
            torch.testing.assert_close(
                getattr(total, name), getattr(effects, name), atol=1e-4, rtol=1e-4
            )


def test_edges_into_a_residual_feature_sum_to_its_effect_with_every_constant(
    attribution: Attribution, dictionaries: dict[Site, Dictionary]
) -> None:
    """Invariant (d). GPT-2 blocks add no bias of their own: b_O and b_out are in attn_out, mlp_out."""
    checked = 0
    for site in attribution.reading.sites:
        if site.kind != "resid_post":
            continue
        dictionary, encoded = dictionaries[site], attribution.reading.encoded[site]
        x = attribution.reading.cut.activation(site)
        for row in range(len(encoded.values)):
            index, p = int(encoded.indices[row]), int(encoded.positions[row])
            node = feature_id(site, index, p)
            slope = encoded.s_out[p] * (encoded.decoder[row] @ attribution.gradients[site][p])
            column = encoded.encoder[row]
            mean = dictionary.scales(x)[0][p]
            bias = encoded.bias[row] - column.sum() * mean / encoded.s_in[p]
            if dictionary.applies_b_dec:
                bias = bias - column @ dictionary.b_dec
            incoming = sum(
                (scores.total() for scores in attribution.edges[node].values()), torch.tensor(0.0)
            )
            torch.testing.assert_close(
                incoming + slope * bias,
                torch.tensor(attribution.effect(node)),
                atol=1e-4,
                rtol=1e-4,
            )
            checked += 1
    assert checked > 100


def test_an_edge_is_a_finite_difference_of_the_target_along_the_direct_path(
    tiny_model: LanguageModel, reading: Reading, dictionaries: dict[Site, Dictionary]
) -> None:
    """Scaling a source by 1 ± h, all sites but the target's held at their clean values, in float64 sums."""
    result = attribution_of(tiny_model, reading)
    source_site, target_site = Site(0, "resid_post"), Site(1, "attn_out")
    encoded = reading.encoded[target_site]
    strongest_row = int(result.effects[target_site].features.abs().argmax())
    index, q = int(encoded.indices[strongest_row]), int(encoded.positions[strongest_row])
    column = encoded.encoder[strongest_row]
    slope = encoded.s_out[q] * (encoded.decoder[strongest_row] @ result.gradients[target_site][q])
    weights = result.upstream(feature_id(target_site, index, q))[source_site].features
    sources = reading.encoded[source_site]

    def target_feature(scale: float, row: int) -> float:
        """The linearised f of the target, mu and s_in frozen at the clean run's."""
        seen: list[torch.Tensor] = []

        def change(x: torch.Tensor) -> torch.Tensor:
            changed = x.clone()
            changed[0, sources.positions[row]] += scale * sources.contributions[row]
            return changed

        def look(x: torch.Tensor) -> torch.Tensor:
            seen.append(x[0, q])
            return x

        with torch.no_grad():
            tiny_model.forward(
                tiny_model.ids(reading.cut.tokens),
                [(source_site, change), (target_site, look)],
            )
        return float(seen[0].double() @ column.double() / encoded.s_in[q])

    h = 0.02
    for row in weights.abs().argsort(descending=True)[:6].tolist():
        difference = (target_feature(h, row) - target_feature(-h, row)) / (2 * h)
        assert difference * float(slope) == pytest.approx(float(weights[row]), rel=5e-3, abs=1e-4)


def test_upstream_on_demand_equals_the_edges_of_the_whole_attribution(
    tiny_model: LanguageModel, reading: Reading, attribution: Attribution
) -> None:
    few = attribute(reading, attribution.target, strongest(1))
    asked = [node for node in attribution.edges if node not in few.edges][::37]
    assert len(asked) > 10
    for node in asked:
        for place, scores in few.upstream(node).items():
            whole = attribution.edges[node][place]
            torch.testing.assert_close(scores.features, whole.features, atol=CLOSE, rtol=1e-4)
            torch.testing.assert_close(scores.leaves, whole.leaves, atol=CLOSE, rtol=1e-4)


def test_a_rerun_gives_the_same_numbers(
    tiny_model: LanguageModel, dictionaries: dict[Site, Dictionary]
) -> None:
    """Invariant (h), on one device: equal to the last bit."""
    first, second = (
        attribution_of(
            tiny_model,
            read(tiny_model, tiny_model.prompt(PROMPT), dictionaries),
            select=strongest(10),
        )
        for _ in range(2)
    )
    assert list(first.edges) == list(second.edges)
    for node, into in first.edges.items():
        for place, scores in into.items():
            assert torch.equal(scores.features, second.edges[node][place].features)
            assert torch.equal(scores.errors, second.edges[node][place].errors)


def test_attention_edges_cross_positions_and_never_come_from_the_future(
    attribution: Attribution,
) -> None:
    crossing = 0
    for node, into in attribution.edges.items():
        q = parse_node(node).position
        for place, scores in into.items():
            assert not scores.errors[q + 1 :].any() and not scores.leaves[q + 1 :].any()
            if isinstance(place, Site):
                positions = attribution.reading.encoded[place].positions
                assert not scores.features[positions > q].any()
                crossing += int((scores.features[positions < q] != 0).sum())
    assert crossing > 1000


def test_edges_into_mlp_and_residual_sites_stay_at_their_position(
    attribution: Attribution,
) -> None:
    """Into mlp_out of layer 0 and resid_post of layer 0 no edge crosses positions."""
    for node, into in attribution.edges.items():
        ref = parse_node(node)
        if ref.site in (Site(0, "mlp_out"), Site(0, "resid_post")):
            for scores in into.values():
                others = torch.arange(len(scores.leaves)) != ref.position
                assert not scores.errors[others].any() and not scores.leaves[others].any()
