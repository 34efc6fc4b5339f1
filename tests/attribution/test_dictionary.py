import pytest
import torch
from sae_lens import SAE
from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig
from tiny import random_sae

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.errors import InputError
from scd_tui.graph import Site

SITE = Site(0, "mlp_out")
WIDTH = 24


def activations() -> torch.Tensor:
    return torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(3)) * 4 + 1


@pytest.mark.parametrize("topk", [True, False])
def test_reading_equals_the_dictionary_s_own_encode_and_decode(topk: bool) -> None:
    sae = random_sae(WIDTH, 50, seed=1, topk=topk)
    x = activations()
    features = sae.encode(x)
    reconstruction = sae.decode(features)

    encoded = Dictionary(SITE, sae).encode(x)
    dense = torch.zeros_like(features)
    dense[encoded.positions, encoded.indices] = encoded.values
    torch.testing.assert_close(dense, features, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded.reconstruction(), reconstruction, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded.error, x - reconstruction, atol=1e-5, rtol=1e-5)
    assert (encoded.values != 0).all()


def test_two_readings_do_not_share_their_normalisation() -> None:
    """sae_lens keeps mean and scale in the SAE: a decode after another encode takes the wrong ones."""
    dictionary = Dictionary(SITE, random_sae(WIDTH, 50, seed=1))
    first, second = activations(), activations().flip(0) * 9
    kept = dictionary.encode(first)
    dictionary.encode(second)
    torch.testing.assert_close(kept.reconstruction() + kept.error, first)
    torch.testing.assert_close(kept.s_out, first.std(dim=-1))


def test_active_features_are_the_affine_function_that_edges_differentiate() -> None:
    """f = ((x - mu) / s_in - b_dec) · e + b_enc for each active feature, from the parts as given."""
    sae = random_sae(WIDTH, 50, seed=2)
    dictionary = Dictionary(SITE, sae)
    x = activations()
    mu, s_in, _ = dictionary.scales(x)
    encoded = dictionary.encode(x)
    z = ((x - mu[:, None]) / s_in[:, None] - dictionary.b_dec)[encoded.positions]
    affine = (z * encoded.encoder).sum(dim=-1) + dictionary.b_enc[encoded.indices]
    torch.testing.assert_close(encoded.values, affine, atol=1e-5, rtol=1e-5)


def gated() -> SAE:
    return GatedSAE(GatedSAEConfig(d_in=WIDTH, d_sae=50, device="cpu"))


def rescaled() -> SAE:
    sae = random_sae(WIDTH, 50, seed=1)
    sae.cfg.rescale_acts_by_decoder_norm = True
    return sae


def normalised_otherwise() -> SAE:
    sae = random_sae(WIDTH, 50, seed=1)
    sae.cfg.normalize_activations = "constant_norm_rescale"
    return sae


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (gated, "architecture 'gated'"),
        (rescaled, "rescales activations"),
        (normalised_otherwise, "'constant_norm_rescale'"),
    ],
)
def test_what_the_formula_does_not_cover_is_refused_by_name(make, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Dictionary(SITE, make())
