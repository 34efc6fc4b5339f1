"""Invariant (c): the engine equals the published procedure, done slowly by `reference.py`.

In float64, where two right answers agree to twelve digits and a forgotten epsilon does not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from saes import EVERY_KIND, TOPK, SaeKind, random_sae
from tiny import KINDS, PROMPT, random_dictionaries, write_model
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from scd_tui.attribution.attribute import Attribution, Reading, Scores, attribute, read
from scd_tui.attribution.dictionary import Dictionary, Encoded
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.bench.reference import Form, Reference, Sparse, Spread
from scd_tui.graph import METRICS, Metric, NodeId, Site, error_id, feature_id, parse_node

LAYERS, WIDTH, FEATURES = 3, 32, 64
CLOSE = 1e-11
"""Absolute; effects here are of order 0.1 to 10."""
SINGLE = 2e-5
"""The same where the engine computes in float32."""
CLEARLY = 1e-7
"""What a wrong formula must at least be off by, ten thousand times the tolerance."""
EARLIER = 5


@dataclass(frozen=True)
class Both:
    """The same prompt, model and dictionaries for the engine and for the reference."""

    model: LanguageModel
    bridge: TransformerBridge
    saes: Mapping[Site, Any]
    reading: Reading
    reference: Reference
    kind: SaeKind

    @property
    def token_ids(self) -> list[int]:
        return [token.id for token in self.reading.cut.tokens]

    def attribution(self, metric: Metric = "diff", position: int = -1) -> Attribution:
        target = resolve_target(
            self.model,
            self.reading.cut.tokens,
            self.reading.cut.logits.detach(),
            target=7,
            contrast=11 if metric == "diff" else None,
            metric=metric,
            position=position,
        )
        return attribute(self.reading, target, lambda reading, site, scores: ())


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> TransformerBridge:
    folder: Path = write_model(tmp_path_factory.mktemp("double"), layers=LAYERS, width=WIDTH)
    return TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float64)


@pytest.fixture(scope="module", params=EVERY_KIND, ids=str)
def both(request: pytest.FixtureRequest, bridge: TransformerBridge) -> Both:
    kind: SaeKind = request.param
    sites = [Site(layer, kind) for layer in range(LAYERS) for kind in KINDS]
    saes = {
        site: random_sae(WIDTH, FEATURES, seed=100 + n, kind=kind).to(torch.float64)
        for n, site in enumerate(sites)
    }
    model = LanguageModel(bridge)
    tokens = model.prompt(PROMPT)
    reading = read(model, tokens, {site: Dictionary(site, sae) for site, sae in saes.items()})
    reference = Reference(bridge, dict(saes), [token.id for token in tokens])
    return Both(model, bridge, saes, reading, reference, kind)


def dense(encoded: Encoded, features: Tensor, positions: int) -> Tensor:
    """`[pos, d_sae]` of the engine's `[m]`."""
    result = torch.zeros(positions, FEATURES, dtype=features.dtype)
    result[encoded.positions, encoded.indices] = features
    return result


def difference(both: Both, found: Mapping[Place, Scores], expected: Spread) -> float:
    """The largest absolute difference over all sources; a place that only one side has is an error."""
    assert set(found) == {*expected.features, *expected.embeddings}
    worst = 0.0
    for place, scores in found.items():
        if isinstance(place, Site):
            encoded = both.reading.encoded[place]
            pairs = [
                (dense(encoded, scores.features, len(scores.errors)), expected.features[place]),
                (scores.errors, expected.errors[place]),
                (scores.constants, expected.constants[place]),
            ]
        else:
            pairs = [(scores.leaves, expected.embeddings[place])]
        worst = max(worst, *(float((a - b).abs().max()) for a, b in pairs))
    return worst


def largest(spread: Spread) -> float:
    parts = [*spread.features.values(), *spread.errors.values(), *spread.embeddings.values()]
    return max(float(part.abs().max()) for part in parts)


def targets(both: Both, attribution: Attribution, *, few: bool = False) -> list[NodeId]:
    """The root, and at every site the strongest features and errors of two positions."""
    last = attribution.target.position
    chosen = [attribution.target.root]
    for site in both.reading.sites:
        encoded, effects = both.reading.encoded[site], attribution.effects[site].features
        # In the last layer nothing but the metric's own position reaches it.
        positions = [last] if site.layer == LAYERS - 1 else [last, 2]
        for p in positions[-1:] if few else positions:
            here = torch.where(encoded.positions == p, effects.abs(), 0.0)
            assert float(here.max()) > 0
            chosen.append(feature_id(site, int(encoded.indices[int(here.argmax())]), p))
            chosen.append(error_id(site, p))
    return chosen


@pytest.mark.parametrize("position", [-1, EARLIER])
@pytest.mark.parametrize("metric", METRICS)
def test_node_effects_are_those_of_one_backward_through_the_spliced_model(
    both: Both, metric: Metric, position: int
) -> None:
    attribution = both.attribution(metric, position)
    expected = both.reference.node_effects(attribution.target.root)
    assert max(float(x.abs().max()) for x in expected.features.values()) > 0.05
    assert difference(both, attribution.effects, expected) < CLOSE


def test_edges_into_every_site_are_total_derivatives_less_the_confounds(both: Both) -> None:
    """Features and error nodes, at the last position and at an early one, and the root."""
    attribution = both.attribution()
    nodes = targets(both, attribution)
    assert len(nodes) == 1 + 2 * (2 * LAYERS - 1) * len(KINDS)
    for node in nodes:
        expected = both.reference.edges_into(node, attribution.target.root)
        assert largest(expected) > 1e-4
        assert difference(both, attribution.upstream(node), expected) < CLOSE, node


@pytest.mark.parametrize(("metric", "position"), [("logp", -1), ("logit", EARLIER)])
def test_edges_agree_for_the_other_metrics_and_for_a_metric_at_an_earlier_position(
    both: Both, metric: Metric, position: int
) -> None:
    attribution = both.attribution(metric, position)
    for node in targets(both, attribution, few=True):
        expected = both.reference.edges_into(node, attribution.target.root)
        assert difference(both, attribution.upstream(node), expected) < CLOSE, node


LEFT_OUT: dict[str, Callable[[Site], bool]] = {
    "no residual stream": lambda site: site.kind != "resid_post",
    "one residual site": lambda site: site == Site(1, "resid_post"),
    "attention, and the first residual site": lambda site: (
        site.kind == "attn_out" or site == Site(0, "resid_post")
    ),
}


@pytest.mark.parametrize("kept", LEFT_OUT)
def test_edges_agree_when_dictionaries_are_missing(both: Both, kept: str) -> None:
    """Then an edge may reach over several layers, and many sites lie between its ends."""
    saes = {site: sae for site, sae in both.saes.items() if LEFT_OUT[kept](site)}
    tokens = both.reading.cut.tokens
    few = replace(
        both,
        saes=saes,
        reading=read(both.model, tokens, {s: Dictionary(s, sae) for s, sae in saes.items()}),
        reference=Reference(both.bridge, saes, both.token_ids),
    )
    attribution = few.attribution()
    root = attribution.target.root
    assert difference(few, attribution.effects, few.reference.node_effects(root)) < CLOSE
    for node in targets(few, attribution):
        expected = few.reference.edges_into(node, root)
        assert difference(few, attribution.upstream(node), expected) < CLOSE, node


def test_in_float32_the_engine_stays_close_to_the_reference_in_float64(
    tiny_model: LanguageModel, both: Both
) -> None:
    """The engine as it is run, on the same weights."""
    dictionaries = random_dictionaries(LAYERS, WIDTH, features=FEATURES, kind=both.kind)
    reading = read(tiny_model, tiny_model.prompt(PROMPT), dictionaries)
    single = replace(both, model=tiny_model, reading=reading)
    attribution = single.attribution()
    root = attribution.target.root
    assert difference(single, attribution.effects, both.reference.node_effects(root)) < SINGLE
    for node in targets(single, attribution):
        expected = both.reference.edges_into(node, root)
        assert difference(single, attribution.upstream(node), expected) < SINGLE, node


def test_holding_the_active_features_alone_changes_no_number(both: Both) -> None:
    attribution = both.attribution()
    root = attribution.target.root
    sparse = replace(
        both, reference=Reference(both.bridge, dict(both.saes), both.token_ids, code=Sparse)
    )
    assert difference(sparse, attribution.effects, sparse.reference.node_effects(root)) < CLOSE
    for node in targets(both, attribution, few=True):
        expected = sparse.reference.edges_into(node, root)
        assert difference(sparse, attribution.upstream(node), expected) < CLOSE


# --- the reference itself: sound, and able to fail ---------------------------------------------


def test_splicing_changes_no_logit_and_reads_what_sae_lens_reads(both: Both) -> None:
    ids = torch.tensor([both.token_ids])
    with torch.no_grad():
        clean = both.bridge(ids)[0]
    torch.testing.assert_close(both.reference.logits, clean, atol=1e-12, rtol=1e-12)
    for site, sae in both.saes.items():
        x = both.reading.cut.activation(site)
        torch.testing.assert_close(both.reference.features(site), sae.encode(x))


def test_both_forms_of_the_splice_give_the_same_edges(both: Both) -> None:
    """Whether earlier nodes act through a site's features or through its whole output cancels out."""
    form: Form = "passed"
    other = Reference(both.bridge, dict(both.saes), both.token_ids, form)
    attribution = both.attribution()
    root = attribution.target.root
    for node in targets(both, attribution)[1::5]:
        a, b = both.reference.edges_into(node, root), other.edges_into(node, root)
        for site in a.features:
            torch.testing.assert_close(a.features[site], b.features[site], atol=CLOSE, rtol=0)
            torch.testing.assert_close(a.errors[site], b.errors[site], atol=CLOSE, rtol=0)


def test_nothing_is_left_of_sites_that_are_not_directly_upstream(both: Both) -> None:
    attribution = both.attribution()
    for kind in KINDS:
        site = Site(LAYERS - 1, kind)
        node = next(n for n in targets(both, attribution) if parse_node(n).site == site)
        near = both.reference.edges_into(node, attribution.target.root)
        every = both.reference.edges_into(node, attribution.target.root, everything=True)
        for other in every.features:
            if other in near.features:
                assert torch.allclose(every.features[other], near.features[other], atol=CLOSE)
            else:
                assert float(every.features[other].abs().max()) < CLOSE
        assert max(float(x.abs().max()) for x in every.embeddings.values()) < CLOSE


def test_without_the_confounds_edges_are_clearly_different_where_a_site_lies_between(
    both: Both,
) -> None:
    attribution = both.attribution()
    root = attribution.target.root
    for node in targets(both, attribution)[1:]:
        ref = parse_node(node)
        assert ref.site is not None
        whole = both.reference.edges_into(node, root, confounds=False)
        off = difference(both, attribution.upstream(node), whole)
        if ref.site.kind == "attn_out":
            assert off < CLOSE, node
        elif ref.kind == "feature":
            assert off > 1e-3 * largest(whole), node


WRONG: dict[str, Callable[[Encoded], Encoded]] = {
    "epsilon forgotten going in": lambda e: replace(e, s_in=e.s_out),
    "epsilon used coming out": lambda e: replace(e, s_out=e.s_in),
    "output not scaled back": lambda e: replace(e, s_out=torch.ones_like(e.s_out)),
    "encoder taken for the decoder": lambda e: replace(e, encoder=e.decoder),
    "error of the wrong sign": lambda e: replace(e, error=-e.error),
}


@pytest.mark.parametrize("both", [TOPK], indirect=True)
@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_in_the_engine_is_seen(both: Both, mistake: str) -> None:
    encoded = {site: WRONG[mistake](e) for site, e in both.reading.encoded.items()}
    wrong = replace(
        both, reading=replace(both.reading, encoded=encoded, clean=encoded)
    ).attribution()
    right = both.attribution()
    node = next(n for n in targets(both, right) if parse_node(n).site == Site(1, "resid_post"))
    expected = both.reference.edges_into(node, right.target.root)
    assert difference(both, right.upstream(node), expected) < CLOSE
    assert difference(both, wrong.upstream(node), expected) > CLEARLY
