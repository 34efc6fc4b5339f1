"""The post's tables, of a model small enough to make each of them again."""

import pytest
import torch
from sae_lens import SAE
from saes import TOPK, random_sae
from tiny import PROMPT, TEXT, random_dictionaries
from torch.nn.functional import relu

from scd_tui.attribution.explain import explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.replicate import as_published, replicate
from scd_tui.catalog.prompts import Prompt
from scd_tui.catalog.texts import Text
from scd_tui.graph import ModelIdentity, Site, parse_node
from scd_tui.judge import Published
from scd_tui.replication import Replication

FEATURES = 40
SAMPLE = Text("sample", TEXT * 4)
PROMPTS = (
    Prompt(text=PROMPT, target=" the"),
    Prompt(text="the cat " * 40, target=" the"),
)


@pytest.fixture(scope="module")
def loaded(tiny_model: LanguageModel) -> LoadedModel:
    dictionaries = random_dictionaries(3, 32, features=FEATURES)
    identity = ModelIdentity(
        name="tiny",
        revision="0",
        dictionaries="random",
        dictionaries_revision="0",
        device="cpu",
        layers=3,
        context=32,
        vocabulary=tiny_model.vocabulary,
        sites=tuple(dictionaries),
    )
    return LoadedModel(tiny_model, dictionaries, identity)


@pytest.fixture(scope="module")
def found(loaded: LoadedModel) -> Replication:
    published = {site: Published(l0=4.0) for site in loaded.dictionaries}
    return replicate(loaded, PROMPTS, SAMPLE, 128, published)


def test_each_prompt_is_asked_by_the_posts_loss_and_by_logit_difference(
    found: Replication, loaded: LoadedModel
) -> None:
    prompt = found.prompts[0]
    assert [answer.circuit.target.metric for answer in prompt.answers] == ["logp", "diff"]
    for answer in prompt.answers:
        circuit = answer.circuit
        assert circuit.target.text == " the" and circuit.trust is not None
        last = [n for n in circuit.nodes if parse_node(n.id).site == list(loaded.dictionaries)[-1]]
        features = [n for n in last if parse_node(n.id).kind == "feature"]
        strongest = max(features, key=lambda node: abs(node.effect))
        assert (answer.top, answer.way[0].node) == (strongest.id, strongest.id)
        assert answer.effect == pytest.approx(strongest.effect, abs=1e-6)
        assert answer.exact == pytest.approx(strongest.exact, abs=1e-5)
        assert answer.promoted[0].nats == max(shift.nats for shift in answer.promoted) > 0
        assert all(shift.nats < 0 for shift in answer.suppressed)
        assert any(column.curve for column in answer.validation.columns)


def test_the_circuit_holds_all_that_the_way_names(found: Replication) -> None:
    for answer in found.prompts[0].answers:
        nodes = {node.id for node in answer.circuit.nodes}
        edges = set(answer.circuit.edges)
        for step in answer.way:
            assert step.node in nodes and step.node in answer.circuit.expanded
            assert set(step.edges) <= edges
        assert len(nodes) == len(answer.circuit.nodes)


def test_a_prompt_that_cannot_be_asked_says_why_and_the_others_are_there(
    found: Replication,
) -> None:
    refused = found.prompts[1]
    assert not refused.answers and "tokens" in refused.refused
    assert found.prompts[0].answers and not found.prompts[0].refused


def test_the_gate_is_measured_both_ways(found: Replication, loaded: LoadedModel) -> None:
    assert [m.site for m in found.gate.measured] == list(loaded.dictionaries)
    for right, plain in zip(found.gate.measured, found.gate_as_published.measured, strict=True):
        assert right.plain is not None and plain.plain is None
        assert plain.l0_mean == pytest.approx(right.plain.l0)
        assert plain.explained_variance == pytest.approx(right.plain.explained_variance)
    assert found.gate_as_published.passed == 0


def test_what_the_posts_way_of_loading_makes_of_a_prompt(loaded: LoadedModel) -> None:
    explanation = explain(loaded, PROMPT, target=" the", metric="logp")
    attribution = explanation.attribution
    made = as_published(loaded, attribution)
    summaries = {summary.site: summary for summary in explanation.circuit.sites}
    for site in made.sites:
        summary = summaries[site.site]
        assert site.share == pytest.approx(summary.share_explained, abs=1e-5)
        count = len(attribution.reading.cut.tokens)
        assert site.active == pytest.approx(summary.active / count)
        x = attribution.reading.cut.activation(site.site).detach()
        active = plain(sae_of(loaded, site.site), x) > 0
        assert site.active_as_published == pytest.approx(float(active.sum()) / count)

    last = list(loaded.dictionaries)[-1]
    sae = sae_of(loaded, last)
    x = attribution.reading.cut.activation(last).detach()[-1:]
    effects = plain(sae, x)[0] * (sae.W_dec @ attribution.gradients[last][-1])
    order = effects.abs().argsort(descending=True)[: len(made.tops)].tolist()
    assert [parse_node(node).index for node, _ in made.tops] == order
    for (_, effect), index in zip(made.tops, order, strict=True):
        assert effect == pytest.approx(float(effects[index]), abs=1e-6)


def sae_of(loaded: LoadedModel, site: Site) -> SAE:
    """The SAE that `random_dictionaries` made the dictionary of, made once more."""
    number = list(loaded.dictionaries).index(site)
    return random_sae(32, FEATURES, seed=100 + number, kind=TOPK).requires_grad_(False)


def plain(sae: SAE, x: torch.Tensor) -> torch.Tensor:
    """`[pos, width]`: as the post's code runs a dictionary, `relu((x - b_dec) W_enc + b_enc)`."""
    before = x - sae.b_dec if sae.cfg.apply_b_dec_to_input else x
    return relu(before @ sae.W_enc + sae.b_enc)
