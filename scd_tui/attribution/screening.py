"""TopK in two stages: a product in bfloat16 leaves few candidates, float32 decides between them.

On a processor that multiplies bfloat16 in hardware, the product of a prompt with all encoder columns
takes a quarter of the time that float32 takes. How far it can be off is bounded for every
feature by Cauchy and Schwarz, with e the column, ê its bfloat16 part, ẑ that of z:

    |z · e - ẑ · ê| ≤ ‖z‖ ‖e - ê‖ + ‖z - ẑ‖ ‖ê‖

What cannot be among the k largest, however the errors fall, is left out; the values of the others are
computed in float32. So the selection is exact. Columns are kept in two halves of 16 bits
(the upper, rounded, is ê) that together are the float32 weights, bit by bit, in no more memory.

Candidates are found through blocks of features: few passes over all features are made, each over a
number of positions that the cache holds, and only the blocks with a large member are looked into.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scd_tui.attribution.activation import Chosen, Rectified, Top, summed

LEAST_FEATURES = 8192
"""Under this a dictionary's product is over before there is anything to gain."""
BLOCK = 32
"""Features whose largest is looked at first. They are not neighbours: f, f + d_sae / 32, …"""
_AT_ONCE = 4096
"""Columns that are split, and whose norms are found, together."""
_POSITIONS = 32
"""Positions that are decided together."""
_ROUNDING = 1.01 * 2.0**-9
"""Of a bfloat16 result, relative."""
_SUMMING = 2.0**-23
"""Of a float32 sum, relative to its terms and for each of them."""


def pays(w_enc: Tensor, k: int) -> bool:
    """Whether bfloat16 is so much faster where `[d, d_sae]` lies that two stages take less than one."""
    features = w_enc.shape[1]
    return (
        w_enc.device.type == "cpu"
        and w_enc.dtype == torch.float32
        and features >= max(LEAST_FEATURES, BLOCK * k)
        and features % BLOCK == 0
        and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    )


@dataclass(frozen=True)
class Halves:
    """float32 weights `[n, d]` as bfloat16 numbers and what the bits are more than theirs, int16."""

    upper: Tensor
    lower: Tensor

    @classmethod
    def of(cls, weights: Tensor) -> "Halves":
        """Split `[n, d]`."""
        upper = torch.empty(weights.shape, dtype=torch.int16)
        lower = torch.empty_like(upper)
        # all at once would take as much memory again
        for start in range(0, len(weights), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            bits = weights.detach()[some].contiguous().view(torch.int32)
            # little-endian: the lower half comes first
            lower[some] = bits.view(torch.int16).view(*bits.shape, 2)[..., 0]
            # the lower half is read as a signed number, so that the upper is rounded to nearest
            upper[some] = (bits + 0x8000) >> 16
        return cls(upper.view(torch.bfloat16), lower)

    def rows(self, indices: Tensor) -> Tensor:
        """`[len(indices), d]` float32, as they were."""
        return _joined(self.upper.index_select(0, indices), self.lower.index_select(0, indices))

    def all(self) -> Tensor:
        """`[n, d]` float32, as they were."""
        return _joined(self.upper, self.lower)


def _joined(upper: Tensor, lower: Tensor) -> Tensor:
    weights = upper.float()
    weights.view(torch.int32).add_(lower)
    return weights


@dataclass(frozen=True)
class ScreenedTop:
    """The k largest, rectified, as `activation.Top` finds them; for a multiple of 32 features.

    `bounds` `[d_sae, 3]`: ‖e - ê‖ and ‖ê‖ of every column, rounded up, and b_enc.
    """

    columns: Halves
    bounds: Tensor
    b_enc: Tensor
    w_dec: Tensor
    k: int

    @classmethod
    def of(cls, w_enc: Tensor, b_enc: Tensor, w_dec: Tensor, k: int) -> "ScreenedTop":
        """From `[d, d_sae]`, `[d_sae]`, `[d_sae, d]`."""
        weights = w_enc.detach().T
        columns = Halves.of(weights)
        bounds = torch.empty(len(weights), 3)
        for start in range(0, len(weights), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            known = columns.upper[some].float()
            bounds[some, 0] = (weights[some] - known).norm(dim=1)
            bounds[some, 1] = known.norm(dim=1)
        bounds *= 1 + 1e-5
        bounds[:, 2] = b_enc
        return cls(columns, bounds, b_enc, w_dec, k)

    def choose(self, z: Tensor) -> Chosen:
        rounded = z.to(torch.bfloat16)
        # as many columns as fill the kernels' registers: fewer take longer
        filled = F.pad(rounded, (0, 0, 0, -len(z) % _POSITIONS))
        products = self.columns.upper @ filled.T  # [d_sae, at least pos]
        longest = float(self.bounds[:, 1].max())
        parts = []
        for start in range(0, len(z), _POSITIONS):
            some = slice(start, start + _POSITIONS)
            parts.append(
                self._decide(
                    z[some],
                    rounded[some],
                    products[:, start : start + len(z[some])],
                    longest,
                    start,
                )
            )
        return Chosen(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _decide(
        self, z: Tensor, rounded: Tensor, products: Tensor, longest: float, first: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Positions, indices, values and columns of what is active among some positions."""
        positions, each = len(z), len(self.b_enc) // BLOCK
        lengths = torch.stack((z.norm(dim=1), (z - rounded.float()).norm(dim=1)))
        lengths *= 1 + 1e-5
        most = products.to(torch.float32, memory_format=torch.contiguous_format)
        blocks = most.view(BLOCK, each, positions)
        # largest |product|, in two steps: the first is the one over memory
        largest = torch.maximum(blocks.amax(0).amax(0), -blocks.amin(0).amin(0))
        rest = _ROUNDING * largest + _SUMMING * z.shape[1] * longest * lengths[0] + 1e-5
        # what a feature can be at most, but for `rest`
        most.addmm_(self.bounds, torch.cat((lengths, torch.ones_like(lengths[:1]))))
        tops = blocks.amax(0)  # [each, pos]

        def members(of: Tensor) -> Tensor:
            """`[BLOCK, n, pos]`: all members of some blocks `[n, pos]`."""
            at = of * positions + torch.arange(positions)
            return most.view(BLOCK, -1).index_select(1, at.flatten()).view(BLOCK, *of.shape)

        best, of = tops.topk(self.k, dim=0, sorted=False)
        features = members(of).argmax(0) * each + of
        bounds = self.bounds.index_select(0, features.flatten()).view(*of.shape, 3)[..., :2]
        room = (bounds * lengths.T).sum(dim=-1)
        # these k, of as many blocks, are no smaller than this
        reached = (best - 2 * room).amin(dim=0) - 2 * rest
        of = tops.topk(int((tops >= reached).sum(dim=0).max()), dim=0, sorted=False).indices
        inside = members(of).flatten(end_dim=1)
        count = int((inside >= reached).sum(dim=0).max())
        which = inside.topk(count, dim=0, sorted=False).indices  # [count, pos]
        member, block = which // len(of), which % len(of)
        candidates = (member * each + of.gather(0, block)).T.contiguous()
        columns = self.columns.rows(candidates.flatten())
        values = torch.bmm(columns.view(positions, count, -1), z[:, :, None])[..., 0]
        values += self.b_enc[candidates]
        values, slots = values.topk(self.k, dim=1, sorted=False)
        indices = candidates.gather(1, slots)
        order = indices.argsort(dim=1)
        indices, slots = indices.gather(1, order), slots.gather(1, order)
        values = values.gather(1, order).relu()
        at, places = values.nonzero(as_tuple=True)
        active = columns.index_select(0, at * count + slots[at, places])
        return at + first, indices[at, places], values[at, places], active

    def rows(self, chosen: Chosen) -> tuple[Tensor, Tensor, Tensor]:
        indices, columns = chosen.indices, chosen.columns
        encoder = self.columns.rows(indices) if columns is None else columns
        return encoder, self.b_enc[indices], self.w_dec.index_select(0, indices)

    def write(self, chosen: Chosen, positions: int) -> Tensor:
        return summed(self.w_dec, chosen, chosen.values, positions)

    def plain(self) -> Rectified:
        return Rectified(self.columns.all().T, self.b_enc, self.w_dec)

    def on(self, device: torch.device) -> Top:
        return Top(self.columns.all().T, self.b_enc, self.w_dec, self.k).on(device)
