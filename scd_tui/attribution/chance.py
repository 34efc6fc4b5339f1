"""Dictionaries of random directions, to hold a trained one beside.

A dictionary has to explain more than directions that know nothing of the model would. To be worth
beating, these are given everything that needs no training: unit directions for encoder and decoder
alike, the trained dictionary's normalisation, its kind of selection with as many features active, the
mean activation as constant, and one length for all decoder rows, the best there is (`Fit`). Without
that length the overlapping rows of a few dozen random directions write more than was there.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from scd_tui.attribution.activation import Rectified, Top
from scd_tui.attribution.dictionary import Dictionary


def normalised(dictionary: Dictionary, x: Tensor) -> Tensor:
    """`[pos, d]`: activations `[pos, d]` as the dictionary normalises them, b_dec still in them."""
    mu, s_in, _ = dictionary.scales(x)
    return (x - mu[:, None]) / s_in[:, None]


@dataclass(frozen=True)
class RandomDirections:
    """Features drawn in the place of a dictionary's; `mean` `[d]` is of normalised activations."""

    like: Dictionary
    features: Top | Rectified
    mean: Tensor

    @classmethod
    @torch.no_grad()
    def draw(
        cls, like: Dictionary, mean: Tensor, sample: Tensor, l0: float, seed: int
    ) -> "RandomDirections":
        """The same for the same seed, on every device.

        TopK keeps its k. Other dictionaries get one threshold for all features, at which `l0` features
        are active on average over `sample` `[n, d]` of normalised activations: below it a JumpReLU or
        gated feature is silent, and a ReLU feature's bias is minus it.
        """
        generator = torch.Generator().manual_seed(seed)
        rows = F.normalize(torch.randn(like.width, like.d_in, generator=generator), dim=-1)
        rows = rows.to(mean.device)
        zero = mean.new_zeros(like.width)
        trained = like.activation
        if isinstance(trained, Top):
            return cls(like, Top(rows.T, zero, rows, trained.k, trained.signed), mean)
        before = (sample - mean) @ rows.T
        count = min(max(1, round(l0 * len(sample))), before.numel())
        threshold = before.flatten().topk(count, sorted=False).values.min()
        if isinstance(trained, Rectified) and trained.threshold is None:
            return cls(like, Rectified(rows.T, zero - threshold, rows), mean)
        return cls(like, Rectified(rows.T, zero, rows, zero + threshold), mean)

    def dictionary(self, length: float = 1.0) -> Dictionary:
        """With decoder rows of this length."""
        features = self.features
        if length != 1.0:
            features = replace(features, w_dec=features.w_dec * length)
        return self.like.with_features(features, b_dec=self.mean, applies_b_dec=True)


class Fit:
    """The length c of all decoder rows that leaves the least error, Σ ‖a - c b‖², over a text.

    a is what there is to write, x - s_out b_dec - mu, and b what the rows write at length 1.
    """

    def __init__(self) -> None:
        self._aa = self._ab = self._bb = 0.0

    def add(self, a: Tensor, b: Tensor) -> None:
        """Both `[pos, d]`."""
        self._aa += float(a.square().sum())
        self._ab += float((a * b).sum())
        self._bb += float(b.square().sum())

    @property
    def length(self) -> float:
        return self._ab / self._bb if self._bb > 0 else 0.0

    @property
    def residual(self) -> float:
        """Σ ‖a - c b‖² at that length."""
        return self._aa - self.length * self._ab
