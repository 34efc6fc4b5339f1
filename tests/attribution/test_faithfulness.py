"""Circuits run alone, against a dense splice made with sae_lens's own encode and decode."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from attributing import metric_value, nothing, target_of
from sae_lens import SAE
from saes import EVERY_KIND, SaeKind, random_sae
from tiny import KINDS, PROMPT

from scd_tui.attribution.attribute import Attribution, attribute, read
from scd_tui.attribution.baseline import Baseline, ContrastBaseline, mean_baselines
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.faithfulness import (
    by_chance,
    circuit_metrics,
    curve,
    strongest_first,
)
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.windows import Windows
from scd_tui.catalog.models import find
from scd_tui.errors import InputError
from scd_tui.graph import Site, Token

SITES = tuple(Site(layer, kind) for layer in range(3) for kind in KINDS)
FEATURES = 40
KINDS_HERE = (EVERY_KIND[0], EVERY_KIND[1], EVERY_KIND[6], EVERY_KIND[8])
TEXTS = [[3, 5, 7, 11], [2, 4, 8, 16]]


class Case:
    """One kind of dictionary at every sublayer, a circuit, and both baselines."""

    def __init__(self, model: LanguageModel, kind: SaeKind) -> None:
        self.model = model
        self.saes = {
            site: random_sae(32, FEATURES, seed=n, kind=kind) for n, site in enumerate(SITES)
        }
        self.dictionaries = {site: Dictionary(site, sae) for site, sae in self.saes.items()}
        tokens = model.prompt(PROMPT)
        reading = read(model, tokens, self.dictionaries)
        self.attribution: Attribution = attribute(reading, target_of(model, reading), nothing)
        x = reading.cut.activation(SITES[0])
        self.zero = {site: Baseline.zero(d, x) for site, d in self.dictionaries.items()}
        self.mean = mean_baselines(model, self.dictionaries, Windows(torch.tensor(TEXTS)))
        self.ranked = strongest_first(self.attribution, self.dictionaries)
        self.count = sum(len(r.ranks) for r in self.ranked.values())

    def measure(self, sizes: list[int], *, mean: bool = False, **options: bool) -> list[float]:
        return circuit_metrics(
            self.model,
            self.attribution.reading.cut.tokens,
            self.attribution.target,
            self.dictionaries,
            self.mean if mean else self.zero,
            self.ranked,
            sizes,
            **options,
        )


@pytest.fixture(scope="module", params=KINDS_HERE, ids=str)
def case(request: pytest.FixtureRequest, tiny_model: LanguageModel) -> Case:
    return Case(tiny_model, request.param)


def densely(case: Case, size: int, *, mean: bool, complement: bool, keep_errors: bool) -> float:
    """The same by sae_lens: dense features, a mask, decode. Means by brute force over the texts."""
    tokens = case.attribution.reading.cut.tokens
    baseline: dict[Site, tuple[torch.Tensor, torch.Tensor]] = {}
    for site, sae in case.saes.items():
        strengths, errors = [], []

        def look(x: torch.Tensor, sae=sae, strengths=strengths, errors=errors) -> torch.Tensor:
            features = sae.encode(x[0])
            out = getattr(sae, "ln_std", None)
            norm = getattr(sae, "x_norm_coeff", None)
            scale = out if out is not None else 1 / norm if norm is not None else 1.0
            strengths.append(features * scale)
            errors.append(x[0] - sae.decode(features))
            return x

        for window in TEXTS:
            case.model.forward(torch.tensor([window]), [(site, look)])
        if mean:
            baseline[site] = (torch.cat(strengths).mean(0), torch.cat(errors).mean(0))
        else:
            baseline[site] = (torch.zeros(FEATURES), torch.zeros(32))

    def splice(site: Site, x: torch.Tensor) -> torch.Tensor:
        sae, nodes = case.saes[site], case.ranked[site]
        features = sae.encode(x[0])
        out = getattr(sae, "ln_std", None)
        norm = getattr(sae, "x_norm_coeff", None)
        scale = (
            out if out is not None else 1 / norm if norm is not None else torch.ones(len(x[0]), 1)
        )
        inside = torch.zeros(features.shape, dtype=torch.bool)
        among = nodes.ranks < size
        inside[nodes.positions[among], nodes.indices[among]] = True
        if complement:
            inside = ~inside
        # what is no node of the clean run has no mean that could stand in for it
        means = torch.zeros(features.shape)
        means[nodes.positions, nodes.indices] = baseline[site][0][nodes.indices]
        # what sae_lens decodes is in units of f, before the scale coming out
        mixed = torch.where(inside, features, means / scale)
        made = sae.decode(mixed)
        error = x[0] - sae.decode(sae.encode(x[0]))
        return (made + (error if keep_errors else baseline[site][1]))[None]

    with torch.no_grad():
        logits = case.model.forward(
            case.model.ids(tokens),
            [(site, lambda x, site=site: splice(site, x)) for site in SITES],
        )
    return float(metric_value(case.attribution.target, logits[0]))


@pytest.mark.parametrize("mean", [False, True], ids=["zero", "mean"])
@pytest.mark.parametrize("complement", [False, True], ids=["alone", "others"])
@pytest.mark.parametrize("keep_errors", [False, True], ids=["no errors", "errors"])
def test_a_circuit_alone_is_a_dense_splice_with_a_mask(
    case: Case, mean: bool, complement: bool, keep_errors: bool
) -> None:
    sizes = [0, 7, case.count // 2, case.count]
    found = case.measure(sizes, mean=mean, complement=complement, keep_errors=keep_errors)
    for size, value in zip(sizes, found, strict=True):
        expected = densely(case, size, mean=mean, complement=complement, keep_errors=keep_errors)
        assert value == pytest.approx(expected, abs=2e-3, rel=2e-3), size


PATCH = "the mat sat on the cat. be To"


@dataclass(frozen=True)
class Pair:
    """A circuit of the difference to a contrast prompt, with that prompt as the baseline."""

    case: Case
    patch: tuple[Token, ...]
    found: Attribution

    def measure(self, sizes: list[int], **options: bool) -> list[float]:
        against, dictionaries = self.found.reading.against, self.case.dictionaries
        assert against is not None
        baselines = {
            site: ContrastBaseline(one.encode(against[site]), one.width)
            for site, one in dictionaries.items()
        }
        return circuit_metrics(
            *(self.case.model, self.found.reading.cut.tokens, self.found.target, dictionaries),
            *(baselines, strongest_first(self.found, dictionaries), sizes),
            **options,
        )


@pytest.fixture(scope="module")
def pair(case: Case) -> Pair:
    model = case.model
    clean, patch = model.prompt("the cat sat on the mat. To be"), model.prompt(PATCH)
    reading = read(model, clean, case.dictionaries, contrast=patch)
    return Pair(case, patch, attribute(reading, target_of(model, reading), nothing))


def test_a_circuit_of_nothing_is_the_contrast_prompt_where_errors_are_out(pair: Pair) -> None:
    model, target = pair.case.model, pair.found.target
    with torch.no_grad():
        there = float(metric_value(target, model.forward(model.ids(pair.patch))[0]))
        here = model.forward(model.ids(pair.found.reading.cut.tokens))[0]
    assert float(metric_value(target, here)) != pytest.approx(there, abs=0.05)
    assert pair.measure([0], keep_errors=False) == [pytest.approx(there, abs=1e-3)]
    count = sum(len(encoded.values) for encoded in pair.found.reading.encoded.values())
    clean = pair.found.value
    assert pair.measure([count]) == [pytest.approx(clean, abs=1e-3)]
    assert pair.measure([0], complement=True) == [pytest.approx(clean, abs=1e-3)]


@pytest.mark.parametrize("complement", [False, True], ids=["alone", "others"])
@pytest.mark.parametrize("keep_errors", [False, True], ids=["no errors", "errors"])
def test_what_is_out_is_what_sae_lens_finds_in_the_contrast_prompt(
    pair: Pair, complement: bool, keep_errors: bool
) -> None:
    case, found = pair.case, pair.found
    model, ranked = case.model, strongest_first(found, case.dictionaries)
    there: dict[Site, torch.Tensor] = {}

    def look(site: Site, x: torch.Tensor) -> torch.Tensor:
        there[site] = x[0]
        return x

    def parts(sae: SAE, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the masked features write, the constant, the error."""
        # what a decode scales by is gone after it, so each has an encode of its own
        whole = sae.decode(sae.encode(x))
        constant = sae.decode(0 * sae.encode(x))
        return sae.decode(sae.encode(x) * mask) - constant, constant, x - whole

    def splice(site: Site, x: torch.Tensor, size: int) -> torch.Tensor:
        sae, nodes = case.saes[site], ranked[site]
        node = torch.zeros(len(x[0]), FEATURES, dtype=torch.bool)
        first = node.clone()
        node[nodes.positions, nodes.indices] = True
        among = nodes.ranks < size
        first[nodes.positions[among], nodes.indices[among]] = True
        inside = ~first if complement else first
        absent, constant_there, error_there = parts(sae, there[site], ~inside & node)
        wrote, constant, error = parts(sae, x[0], inside)
        rest = constant + error if keep_errors else constant_there + error_there
        return (wrote + absent + rest)[None]

    sizes = [0, 7, case.count // 2]
    with torch.no_grad():
        model.forward(model.ids(pair.patch), [(site, partial(look, site)) for site in SITES])
        for size, value in zip(
            sizes, pair.measure(sizes, complement=complement, keep_errors=keep_errors), strict=True
        ):
            logits = model.forward(
                model.ids(found.reading.cut.tokens),
                [(site, partial(splice, site, size=size)) for site in SITES],
            )
            expected = float(metric_value(found.target, logits[0]))
            assert value == pytest.approx(expected, abs=2e-3, rel=2e-3), size


@pytest.mark.parametrize("mean", [False, True], ids=["zero", "mean"])
def test_everything_with_its_errors_is_the_model(case: Case, mean: bool) -> None:
    clean = case.attribution.value
    assert case.measure([case.count], mean=mean)[0] == pytest.approx(clean, abs=1e-3)
    assert case.measure([0], mean=mean, complement=True)[0] == pytest.approx(clean, abs=1e-3)


def test_the_curve_runs_from_nothing_to_the_model(case: Case) -> None:
    sizes = [0, 5, case.count]
    found = curve(*(case.model, case.attribution, case.dictionaries, case.zero, case.ranked, sizes))
    assert found.faithfulness[0] == pytest.approx(0.0, abs=1e-5)
    assert found.faithfulness[-1] == pytest.approx(1.0, abs=1e-3)
    assert found.completeness[0] == pytest.approx(1.0, abs=1e-3)


def test_a_metric_that_nothing_moves_has_no_curve(case: Case) -> None:
    attribution = Attribution(
        case.attribution.reading, case.attribution.target, case.measure([0])[0] + 0.05
    )
    with pytest.raises(InputError, match="too near for a ratio"):
        curve(*(case.model, attribution, case.dictionaries, case.zero, case.ranked, [1]))


def test_the_strongest_of_all_sites_come_first(case: Case) -> None:
    attribution = case.attribution
    sizes: dict[int, float] = {}
    for site, nodes in case.ranked.items():
        encoded, effects = attribution.reading.encoded[site], attribution.effects[site].features
        assert torch.equal(nodes.positions, encoded.positions)
        assert torch.equal(nodes.indices, encoded.indices)
        sizes.update(zip(nodes.ranks.tolist(), effects.abs().tolist(), strict=True))
    assert sorted(sizes) == list(range(case.count))
    in_order = [sizes[rank] for rank in range(case.count)]
    assert in_order == sorted(in_order, reverse=True) and in_order[0] > in_order[-1]


def test_chance_draws_the_same_nodes_in_another_order(case: Case) -> None:
    drawn = by_chance(case.attribution, case.dictionaries, seed=1)
    ranks = torch.cat([drawn[site].ranks for site in SITES])
    assert sorted(ranks.tolist()) == list(range(case.count))
    again = by_chance(case.attribution, case.dictionaries, seed=1)
    other = by_chance(case.attribution, case.dictionaries, seed=2)
    assert all(torch.equal(drawn[site].ranks, again[site].ranks) for site in SITES)
    assert not all(torch.equal(drawn[site].ranks, other[site].ranks) for site in SITES)


def test_all_nodes_without_errors_are_not_the_dictionaries_left_to_themselves(
    demo: LoadedModel,
) -> None:
    """By sae_lens's own encode and decode: the features that only fire there make the difference."""
    model = demo.model
    tokens = model.prompt("When Mary and John went to the store, John gave a drink to")
    spec = find("demo")
    saes = {site: SAE.load_from_disk(path) for site, path in spec.dictionaries.items()}
    active: dict[Site, torch.Tensor] = {}
    fired: list[int] = []

    def look(site: Site, x: torch.Tensor) -> torch.Tensor:
        active[site] = saes[site].encode(x[0]) != 0
        return x

    def splice(site: Site, x: torch.Tensor, *, held: bool) -> torch.Tensor:
        features = saes[site].encode(x[0])
        fired.append(int(((features != 0) & ~active[site]).sum()))
        return saes[site].decode(features * active[site] if held else features)[None]

    reading = read(model, tokens, demo.dictionaries)
    mary, john = (model.tokenize(name)[0].id for name in (" Mary", " John"))
    logits = reading.cut.logits.detach()
    wanted = resolve_target(model, tokens, logits, target=mary, contrast=john)
    found = attribute(reading, wanted, nothing)

    def by_sae_lens(edit) -> float:
        with torch.no_grad():
            logits = model.forward(model.ids(tokens), [(s, partial(edit, s)) for s in saes])
        return float(metric_value(wanted, logits[0]))

    assert by_sae_lens(look) == pytest.approx(found.value, abs=1e-4)
    free, held = by_sae_lens(partial(splice, held=False)), by_sae_lens(partial(splice, held=True))
    zero = {
        site: Baseline.zero(d, reading.cut.activation(site))
        for site, d in demo.dictionaries.items()
    }
    ranked = strongest_first(found, demo.dictionaries)
    count = sum(len(one.ranks) for one in ranked.values())
    measure = partial(
        circuit_metrics,
        *(model, tokens, wanted, demo.dictionaries, zero, ranked),
        keep_errors=False,
    )
    assert measure([count]) == [pytest.approx(held, abs=1e-2)]
    assert measure([0], complement=True) == [pytest.approx(free, abs=1e-2)]
    assert held - free > 1, "the numbers are far apart, so that each test is of its own"
    assert sum(fired[: len(saes)]) == 697
