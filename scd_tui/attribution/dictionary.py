"""What a sparse autoencoder says of an activation, with its normalisation explicit.

A dictionary reads, at each position,

    z = (x - mu) / s_in - [apply_b_dec_to_input] b_dec
    f = act(z W_enc + b_enc)
    x̂ = (f W_dec + b_dec) s_out + mu            err = x - x̂

sae_lens keeps mu and the scales in attributes of the SAE that the next encode overwrites, so a decode
that comes late silently uses another batch's. Here they are values that travel with the features.
While effects are differentiated mu, s_in, s_out and which features are active are held fixed.
"""

from dataclasses import dataclass

import torch
from sae_lens import SAE
from torch import Tensor

from scd_tui.errors import InputError
from scd_tui.graph import Site

_LAYER_NORM_EPSILON = 1e-5
_ARCHITECTURES = ("standard", "topk", "jumprelu")


@dataclass(frozen=True)
class Encoded:
    """A dictionary's reading of one prompt. `m` counts active (feature, position) pairs.

    `positions`, `indices`, `values` `[m]`: where, which and how strongly (`f`, may not be 0).
    `s_in`, `s_out` `[pos]`: scale going in and coming out. `error`, `constant` `[pos, d]`: x - x̂, and
    `s_out b_dec + mu`. `decoder`, `encoder` `[m, d]`: the active rows of W_dec and columns of W_enc.
    """

    positions: Tensor
    indices: Tensor
    values: Tensor
    s_in: Tensor
    s_out: Tensor
    error: Tensor
    constant: Tensor
    decoder: Tensor
    encoder: Tensor

    @property
    def strengths(self) -> Tensor:
        """`[m]`: f · s_out, what each active feature multiplies its decoder row by."""
        return self.values * self.s_out[self.positions]

    @property
    def contributions(self) -> Tensor:
        """`[m, d]`: the vector that each active feature writes into the activation."""
        return self.strengths[:, None] * self.decoder

    def reconstruction(self) -> Tensor:
        """`[pos, d]`: x̂."""
        return self.constant.index_add(0, self.positions, self.contributions)


class Dictionary:
    """One sae_lens SAE at one site. Raises InputError on what its formula above does not cover."""

    def __init__(self, site: Site, sae: SAE) -> None:
        architecture = sae.cfg.architecture()
        if architecture not in _ARCHITECTURES:
            raise InputError(
                f"the dictionary at {site} has architecture {architecture!r}, which is not supported: "
                f"use one of {', '.join(_ARCHITECTURES)}"
            )
        if sae.cfg.normalize_activations not in ("none", "layer_norm"):
            raise InputError(
                f"the dictionary at {site} normalises by {sae.cfg.normalize_activations!r}, "
                "which is not supported: use one with none or layer_norm"
            )
        if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
            raise InputError(
                f"the dictionary at {site} rescales activations by decoder norms, which is not "
                "supported: fold the norms into its weights first"
            )
        sae.eval()
        for parameter in sae.parameters():
            parameter.requires_grad_(False)
        if sae.hook_z_reshaping_mode:
            sae.turn_off_forward_pass_hook_z_reshaping()
        self.site = site
        self._sae = sae
        self.normalises = sae.cfg.normalize_activations == "layer_norm"
        self.applies_b_dec = bool(sae.cfg.apply_b_dec_to_input)

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self._sae.cfg.d_sae)

    @property
    def d_in(self) -> int:
        return int(self._sae.cfg.d_in)

    @property
    def w_enc(self) -> Tensor:
        """`[d, features]`."""
        weight: Tensor = self._sae.W_enc
        return weight

    @property
    def b_enc(self) -> Tensor:
        """`[features]`."""
        weight: Tensor = self._sae.b_enc
        return weight

    @property
    def w_dec(self) -> Tensor:
        """`[features, d]`."""
        weight: Tensor = self._sae.W_dec
        return weight

    @property
    def b_dec(self) -> Tensor:
        """`[d]`."""
        weight: Tensor = self._sae.b_dec
        return weight

    def scales(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(mu, s_in, s_out)` of activations `[pos, d]`, each `[pos]`.

        Layer norm here is the dictionaries' own: unbiased standard deviation, the epsilon added to
        it going in and not coming out (openai/sparse_autoencoder, model.py; sae_lens, sae.py).
        """
        if not self.normalises:
            one = torch.ones_like(x[:, 0])
            return torch.zeros_like(one), one, one
        std = x.std(dim=-1)
        return x.mean(dim=-1), std + _LAYER_NORM_EPSILON, std

    @torch.no_grad()
    def encode(self, x: Tensor) -> Encoded:
        """Read activations `[pos, d]`. The features are sae_lens's own; the rest is computed here."""
        mu, s_in, s_out = self.scales(x)
        features = self._sae.encode(x)
        positions, indices = features.nonzero(as_tuple=True)
        decoder = self.w_dec[indices]
        constant = s_out[:, None] * self.b_dec + mu[:, None]
        encoded = Encoded(
            positions=positions,
            indices=indices,
            values=features[positions, indices],
            s_in=s_in,
            s_out=s_out,
            error=torch.zeros_like(x),
            constant=constant,
            decoder=decoder,
            encoder=self.w_enc.T[indices],
        )
        encoded.error.copy_(x - encoded.reconstruction())
        return encoded
