"""The default circuit on SmolLM2: its sink left out of everything, its trust, the dictionary check."""

from functools import partial
from typing import Any

import pytest
import torch
from real.plain import Parts, PlainModel, PlainReading
from real.training import SITES
from torch import Tensor

from scd_tui.attribution.explain import Explanation, measured_circuit
from scd_tui.attribution.gating import LITTLE, Gating
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.windows import token_windows
from scd_tui.catalog.texts import bundled_text
from scd_tui.graph import Circuit, Site, TrustScores, parse_node

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

CLOSE = 1e-4
TRUST = 0.80
TRUST_CONTRASTED = 0.85
SIGNS = 0.90
SIGNS_CONTRASTED = 0.95
CHECKED = 256
"""Tokens of the dictionary check, half of the app's own, to save time."""


@pytest.fixture(scope="module")
def measured(explanation: Explanation) -> Circuit:
    return measured_circuit(explanation)


@pytest.fixture(scope="module")
def measured_contrasted(contrasted: Explanation) -> Circuit:
    return measured_circuit(contrasted)


def test_position_0_is_a_sink_by_its_norm(explanation: Explanation, plain: PlainReading) -> None:
    (sink,) = explanation.circuit.sinks
    assert (sink.position, sink.reason, sink.kept) == (0, "norm", None)
    ratios = []
    for site in (site for site in SITES if site.kind == "resid_post"):
        norms = plain.x[site].norm(dim=-1)
        ratios.append(float(norms[0] / norms[1:].median()))
    assert sink.ratio == pytest.approx(max(ratios), rel=CLOSE)


def test_no_row_of_the_default_circuit_is_at_the_sink(
    explanation: Explanation, contrasted: Explanation
) -> None:
    for circuit in (explanation.circuit, contrasted.circuit):
        assert len(circuit.nodes) > 6 * 10
        ends = {end for edge in circuit.edges for end in (edge.source, edge.target)}
        assert ends <= {node.id for node in circuit.nodes}
        assert 0 not in {parse_node(node.id).position for node in circuit.nodes}


@pytest.mark.parametrize("prompt", ["prompt", "contrast prompt"])
def test_sums_and_shares_are_of_the_positions_after_the_sink(
    explanation: Explanation,
    contrasted: Explanation,
    plain: PlainReading,
    plain_contrast: PlainReading,
    prompt: str,
) -> None:
    circuit, parts = explanation.circuit, dict(plain.parts)
    if prompt == "contrast prompt":
        circuit = contrasted.circuit
        parts = {site: part.minus(plain_contrast.parts[site]) for site, part in parts.items()}
    sums = {summary.site: summary for summary in circuit.sites}
    assert set(sums) == set(SITES)
    explained_of_all = unexplained_of_all = 0.0
    for site, summary in sums.items():
        features, errors, constants = by_position(plain, site, parts[site])
        size = float(features[1:].abs().sum())
        for found, expected in (
            (summary.features, features),
            (summary.error, errors),
            (summary.constant, constants),
        ):
            assert found == pytest.approx(float(expected[1:].sum()), abs=CLOSE * size)
        explained, unexplained = size, float(errors[1:].abs().sum())
        share = explained / (explained + unexplained)
        assert summary.share_explained == pytest.approx(share, abs=CLOSE)
        explained_of_all += explained
        unexplained_of_all += unexplained
        x, error = plain.x[site][1:], plain.parts[site].error[1:]
        left = error.square().sum() / (x - x.mean(dim=0)).square().sum()
        assert summary.explained_variance == pytest.approx(1 - float(left), abs=CLOSE)
    overall = explained_of_all / (explained_of_all + unexplained_of_all)
    assert circuit.share_explained == pytest.approx(overall, abs=CLOSE)


def by_position(plain: PlainReading, site: Site, parts: Parts) -> tuple[Tensor, Tensor, Tensor]:
    """`[pos]` each: effects of all features, of the error, and of the constant."""
    g = plain.g[site]
    features = plain.effects(site, parts).sum(dim=-1)
    return features, (parts.error * g).sum(dim=-1), (parts.constant * g).sum(dim=-1)


def scores_of(circuit: Circuit, name: str, report: list[str]) -> TrustScores:
    assert circuit.trust is not None
    scores = circuit.trust.overall
    assert scores.abs_spearman is not None and scores.sign_agreement is not None
    report.append(
        f"trust {name}: {scores.abs_spearman:.2f}, signs {scores.sign_agreement:.0%}, "
        f"of {scores.n} features; {circuit.share_explained:.0%} explained"
    )
    assert scores.n == 100
    return scores


def test_estimates_can_be_trusted(measured: Circuit, report: list[str]) -> None:
    scores = scores_of(measured, "by default", report)
    assert (scores.abs_spearman or 0) >= TRUST
    assert (scores.sign_agreement or 0) >= SIGNS


def test_estimates_can_be_trusted_with_a_contrast_prompt(
    measured_contrasted: Circuit, report: list[str]
) -> None:
    scores = scores_of(measured_contrasted, "with the contrast prompt", report)
    assert (scores.abs_spearman or 0) >= TRUST_CONTRASTED
    assert (scores.sign_agreement or 0) >= SIGNS_CONTRASTED


def test_every_dictionary_passes_the_check(
    loaded: LoadedModel,
    plain_model: PlainModel,
    saes: dict[Site, Any],
    report: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On text that no dictionary was trained on, beside its explained variance by sae_lens."""
    monkeypatch.setitem(LITTLE, "cpu", CHECKED)
    monkeypatch.setattr("scd_tui.attribution.gating.WITHIN", 0.0)  # no second look at more text
    gating = Gating(loaded, {})
    while not gating.finished:
        gating.step()
    found = gating.found
    report.append(
        "explained variance: "
        + ", ".join(f"{site} {one.explained_variance:.2f}" for site, one in found.items())
    )
    assert {site for site, one in found.items() if one.passed} == set(SITES)

    seen: dict[Site, list[Tensor]] = {site: [] for site in SITES}

    def keep(site: Site, x: Tensor) -> Tensor:
        seen[site].append(x[0, 1:])  # without the sink
        return x

    with torch.no_grad():
        for window in token_windows(loaded.model, bundled_text().text, CHECKED).tolist():
            plain_model.run(window, {site: partial(keep, site) for site in SITES})
        for site, sae in saes.items():
            x = torch.cat(seen[site])
            left = (x - sae.decode(sae.encode(x))).square().sum()
            expected = 1 - float(left / (x - x.mean(dim=0)).square().sum())
            assert found[site].explained_variance == pytest.approx(expected, abs=CLOSE)
