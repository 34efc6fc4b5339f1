"""Which features of a dictionary are active, what they write, and the affine function that each then is.

One class for each way in which sae_lens's inference dictionaries select; `activation_of` refuses those that
have no encoder column to differentiate along, or whose output is not a reconstruction of their input.
BatchTopK and Matryoshka dictionaries are saved by sae_lens as JumpReLU ones.
"""

from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from sae_lens import SAE
from torch import Tensor

from scd_tui.errors import InputError
from scd_tui.graph import Site

SUPPORTED = ("standard", "topk", "abstopk", "jumprelu", "gated")
REFUSED = {
    "matching_pursuit": (
        "matching pursuit finds its features one after the other and has no encoder, along whose "
        "columns edges are measured"
    ),
    "temporal": (
        "a temporal dictionary reads other positions through attention of its own, so that a feature "
        "is no function of one position's activation"
    ),
    **dict.fromkeys(
        ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"),
        "a transcoder's output is not a reconstruction of its input; use dictionaries of one site each",
    ),
}

_IN_A_REGISTER = 16
"""float32 numbers."""


@dataclass(frozen=True)
class Chosen:
    """The active features of a prompt, by position, then by index; each `[m]`.

    `columns` `[m, d]`: their encoder columns, where choosing them had them at hand.
    """

    positions: Tensor
    indices: Tensor
    values: Tensor
    columns: Tensor | None = None

    @classmethod
    def where_not_zero(cls, features: Tensor) -> "Chosen":
        """From dense features `[pos, d_sae]`."""
        positions, indices = features.nonzero(as_tuple=True)
        return cls(positions, indices, features[positions, indices])

    @classmethod
    def from_top(cls, values: Tensor, indices: Tensor) -> "Chosen":
        """From `[pos, k]` in any order; features of value 0 are left out."""
        indices, order = indices.sort(dim=-1)
        values = values.gather(-1, order)
        positions, columns = values.nonzero(as_tuple=True)
        return cls(positions, indices[positions, columns], values[positions, columns])


class Activation(Protocol):
    """How a dictionary gets from `z` to its active features."""

    def choose(self, z: Tensor) -> Chosen:
        """The active features of `z` `[pos, d]`."""
        ...

    def rows(self, chosen: Chosen) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder columns `[m, d]`, biases `[m]` and decoder rows `[m, d]` of the active features."""
        ...

    def write(self, chosen: Chosen, positions: int) -> Tensor:
        """`[positions, d]`: Σ f · decoder row at each, without a copy of every active row."""
        ...

    def plain(self) -> "Rectified":
        """The same encoder and decoder behind a ReLU, whatever selects here."""
        ...

    def on(self, device: torch.device) -> "Activation":
        """The same with weights there."""
        ...


def product(z: Tensor, w_enc: Tensor) -> Tensor:
    """z W_enc `[pos, d_sae]` of `[pos, d]` and `[d, d_sae]`, however these lie in memory.

    Where each column is in one piece it is written from the other side: on some processors the few rows
    of z make the usual way twice as slow. On others so does a number of them that leaves part of a
    vector register empty, so there are some more, of zeros.
    """
    if w_enc.stride(0) != 1:
        return z @ w_enc
    filled = F.pad(z, (0, 0, 0, -len(z) % _IN_A_REGISTER)) if z.device.type == "cpu" else z
    return (w_enc.T @ filled.T)[:, : len(z)].T


def summed(w_dec: Tensor, chosen: Chosen, weights: Tensor, positions: int) -> Tensor:
    """`[positions, d]`: the rows of `w_dec` that were chosen at each position, times `weights` `[m]`."""
    starts = torch.searchsorted(
        chosen.positions, torch.arange(positions, device=chosen.positions.device)
    )
    return F.embedding_bag(chosen.indices, w_dec, starts, mode="sum", per_sample_weights=weights)


@dataclass(frozen=True)
class _Weights:
    """Tensors, all on one device."""

    def on(self, device: torch.device) -> Self:
        """The same there."""
        tensors = ((field.name, getattr(self, field.name)) for field in fields(self))
        there = {name: value.to(device) for name, value in tensors if isinstance(value, Tensor)}
        return replace(self, **there)


@dataclass(frozen=True)
class Rectified(_Weights):
    """ReLU, or JumpReLU where there is a threshold `[d_sae]`, in units of the pre-activation."""

    w_enc: Tensor
    b_enc: Tensor
    w_dec: Tensor
    threshold: Tensor | None = None

    def choose(self, z: Tensor) -> Chosen:
        before = product(z, self.w_enc) + self.b_enc
        if self.threshold is None:
            return Chosen.where_not_zero(before.relu())
        return Chosen.where_not_zero(before.relu() * (before > self.threshold))

    def rows(self, chosen: Chosen) -> tuple[Tensor, Tensor, Tensor]:
        indices = chosen.indices
        return (
            self.w_enc.T.index_select(0, indices),
            self.b_enc[indices],
            self.w_dec.index_select(0, indices),
        )

    def write(self, chosen: Chosen, positions: int) -> Tensor:
        return summed(self.w_dec, chosen, chosen.values, positions)

    def plain(self) -> "Rectified":
        return Rectified(self.w_enc, self.b_enc, self.w_dec)


@dataclass(frozen=True)
class Top(_Weights):
    """The k largest, rectified; or with `signed` the k of largest magnitude with their signs.

    With `norms` `[d_sae]` the pre-activations are multiplied by the decoder's norms before the
    selection, and the decoder's rows divided by them.
    """

    w_enc: Tensor
    b_enc: Tensor
    w_dec: Tensor
    k: int
    signed: bool = False
    norms: Tensor | None = None

    def choose(self, z: Tensor) -> Chosen:
        before = product(z, self.w_enc) + self.b_enc
        if self.norms is not None:
            before = before * self.norms
        if self.signed:
            indices = before.abs().topk(self.k, dim=-1, sorted=False).indices
            return Chosen.from_top(before.gather(-1, indices), indices)
        values, indices = before.topk(self.k, dim=-1, sorted=False)
        return Chosen.from_top(values.relu(), indices)

    def rows(self, chosen: Chosen) -> tuple[Tensor, Tensor, Tensor]:
        indices = chosen.indices
        encoder, bias = self.w_enc.T.index_select(0, indices), self.b_enc[indices]
        decoder = self.w_dec.index_select(0, indices)
        if self.norms is None:
            return encoder, bias, decoder
        norms = self.norms[indices]
        return encoder * norms[:, None], bias * norms, decoder / norms[:, None]

    def write(self, chosen: Chosen, positions: int) -> Tensor:
        weights = chosen.values
        if self.norms is not None:
            weights = weights / self.norms[chosen.indices]
        return summed(self.w_dec, chosen, weights, positions)

    def plain(self) -> Rectified:
        # Norms lengthen an encoder column by what they shorten the decoder row by, which behind a
        # ReLU changes nothing.
        return Rectified(self.w_enc, self.b_enc, self.w_dec)


@dataclass(frozen=True)
class Gated(_Weights):
    """One threshold decides, another affine function of the same product says how strongly.

    f = [z W_enc + b_gate > 0] · ReLU(z W_enc · exp(r_mag) + b_mag)   (Rajamanoharan et al. 2024)
    """

    w_enc: Tensor
    b_gate: Tensor
    r_mag: Tensor
    b_mag: Tensor
    w_dec: Tensor

    def choose(self, z: Tensor) -> Chosen:
        both = product(z, self.w_enc)
        strong = torch.addcmul(self.b_mag, both, self.r_mag.exp()).relu()
        return Chosen.where_not_zero(strong * (both + self.b_gate > 0))

    def rows(self, chosen: Chosen) -> tuple[Tensor, Tensor, Tensor]:
        indices = chosen.indices
        encoder = self.w_enc.T.index_select(0, indices) * self.r_mag[indices].exp()[:, None]
        return encoder, self.b_mag[indices], self.w_dec.index_select(0, indices)

    def write(self, chosen: Chosen, positions: int) -> Tensor:
        return summed(self.w_dec, chosen, chosen.values, positions)

    def plain(self) -> Rectified:
        return Rectified(self.w_enc * self.r_mag.exp(), self.b_mag, self.w_dec)


def activation_of(site: Site, sae: SAE, *, in_place: bool = False) -> Activation:
    """How this SAE selects. Raises InputError on architectures that cannot be attributed through.

    The SAE's W_enc is laid out anew, with each feature's column in one piece, so that those of the
    active features are quickly gathered; unless it is to stay in place.
    """
    architecture = sae.cfg.architecture()
    if architecture in REFUSED:
        raise InputError(f"the dictionary at {site} is not supported: {REFUSED[architecture]}")
    if architecture not in SUPPORTED:
        raise InputError(
            f"the dictionary at {site} has architecture {architecture!r}, which is not supported: "
            "use standard, topk, abstopk, jumprelu, gated, or what sae_lens saves as one of them"
        )
    if not in_place:
        sae.W_enc.data = sae.W_enc.data.T.contiguous().T
    if architecture in ("topk", "abstopk"):
        norms = sae.W_dec.norm(dim=-1) if sae.cfg.rescale_acts_by_decoder_norm else None
        k = int(sae.cfg.k)
        return Top(sae.W_enc, sae.b_enc, sae.W_dec, k, architecture == "abstopk", norms)
    if architecture == "gated":
        return Gated(sae.W_enc, sae.b_gate, sae.r_mag, sae.b_mag, sae.W_dec)
    threshold = sae.threshold if architecture == "jumprelu" else None
    return Rectified(sae.W_enc, sae.b_enc, sae.W_dec, threshold)
