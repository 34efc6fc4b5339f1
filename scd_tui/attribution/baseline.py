"""What stands in for a node that is taken out: nothing, or its mean over a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import Site


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


@torch.no_grad()
def mean_baselines(
    model: LanguageModel, dictionaries: Mapping[Site, Dictionary], windows: Sequence[Sequence[int]]
) -> dict[Site, Baseline]:
    """Means over every position of texts given as token ids."""
    strengths: dict[Site, Tensor] = {}
    errors: dict[Site, Tensor] = {}
    count = 0

    def add(site: Site, activation: Tensor) -> Tensor:
        x = activation.flatten(start_dim=2)[0]
        encoded = dictionaries[site].encode(x)
        if site not in strengths:
            strengths[site] = x.new_zeros(dictionaries[site].width)
            errors[site] = x.new_zeros(x.shape[1])
        strengths[site].index_add_(0, encoded.indices, encoded.strengths)
        errors[site] += encoded.error.sum(dim=0)
        return activation

    for window in windows:
        ids = torch.tensor([list(window)], device=model.device)
        model.forward(ids, [(site, partial(add, site)) for site in dictionaries])
        count += len(window)
    return {site: Baseline(strengths[site] / count, errors[site] / count) for site in dictionaries}
