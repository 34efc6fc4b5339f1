"""Proof, once a model is loaded, that its activations are read and replaced where they are said to be.

TransformerLens wraps many families of models. In a few of them a hook point is not the tensor that its
name promises, or a replacement is dropped in silence; every effect there is then wrong, and often 0.
Four things are tried at every site, on a few tokens:

- the activation is computed at all, and laid out by position;
- the model goes on with an activation that is replaced by another: autograd leads back to it from the
  logits;
- it goes on with one that is replaced by its equal, as the cut replaces it: the gradients that arrive at
  the cuts, put together as an attribution does, are those of the first run;
- of `attn_out` and `mlp_out`: the residual stream behind the sublayer moves by just as much as the
  activation, so that what is read is what is added.

Four forward passes and two backward ones serve all sites.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from scd_tui.attribution.cut import Cut, cut_forward
from scd_tui.attribution.model import Edit, LanguageModel, MlpInput, Place, Point
from scd_tui.errors import InputError
from scd_tui.graph import Site, Token

TOKENS = 6
"""Of the prompt on which sites are tried."""
CHANGE = 1e-4
"""Of an activation, relative: another value, and so small that gradients stay what they are."""
TOLERANCE = 0.1
"""Of a gradient, relative. The prompts differ by `CHANGE` at every site, which is 1e-3 in a gradient."""
_PROMPTS = 2
"""Tried one after the other: on one a small change can send a token to another expert."""


def unusable_sites(model: LanguageModel, sites: Sequence[Site]) -> dict[Site, str]:
    """The sites at which the model cannot be cut, with the reason why."""
    found = _malformed(model, sites)
    for number in range(_PROMPTS):
        left = [site for site in sites if site not in found]
        failed = _failures(model, left, _prompt(model, number))
        if number == 0:
            first = failed
        if not failed:
            return found
    found.update({site: reason for site, reason in first.items() if site in failed})
    return {site: found[site] for site in sites if site in found}


def _failures(
    model: LanguageModel, sites: Sequence[Site], tokens: tuple[Token, ...]
) -> dict[Site, str]:
    """What is wrong at each site on one prompt."""
    if not sites:  # a model without dictionaries, or one where every site was found malformed
        return {}
    last = len(tokens) - 1
    cut = cut_forward(model, tokens, sites, said=[last])
    projection = torch.randn(cut.logits.shape, generator=torch.Generator().manual_seed(0))
    projection = projection.to(cut.logits)
    ours = _gradients(cut, (cut.logits * projection).sum())
    theirs = _plain_gradients(model, tokens, sites, projection)
    found: dict[Site, str] = {}
    for site in sites:
        plain = theirs.get(site)
        if plain is None:
            found[site] = "the model does not go on with an activation that is replaced there"
        elif not ours[site].any() and plain.any():
            found[site] = "no gradient arrives there when the activation is replaced by its equal"
        elif float((ours[site] - plain).norm()) > TOLERANCE * float(plain.norm()):
            found[site] = "gradients there are not those of the activation that is replaced"
    found.update(_not_added(model, tokens, [site for site in sites if site not in found]))
    return found


def _plain_gradients(
    model: LanguageModel, tokens: Sequence[Token], sites: Sequence[Site], projection: Tensor
) -> dict[Site, Tensor]:
    """`[pos, d]` at each site that leads to the logits, by one backward pass through the whole model.

    Every site's activation is replaced by one that is a little different.
    """
    generator = torch.Generator().manual_seed(1)
    pushes: dict[Site, Tensor] = {}

    def change(site: Site, activation: Tensor) -> Tensor:
        noise = torch.randn(activation.shape, generator=generator).to(activation)
        pushes[site] = torch.zeros_like(activation).requires_grad_()
        return activation * (1 + CHANGE * noise) + pushes[site]

    with torch.enable_grad():
        edits = [(site, partial(change, site)) for site in sites]
        logits = model.forward(model.ids(tokens), edits, [-1])
        gradients = torch.autograd.grad(
            (logits[0] * projection).sum(), list(pushes.values()), allow_unused=True
        )
    return {
        site: gradient[0].flatten(start_dim=1)
        for site, gradient in zip(pushes, gradients, strict=True)
        if gradient is not None
    }


def _not_added(
    model: LanguageModel, tokens: Sequence[Token], sites: Sequence[Site]
) -> dict[Site, str]:
    """The sublayers' outputs that are not what is added to the residual stream.

    Where stream = rest + activation, and the rest does not depend on the activation, a gradient on the
    stream is the activation's own.
    """
    behind = {site: point for site in sites if (point := _behind(model, site)) is not None}
    copies: dict[Site, Tensor] = {}
    streams: dict[Point, Tensor] = {}

    def cut_at(site: Site, activation: Tensor) -> Tensor:
        copies[site] = activation.detach().clone().requires_grad_()
        return copies[site]

    def keep(point: Point, stream: Tensor) -> Tensor:
        streams[point] = stream
        return stream

    edits: list[tuple[Point, Edit]] = [(site, partial(cut_at, site)) for site in behind]
    edits += [(point, partial(keep, point)) for point in dict.fromkeys(behind.values())]
    with torch.enable_grad():
        model.forward(model.ids(tokens), edits, [-1])
    found: dict[Site, str] = {}
    for site, point in behind.items():
        if point not in streams:
            found[site] = "the residual stream after the sublayer is never computed"
            continue
        stream = streams[point]
        wanted = torch.randn(stream.shape, generator=torch.Generator().manual_seed(2)).to(stream)
        (gradient,) = torch.autograd.grad(
            stream, copies[site], wanted, allow_unused=True, retain_graph=True
        )
        if gradient is None or not torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-3):
            found[site] = "the tensor read there is not the one added to the residual stream"
    return found


def _behind(model: LanguageModel, site: Site) -> Point | None:
    """Where the stream is read right after a sublayer's output is added."""
    if site.kind == "attn_out" and model.has(MlpInput(site.layer)):
        return MlpInput(site.layer)
    if site.kind in ("attn_out", "mlp_out"):
        after = Site(site.layer, "resid_post")
        return after if model.has(after) else None
    return None


def _malformed(model: LanguageModel, sites: Sequence[Site]) -> dict[Site, str]:
    """The sites that the model never computes, or in another form than `[batch, pos, ...]`."""
    ids = model.ids(_prompt(model, 0)).expand(2, -1)
    shapes: dict[Site, torch.Size] = {}
    found: dict[Site, str] = {}

    def look(site: Site, activation: Tensor) -> Tensor:
        shapes[site] = activation.shape
        return activation

    mids = [site for site in sites if site.kind == "resid_mid"]
    blocks = {mid: [mid, Site(mid.layer, "mlp_out"), Site(mid.layer, "resid_post")] for mid in mids}

    def look_through(some: Sequence[Site]) -> None:
        edits = [(site, partial(look, site)) for mid in some for site in blocks[mid]]
        model.forward(ids, edits, [-1])

    try:
        look_through(mids)
    except (InputError, RuntimeError):  # refused at one of them, or of another shape: at which?
        for mid in mids:
            try:
                look_through([mid])
            except (InputError, RuntimeError):
                found[mid] = "the block does more than add the MLP's output to the stream"
    for mid in mids:
        if mid not in found and [site for site in shapes if site in blocks[mid]] != blocks[mid]:
            found[mid] = "the hook point is not between attention and MLP in this model's blocks"
    others = [site for site in sites if site.kind != "resid_mid"]
    model.forward(ids, [(site, partial(look, site)) for site in others], [-1])
    for site in sites:
        if site in found:
            continue
        if site not in shapes:
            found[site] = "the model never computes an activation there"
        elif len(shapes[site]) < 3 or shapes[site][:2] != ids.shape:
            found[site] = "its activation is not laid out by position"
    return found


def _prompt(model: LanguageModel, number: int) -> tuple[Token, ...]:
    """A few different tokens from all over the vocabulary, others for each number."""
    count = min(TOKENS, model.context)
    step = model.vocabulary / (count + 1)
    return tuple(Token(int((n + 1 - number / (_PROMPTS + 1)) * step), "") for n in range(count))


def _gradients(cut: Cut, metric: Tensor) -> dict[Place, Tensor]:
    """`[pos, d]` at every place, put together from the pieces as an attribution does."""
    gradients: dict[Place, Tensor] = {
        place: torch.zeros_like(cut.activation(place)) for place in cut.order
    }
    for place, product in cut.pull_back_root(metric).items():
        gradients[place] += product[0]
    for site in reversed([place for place in cut.order if isinstance(place, Site)]):
        for place, product in cut.pull_back(site, gradients[site][None]).items():
            gradients[place] += product[0]
    return gradients
