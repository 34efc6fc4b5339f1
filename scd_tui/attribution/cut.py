"""One forward pass whose graph falls apart at the sites, and vector-Jacobian products of its pieces.

Every site's activation, and both embeddings, are replaced by a detached copy of themselves that
asks for a gradient. The model computes the very same numbers, but autograd sees one small graph a
site, from the copies just before it to its own output. Differentiating a site's output therefore
follows exactly the paths that meet no other site: the direct paths of which edges are made.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.model import Attention, Edit, LanguageModel, MlpInput, Place, Point
from scd_tui.attribution.room import in_parts, most_upstream, rows_at_once, sizes_of
from scd_tui.attribution.sinks import streams_at
from scd_tui.catalog.passes import Sizes
from scd_tui.graph import Site, Token


@dataclass(frozen=True)
class Cut:
    """A prompt's forward pass, cut.

    `order`: the places in the order in which the model computed them. `copies[place]` `[1, pos, ...]`
    are what the model went on with; `outputs[site]` what it had computed there; `logits`
    `[len(said), vocabulary]`, those at the positions `said`, attached to the copies that the head
    reads. `heads[layer]` `[1, pos, heads, d_head]` is what its attention heads read, not cut.
    `by_position[site]`: a tensor `[1, pos, ...]`, not cut, and the part of the model that makes the
    site's output of it position by position, where it can be run by itself: of the stream, an MLP; of
    what its heads read, an attention's output matrix. `streams[stream]` `[pos, d]`: the residual stream
    where `sinks.streams_at` the sites has it, without gradient.
    """

    tokens: tuple[Token, ...]
    order: tuple[Place, ...]
    copies: Mapping[Place, Tensor]
    outputs: Mapping[Site, Tensor]
    logits: Tensor
    said: tuple[int, ...]
    heads: Mapping[int, Tensor]
    sizes: Sizes
    by_position: Mapping[Site, tuple[Tensor, Callable[[Tensor], Tensor]]]
    streams: Mapping[Site, Tensor]

    def activation(self, place: Place) -> Tensor:
        """`[pos, d]`, without gradient, heads flattened."""
        return self.copies[place].detach()[0].flatten(start_dim=1)

    def logits_at(self, positions: Sequence[int]) -> Tensor:
        """`[len(positions), vocabulary]`, attached. Raises ValueError where none were computed."""
        return self.logits[[self.said.index(position) for position in positions]]

    def logits_by_position(self) -> dict[int, Tensor]:
        """`[vocabulary]` at each position where they were computed, without gradient."""
        return dict(zip(self.said, self.logits.detach(), strict=True))

    def before(self, site: Site) -> tuple[Place, ...]:
        """The places computed before a site, its possible sources."""
        return self.order[: self.order.index(site)]

    def pull_back(
        self, site: Site, pulls: Tensor, at: Sequence[int] | None = None
    ) -> dict[Place, Tensor]:
        """Vector-Jacobian products of a site's output along direct paths.

        `pulls` `[rows, pos, d]`; the answer has `[rows, pos, d_u]` for each place u that is
        directly upstream, and no entry for the others. `at` says of every row but the first at which
        position alone it is not zero: what works position by position then has only these to do.
        """
        output = self.outputs[site]
        if at and site in self.by_position:
            output, _ = self.by_position[site]
            pulls = self._through_positions(site, pulls, at)
        return self._products(output, self._shaped(pulls, output), self.before(site), batched=True)

    def push(self, source: Place, change: Tensor, site: Site) -> Tensor | None:
        """`[pos, d]`: the Jacobian of a site's output along direct paths, times a change `[pos, d]`.

        None where no direct path leads there. A product with a Jacobian is the derivative of one with
        its transpose, which is linear.
        """
        output, copy = self.outputs[site], self.copies[source]
        with torch.enable_grad():
            pull = torch.zeros_like(output, requires_grad=True)
            (back,) = torch.autograd.grad(
                output, copy, pull, create_graph=True, retain_graph=True, allow_unused=True
            )
            if back is None:
                return None
            (pushed,) = torch.autograd.grad((back * change.reshape(back.shape)).sum(), pull)
        return pushed[0].flatten(start_dim=1)

    def _through_positions(self, site: Site, pulls: Tensor, at: Sequence[int]) -> Tensor:
        """`[rows, pos, ...]`: products with the Jacobian of a part that works position by position.

        All positions of the first row and one of each other are run and differentiated side by side.
        """
        read, part = self.by_position[site]
        x = read.detach()[0]
        places = torch.tensor(at, device=x.device)
        numbers = torch.arange(1, len(pulls), device=x.device)
        with torch.enable_grad():
            rows = torch.cat([x, x[places]]).requires_grad_()
            (found,) = torch.autograd.grad(
                part(rows[None])[0], rows, torch.cat([pulls[0], pulls[numbers, places]])
            )
        products = x.new_zeros(len(pulls), *x.shape)
        products[0] = found[: len(x)]
        products[numbers, places] = found[len(x) :]
        return products

    def pull_back_by_head(
        self, site: Site, pulls: Tensor
    ) -> dict[tuple[int, int], dict[Place, Tensor]]:
        """The part of `pull_back` that goes through each attention head, by (layer, head).

        A path that meets no head (through the MLP, or along the stream) is in none of them. One that
        meets heads of two layers, which only sets of sites with gaps allow, is in one of each.
        """
        output = self.outputs[site]
        shaped = self._shaped(pulls, output)
        found: dict[tuple[int, int], dict[Place, Tensor]] = {}
        for layer, z in self.heads.items():
            if layer > site.layer:
                continue
            if site == Site(layer, "hook_z"):
                read, into = output, shaped
            else:
                (into,) = torch.autograd.grad(
                    *(output, z, shaped),
                    is_grads_batched=True,
                    allow_unused=True,
                    retain_graph=True,
                )
                read = z
            if into is None:
                continue
            for head in range(read.shape[2]):
                alone = torch.zeros_like(into)
                alone[:, :, :, head] = into[:, :, :, head]
                if products := self._products(read, alone, self.before(site), batched=True):
                    found[layer, head] = products
        return found

    @staticmethod
    def _shaped(pulls: Tensor, output: Tensor) -> Tensor:
        return pulls.reshape(len(pulls), *output.shape)

    def pull_back_root(self, metric: Tensor) -> dict[Place, Tensor]:
        """Gradient `[1, pos, d_u]` of a scalar made of `logits`, for each place directly upstream."""
        return self._products(metric, None, self.order, batched=False)

    def _products(
        self, output: Tensor, pulls: Tensor | None, sources: tuple[Place, ...], *, batched: bool
    ) -> dict[Place, Tensor]:
        rows = 1 if pulls is None else len(pulls)
        each = self.sizes.product(len(self.tokens), most_upstream(sources), 0)
        at_once = rows_at_once(output.device, each, rows, refuse=False)
        if pulls is not None and at_once < rows:
            parts = [
                self._products(output, pulls[part], sources, batched=batched)
                for part in in_parts(rows, at_once)
            ]
            return {place: torch.cat([part[place] for part in parts]) for place in parts[0]}
        gradients = torch.autograd.grad(
            output,
            [self.copies[place] for place in sources],
            grad_outputs=pulls,
            is_grads_batched=batched,
            allow_unused=True,
            retain_graph=True,
        )
        return {
            place: gradient.reshape(rows, len(self.tokens), -1)
            for place, gradient in zip(sources, gradients, strict=True)
            if gradient is not None
        }


def cut_forward(
    model: LanguageModel,
    tokens: tuple[Token, ...],
    sites: Iterable[Site],
    *,
    freeze_patterns: bool = False,
    said: Sequence[int] | None = None,
    graph: bool = True,
) -> Cut:
    """Run the model on a prompt, cut at the embeddings and at `sites`.

    Without a `graph` there are activations and logits alone, in a fraction of the memory.

    Its logits are those at the positions `said`, by default at all.

    With `freeze_patterns` where attention looks is held fixed, and only what it reads there is
    differentiated: the convention of circuit-tracer (Ameisen et al. 2025).
    """
    sites = tuple(sites)
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
    heads: dict[int, Tensor] = {}
    mlp_inputs: dict[int, Tensor] = {}
    streams: dict[Site, Tensor] = {}

    def look_at(layer: int, z: Tensor) -> Tensor:
        heads[layer] = z
        return z

    def look_before(layer: int, stream: Tensor) -> Tensor:
        mlp_inputs[layer] = stream
        return stream

    def keep_stream(at: Site, stream: Tensor) -> Tensor:
        streams[at] = stream.detach()[0]
        return stream

    edits: list[tuple[Point, Edit]] = [
        (place, partial(cut_at, place))
        for place in (*(leaf for leaf in embeddings if model.has(leaf)), *sites)
    ]
    for layer in range(model.layers):
        # after the cuts, so that a cut z or stream is seen as its readers see it
        if model.has(Attention(layer, "z")):  # a layer may mix positions in another way
            edits.append((Attention(layer, "z"), partial(look_at, layer)))
        if model.has(MlpInput(layer)):
            edits.append((MlpInput(layer), partial(look_before, layer)))
        if freeze_patterns:
            edits.append((Attention(layer, "pattern"), torch.Tensor.detach))
    edits += [(stream, partial(keep_stream, stream)) for stream in streams_at(model, sites)]
    with torch.set_grad_enabled(graph):
        logits = model.forward(model.ids(tokens), edits, said)
    by_position = {}
    for site, written in outputs.items():
        inputs = {"mlp_out": mlp_inputs, "attn_out": heads}.get(site.kind, {})
        read = inputs.get(site.layer)
        if read is not None and (part := model.part(site, read, written)) is not None:
            by_position[site] = (read, part)
    where = tuple(range(len(tokens)) if said is None else said)
    return Cut(
        tokens=tokens,
        order=tuple(order),
        copies=copies,
        outputs=outputs,
        logits=logits[0],
        said=where,
        heads=heads,
        by_position=by_position,
        streams=streams,
        sizes=sizes_of(model),
    )
