"""What stands in for what is taken out: nothing, its mean over a text, or what a contrast prompt has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from scd_tui.attribution.dictionary import Dictionary, Encoded
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.windows import Windows
from scd_tui.graph import Site


class StandIn(Protocol):
    """What stands in at one site for features, and for all else of a reconstruction's rest."""

    def strengths_at(self, positions: Tensor, indices: Tensor) -> Tensor:
        """`[m]`: f · s_out in the place of that of each feature, given by where and which `[m]`."""
        ...

    def rest(self, constant: Tensor) -> Tensor:
        """`[pos, d]`, or what broadcasts to it: in the place of error and site constant together.

        `constant` `[..., pos, d]` is the site constant as it is now.
        """
        ...


@dataclass(frozen=True)
class Baseline:
    """What stands in for what is taken out at a site: zero, or means over a text.

    `strengths` `[d_sae]`: of f · s_out; `error` `[d]`.
    """

    strengths: Tensor
    error: Tensor

    @classmethod
    def zero(cls, dictionary: Dictionary, like: Tensor) -> "Baseline":
        """Nothing in the place of anything; `like` `[..., d]` gives type and device."""
        return cls(
            like.new_zeros(dictionary.width),
            like.new_zeros(like.shape[-1]),
        )

    def strengths_at(self, positions: Tensor, indices: Tensor) -> Tensor:
        """`[m]`: the same at every position."""
        return self.strengths[indices]

    def rest(self, constant: Tensor) -> Tensor:
        """The constant stays, as it is no node."""
        return constant + self.error


@dataclass(frozen=True)
class ContrastBaseline:
    """What the contrast prompt has at a site, position by position.

    Where errors are out the constant is that prompt's too, so that a circuit of no nodes at all, its
    errors out, is the contrast prompt. `there`: its reading; `features`: the dictionary's width.
    """

    there: Encoded
    features: int

    def strengths_at(self, positions: Tensor, indices: Tensor) -> Tensor:
        """`[m]`: 0 where the contrast prompt has not that feature."""
        if not len(self.there.values):
            return self.there.values.new_zeros(len(indices))
        # ascending, as active features are in order of position, then index
        keys = self.there.positions * self.features + self.there.indices
        wanted = positions * self.features + indices
        rows = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return torch.where(keys[rows] == wanted, self.there.strengths[rows], 0.0)

    def rest(self, constant: Tensor) -> Tensor:
        return self.there.error + self.there.constant


@torch.no_grad()
def mean_baselines(
    model: LanguageModel,
    dictionaries: Mapping[Site, Dictionary],
    windows: Windows,
    on_batch: Callable[[], None] = lambda: None,
) -> dict[Site, Baseline]:
    """Means over the positions of a text that count."""
    strengths: dict[Site, Tensor] = {}
    errors: dict[Site, Tensor] = {}

    def add(site: Site, x: Tensor) -> Tensor:
        encoded = dictionaries[site].encode(x)
        if site not in strengths:
            strengths[site] = x.new_zeros(dictionaries[site].width)
            errors[site] = x.new_zeros(x.shape[1])
        strengths[site].index_add_(0, encoded.indices, encoded.strengths)
        errors[site] += encoded.error.sum(dim=0)
        return x

    for batch in windows:
        edits = [(site, batch.edit(partial(add, site))) for site in dictionaries]
        model.forward(batch.ids, edits, [-1])
        on_batch()
    count = windows.tokens
    return {site: Baseline(strengths[site] / count, errors[site] / count) for site in dictionaries}
