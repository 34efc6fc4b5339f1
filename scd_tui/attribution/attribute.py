"""Node effects and edge weights, from the metric back to the embeddings.

With `g` the gradient of the metric at a site, `a = f · s_out` and `d`, `e` a feature's decoder row and
encoder column, at one position:

    effect of feature i     n(i) = a_i (d_i · g)            of the error   n(err) = err · g
    pull of feature j       c_j e_j / s_in   with   c_j = s_out (d_j · g)
    pull of the error       g - Σ_active c_i e_i / s_in
    edge u → v              a_u (d_u · h)    with   h = (∂x_v/∂x_u)ᵀ pull_v   along the direct path

The pulls of all features and of the error add up to g, so the edges out of a node add up to its effect.
Going from the last site to the first, one batched vector-Jacobian product a site carries g (row 0)
and one pull a selected target. Row 0 summed over the sites downstream is the ordinary backward pass.

Marks et al. 2024 (arXiv 2403.19647) define effect and edge; the correction for paths that lead through
another site, which they and the post make by subtraction, is made here by the cut.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.cut import Cut, cut_forward
from scd_tui.attribution.dictionary import Dictionary, Encoded
from scd_tui.attribution.finite import require_finite, require_finite_pass
from scd_tui.attribution.metric import value_at
from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.attribution.sinks import Positions, positions_of, trained_from
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, NodeRef, Site, Target, Token, error_id, feature_id, parse_node


@dataclass(frozen=True)
class Scores:
    """What each node of one place contributes to something: to the metric, or to one target node.

    At a site: `features` `[m]`, `errors` `[pos]`, `constants` `[pos]`. At an embedding `features` is empty,
    `errors` zero, and `leaves` `[pos]` holds the embedding's own share.
    """

    features: Tensor
    errors: Tensor
    constants: Tensor
    leaves: Tensor

    def total(self) -> Tensor:
        """`[]`: the sum over all nodes of the place."""
        return self.features.sum() + self.errors.sum() + self.constants.sum() + self.leaves.sum()


EdgesInto = Mapping[Place, Scores]
"""Weights of all edges into one target, by the place that they come from."""


@dataclass(frozen=True)
class Reading:
    """A prompt's cut forward pass and what each dictionary says of it. Independent of the metric.

    `encoded` is what is attributed, `clean` what the dictionaries say of the prompt: the same, unless
    there is a contrast prompt, whose activations, errors and embeddings are then taken off those of
    `encoded` (features that only the contrast prompt has are in it with f = 0). `against` are
    the contrast prompt's activations `[pos, d]`, `logits_there` its logits `[vocabulary]` at each
    position where those of the prompt were computed. `positions` says which positions count (`sinks`).
    """

    cut: Cut
    encoded: Mapping[Site, Encoded]
    clean: Mapping[Site, Encoded]
    positions: Positions
    against: Mapping[Place, Tensor] | None = None
    logits_there: Mapping[int, Tensor] | None = None

    @property
    def sites(self) -> tuple[Site, ...]:
        """In the order in which the model computes them."""
        return tuple(place for place in self.cut.order if isinstance(place, Site))

    @property
    def counted(self) -> Tensor:
        """`[pos]`: the positions that take part in selections, sums, ranks and measurements."""
        return self.positions.counted

    def counts(self, site: Site) -> Tensor:
        """`[m]`: which of a site's features are at positions that count."""
        return self.counted[self.encoded[site].positions]

    def activations(self, site: Site, index: int) -> Tensor:
        """`[pos]`: a feature's f on every token."""
        encoded = self.encoded[site]
        chosen = encoded.indices == index
        result = encoded.values.new_zeros(len(self.cut.tokens))
        result[encoded.positions[chosen]] = encoded.values[chosen]
        return result

    def row(self, node: NodeRef) -> int:
        """Where a feature node stands in its site's `Encoded`. Raises InputError if it is inactive."""
        assert node.site is not None and node.index is not None
        row = self.encoded[node.site].rows.get((node.position, node.index))
        if row is None:
            raise InputError(f"{node} is not active in this prompt")
        return row

    def origin(self, site: Site) -> Tensor:
        """`[pos, d]`: a site's activation without all that its nodes write."""
        return self.clean[site].constant if self.against is None else self.against[site]

    def written(self, node: NodeRef) -> Tensor:
        """`[d]`: the vector that a feature or error node writes at its position.

        With a contrast prompt, what it writes more than there.
        """
        self.check(node)
        assert node.site is not None
        encoded = self.encoded[node.site]
        if node.kind == "feature":
            row = self.row(node)
            return encoded.strengths[row] * encoded.decoder[row]
        return encoded.error[node.position]

    def check(self, node: NodeRef) -> None:
        """Raise InputError unless `node` is a feature or error node of this reading."""
        if node.site is None:
            raise InputError(f"{node} is not at a site: only features and errors can be removed")
        if node.site not in self.encoded:
            raise InputError(f"there is no dictionary at {node.site}")
        if node.position >= len(self.cut.tokens):
            raise InputError(f"{node} is beyond the prompt's {len(self.cut.tokens)} tokens")

    def split(self, place: Place, gradients: Tensor) -> list[Scores]:
        """Share gradients `[rows, pos, d]` at a place out among its nodes."""
        if not isinstance(place, Site):
            vectors = self.cut.activation(place)
            if self.against is not None:
                vectors = vectors - self.against[place]
            leaves = (vectors * gradients).sum(dim=-1)
            zero = torch.zeros_like(leaves)
            return [Scores(z[:0], z, z, row) for z, row in zip(zero, leaves, strict=True)]
        encoded = self.encoded[place]
        features = encoded.along(gradients)
        rest = torch.bmm(encoded.rest, gradients.permute(1, 2, 0))  # [pos, 2, rows]
        errors, constants = rest.permute(1, 2, 0)
        zero = torch.zeros_like(errors)
        return [Scores(*row) for row in zip(features, errors, constants, zero, strict=True)]


def read(
    model: LanguageModel,
    tokens: tuple[Token, ...],
    dictionaries: Mapping[Site, Dictionary],
    *,
    freeze_patterns: bool = False,
    contrast: tuple[Token, ...] | None = None,
    said: Sequence[int] | None = None,
    skip_first: bool = False,
    sinks: bool = False,
) -> Reading:
    """Run the model on a prompt, cut at the dictionaries' sites, and read every site.

    With the tokens of a `contrast` prompt of equal length, what is attributed is the difference between
    the two (Marks et al.'s clean and patch). Only logits at the positions `said` can be explained, by
    default at all, which takes longer. Sinks are left out, with `skip_first` the first position too; with
    `sinks` they count. Raises InputError when the contrast prompt is not of equal length, RunError where
    an activation is not finite.
    """
    cut = cut_forward(model, tokens, dictionaries, freeze_patterns=freeze_patterns, said=said)
    activations = {place: cut.activation(place) for place in cut.order}
    require_finite_pass(model, activations, tokens, cut.logits.detach())
    sites = [place for place in cut.order if isinstance(place, Site)]
    clean = {site: dictionaries[site].encode(cut.activation(site)) for site in sites}
    require_finite({site: clean[site].error for site in sites}, "dictionary's error", tokens)
    norms = _norms(cut, cut.streams)
    find = partial(
        positions_of,
        norms,
        prepended=model.begins_with_bos(tokens),
        trained_from=trained_from(dictionaries.values()),
        skip_first=skip_first,
        sinks=sinks,
    )
    if contrast is None:
        return Reading(cut, clean, clean, find())
    if len(contrast) != len(tokens):
        raise InputError(
            f"the contrast prompt has {len(contrast)} tokens and the prompt {len(tokens)}: "
            "positions are compared one by one, so give one of the same length"
        )
    other = cut_forward(model, contrast, dictionaries, said=said, graph=False)
    against = {place: other.activation(place) for place in cut.order}
    require_finite_pass(model, against, contrast, other.logits)
    encoded = {site: clean[site].minus(dictionaries[site].encode(against[site])) for site in sites}
    require_finite({site: encoded[site].error for site in sites}, "dictionary's error", contrast)
    differences = {at: stream - other.streams[at] for at, stream in cut.streams.items()}
    positions = find(differences=_norms(cut, differences), tokens=tokens, contrast=contrast)
    return Reading(cut, encoded, clean, positions, against, other.logits_by_position())


def _norms(cut: Cut, streams: Mapping[Site, Tensor]) -> Tensor:
    """`[streams, pos]`: norms of vectors `[pos, d]` in the residual stream, on the logits' device."""
    if not streams:
        return cut.logits.new_zeros(0, len(cut.tokens))
    return torch.stack([s.norm(dim=-1).to(cut.logits.device) for s in streams.values()]).detach()


@dataclass
class Attribution:
    """Effects of every node and edges into the selected ones, for one prompt and one target.

    `gradients[place]` `[pos, d]` and `effects[place]` are complete for a place once it has been
    visited; `edges` grows with `upstream`.
    """

    reading: Reading
    target: Target
    value: float
    gradients: dict[Place, Tensor] = field(default_factory=dict)
    effects: dict[Place, Scores] = field(default_factory=dict)
    edges: dict[NodeId, EdgesInto] = field(default_factory=dict)
    selected: dict[Site, tuple[NodeId, ...]] = field(default_factory=dict)

    def pull(self, node: NodeRef) -> Tensor:
        """`[pos, d]`: the vector that a change of a target node is measured along."""
        return self.pulls([node])[0]

    def pulls(self, nodes: Sequence[NodeRef]) -> Tensor:
        """`[len(nodes), pos, d]`: the pulls of target nodes of one site."""
        for node in nodes:
            self.reading.check(node)
        site = nodes[0].site
        assert site is not None
        encoded, gradient = self.reading.clean[site], self.gradients[site]
        pulls = gradient.new_zeros(len(nodes), *gradient.shape)
        # numbers of nodes that are features, and their rows
        which: list[int] = []
        rows: list[int] = []
        for n, node in enumerate(nodes):
            if node.kind == "error":
                active = (encoded.positions == node.position).nonzero().flatten()
                here = gradient[node.position]
                pulls[n, node.position] = here - self._pulled(site, active).sum(dim=0)
                continue
            self.reading.row(node)
            assert node.index is not None
            # a feature that only the contrast prompt has is no function of this prompt
            if (row := encoded.rows.get((node.position, node.index))) is not None:
                which.append(n)
                rows.append(row)
        if rows:
            chosen = torch.tensor(rows, device=gradient.device)
            into = (torch.tensor(which, device=gradient.device), encoded.positions[chosen])
            pulls.index_put_(into, self._pulled(site, chosen))
        return pulls

    def _pulled(self, site: Site, rows: Tensor) -> Tensor:
        """`[len(rows), d]`: the pulls of active features, each at its own position."""
        encoded = self.reading.clean[site]
        at = encoded.positions[rows]
        slopes = (encoded.decoder[rows] * self.gradients[site][at]).sum(dim=-1) * encoded.s_out[at]
        return (slopes / encoded.s_in[at])[:, None] * encoded.encoder[rows]

    def upstream(self, node: NodeId) -> EdgesInto:
        """All edges into a node, computed when first asked for. Leaves have none."""
        if node not in self.edges:
            ref = parse_node(node)
            if ref.site is None:
                return {}
            products = self.reading.cut.pull_back(ref.site, self.pull(ref)[None])
            self.edges[node] = self._edges(products)
        return self.edges[node]

    def downstream(self, node: NodeRef) -> dict[Site, Tensor]:
        """`[m]`: weights of all edges out of a feature or error into each later site's features.

        Sites that no direct path leads to are left out. It is `upstream` read the other way round, by
        one Jacobian-vector product a site.
        """
        self.reading.check(node)
        assert node.site is not None
        change = torch.zeros_like(self.reading.cut.activation(node.site))
        change[node.position] = self.reading.written(node)
        sites, found = self.reading.sites, {}
        for site in sites[sites.index(node.site) + 1 :]:
            arrived = self.reading.cut.push(node.site, change, site)
            if arrived is None:
                continue
            clean, encoded = self.reading.clean[site], self.reading.encoded[site]
            into = self._pulled(site, torch.arange(len(clean.values), device=change.device))
            weights = (into * arrived[clean.positions]).sum(dim=-1)
            if clean is not encoded:
                # features that only the contrast prompt has are no functions of this prompt
                places = [encoded.rows[pair] for pair in clean.pairs]
                weights = weights.new_zeros(len(encoded.values)).index_put(
                    (torch.tensor(places, device=change.device),), weights
                )
            found[site] = weights
        return found

    def upstream_by_head(self, node: NodeId) -> Mapping[tuple[int, int], EdgesInto]:
        """The parts of a node's edges that go through each attention head, by (layer, head).

        Over all heads they add up to the edges, as far as these go through attention. Leaves have none.
        """
        ref = parse_node(node)
        if ref.site is None:
            return {}
        found = self.reading.cut.pull_back_by_head(ref.site, self.pull(ref)[None])
        return {head: self._edges(products) for head, products in found.items()}

    def _edges(self, products: Mapping[Place, Tensor]) -> EdgesInto:
        """The weights in vector-Jacobian products `[1, pos, d]` of one target."""
        return {place: self.reading.split(place, product)[0] for place, product in products.items()}

    def effect(self, node: NodeId) -> float:
        """The gradient estimate of a node's effect; the metric itself for the root."""
        ref = parse_node(node)
        if ref.kind == "root":
            return self.value
        if ref.site is None:
            place: Place = "token" if ref.kind == "token" else "pos"
            return float(self.effects[place].leaves[ref.position])
        self.reading.check(ref)
        scores = self.effects[ref.site]
        if ref.kind == "error":
            return float(scores.errors[ref.position])
        return float(scores.features[self.reading.row(ref)])

    def activation(self, node: NodeId) -> float:
        """f of a feature; the norm of what an error or embedding node writes; 0 for the root."""
        ref = parse_node(node)
        if ref.kind == "root":
            return 0.0
        if ref.kind == "feature":
            assert ref.site is not None
            return float(self.reading.encoded[ref.site].values[self.reading.row(ref)])
        if ref.kind == "error":
            return float(self.reading.written(ref).norm())
        place: Place = "token" if ref.kind == "token" else "pos"
        return float(self.reading.cut.activation(place)[ref.position].norm())


Select = Callable[[Reading, Site, Scores], tuple[NodeId, ...]]
"""Chooses the nodes of a site whose incoming edges are wanted."""


def strongest(count: int) -> Select:
    """The `count` features of largest |effect| over all positions that count, and the largest error node.

    Nodes without any effect are left out; ties go to the earlier position, then the lower index.
    """

    def select(reading: Reading, site: Site, scores: Scores) -> tuple[NodeId, ...]:
        encoded = reading.encoded[site]
        sizes = torch.where(reading.counts(site), scores.features.abs(), 0.0)
        order = torch.argsort(sizes, descending=True, stable=True)[:count]
        chosen = []
        for row, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
            if size != 0.0:
                position, index = encoded.pairs[row]
                chosen.append(feature_id(site, index, position))
        errors = torch.where(reading.counted, scores.errors.abs(), 0.0)
        worst = int(errors.argmax())
        if float(errors[worst]) != 0.0:
            chosen.append(error_id(site, worst))
        return tuple(chosen)

    return select


def attribute(
    reading: Reading,
    target: Target,
    select: Select,
    on_site: Callable[[Attribution, Site], None] = lambda attribution, site: None,
    *,
    effects_of: Callable[[Site, Scores], Scores] = lambda site, scores: scores,
) -> Attribution:
    """Compute all effects, and the edges into the root and into the nodes that `select` chooses.

    `effects_of` may put effects found by another method in the place of a site's; edges are made of
    gradients in any case.
    `on_site` is called when a site is finished, from the last to the first; an exception that it
    raises ends the attribution and leaves the reading usable.
    """
    cut = reading.cut
    metric = value_at(target, cut.logits_at(target.positions))
    result = Attribution(reading, target, float(metric.detach()))
    for place in cut.order:
        result.gradients[place] = torch.zeros_like(cut.activation(place))

    from_root = cut.pull_back_root(metric)
    root_edges: dict[Place, Scores] = {}
    for place, product in from_root.items():
        result.gradients[place] += product[0]
        root_edges[place] = reading.split(place, product)[0]
    result.edges[target.root] = root_edges

    for site in reversed(reading.sites):
        gradient = result.gradients[site]
        result.effects[site] = effects_of(site, reading.split(site, gradient[None])[0])
        chosen = select(reading, site, result.effects[site])
        pulls = gradient[None]
        targets = [parse_node(node) for node in chosen]
        if targets:
            pulls = torch.cat([pulls, result.pulls(targets)])
        into: list[dict[Place, Scores]] = [{} for _ in chosen]
        at = [node.position for node in targets]
        for place, product in cut.pull_back(site, pulls, at).items():
            result.gradients[place] += product[0]
            for edges, scores in zip(into, reading.split(place, product[1:]), strict=True):
                edges[place] = scores
        result.selected[site] = chosen
        result.edges.update(zip(chosen, into, strict=True))
        on_site(result, site)

    require_finite(result.gradients, "gradient", cut.tokens)
    for place in cut.order:
        if not isinstance(place, Site):
            result.effects[place] = reading.split(place, result.gradients[place][None])[0]
    return result
