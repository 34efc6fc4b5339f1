"""One forward pass whose graph falls apart at the sites, and vector-Jacobian products of its pieces.

Every site's activation, and both embeddings, are replaced by a detached copy of themselves that
asks for a gradient. The model computes the very same numbers, but autograd sees one small graph a
site, from the copies just before it to its own output. Differentiating a site's output therefore
follows exactly the paths that meet no other site: the direct paths of which edges are made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.graph import Site, Token


@dataclass(frozen=True)
class Cut:
    """A prompt's forward pass, cut.

    `order`: the places in the order in which the model computed them. `copies[place]` `[1, pos, ...]`
    are what the model went on with; `outputs[site]` what it had computed there; `logits`
    `[pos, vocabulary]`, attached to the copies that the head reads.
    """

    tokens: tuple[Token, ...]
    order: tuple[Place, ...]
    copies: Mapping[Place, Tensor]
    outputs: Mapping[Site, Tensor]
    logits: Tensor

    def activation(self, place: Place) -> Tensor:
        """`[pos, d]`, without gradient, heads flattened."""
        return self.copies[place].detach()[0].flatten(start_dim=1)

    def before(self, site: Site) -> tuple[Place, ...]:
        """The places computed before a site, its possible sources."""
        return self.order[: self.order.index(site)]

    def pull_back(self, site: Site, pulls: Tensor) -> dict[Place, Tensor]:
        """Vector-Jacobian products of a site's output along direct paths.

        `pulls` `[rows, pos, d]`; the answer has `[rows, pos, d_u]` for each place u that is
        directly upstream, and no entry for the others.
        """
        output = self.outputs[site]
        return self._products(
            output, pulls.reshape(len(pulls), *output.shape), self.before(site), batched=True
        )

    def pull_back_root(self, metric: Tensor) -> dict[Place, Tensor]:
        """Gradient `[1, pos, d_u]` of a scalar made of `logits`, for each place directly upstream."""
        return self._products(metric, None, self.order, batched=False)

    def _products(
        self, output: Tensor, pulls: Tensor | None, sources: tuple[Place, ...], *, batched: bool
    ) -> dict[Place, Tensor]:
        gradients = torch.autograd.grad(
            output,
            [self.copies[place] for place in sources],
            grad_outputs=pulls,
            is_grads_batched=batched,
            allow_unused=True,
            retain_graph=True,
        )
        rows = 1 if pulls is None else len(pulls)
        return {
            place: gradient.reshape(rows, len(self.tokens), -1)
            for place, gradient in zip(sources, gradients, strict=True)
            if gradient is not None
        }


def cut_forward(model: LanguageModel, tokens: tuple[Token, ...], sites: Iterable[Site]) -> Cut:
    """Run the model on a prompt, cut at the embeddings and at `sites`."""
    copies: dict[Place, Tensor] = {}
    outputs: dict[Site, Tensor] = {}
    order: list[Place] = []

    def cut_at(place: Place, activation: Tensor) -> Tensor:
        copy = activation.detach().clone().requires_grad_()
        order.append(place)
        copies[place] = copy
        if isinstance(place, Site):
            outputs[place] = activation
        return copy

    embeddings: tuple[Place, ...] = ("token", "pos")
    places = [place for place in (*embeddings, *sites) if model.has(place)]
    with torch.enable_grad():
        logits = model.forward(
            model.ids(tokens),
            [(place, lambda x, place=place: cut_at(place, x)) for place in places],  # type: ignore[misc]
        )
    return Cut(tokens, tuple(order), copies, outputs, logits[0])
