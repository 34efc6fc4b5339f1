"""The adapter equals sae_lens's own encode and decode, for everything that sae_lens can load."""

import pytest
import torch
from sae_lens import SAE
from sae_lens.saes import (
    JumpReLUTranscoder,
    JumpReLUTranscoderConfig,
    MatchingPursuitSAE,
    MatchingPursuitSAEConfig,
    SkipTranscoder,
    SkipTranscoderConfig,
    TemporalSAE,
    TemporalSAEConfig,
    Transcoder,
    TranscoderConfig,
)
from saes import EVERY_KIND, RELU, TOPK, SaeKind, random_sae

from scd_tui.attribution.dictionary import Dictionary, Encoded
from scd_tui.errors import InputError
from scd_tui.graph import Site

SITE = Site(0, "mlp_out")
WIDTH, FEATURES = 24, 50
every_kind = pytest.mark.parametrize("kind", EVERY_KIND, ids=str)


def activations() -> torch.Tensor:
    return torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(3)) * 4 + 1


def dense(encoded: Encoded, rows: int) -> torch.Tensor:
    features = torch.zeros(rows, FEATURES)
    features[encoded.positions, encoded.indices] = encoded.values
    return features


@every_kind
def test_reading_equals_the_dictionary_s_own_encode_and_decode(kind: SaeKind) -> None:
    sae = random_sae(WIDTH, FEATURES, seed=1, kind=kind)
    x = activations()
    features = sae.encode(x)
    reconstruction = sae.decode(features)

    encoded = Dictionary(SITE, sae).encode(x)
    torch.testing.assert_close(dense(encoded, len(x)), features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded.reconstruction(), reconstruction, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded.error, x - reconstruction, atol=1e-5, rtol=1e-5)
    assert (encoded.values != 0).all()
    assert 0 < len(encoded.values) < features.numel()


@every_kind
def test_reconstructing_is_reading_without_rows(kind: SaeKind) -> None:
    dictionary, x = Dictionary(SITE, random_sae(WIDTH, FEATURES, seed=1, kind=kind)), activations()
    encoded = dictionary.encode(x)
    chosen, reconstruction = dictionary.reconstruct(x)
    assert torch.equal(chosen.positions, encoded.positions)
    assert torch.equal(chosen.indices, encoded.indices)
    assert torch.equal(chosen.values, encoded.values)
    torch.testing.assert_close(reconstruction, encoded.reconstruction(), atol=1e-5, rtol=1e-5)


def test_where_nothing_is_active_the_constant_is_left() -> None:
    sae, x = random_sae(WIDTH, FEATURES, seed=1, kind=RELU), activations()
    with torch.no_grad():
        largest = (x @ sae.W_enc + sae.b_enc).max(dim=-1).values
        sae.b_enc -= largest.sort().values[:3].mean()
    dictionary = Dictionary(SITE, sae)
    chosen, reconstruction = dictionary.reconstruct(x)
    silent = sorted(set(range(len(x))) - set(chosen.positions.tolist()))
    assert 0 < len(silent) < len(x)
    torch.testing.assert_close(reconstruction[silent], sae.b_dec.expand(len(silent), -1))
    torch.testing.assert_close(reconstruction, dictionary.encode(x).reconstruction())

    with torch.no_grad():
        sae.b_enc -= 1e6
    torch.testing.assert_close(dictionary.reconstruct(x)[1], sae.b_dec.expand(len(x), -1))


@every_kind
def test_the_same_weights_as_plain_relu(kind: SaeKind) -> None:
    """ReLU on raw activations, decoded as it comes; rows and norms of gates and rescaling stay."""
    sae, x = random_sae(WIDTH, FEATURES, seed=1, kind=kind), activations()
    z = x - sae.b_dec if sae.cfg.apply_b_dec_to_input else x
    if kind.architecture == "gated":
        features = (z @ sae.W_enc * sae.r_mag.exp() + sae.b_mag).relu()
    else:
        features = (z @ sae.W_enc + sae.b_enc).relu()
    dictionary = Dictionary(SITE, sae)
    chosen, reconstruction = dictionary.as_plain_relu().reconstruct(x)
    expected = features @ sae.W_dec + sae.b_dec
    torch.testing.assert_close(reconstruction, expected, atol=1e-4, rtol=1e-4)
    assert len(chosen.values) == int((features != 0).sum())
    # the dictionary itself is left as it was
    torch.testing.assert_close(dictionary.reconstruct(x)[1], sae.decode(sae.encode(x)))
    same = torch.allclose(reconstruction, dictionary.reconstruct(x)[1], atol=1e-3)
    assert (
        dictionary.is_plain
        == same
        == (kind.architecture == "standard" and kind.normalisation == "none")
    )


@every_kind
def test_k_is_known_where_the_architecture_fixes_it(kind: SaeKind) -> None:
    dictionary = Dictionary(SITE, random_sae(WIDTH, FEATURES, seed=1, kind=kind))
    assert dictionary.k == (8 if kind.architecture in ("topk", "abstopk") else None)


@every_kind
def test_active_features_come_by_position_and_then_by_index(kind: SaeKind) -> None:
    encoded = Dictionary(SITE, random_sae(WIDTH, FEATURES, seed=1, kind=kind)).encode(activations())
    order = encoded.positions * FEATURES + encoded.indices
    assert (order.diff() > 0).all()


def test_features_that_work_both_ways_are_active_when_negative() -> None:
    sae = random_sae(WIDTH, FEATURES, seed=1, kind=SaeKind("abstopk"))
    encoded = Dictionary(SITE, sae).encode(activations())
    assert (encoded.values < 0).any() and (encoded.values > 0).any()
    assert len(encoded.values) == 7 * sae.cfg.k


@every_kind
def test_active_features_are_the_affine_function_that_edges_differentiate(kind: SaeKind) -> None:
    """f = z · e + b for each active feature, and sae_lens's f grows along e, normalisation held."""
    sae = random_sae(WIDTH, FEATURES, seed=2, kind=kind)
    dictionary, x = Dictionary(SITE, sae), activations()
    mu, s_in, _ = dictionary.scales(x)
    encoded = dictionary.encode(x)
    z = dictionary.normalised(x, mu, s_in)
    affine = (z[encoded.positions] * encoded.encoder).sum(dim=-1) + encoded.bias
    torch.testing.assert_close(encoded.values, affine, atol=1e-5, rtol=1e-5)

    # what sae_lens itself makes of a small change of its normalised input
    sae.run_time_activation_norm_fn_in = lambda raw: (raw - mu[:, None]) / s_in[:, None]
    clean = sae.encode(x)
    step = 1e-3 * torch.randn(WIDTH, generator=torch.Generator().manual_seed(5))
    moved = sae.encode(x + step)
    kept = (clean != 0) & (moved != 0)
    at = kept[encoded.positions, encoded.indices]
    change = (moved - clean)[encoded.positions, encoded.indices]
    predicted = (encoded.encoder @ step) / s_in[encoded.positions]
    assert at.sum() > 20
    torch.testing.assert_close(change[at], predicted[at], atol=1e-5, rtol=5e-3)


def test_two_readings_do_not_share_their_normalisation() -> None:
    """sae_lens keeps mean and scale in the SAE: a decode after another encode takes the wrong ones."""
    dictionary = Dictionary(SITE, random_sae(WIDTH, FEATURES, seed=1, kind=TOPK))
    first, second = activations(), activations().flip(0) * 9
    kept = dictionary.encode(first)
    dictionary.encode(second)
    torch.testing.assert_close(kept.reconstruction() + kept.error, first)
    torch.testing.assert_close(kept.s_out, first.std(dim=-1))


def test_a_dictionary_of_attention_heads_reads_them_side_by_side() -> None:
    """`hook_z` comes as `[pos, heads, d_head]`; sae_lens flattens it, and so does whoever cuts there."""
    sae = random_sae(WIDTH, FEATURES, seed=4, kind=TOPK, hook="blocks.0.attn.hook_z")
    sae.cfg.reshape_activations = "hook_z"
    sae.turn_on_forward_pass_hook_z_reshaping()
    heads = activations().reshape(7, 4, WIDTH // 4)
    features = sae.encode(heads)
    reconstruction = sae.decode(features)
    encoded = Dictionary(Site(0, "hook_z"), sae).encode(heads.flatten(1))
    torch.testing.assert_close(dense(encoded, 7), features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        encoded.reconstruction(), reconstruction.flatten(1), atol=1e-5, rtol=1e-5
    )


def unfolded(normalisation: str) -> SAE:
    sae = random_sae(WIDTH, FEATURES, seed=1)
    sae.cfg.normalize_activations = normalisation
    return sae


def transcoder(make, config) -> SAE:
    options = {"d_in": WIDTH, "d_out": WIDTH, "d_sae": FEATURES, "apply_b_dec_to_input": False}
    return make(config(**options))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: MatchingPursuitSAE(MatchingPursuitSAEConfig(d_in=WIDTH, d_sae=FEATURES)),
            "matching pursuit .* has no encoder",
        ),
        (
            lambda: TemporalSAE(TemporalSAEConfig(d_in=WIDTH, d_sae=128, n_heads=2)),
            "temporal dictionary reads other positions",
        ),
        (lambda: transcoder(Transcoder, TranscoderConfig), "transcoder's output is not"),
        (lambda: transcoder(SkipTranscoder, SkipTranscoderConfig), "transcoder's output is not"),
        (
            lambda: transcoder(JumpReLUTranscoder, JumpReLUTranscoderConfig),
            "transcoder's output is not",
        ),
        (lambda: unfolded("expected_average_only_in"), "factor that it does not carry"),
        (lambda: unfolded("covariance_whitening"), "does not carry the whitening"),
        (lambda: unfolded("batch_norm"), "'batch_norm', which is not supported"),
    ],
)
def test_what_the_formula_does_not_cover_is_refused_with_the_reason(make, reason: str) -> None:
    with pytest.raises(InputError, match=f"at mlp_out.0 .*{reason}"):
        Dictionary(SITE, make())
