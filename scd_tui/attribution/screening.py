"""TopK in two stages: a product in bfloat16 leaves few candidates, float32 decides between them.

On a processor that multiplies bfloat16 in hardware, the product of a prompt with all encoder columns
takes a quarter of the time that float32 takes. How far it can be off is bounded for every
feature by Cauchy and Schwarz, with e the column, ê its bfloat16 part, ẑ that of z:

    |z · e - ẑ · ê| ≤ ‖z‖ ‖e - ê‖ + ‖z - ẑ‖ ‖ê‖

What cannot be among the k largest, however the errors fall, is left out; the values of the others are
computed in float32. So the selection is exact. Columns are kept in two halves, their upper 16 bits
(which are ê) and their lower, that together are the float32 weights, bit by bit, in no more memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scd_tui.attribution.activation import Chosen, Rectified, Top, summed

LEAST_FEATURES = 8192
"""Under this a dictionary's product is over before there is anything to gain."""
_FIRST_CANDIDATES = 4
"""Times k: candidates looked at first. Where more could be among the k largest, twice as many are."""
_AT_ONCE = 4096
"""Columns whose norms are found together."""
_ROUNDING = 2.0**-8
"""Of a bfloat16 result, relative, with room for the float32 sums."""


def pays(w_enc: Tensor, k: int) -> bool:
    """Whether bfloat16 is so much faster where `[d, d_sae]` lies that two stages take less than one."""
    features = w_enc.shape[1]
    return (
        w_enc.device.type == "cpu"
        and w_enc.dtype == torch.float32
        and features >= max(LEAST_FEATURES, 8 * _FIRST_CANDIDATES * k)
        and torch.cpu._is_amx_tile_supported()
    )


@dataclass(frozen=True)
class Halves:
    """float32 weights `[n, d]` as their upper (bfloat16) and lower (int16) 16 bits."""

    upper: Tensor
    lower: Tensor

    @classmethod
    def of(cls, weights: Tensor) -> "Halves":
        """Split `[n, d]`."""
        # little-endian: the lower half comes first
        bits = weights.detach().contiguous().view(torch.int16).reshape(*weights.shape, 2)
        return cls(bits[..., 1].contiguous().view(torch.bfloat16), bits[..., 0].contiguous())

    def rows(self, indices: Tensor) -> Tensor:
        """`[len(indices), d]` float32, as they were."""
        upper = self.upper.view(torch.int16)[indices]
        return torch.stack((self.lower[indices], upper), dim=-1).view(torch.float32)[..., 0]

    def all(self) -> Tensor:
        """`[n, d]` float32, as they were."""
        halves = (self.lower, self.upper.view(torch.int16))
        return torch.stack(halves, dim=-1).view(torch.float32)[..., 0]


@dataclass(frozen=True)
class ScreenedTop:
    """The k largest, rectified, as `activation.Top` finds them.

    `norms` `[d_sae, 2]`: ‖e - ê‖ and ‖ê‖ of every column, rounded up.
    """

    columns: Halves
    norms: Tensor
    b_enc: Tensor
    w_dec: Tensor
    k: int

    @classmethod
    def of(cls, w_enc: Tensor, b_enc: Tensor, w_dec: Tensor, k: int) -> "ScreenedTop":
        """From `[d, d_sae]`, `[d_sae]`, `[d_sae, d]`."""
        weights = w_enc.detach().T
        columns = Halves.of(weights)
        norms = [
            torch.stack(((some - known).norm(dim=1), known.norm(dim=1)), dim=1)
            # all at once would take as much memory again
            for some, known in zip(
                torch.split(weights, _AT_ONCE),
                map(Tensor.float, torch.split(columns.upper, _AT_ONCE)),
                strict=True,
            )
        ]
        return cls(columns, torch.cat(norms) * (1 + 1e-5), b_enc, w_dec, k)

    def choose(self, z: Tensor) -> Chosen:
        features, positions = len(self.b_enc), len(z)
        rounded = z.to(torch.bfloat16)
        known = rounded.float()
        lengths = torch.stack((z.norm(dim=1), (z - known).norm(dim=1))) * (1 + 1e-5)
        about = (self.columns.upper @ rounded.T).float()  # [d_sae, pos]
        room = (self.norms @ lengths).addcmul_(about.abs(), z.new_tensor(_ROUNDING))
        about += self.b_enc[:, None]
        room += 1e-5  # for the rounding of these sums themselves
        about += room  # what a feature can be at most
        count = _FIRST_CANDIDATES * self.k
        while True:
            most, candidates = about.topk(min(count, features), dim=0)  # [count, pos]
            least = most - 2 * room.gather(0, candidates)
            # at least k features are no smaller than this
            reached = least.topk(self.k, dim=0, sorted=False).values.amin(dim=0)
            if count >= features or bool((most[-1] < reached).all()):
                break
            count *= 2
        ranks, at = (most >= reached).nonzero(as_tuple=True)
        indices = candidates[ranks, at]
        columns = self.columns.rows(indices)
        values = (z[at] * columns).sum(dim=1) + self.b_enc[indices]
        # the k largest of each position: candidates side by side, then what is left out
        grid = values.new_full((positions, len(most)), -torch.inf)
        grid[at, ranks] = values
        rows = torch.zeros_like(grid, dtype=torch.int64)
        rows[at, ranks] = torch.arange(len(values), device=z.device)
        best, places = grid.topk(self.k, dim=1, sorted=False)
        of_best = rows.gather(1, places)
        in_order = indices[of_best].argsort(dim=1)
        best, of_best = best.gather(1, in_order).relu(), of_best.gather(1, in_order)
        at, places = best.nonzero(as_tuple=True)
        active = of_best[at, places]
        return Chosen(at, indices[active], best[at, places], columns[active])

    def rows(self, chosen: Chosen) -> tuple[Tensor, Tensor, Tensor]:
        indices, columns = chosen.indices, chosen.columns
        encoder = self.columns.rows(indices) if columns is None else columns
        return encoder, self.b_enc[indices], self.w_dec[indices]

    def write(self, chosen: Chosen, positions: int) -> Tensor:
        return summed(self.w_dec, chosen, chosen.values, positions)

    def plain(self) -> Rectified:
        return Rectified(self.columns.all().T, self.b_enc, self.w_dec)

    def on(self, device: torch.device) -> Top:
        return Top(self.columns.all().T, self.b_enc, self.w_dec, self.k).on(device)
