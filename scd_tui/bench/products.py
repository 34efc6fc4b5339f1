"""The encoder products alone: the least that reading a prompt with these dictionaries can cost.

A dictionary's weights can lie in memory with its features side by side or one after the other, and which
is multiplied faster depends on the library and on how many tokens there are. So every form is timed
and the fastest counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from scd_tui.bench.stopwatch import Now, best_of

_MOST_BYTES = 4_000_000_000


@dataclass(frozen=True)
class Product:
    """One way to multiply z `[pos, d]` and all encoder columns.

    `by_feature`: weights are `[d_sae, d]` row-major instead of `[d, d_sae]`.
    """

    name: str
    by_feature: bool
    multiply: Callable[[Tensor, Tensor], Tensor]


PRODUCTS = (
    Product("z @ W", False, lambda z, w: z @ w),
    Product("z @ W.T", True, lambda z, w: z @ w.T),
    Product("W @ z.T", True, lambda z, w: w @ z.T),
)


@dataclass(frozen=True)
class Fastest:
    """Seconds for one product with each dictionary, and the form that took least."""

    seconds: float
    name: str


def weights_like(sizes: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
    """Encoders `[d, d_sae]`, one for each `(d, d_sae)`, each in memory of its own.

    Numbers are drawn once a size: it is memory that has to be distinct, or the cache would help.
    """
    drawn = {size: torch.randn(*size, device=device) for size in dict.fromkeys(sizes)}
    return [drawn[size].clone() for size in sizes]


@torch.no_grad()
def encoder_seconds(
    sizes: Sequence[tuple[int, int]],
    runs: Mapping[int, int],
    device: torch.device,
    now: Now,
) -> dict[int, Fastest]:
    """For each number of tokens of `runs`, the fastest form, each form timed as often as `runs` says.

    `sizes` are `(d, d_sae)` of each dictionary. Makes weights of its own and needs as much memory as all
    encoders and one more; of very large ones every second, third, … is multiplied, and the time scaled.
    """
    total = sum(4 * d * features for d, features in sizes)
    every = -(-total // _MOST_BYTES)
    sizes = sizes[::every]
    scale = total / sum(4 * d * features for d, features in sizes)
    weights = weights_like(sizes, device)
    found: dict[int, list[Fastest]] = {tokens: [] for tokens in runs}
    for by_feature in (False, True):
        if by_feature:
            for n, columns in enumerate(weights):
                weights[n] = columns.T.contiguous()
        for tokens in runs:
            inputs = [torch.randn(tokens, d, device=device) for d, _ in sizes]
            for product in PRODUCTS:
                if product.by_feature is by_feature:
                    seconds = best_of(runs[tokens], partial(_all, product, inputs, weights), now)
                    found[tokens].append(Fastest(scale * seconds, product.name))
    return {tokens: min(all_, key=lambda f: f.seconds) for tokens, all_ in found.items()}


def _all(product: Product, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    for z, w in zip(inputs, weights, strict=True):
        product.multiply(z, w)
