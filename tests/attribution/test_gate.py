"""The load gate, against sae_lens's own encode, decode and evals, in transformers' own model."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from attributing import nothing, plain_gradients
from sae_lens import SAE
from sae_lens.evals import ExplainedVarianceCalculator
from saes import RELU, TOPK, SaeKind, random_sae
from tiny import PROMPT, TEXT, write_model
from transformers import GPT2LMHeadModel

from scd_tui.attribution.activation import Rectified, Top
from scd_tui.attribution.attribute import attribute, read
from scd_tui.attribution.chance import RandomDirections, normalised
from scd_tui.attribution.circuit import site_summary
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.gate import (
    Tally,
    askable,
    measure,
    prompt_pulls,
    read_sites,
    share_explained,
)
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.windows import Windows
from scd_tui.catalog.prompts import Prompt
from scd_tui.graph import Site
from scd_tui.judge import Measured

SITES = (Site(0, "mlp_out"), Site(1, "attn_out"), Site(2, "resid_post"))
KINDS = (
    TOPK,
    RELU,
    SaeKind("standard", "constant_norm_rescale"),
    SaeKind("abstopk", "layer_norm", rescales=True, applies_b_dec=False),
    SaeKind("jumprelu", "layer_norm", applies_b_dec=False),
    SaeKind("gated", "none", applies_b_dec=False),
)
FIRST = 5
ASKED = Prompt(text=PROMPT, target="a", contrast="b")
Make = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return LanguageModel.boot(folder, torch.device("cpu"))


@pytest.fixture(scope="module")
def theirs(folder: Path) -> GPT2LMHeadModel:
    return GPT2LMHeadModel.from_pretrained(folder).eval()


def ids(model: LanguageModel, windows: int = 7, length: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(8)
    return torch.randint(0, model.vocabulary, (windows, length), generator=generator)


class Case:
    """One kind of dictionary at three sites, measured in batches that do not come out even."""

    def __init__(self, model: LanguageModel, kind: SaeKind, first: int | None = None) -> None:
        self.kind = kind
        self.saes: dict[Site, SAE] = {
            site: random_sae(32, 64, seed=n, kind=kind) for n, site in enumerate(SITES)
        }
        self.dictionaries = {site: Dictionary(site, sae) for site, sae in self.saes.items()}
        self.windows = Windows(ids(model), first, batch=3)
        self.steps: list[tuple[int, int]] = []
        found = measure(
            model,
            self.dictionaries,
            self.windows,
            [ASKED],
            seed=4,
            on_progress=lambda *step: self.steps.append(step),
        )
        self.found: dict[Site, Measured] = {measured.site: measured for measured in found}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def case(request: pytest.FixtureRequest, model: LanguageModel) -> Case:
    return Case(model, request.param)


@torch.no_grad()
def in_theirs(
    theirs: GPT2LMHeadModel, site: Site, tokens: torch.Tensor, make: Make, skip: int = 0
) -> float:
    """Cross-entropy of transformers' model when `make` replaces what it computes at a site."""
    block = theirs.transformer.h[site.layer]
    module = {"attn_out": block.attn, "mlp_out": block.mlp, "resid_post": block}[site.kind]

    def hook(module: torch.nn.Module, inputs: object, out: object) -> object:
        x = out[0] if isinstance(out, tuple) else out
        made = torch.cat([x[:, :skip], make(x[:, skip:])], dim=1)
        return (made, *out[1:]) if isinstance(out, tuple) else made

    labels = tokens.clone()
    labels[:, : skip + 1] = -100
    with ExitStack() as stack:
        stack.callback(module.register_forward_hook(hook).remove)
        return float(theirs(tokens, labels=labels).loss)


def round_trip(sae: SAE) -> Make:
    return lambda x: sae.decode(sae.encode(x))


def variance_explained(x: torch.Tensor, reconstruction: torch.Tensor) -> float:
    calculator = ExplainedVarianceCalculator()
    calculator.add_batch(reconstruction.flatten(0, -2), x.flatten(0, -2))
    return calculator.compute()


def activations(
    theirs: GPT2LMHeadModel, site: Site, tokens: torch.Tensor, skip: int = 0
) -> torch.Tensor:
    kept: list[torch.Tensor] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x)
        return x

    in_theirs(theirs, site, tokens, keep, skip)
    return kept[0].flatten(0, 1)


def test_what_is_active_and_explained_is_what_sae_lens_says(
    case: Case, theirs: GPT2LMHeadModel
) -> None:
    for site, sae in case.saes.items():
        x = activations(theirs, site, case.windows.ids)
        features = sae.encode(x)
        each = (features != 0).sum(dim=-1)
        found = case.found[site]
        assert found.tokens == len(x) == 84
        assert found.l0_mean == pytest.approx(float(each.float().mean()), rel=1e-3)
        assert found.l0_max == int(each.max())
        assert found.silent == pytest.approx(1 - float((features != 0).any(0).float().mean()))
        expected = variance_explained(x, round_trip(sae)(x))
        assert found.explained_variance == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_cross_entropies_are_those_of_transformers_own_loss(
    case: Case, theirs: GPT2LMHeadModel
) -> None:
    tokens = case.windows.ids
    for site, sae in case.saes.items():
        found = case.found[site]
        assert found.ce == pytest.approx(theirs(tokens, labels=tokens).loss.item(), rel=1e-5)
        spliced = in_theirs(theirs, site, tokens, round_trip(sae))
        assert found.ce_spliced == pytest.approx(spliced, rel=1e-4)
        zeroed = in_theirs(theirs, site, tokens, torch.zeros_like)
        assert found.ce_zeroed == pytest.approx(zeroed, rel=1e-5)
        assert found.delta_ce == pytest.approx(spliced - found.ce, abs=1e-3)
        assert abs(spliced - found.ce) > 0.01 and abs(zeroed - found.ce) > 0.01


def test_the_same_weights_run_as_plain_relu(case: Case, theirs: GPT2LMHeadModel) -> None:
    tokens = case.windows.ids
    for site, sae in case.saes.items():
        if case.kind == RELU:
            assert case.found[site].plain is None
            continue

        def post(x: torch.Tensor, sae=sae) -> torch.Tensor:
            hidden = x - sae.b_dec if sae.cfg.apply_b_dec_to_input else x
            if sae.cfg.architecture() == "gated":
                hidden = hidden @ (sae.W_enc * sae.r_mag.exp()) + sae.b_mag
            else:
                hidden = hidden @ sae.W_enc + sae.b_enc
            return hidden.relu() @ sae.W_dec + sae.b_dec

        x = activations(theirs, site, tokens)
        plain = case.found[site].plain
        expected = variance_explained(x, post(x))
        assert plain.explained_variance == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert plain.ce_spliced == pytest.approx(in_theirs(theirs, site, tokens, post), rel=1e-4)
        assert case.found[site].plain_delta_ce == plain.ce_spliced - case.found[site].ce


def test_random_directions_have_the_best_length_and_as_many_features_active(
    case: Case, model: LanguageModel, theirs: GPT2LMHeadModel
) -> None:
    _, clean = read_sites(model, case.dictionaries, case.windows)
    for n, (site, dictionary) in enumerate(case.dictionaries.items()):
        found = case.found[site]
        assert found.chance.l0 == pytest.approx(found.l0_mean, rel=0.1)
        x = activations(theirs, site, case.windows.ids)
        mean = normalised(dictionary, x).mean(dim=0)
        torch.testing.assert_close(clean[site].mean, mean, rtol=1e-3, atol=1e-4)

        sample = torch.cat(clean[site].sample)
        drawn = RandomDirections.draw(dictionary, mean, sample, found.l0_mean, 4 + n)
        at_one = drawn.dictionary()
        mu, _, s_out = at_one.scales(x)
        constant = s_out[:, None] * mean + mu[:, None]
        written = at_one.encode(x).reconstruction() - constant
        column = written.flatten()[:, None]
        (length,) = torch.linalg.lstsq(column, (x - constant).flatten()[:, None]).solution[0]
        expected = variance_explained(x, constant + length * written)
        assert found.chance.explained_variance == pytest.approx(expected, abs=2e-3)
        assert expected > variance_explained(x, constant)


def test_random_directions_are_of_the_dictionary_s_kind(case: Case) -> None:
    sample = torch.randn(50, 32, generator=torch.Generator().manual_seed(1))
    for dictionary in case.dictionaries.values():
        drawn, again, other = (
            RandomDirections.draw(dictionary, sample.mean(dim=0), sample, 6.0, seed)
            for seed in (1, 1, 2)
        )
        features, trained = drawn.features, dictionary.activation
        torch.testing.assert_close(features.w_dec.norm(dim=-1), torch.ones(64))
        assert torch.equal(features.w_enc, features.w_dec.T)
        assert torch.equal(features.w_dec, again.features.w_dec)
        assert not torch.equal(features.w_dec, other.features.w_dec)
        assert drawn.dictionary().normalisation == dictionary.normalisation
        assert drawn.dictionary().applies_b_dec
        if isinstance(trained, Top):
            assert isinstance(features, Top)
            assert (features.k, features.signed) == (trained.k, trained.signed)
        else:
            assert isinstance(features, Rectified)
            plain = isinstance(trained, Rectified) and trained.threshold is None
            assert (features.threshold is None) == plain


def test_the_share_explained_is_that_of_the_circuit(case: Case, model: LanguageModel) -> None:
    tokens = model.prompt(PROMPT)
    reading = read(model, tokens, case.dictionaries)
    target = resolve_target(
        model, tokens, reading.cut.logits.detach(), target="a", contrast="b", metric="diff"
    )
    attribution = attribute(reading, target, nothing)
    gradients = plain_gradients(model, reading, target)
    for site, sae in case.saes.items():
        found = case.found[site].share_explained
        summary = site_summary(attribution, site)
        assert found == pytest.approx(summary.share_explained, rel=1e-5)
        x, gradient = reading.cut.activation(site).detach(), gradients[site]
        features = sae.encode(x)
        made = sae.decode(features)
        sae.encode(x)  # sae_lens forgets the scale with each decode
        constant = sae.decode(torch.zeros_like(features))
        explained = float(((made - constant) * gradient).sum(dim=-1).abs().sum())
        error = float(((x - made) * gradient).sum(dim=-1).abs().sum())
        assert found == pytest.approx(explained / (explained + error), rel=1e-3)


def test_a_random_dictionary_s_share_takes_the_same_gradients(
    case: Case, model: LanguageModel
) -> None:
    pulls = prompt_pulls(model, case.dictionaries, ASKED)
    for site, (x, gradient) in pulls.items():
        found = case.found[site]
        assert found.chance.share_explained is not None
        # a dictionary that writes what is there explains everything, one that writes nothing nothing
        whole = Rectified(
            torch.cat([torch.eye(32), -torch.eye(32)], dim=1),
            torch.zeros(64),
            torch.cat([torch.eye(32), -torch.eye(32)]),
        )
        replaced = case.dictionaries[site].with_features(
            whole, b_dec=torch.zeros(32), normalisation="none"
        )
        assert share_explained(replaced, [(x, gradient)]) == pytest.approx(1.0, abs=1e-4)
        none = Rectified(torch.zeros(32, 64), torch.zeros(64), torch.zeros(64, 32))
        replaced = case.dictionaries[site].with_features(none, b_dec=torch.zeros(32))
        assert share_explained(replaced, [(x, gradient)]) == 0.0
        both = share_explained(case.dictionaries[site], [(x, gradient), (x, gradient.flip(0))])
        one, other = (
            share_explained(case.dictionaries[site], [(x, g)]) for g in (gradient, gradient.flip(0))
        )
        assert both == pytest.approx((one + other) / 2) and one != other


def test_batches_change_nothing(case: Case, model: LanguageModel) -> None:
    windows = Windows(case.windows.ids, batch=7)
    for whole in measure(model, case.dictionaries, windows, [ASKED], seed=4):
        parts = case.found[whole.site]
        assert whole.l0_mean == pytest.approx(parts.l0_mean, rel=1e-3)
        for name in ("explained_variance", "ce", "ce_spliced", "ce_zeroed", "share_explained"):
            assert getattr(whole, name) == pytest.approx(getattr(parts, name), rel=1e-4), name


def test_progress_is_told_to_the_end(case: Case) -> None:
    total = case.steps[-1][1]
    assert case.steps == [(n, total) for n in range(1, total + 1)]


@pytest.mark.parametrize("kind", [TOPK, RELU], ids=str)
def test_a_token_put_before_is_in_no_statistic_and_stays_as_it_is(
    kind: SaeKind, model: LanguageModel, theirs: GPT2LMHeadModel
) -> None:
    case = Case(model, kind, FIRST)
    rows = case.windows.ids
    tokens = torch.cat([torch.full((len(rows), 1), FIRST), rows], dim=1)
    for site, sae in case.saes.items():
        found = case.found[site]
        x = activations(theirs, site, tokens, skip=1)
        assert found.tokens == rows.numel() == len(x)
        each = (sae.encode(x) != 0).sum(dim=-1).float()
        assert found.l0_mean == pytest.approx(float(each.mean()), rel=1e-3)
        expected = variance_explained(x, round_trip(sae)(x))
        assert found.explained_variance == pytest.approx(expected, rel=1e-4, abs=1e-4)
        for name, make in (
            ("ce", lambda x: x),
            ("ce_spliced", round_trip(sae)),
            ("ce_zeroed", torch.zeros_like),
        ):
            ce = in_theirs(theirs, site, tokens, make, skip=1)
            assert getattr(found, name) == pytest.approx(ce, rel=1e-4), name
    pulls = prompt_pulls(model, case.dictionaries, ASKED, first=FIRST)
    assert all(len(x) == len(g) == len(model.prompt(PROMPT)) for x, g in pulls.values())


def test_dictionaries_on_heads_are_spliced_into_the_heads(model: LanguageModel) -> None:
    """Silence at `hook_z` is silence of attention but for its output's bias; a copy changes nothing."""
    site = Site(1, "hook_z")
    copy = Rectified(
        torch.cat([torch.eye(32), -torch.eye(32)], dim=1),
        torch.zeros(64),
        torch.cat([torch.eye(32), -torch.eye(32)]),
    )
    dictionary = Dictionary(site, random_sae(32, 64, seed=1, kind=RELU))
    dictionary = dictionary.with_features(copy, b_dec=torch.zeros(32))
    (found,) = measure(model, {site: dictionary}, Windows(ids(model)))
    assert found.explained_variance == pytest.approx(1.0, abs=1e-5)
    assert found.delta_ce == pytest.approx(0.0, abs=1e-5)
    zero = model.forward(ids(model), [(site, torch.zeros_like)])[:, :-1].flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(zero, ids(model)[:, 1:].flatten())
    assert found.ce_zeroed == pytest.approx(float(expected), rel=1e-5)
    assert abs(found.ce_zeroed - found.ce) > 0.01


@pytest.mark.parametrize("off", [0.0, 1.0])
def test_where_nothing_varies_all_or_nothing_is_explained(off: float) -> None:
    tally, x = Tally(), torch.ones(5, 3)
    tally.add(x, x + off)
    assert tally.explained_variance() == variance_explained(x, x + off) == 1 - off


def test_prompts_that_a_model_cannot_be_asked_are_left_out(model: LanguageModel) -> None:
    good = [ASKED, Prompt(text=TEXT[:20], target="c")]
    bad = [
        Prompt(text="xyz" * 20, target="a"),
        Prompt(text=PROMPT, target="zq"),
        Prompt(text=PROMPT, target="a", contrast="zq"),
        Prompt(text="", target="a"),
    ]
    assert askable(model, [*bad, *good]) == good
    full = Prompt(text="z" * model.context, target="a")
    assert askable(model, [full]) == [full]
    assert askable(model, [full], first=FIRST) == []
