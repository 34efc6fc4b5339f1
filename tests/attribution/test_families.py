"""The invariants on every model family and on every shape of a set of sites.

Nothing here is told how a model computes: which places are directly upstream is found by the cut.
"""

import pytest
import torch
from attributing import everything, nothing, plain_gradients, target_of
from families import FAMILIES, SITE_SETS, of_kinds, width_at, write_family
from saes import DIFFERENT_KINDS, random_sae
from tiny import PROMPT

from scd_tui.attribution.attribute import Attribution, Reading, attribute, read
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.errors import InputError
from scd_tui.graph import Site, error_id, feature_id

EXACT = ("gpt2", "pythia")
"""Families that compute in float64 throughout; the RMS norms of the others go by float32."""


def close(family: str) -> float:
    """Tolerance; effects here are of order one."""
    return 1e-10 if family in EXACT else 2e-6


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    folder = tmp_path_factory.mktemp("families")
    found = {}
    for family in FAMILIES:
        model = LanguageModel.boot(write_family(folder / family, family), torch.device("cpu"))
        model._bridge.to(torch.float64)
        found[family] = model
    return found


def attribution_of(
    model: LanguageModel, family: str, sites: tuple[Site, ...], select=everything
) -> Attribution:
    """With another kind of dictionary at each site in turn."""
    dictionaries = {}
    for n, site in enumerate(sites):
        kind = DIFFERENT_KINDS[n % len(DIFFERENT_KINDS)]
        sae = random_sae(width_at(site, family), 40, seed=n, kind=kind).to(torch.float64)
        sae.cfg.dtype = "float64"
        dictionaries[site] = Dictionary(site, sae)
    tokens = model.prompt(PROMPT)
    reading = read(model, tokens, dictionaries)
    return attribute(reading, target_of(model, reading), select)


cases = pytest.mark.parametrize(
    ("family", "name"),
    [
        (family, name)
        for family in FAMILIES
        for name, sites in SITE_SETS.items()
        if not (family == "pythia" and any(site.kind == "resid_mid" for site in sites))
    ],
)


def test_widths_are_those_of_the_activations(models: dict[str, LanguageModel]) -> None:
    for family, model in models.items():
        for site in SITE_SETS["heads"]:
            assert model.width_at(site) == width_at(site, family), (family, site)


@cases
def test_cutting_and_putting_together_is_the_ordinary_backward_pass(
    models: dict[str, LanguageModel], family: str, name: str
) -> None:
    """Invariants (a) and (b), and the logits are those of the untouched model."""
    model, sites = models[family], SITE_SETS[name]
    result = attribution_of(model, family, sites, nothing)
    reading = result.reading
    assert set(reading.sites) == set(sites)
    clean = model.forward(model.ids(reading.cut.tokens))
    assert torch.equal(reading.cut.logits, clean[0])

    for place, gradient in plain_gradients(model, reading, result.target).items():
        torch.testing.assert_close(
            result.gradients[place], gradient, atol=close(family), rtol=close(family)
        )
        if isinstance(place, Site):
            encoded, scores = reading.encoded[place], result.effects[place]
            total = scores.errors + scores.constants
            total = total.index_add(0, encoded.positions, scores.features)
            expected = (gradient * reading.cut.activation(place)).sum(-1)
            torch.testing.assert_close(total, expected, atol=close(family), rtol=close(family))


@cases
def test_edges_out_of_every_node_sum_to_its_effect(
    models: dict[str, LanguageModel], family: str, name: str
) -> None:
    """Invariant (g)."""
    result = attribution_of(models[family], family, SITE_SETS[name])
    for place in result.reading.cut.order:
        for part in ("features", "errors", "constants", "leaves"):
            effect = getattr(result.effects[place], part)
            total = torch.zeros_like(effect)
            for into in result.edges.values():
                if place in into:
                    total += getattr(into[place], part)
            torch.testing.assert_close(total, effect, atol=close(family), rtol=close(family))


@cases
def test_edges_are_finite_differences_of_the_linearised_target(
    models: dict[str, LanguageModel], family: str, name: str
) -> None:
    """Invariant (e): a source scaled by 1 ± h, every site but the target's held at its clean value."""
    model, sites = models[family], SITE_SETS[name]
    result = attribution_of(model, family, sites, nothing)
    reading = result.reading
    h, tolerance = (1e-4, 1e-5) if family in EXACT else (5e-3, 2e-3)
    checked = 0
    for target in reading.sites[1:]:
        encoded = reading.encoded[target]
        row = int(result.effects[target].features.abs().argmax())
        q = int(encoded.positions[row])
        node = feature_id(target, int(encoded.indices[row]), q)
        slope = float(encoded.s_out[q] * (encoded.decoder[row] @ result.gradients[target][q]))
        for source, scores in result.upstream(node).items():
            if not isinstance(source, Site):
                continue
            one = int(scores.features.abs().argmax())
            up, down = (linear_f(model, reading, target, row, source, one, s) for s in (h, -h))
            found, weight = slope * (up - down) / (2 * h), float(scores.features[one])
            assert found == pytest.approx(weight, rel=tolerance, abs=tolerance / 100), source
            checked += 1
    assert checked >= len(sites) - 1


def linear_f(
    model: LanguageModel,
    reading: Reading,
    target: Site,
    row: int,
    source: Site,
    one: int,
    size: float,
) -> float:
    """f of a target's active feature `row`, normalisation frozen, without its constant part.

    What the source's feature `one` writes is added `size` times over; every other site is held.
    """
    encoded, origin = reading.encoded[target], reading.encoded[source]
    push = torch.zeros_like(reading.cut.activation(source))
    push[int(origin.positions[one])] = size * origin.contributions[one]
    q = int(encoded.positions[row])
    seen: list[torch.Tensor] = []

    def hold(place: Place, x: torch.Tensor) -> torch.Tensor:
        if place == target:
            seen.append(x[0].flatten(1)[q])
            return x
        clean = reading.cut.activation(place).reshape(x.shape)
        return clean + push.reshape(x.shape) if place == source else clean

    with torch.no_grad():
        model.forward(
            model.ids(reading.cut.tokens),
            [(place, lambda x, place=place: hold(place, x)) for place in reading.cut.order],
        )
    return float(seen[0] @ encoded.encoder[row] / encoded.s_in[q])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["sublayers", "with gaps", "everything"])
def test_a_part_run_position_by_position_pulls_back_as_the_whole_pass_does(
    models: dict[str, LanguageModel], family: str, name: str
) -> None:
    sites = tuple(s for s in SITE_SETS[name] if family != "pythia" or s.kind != "resid_mid")
    attribution = attribution_of(models[family], family, sites, nothing)
    cut = attribution.reading.cut
    # a parallel block's MLP does not read the stream after attention
    parts = ("attn_out",) if family == "pythia" else ("attn_out", "mlp_out")
    assert set(cut.by_position) == {site for site in sites if site.kind in parts}
    for site in cut.by_position:
        generator = torch.Generator().manual_seed(site.layer)
        pulls = torch.randn(4, *cut.activation(site).shape, generator=generator).double()
        at = [2, 0, 2]
        for row, position in enumerate(at, start=1):
            alone = pulls[row, position].clone()
            pulls[row] = 0
            pulls[row, position] = alone
        expected, found = cut.pull_back(site, pulls), cut.pull_back(site, pulls, at)
        assert expected.keys() == found.keys()
        for place, products in expected.items():
            assert float(products.abs().max()) > 0
            torch.testing.assert_close(found[place], products, atol=close(family), rtol=1e-5)


def test_in_parallel_blocks_attention_is_not_upstream_of_the_mlp(
    models: dict[str, LanguageModel],
) -> None:
    sublayers = SITE_SETS["sublayers"]
    for family in FAMILIES:
        result = attribution_of(models[family], family, sublayers, nothing)
        node = error_id(Site(1, "mlp_out"), 3)
        upstream = {str(place) for place in result.upstream(node)}
        assert "resid_post.0" in upstream
        assert ("attn_out.1" in upstream) == (family != "pythia"), family


def test_one_tensor_at_two_sites_is_joined_by_an_identity_edge(
    models: dict[str, LanguageModel],
) -> None:
    """Into an error at `resid_pre.1`, the edges from `resid_post.0` carry its whole effect."""
    sites = (Site(0, "resid_post"), Site(1, "resid_pre"))
    result = attribution_of(models["gpt2"], "gpt2", sites)
    for node, into in result.edges.items():
        if node.startswith("resid_pre.1"):
            assert set(into) == {Site(0, "resid_post")}
    torch.testing.assert_close(result.gradients[sites[0]], result.gradients[sites[1]])


def test_a_middle_that_a_parallel_block_does_not_have_is_told(
    models: dict[str, LanguageModel],
) -> None:
    assert not models["pythia"].has(Site(0, "resid_mid"))
    assert all(models[f].has(Site(0, "resid_mid")) for f in FAMILIES if f != "pythia")
    # and a set that asks for it is not quietly read without it
    with pytest.raises(InputError, match=r"this model has no resid_mid\.0"):
        attribution_of(models["pythia"], "pythia", (Site(0, "resid_mid"),))


def test_the_middle_of_the_stream_moves_as_what_attention_wrote(
    models: dict[str, LanguageModel],
) -> None:
    """Nothing lies between the two, so that their gradients are one."""
    for family in FAMILIES:
        if family != "pythia":
            result = attribution_of(
                models[family], family, of_kinds("attn_out", "resid_mid"), nothing
            )
            for layer in range(3):
                torch.testing.assert_close(
                    result.gradients[Site(layer, "attn_out")],
                    result.gradients[Site(layer, "resid_mid")],
                )
