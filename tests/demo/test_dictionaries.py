"""The auxiliary loss that puts silent features back to work."""

import torch

from scd_tui.demo.dictionaries import Bank, auxiliary_loss

SITES, TOKENS, WIDTH, FEATURES = 2, 40, 8, 32


def bank() -> Bank:
    generator = torch.Generator().manual_seed(3)
    sample = torch.randn(SITES, TOKENS, WIDTH, generator=generator)
    return Bank.initial(sample, FEATURES, 4, generator)


def test_only_silent_features_learn_from_what_is_left_over():
    of = bank()
    silent = torch.zeros(SITES, FEATURES, dtype=torch.bool)
    silent[0, [3, 9, 11]] = True
    normal, left = torch.randn(2, SITES, TOKENS, WIDTH, generator=torch.Generator().manual_seed(5))

    auxiliary_loss(of, normal, left, silent, 2).backward()

    assert of.encoder.grad is not None
    assert of.decoder.grad is not None
    touched = of.encoder.grad.abs().sum(1) > 0  # [sites, features]
    assert torch.equal(touched, silent)
    assert torch.equal(of.decoder.grad.abs().sum(2) > 0, silent)
    assert of.decoder_bias.grad is None


def test_the_loss_is_the_unexplained_share_of_the_left_over():
    of = bank()
    silent = torch.zeros(SITES, FEATURES, dtype=torch.bool)
    silent[1, :5] = True
    normal = torch.randn(SITES, TOKENS, WIDTH, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        before = (normal[1] - of.decoder_bias[1]) @ of.encoder[1] + of.encoder_bias[1]
        kept = before[:, :5].relu() @ of.decoder[1, :5]

    # what the silent features say is left over is explained in full; its double, three quarters
    exactly = torch.stack([torch.ones_like(kept), kept])
    assert auxiliary_loss(of, normal, exactly, silent, 5) < 1e-10
    torch.testing.assert_close(
        auxiliary_loss(of, normal, 2 * exactly, silent, 5), torch.tensor(0.25)
    )


def test_without_silent_features_there_is_nothing_to_learn():
    of = bank()
    silent = torch.zeros(SITES, FEATURES, dtype=torch.bool)
    normal = torch.randn(SITES, TOKENS, WIDTH)

    assert auxiliary_loss(of, normal, normal, silent, 5) == 0
