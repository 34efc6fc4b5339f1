"""What a sparse autoencoder says of an activation, with its normalisation explicit.

A dictionary reads, at each position,

    z = (x - mu) / s_in - [apply_b_dec_to_input] b_dec
    f = act(z W_enc + b_enc)
    x̂ = (f W_dec + b_dec) s_out + mu            err = x - x̂

sae_lens keeps mu and the scales in attributes of the SAE that the next encode overwrites, so a decode
that comes late silently uses another batch's. Here they are values that travel with the features.
While effects are differentiated mu, s_in, s_out and which features are active are held fixed: each
active feature is then the affine function z · e + b of its encoder column e, whatever selected it.

What sae_lens multiplies activations or weights by on the way is put into the rows: a gated dictionary's
magnitudes scale its encoder's columns; where activations are rescaled by decoder norms, the columns are
lengthened by them and the decoder's rows shortened.
"""

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from sae_lens import SAE
from torch import Tensor

from scd_tui.attribution.activation import Activation, Chosen, Rectified, Top, activation_of
from scd_tui.attribution.screening import ScreenedTop, pays
from scd_tui.errors import InputError
from scd_tui.graph import Site

_LAYER_NORM_EPSILON = 1e-5
NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")
_TO_FOLD = {
    "expected_average_only_in": (
        "expects activations scaled by a factor that it does not carry: fold the factor into its "
        "weights (fold_activation_norm_scaling_factor) and save it again"
    ),
    "covariance_whitening": (
        "expects whitened activations and does not carry the whitening: fold it into its weights "
        "(fold_activation_whitening) and save it again"
    ),
}


@dataclass(frozen=True)
class Encoded:
    """A dictionary's reading of one prompt. `m` counts active (feature, position) pairs, by position.

    `positions`, `indices`, `values` `[m]`: where, which and how strongly (`f`, not 0, negative for
    features that work both ways); `strengths` `[m]`: f · s_out, what a decoder row is multiplied by.
    `s_in`, `s_out` `[pos]`: scale going in and coming out. `error`, `constant` `[pos, d]`: x - x̂, and
    `s_out b_dec + mu`. `decoder`, `encoder` `[m, d]`: the active rows of W_dec and columns of W_enc;
    `bias` `[m]`: f at z = 0, so that `values = z · encoder + bias`.
    """

    positions: Tensor
    indices: Tensor
    values: Tensor
    strengths: Tensor
    s_in: Tensor
    s_out: Tensor
    error: Tensor
    constant: Tensor
    decoder: Tensor
    encoder: Tensor
    bias: Tensor

    @property
    def contributions(self) -> Tensor:
        """`[m, d]`: the vector that each active feature writes into the activation."""
        return self.strengths[:, None] * self.decoder

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Position and index of each of the `m`."""
        return list(zip(self.positions.tolist(), self.indices.tolist(), strict=True))

    @cached_property
    def rows(self) -> dict[tuple[int, int], int]:
        """Where each active (feature, position) stands, by position and index."""
        return {pair: row for row, pair in enumerate(self.pairs)}

    @cached_property
    def slots(self) -> Tensor:
        """`[m]`: how many active features of the same position come before each."""
        first = torch.searchsorted(self.positions, self.positions)
        return torch.arange(len(self.positions), device=first.device) - first

    @cached_property
    def decoder_by_position(self) -> Tensor:
        """`[pos, most, d]`: the decoder rows of each position, in the order of `slots`, then zeros."""
        positions, width = self.error.shape
        most = int(self.slots.max()) + 1 if len(self.slots) else 0
        if positions * most == len(self.positions):
            return self.decoder.view(positions, most, width)
        grid = self.decoder.new_zeros(positions, most, width)
        grid[self.positions, self.slots] = self.decoder
        return grid

    @cached_property
    def rest(self) -> Tensor:
        """`[pos, 2, d]`: error and constant of each position."""
        return torch.stack((self.error, self.constant), dim=1)

    def along(self, gradients: Tensor) -> Tensor:
        """`[rows, m]`: what each active feature writes · gradients `[rows, pos, d]`."""
        products = torch.bmm(self.decoder_by_position, gradients.permute(1, 2, 0))
        return products[self.positions, self.slots].T * self.strengths

    def minus(self, other: "Encoded") -> "Encoded":
        """This prompt's reading with another's strengths, errors and constants taken off.

        It has the active features of both; those that only the other has are here with f = 0.
        """
        both = [
            torch.stack((one.positions, one.indices), dim=1).contiguous() for one in (self, other)
        ]
        places, rows = torch.unique(torch.cat(both), dim=0, return_inverse=True)
        mine, theirs = rows[: len(self.values)], rows[len(self.values) :]

        def spread(to: Tensor, values: Tensor) -> Tensor:
            return values.new_zeros(len(places), *values.shape[1:]).index_copy(0, to, values)

        def row_of_either(own: Tensor, others: Tensor) -> Tensor:
            return spread(theirs, others).index_copy(0, mine, own)

        return Encoded(
            positions=places[:, 0].contiguous(),
            indices=places[:, 1].contiguous(),
            values=spread(mine, self.values),
            strengths=spread(mine, self.strengths) - spread(theirs, other.strengths),
            s_in=self.s_in,
            s_out=self.s_out,
            error=self.error - other.error,
            constant=self.constant - other.constant,
            decoder=row_of_either(self.decoder, other.decoder),
            encoder=row_of_either(self.encoder, other.encoder),
            bias=row_of_either(self.bias, other.bias),
        )

    def reconstruction(self) -> Tensor:
        """`[pos, d]`: x̂."""
        return self.constant.index_add(0, self.positions, self.contributions)


def _quickest(activation: Activation) -> Activation:
    """The same features, found in two stages where that is quicker."""
    if isinstance(activation, Top) and not activation.signed and activation.norms is None:
        top = activation
        if pays(top.w_enc, top.k):
            return ScreenedTop.of(top.w_enc, top.b_enc, top.w_dec, top.k)
    return activation


def _first_position(seqpos_slice: Any) -> int:
    """Where `seqpos_slice` of a dictionary's metadata begins: `(start, stop)`, either of them None.

    The stop counts in the windows of training, which say nothing of where a prompt ends.
    """
    if not isinstance(seqpos_slice, (list, tuple)) or len(seqpos_slice) < 2:
        return 0  # of one value it is the stop, as in Python's slice
    start = seqpos_slice[0]
    return start if isinstance(start, int) and start > 0 else 0


class Dictionary:
    """One sae_lens SAE at one site. Raises InputError on what the formula above does not cover.

    With `in_place` its weights stay as and where they are, in a file that is mapped into memory or on
    another device than the activations: then they are sent there for the time of a reading. Without,
    they are laid out for speed.
    """

    def __init__(self, site: Site, sae: SAE, *, in_place: bool = False) -> None:
        self.activation: Activation = activation_of(site, sae, in_place=in_place)
        if not in_place:
            self.activation = _quickest(self.activation)
        normalisation = sae.cfg.normalize_activations
        if normalisation in _TO_FOLD:
            raise InputError(f"the dictionary at {site} {_TO_FOLD[normalisation]}")
        if normalisation not in NORMALISATIONS:
            raise InputError(
                f"the dictionary at {site} normalises by {normalisation!r}, which is not supported: "
                f"use one of {', '.join(NORMALISATIONS)}"
            )
        sae.eval()
        for parameter in sae.parameters():
            parameter.requires_grad_(False)
        if sae.hook_z_reshaping_mode:
            sae.turn_off_forward_pass_hook_z_reshaping()
        self.site = site
        self.normalisation = normalisation
        self.applies_b_dec = bool(sae.cfg.apply_b_dec_to_input)
        self.width = int(sae.cfg.d_sae)
        """Number of features."""
        self.b_dec: Tensor = sae.b_dec
        """`[d]`."""
        self.trained_from = _first_position(sae.cfg.metadata.seqpos_slice)
        """The first position that the dictionary was trained on."""

    @property
    def d_in(self) -> int:
        return len(self.b_dec)

    @property
    def k(self) -> int | None:
        """The most features that can be active at a position, where the architecture fixes it."""
        return self.activation.k if isinstance(self.activation, Top | ScreenedTop) else None

    @property
    def is_plain(self) -> bool:
        """Whether it is no more than a ReLU on raw activations."""
        return (
            self.normalisation == "none"
            and isinstance(self.activation, Rectified)
            and self.activation.threshold is None
        )

    def as_plain_relu(self) -> "Dictionary":
        """The same weights without normalisation and selection: ReLU on raw activations.

        This is how the post's code runs OpenAI's TopK dictionaries: it loads, and reconstructs nothing.
        """
        return self.with_features(self.activation.plain(), normalisation="none")

    def with_features(
        self,
        activation: Activation,
        *,
        normalisation: str | None = None,
        b_dec: Tensor | None = None,
        applies_b_dec: bool | None = None,
    ) -> "Dictionary":
        """Other features at the same site, as many; what is not given stays as it is here."""
        other = copy.copy(self)
        other.activation = activation
        if normalisation is not None:
            other.normalisation = normalisation
        if b_dec is not None:
            other.b_dec = b_dec
        if applies_b_dec is not None:
            other.applies_b_dec = applies_b_dec
        return other

    def scales(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(mu, s_in, s_out)` of activations `[pos, d]`, each `[pos]`.

        Layer norm here is the dictionaries' own: unbiased standard deviation, the epsilon added to
        it going in and not coming out (openai/sparse_autoencoder, model.py; sae_lens, sae.py).
        `constant_norm_rescale` brings every activation to norm √d, going in and coming out.
        """
        one = torch.ones_like(x[:, 0])
        zero = torch.zeros_like(one)
        if self.normalisation == "layer_norm":
            std = x.std(dim=-1)
            return x.mean(dim=-1), std + _LAYER_NORM_EPSILON, std
        if self.normalisation == "constant_norm_rescale":
            norm = x.norm(dim=-1) / x.shape[-1] ** 0.5
            return zero, norm, norm
        return zero, one, one

    def normalised(self, x: Tensor, mu: Tensor, s_in: Tensor) -> Tensor:
        """`[pos, d]`: z, what the encoder multiplies."""
        z = (x - mu[:, None]) / s_in[:, None]
        return z - self.b_dec if self.applies_b_dec else z

    def on(self, device: torch.device) -> "Dictionary":
        """The same dictionary there: itself, or a copy that takes memory for as long as it is held."""
        if self.b_dec.device == device:
            return self
        return self.with_features(self.activation.on(device), b_dec=self.b_dec.to(device))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Encoded:
        """Read activations `[pos, d]`."""
        if x.device != self.b_dec.device:
            return self.on(x.device).encode(x)
        mu, s_in, s_out = self.scales(x)
        chosen: Chosen = self.activation.choose(self.normalised(x, mu, s_in))
        encoder, bias, decoder = self.activation.rows(chosen)
        encoded = Encoded(
            positions=chosen.positions,
            indices=chosen.indices,
            values=chosen.values,
            strengths=chosen.values * s_out[chosen.positions],
            s_in=s_in,
            s_out=s_out,
            error=torch.zeros_like(x),
            constant=s_out[:, None] * self.b_dec + mu[:, None],
            decoder=decoder,
            encoder=encoder,
            bias=bias,
        )
        encoded.error.copy_(x - encoded.reconstruction())
        return encoded

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> tuple[Chosen, Tensor]:
        """What is active in activations `[pos, d]`, and x̂ `[pos, d]`: as `encode`, without its rows.

        Needs no memory for rows of active features, of which a dictionary that is run wrongly has many.
        """
        if x.device != self.b_dec.device:
            return self.on(x.device).reconstruct(x)
        mu, s_in, s_out = self.scales(x)
        chosen = self.activation.choose(self.normalised(x, mu, s_in))
        written = self.activation.write(chosen, len(x)) + self.b_dec
        return chosen, s_out[:, None] * written + mu[:, None]
