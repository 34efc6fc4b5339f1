"""The published procedure: slow, plain, and independent of `scd_tui.attribution`.

It follows the code behind the post "sparse circuit discovery in GPT-2-small" (DavidUdell/
sparse_circuit_discovery, `grad_graph.py`, `hooks.measure_confounds`) and the paper that it
replicates (Marks et al. 2024, arXiv 2403.19647, `attribution.py`), with two corrections: the
dictionaries are run as they were trained (normalisation, TopK), and every position is kept.

1. **Splice.** In one forward pass every dictionary stands in the stream. Of the raw activation
   x [pos, d] with mu, s_in, s_out [pos, 1] held constant:

       z = (x - mu) / s_in (- b_dec)    f = act(z W_enc + b_enc)      dense, [pos, d_sae]
       x_hat = (f W_dec + b_dec) s_out + mu       error = x - x_hat       x_hat + error goes on

   The error is a detached leaf, f an intermediate of the graph: what a node passes on, it passes
   on through the features of later sites. (`"passed"` is the other form, that of Marks et al.:
   f and error are both leaves, and x itself goes through untouched, so that the gradient is that
   of the unmodified model.)
2. **Node effects**: one full backward pass from the metric, in the passed form;
   f * dm/df and error . dm/d(error).
3. **Edges**: one full backward pass for each target through the whole spliced model, which gives
   the *total* derivative to every node before it, at every position.
4. **Confounds.** The total from A to C counts A -> C and also A -> B -> C for each site B in
   between. From the latest B to the earliest, what A sends to C through B's output, (dB/dA)^T
   (direct derivative of C by B), is found by one more full backward pass from B, and subtracted.
   What is left is the derivative along paths that meet no other site. The post takes three such
   passes for the residual stream (by MLP, by attention, by attention then MLP); counting the last
   two as one, as here, takes two.

   What a site passes on must be subtracted whole. In the detached form all of it goes through f,
   because error and constant do not depend on anything earlier; in the passed form it is x.

Features can be held dense, as the post does, or as the active ones alone, which gives the same
numbers and is the fairer thing to be faster than.

Sequential blocks only (GPT-2), where the sites of a layer feed one another in the order of
`SITE_KINDS`. `resid_mid` is refused: the bridge's hook of that name feeds the MLP alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from scd_tui.graph import SITE_KINDS, NodeRef, Site, parse_node

Form = Literal["detached", "passed"]

HOOKS = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "hook_z": "blocks.{}.attn.hook_z",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "resid_post": "blocks.{}.hook_resid_post",
}
EMBEDDING_HOOKS = {"token": "hook_embed", "pos": "hook_pos_embed"}
STREAM = ("resid_pre", "resid_post")
"""Sites that everything in the residual stream passes through."""


def in_order(sites: Iterable[Site]) -> list[Site]:
    """The sites in the order in which a sequential model computes them."""
    return sorted(sites, key=lambda site: (site.layer, SITE_KINDS.index(site.kind)))


def metric_of(root: NodeRef) -> Callable[[Tensor], Tensor]:
    """The metric that a root node names: a function of the logits [pos, vocabulary]."""
    at, ids = root.position, root.token_ids

    def measure(logits: Tensor) -> Tensor:
        if root.metric == "diff":
            return logits[at, ids[0]] - logits[at, ids[1]]
        if root.metric == "logp":
            return logits[at].log_softmax(-1)[ids[0]]
        assert root.metric == "logit"
        return logits[at, ids[0]] - logits[at].mean()

    return measure


def frozen_scale(sae: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(mu, s_in, s_out), each [pos, 1], of the raw activation [pos, d]; detached.

    As sae_lens 6 normalises at run time: for layer_norm 1e-5 is added to the (unbiased) standard
    deviation on the way in and not on the way out.
    """
    x = x.detach()
    zero, one = torch.zeros_like(x[:, :1]), torch.ones_like(x[:, :1])
    match sae.cfg.normalize_activations:
        case "none":
            return zero, one, one
        case "layer_norm":
            std = x.std(-1, keepdim=True)
            return x.mean(-1, keepdim=True), std + 1e-5, std
        case "constant_norm_rescale":
            scale = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
            return zero, scale, scale
        case other:
            raise ValueError(f"the reference does not know the normalisation {other!r}")


def chosen(sae: Any, z: Tensor) -> Tensor:
    """Which features are active, [pos, d_sae] bool, for normalised activations z [pos, d]."""
    architecture = sae.cfg.architecture()
    pre = before(sae, z, slice(None))
    on: Tensor = pre > 0
    match architecture:
        case "standard":
            pass
        case "topk" | "abstopk":
            by = pre.abs() if architecture == "abstopk" else pre
            best = by.topk(sae.cfg.k, dim=-1).indices
            on = torch.zeros_like(pre).scatter(-1, best, 1.0).bool() & (by > 0)
        case "jumprelu":
            on = on & (pre > sae.threshold)
        case "gated":
            on = on & (z @ sae.W_enc + sae.b_gate > 0)
        case other:
            raise ValueError(f"the reference does not know the architecture {other!r}")
    return on


def before(sae: Any, z: Tensor, which: Any) -> Tensor:
    """Pre-activations [..., n] of z [..., d]: of all features, or of those in `which`."""
    pre: Tensor = z @ sae.W_enc[:, which]
    return _affine(sae, pre, which)


def _affine(sae: Any, product: Tensor, which: Any) -> Tensor:
    pre: Tensor
    if sae.cfg.architecture() == "gated":
        pre = product * sae.r_mag[which].exp() + sae.b_mag[which]
    else:
        pre = product + sae.b_enc[which]
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        pre = pre * sae.W_dec[which].norm(dim=-1)
    return pre


def rows(sae: Any, which: Any) -> Tensor:
    """Decoder rows [n, d] as activations multiply them."""
    w_dec: Tensor = sae.W_dec[which]
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        w_dec = w_dec / w_dec.norm(dim=-1, keepdim=True)
    return w_dec


class Dense:
    """A site's features as [pos, d_sae], most of them 0."""

    def __init__(self, sae: Any, x: Tensor, scale: tuple[Tensor, Tensor, Tensor]) -> None:
        self.sae, self.scale = sae, scale

    def normalised(self, x: Tensor) -> Tensor:
        """z [pos, d], differentiable."""
        mu, s_in, _ = self.scale
        z: Tensor = (x - mu) / s_in
        return z - self.sae.b_dec if self.sae.cfg.apply_b_dec_to_input else z

    def encode(self, x: Tensor) -> Tensor:
        """Features of x [pos, d], differentiable where active, selection constant."""
        z = self.normalised(x)
        with torch.no_grad():
            on = chosen(self.sae, z)
        return before(self.sae, z, slice(None)) * on

    def decode(self, f: Tensor) -> Tensor:
        """Reconstruction [pos, d]."""
        return self._out(f @ rows(self.sae, slice(None)))

    def _out(self, sums: Tensor) -> Tensor:
        mu, _, s_out = self.scale
        x_hat: Tensor = (sums + self.sae.b_dec) * s_out + mu
        return x_hat

    def one(self, f: Tensor, position: int, index: int) -> Tensor:
        """The entry of one feature."""
        return f[position, index]

    def dense(self, f: Tensor) -> Tensor:
        """[pos, d_sae]."""
        return f


class Sparse(Dense):
    """A site's features as [active], with only their rows and columns of the weights."""

    def __init__(self, sae: Any, x: Tensor, scale: tuple[Tensor, Tensor, Tensor]) -> None:
        super().__init__(sae, x, scale)
        with torch.no_grad():
            self.positions, self.indices = chosen(sae, self.normalised(x)).nonzero(as_tuple=True)
            self.columns = sae.W_enc.T[self.indices]
            self.rows = rows(sae, self.indices)

    def encode(self, x: Tensor) -> Tensor:
        products = (self.normalised(x)[self.positions] * self.columns).sum(-1)
        return _affine(self.sae, products, self.indices)

    def decode(self, f: Tensor) -> Tensor:
        sums = f.new_zeros(len(self.scale[0]), self.rows.shape[1])
        return self._out(sums.index_add(0, self.positions, f[:, None] * self.rows))

    def one(self, f: Tensor, position: int, index: int) -> Tensor:
        return f[(self.positions == position) & (self.indices == index)].sum()

    def dense(self, f: Tensor) -> Tensor:
        grid = f.new_zeros(len(self.scale[0]), self.sae.cfg.d_sae)
        grid[self.positions, self.indices] = f
        return grid


@dataclass(frozen=True)
class Spliced:
    """One site of a spliced forward pass.

    `x` [pos, d] raw, `live` its features as a function of x, in the form of `code`; `f` the features
    that the output is made of (the same tensor in the detached form, a leaf in the passed form),
    `error` [pos, d] a leaf, `constant` [pos, d] what decodes from no features at all.
    """

    code: Dense
    x: Tensor
    live: Tensor
    f: Tensor
    error: Tensor
    constant: Tensor
    x_hat: Tensor


@dataclass
class Spread:
    """One number for every source: effects or edge weights; or, while computing, its gradients.

    `features[site]` [pos, d_sae], `errors[site]` [pos], `constants[site]` [pos],
    `embeddings["token" or "pos"]` [pos]. Gradients have [pos, d] in the last three.
    """

    features: dict[Site, Tensor] = field(default_factory=dict)
    errors: dict[Site, Tensor] = field(default_factory=dict)
    constants: dict[Site, Tensor] = field(default_factory=dict)
    embeddings: dict[str, Tensor] = field(default_factory=dict)


class Pass:
    """One spliced forward pass of the model with its graph kept."""

    def __init__(
        self,
        bridge: Any,
        saes: dict[Site, Any],
        token_ids: list[int],
        form: Form,
        code: type[Dense] = Dense,
    ) -> None:
        self.form, self._code = form, code
        self.sites: dict[Site, Spliced] = {}
        self.embeddings: dict[str, Tensor] = {}
        hooks = [(hook, self._leaf(name)) for name, hook in EMBEDDING_HOOKS.items()]
        hooks += [(HOOKS[s.kind].format(s.layer), self._splice(s, sae)) for s, sae in saes.items()]
        device = next(bridge.parameters()).device
        with torch.enable_grad():
            logits = bridge.run_with_hooks(
                torch.tensor([token_ids], device=device), fwd_hooks=hooks
            )
        self.logits: Tensor = logits[0]

    def _leaf(self, name: str) -> Callable[..., Tensor]:
        def hook_fn(raw: Tensor, hook: Any) -> Tensor:
            self.embeddings[name] = raw[0].detach().clone().requires_grad_()
            return self.embeddings[name][None]

        return hook_fn

    def _splice(self, site: Site, sae: Any) -> Callable[..., Tensor]:
        def hook_fn(raw: Tensor, hook: Any) -> Tensor:
            x = raw[0].reshape(raw.shape[1], -1)
            code = self._code(sae, x.detach(), frozen_scale(sae, x))
            live = code.encode(x)
            f = live if self.form == "detached" else live.detach().clone().requires_grad_()
            x_hat = code.decode(f)
            error = (x - x_hat).detach().clone().requires_grad_()
            constant = code.decode(torch.zeros_like(live)).detach()
            self.sites[site] = Spliced(code, x, live, f, error, constant, x_hat)
            out = x_hat + error
            if self.form == "passed":
                out = out + (x - x.detach())
            return out.reshape(raw.shape)

        return hook_fn

    def gradients(
        self, of: Tensor, along: Tensor | None, sites: Iterable[Site], embeddings: bool
    ) -> Spread:
        """(d of / d node)^T along, for all nodes of `sites` and, if asked, the embeddings."""
        sites = list(sites)
        names = list(self.embeddings) if embeddings else []
        inputs = [self.sites[s].f for s in sites] + [self.sites[s].error for s in sites]
        inputs += [self.embeddings[name] for name in names]
        if not inputs:
            return Spread()
        got = torch.autograd.grad(of, inputs, along, retain_graph=True, allow_unused=True)
        full = [torch.zeros_like(i) if g is None else g for g, i in zip(got, inputs, strict=True)]
        n = len(sites)
        errors = dict(zip(sites, full[n : 2 * n], strict=True))
        return Spread(
            features=dict(zip(sites, full[:n], strict=True)),
            errors=errors,
            constants=errors,  # error and constant enter the same sum
            embeddings=dict(zip(names, full[2 * n :], strict=True)),
        )

    def carry(self, site: Site, direct: Spread) -> tuple[Tensor, Tensor]:
        """What carries earlier nodes through the site's output, and the direct gradient along it."""
        if self.form == "detached":
            return self.sites[site].f, direct.features[site]
        return self.sites[site].x, direct.errors[site]

    def weigh(self, gradients: Spread) -> Spread:
        """Each node's value times its gradient, summed over the width of a vector."""
        at = self.sites
        return Spread(
            {s: at[s].code.dense((at[s].f * g).detach()) for s, g in gradients.features.items()},
            {s: (at[s].error * g).sum(-1).detach() for s, g in gradients.errors.items()},
            {s: (at[s].constant * g).sum(-1) for s, g in gradients.constants.items()},
            {n: (self.embeddings[n] * g).sum(-1).detach() for n, g in gradients.embeddings.items()},
        )


class Reference:
    """Node effects and edges of one prompt.

    `bridge` is a `TransformerBridge` of GPT-2's shape, `saes` maps each site to its sae_lens SAE
    (same dtype and device as the model), `token_ids` is the prompt as it is (no BOS is added).
    Metrics are named by their root node (`diff/12-3@4`), targets by any node name.

    `form` is the one that edges are computed in, `code` how features are held; all must give the same.
    """

    def __init__(
        self,
        bridge: Any,
        saes: dict[Site, Any],
        token_ids: Iterable[int],
        form: Form = "detached",
        code: type[Dense] = Dense,
    ) -> None:
        if any(site.kind not in HOOKS for site in saes):
            raise ValueError("the reference has no resid_mid")
        self.saes = {site: saes[site] for site in in_order(saes)}
        ids = list(token_ids)
        self._clean = Pass(bridge, self.saes, ids, "passed", code)
        self._pass = self._clean
        if form == "detached":
            self._pass = Pass(bridge, self.saes, ids, "detached", code)
        self._gradients: dict[str, Spread] = {}

    @property
    def logits(self) -> Tensor:
        """[pos, vocabulary]; equal to the unmodified model's."""
        return self._pass.logits.detach()

    def features(self, site: Site) -> Tensor:
        """Dense activations [pos, d_sae]."""
        at = self._clean.sites[site]
        return at.code.dense(at.f.detach())

    def _node_gradients(self, metric: str) -> Spread:
        if metric not in self._gradients:
            value = metric_of(parse_node(metric))(self._clean.logits)
            self._gradients[metric] = self._clean.gradients(value, None, self.saes, True)
        return self._gradients[metric]

    def node_effects(self, metric: str) -> Spread:
        """Effects of all nodes on the metric: one backward pass."""
        return self._clean.weigh(self._node_gradients(metric))

    def _target(self, target: NodeRef, metric: str) -> Tensor:
        """The scalar whose derivatives are the target's edges, as a function of earlier nodes."""
        if target.kind == "root":
            return metric_of(target)(self._pass.logits)
        assert target.site is not None
        site, q = target.site, target.position
        at, gradients = self._pass.sites[site], self._node_gradients(metric)
        if target.kind == "feature":
            assert target.index is not None
            slope = at.code.one(gradients.features[site], q, target.index)
            return slope * at.code.one(at.live, q, target.index)
        x_hat = at.x_hat if self._pass.form == "detached" else at.code.decode(at.live)
        return (gradients.errors[site][q] * (at.x - x_hat)[q]).sum()

    def window(self, target: str) -> tuple[list[Site], bool]:
        """The sites directly upstream of a target, in order, and whether the embeddings are too.

        Going back from the target, up to and with the first site that holds the whole stream.
        """
        ref, sites = parse_node(target), list(self.saes)
        before = sites if ref.site is None else sites[: sites.index(ref.site)]
        for i in reversed(range(len(before))):
            if before[i].kind in STREAM:
                return before[i:], False
        return before, True

    def edges_into(
        self, target: str, metric: str, *, everything: bool = False, confounds: bool = True
    ) -> Spread:
        """Weights of all edges into `target` (a feature, an error node, or the metric's root).

        One backward pass, and one more for each site in between. `everything` looks at all earlier
        sites and the embeddings instead of those directly upstream (the rest must come out as
        zero). Without `confounds` the result is the total derivative, which double counts.
        """
        ref = parse_node(target)
        upstream, embeddings = self.window(target)
        if everything:
            sites = list(self.saes)
            upstream = sites if ref.site is None else sites[: sites.index(ref.site)]
            embeddings = True
        direct = self._pass.gradients(self._target(ref, metric), None, upstream, embeddings)
        if confounds:
            for i in reversed(range(len(upstream))):
                carrier, along = self._pass.carry(upstream[i], direct)
                through = self._pass.gradients(carrier, along, upstream[:i], embeddings)
                for site in upstream[:i]:
                    direct.features[site] = direct.features[site] - through.features[site]
                    direct.errors[site] = direct.errors[site] - through.errors[site]
                    direct.constants[site] = direct.errors[site]
                for name, gradient in through.embeddings.items():
                    direct.embeddings[name] = direct.embeddings[name] - gradient
        return self._pass.weigh(direct)
