"""TopK in two stages: the same features and values as in one, whatever bfloat16 rounds away."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from saes import TOPK, random_sae

from scd_tui.attribution import dictionary, screening
from scd_tui.attribution.activation import Top
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.screening import Halves, ScreenedTop, pays
from scd_tui.graph import Site

WIDTH, FEATURES, K = 48, 896, 6


def weights(seed: int, *, alike: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """W_enc, b_enc, W_dec. With `alike` the columns come in pairs that differ by so little."""
    generator = torch.Generator().manual_seed(seed)
    w_enc = torch.randn(WIDTH, FEATURES, generator=generator)
    if alike:
        half = w_enc[:, : FEATURES // 2]
        w_enc = torch.cat([half, half * (1 + alike)], dim=1)
    # lengths over three orders of magnitude
    w_enc = w_enc * torch.logspace(-2, 1, FEATURES)[torch.randperm(FEATURES, generator=generator)]
    b_enc = 0.3 * torch.randn(FEATURES, generator=generator)
    return w_enc, b_enc, torch.randn(FEATURES, WIDTH, generator=generator)


def same(z: torch.Tensor, w_enc: torch.Tensor, b_enc: torch.Tensor, w_dec: torch.Tensor) -> None:
    one, two = Top(w_enc, b_enc, w_dec, K), ScreenedTop.of(w_enc, b_enc, w_dec, K)
    expected, found = one.choose(z), two.choose(z)
    assert torch.equal(found.positions, expected.positions)
    assert torch.equal(found.indices, expected.indices)
    largest = float(expected.values.max()) if len(expected.values) else 1.0
    torch.testing.assert_close(found.values, expected.values, atol=1e-6 * largest, rtol=1e-4)
    for mine, theirs in zip(two.rows(found), one.rows(expected), strict=True):
        assert torch.equal(mine, theirs)
    torch.testing.assert_close(
        *(two.write(found, len(z)), one.write(expected, len(z))), atol=1e-5 * largest, rtol=1e-4
    )


@given(seed=st.integers(0, 10_000), size=st.sampled_from([1e-3, 1.0, 1e3]))
@settings(max_examples=40, deadline=None)
def test_the_features_are_those_of_one_stage(seed: int, size: float) -> None:
    z = size * torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(seed + 1))
    same(z, *weights(seed))


@pytest.mark.parametrize("alike", [1e-3, 1e-4])
def test_features_that_bfloat16_cannot_tell_apart_are_told_apart(alike: float) -> None:
    """Half of the columns equal the other half in bfloat16, or nearly so."""
    for seed in range(5):
        z = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(seed))
        same(z, *weights(seed, alike=alike))


def test_where_the_first_candidates_may_not_be_all_more_are_looked_at() -> None:
    """Hundreds of features within the error of each other, of which six are the largest."""
    generator = torch.Generator().manual_seed(0)
    w_enc = torch.ones(WIDTH, FEATURES) + 1e-4 * torch.randn(WIDTH, FEATURES, generator=generator)
    z = torch.rand(3, WIDTH, generator=generator)
    same(z, w_enc, torch.zeros(FEATURES), torch.randn(FEATURES, WIDTH))


def test_nothing_is_active_where_nothing_is_positive() -> None:
    w_enc, b_enc, w_dec = weights(0)
    found = ScreenedTop.of(w_enc, b_enc - 1e4, w_dec, K).choose(torch.randn(4, WIDTH))
    assert len(found.values) == 0
    same(torch.zeros(4, WIDTH), w_enc, b_enc, w_dec)


def test_weights_come_back_bit_by_bit() -> None:
    values = torch.randn(50, 16) * torch.logspace(-30, 30, 50)[:, None]
    values[0, :4] = torch.tensor([0.0, -0.0, 1e-40, -3.4e38])
    halves = Halves.of(values)
    assert torch.equal(halves.all().view(torch.int32), values.view(torch.int32))
    some = torch.tensor([3, 0, 49, 3])
    assert torch.equal(halves.rows(some).view(torch.int32), values[some].view(torch.int32))
    assert halves.upper.nbytes + halves.lower.nbytes == values.nbytes


def test_a_dictionary_that_is_read_in_two_stages_reads_as_sae_lens_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dictionary, "pays", lambda w_enc, k: True)
    sae = random_sae(32, 512, seed=5, kind=TOPK)
    x = torch.randn(9, 32, generator=torch.Generator().manual_seed(2))
    features = sae.encode(x)
    expected = sae.decode(features)
    mine = Dictionary(Site(0, "mlp_out"), sae)
    assert isinstance(mine.activation, ScreenedTop)
    encoded = mine.encode(x)
    dense = torch.zeros_like(features)
    dense[encoded.positions, encoded.indices] = encoded.values
    torch.testing.assert_close(dense, features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded.reconstruction(), expected, atol=1e-5, rtol=1e-5)
    assert mine.k == sae.cfg.k


def test_it_pays_for_large_dictionaries_on_processors_that_multiply_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_hardware(amx: bool, avx512: bool) -> None:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)

    with_hardware(True, False)
    large = torch.empty(2, screening.LEAST_FEATURES)
    assert pays(large, 32)
    assert not pays(large[:, 1:], 32)
    assert not pays(large.double(), 32)
    assert not pays(large, 300)
    with_hardware(False, True)
    assert pays(large, 32)
    with_hardware(False, False)
    assert not pays(large, 32)


def test_a_column_that_bfloat16_makes_smaller_than_many_others_is_still_found() -> None:
    """Half its entries lose nearly half a step; z and the other columns lose nothing."""
    z = torch.cat([torch.ones(24), -torch.ones(24)])[None]
    step = 2.0 - 2.0**-7  # the last number before 2
    others = torch.full((48, 319), step)
    others[:4] = 2.0
    best = torch.full((48, 1), step)
    best[:24] += 0.49 * 2.0**-7
    w_enc = torch.cat([others, best], dim=1)
    found = ScreenedTop.of(w_enc, torch.zeros(320), torch.randn(320, 48), K).choose(z)
    assert 319 in found.indices.tolist()
