"""Signs that a dictionary is run in another way than it was trained, on a sample of activations.

A trained dictionary has the least error that its form allows, so that small changes of its form leave more.
Each sign is such a change that leaves less: the weaker half of the active features at another size, another
constant, another normalisation, another site of the model. `scd_tui.judge` says from where on one is told.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from scd_tui.attribution.activation import Chosen
from scd_tui.attribution.dictionary import NORMALISATIONS, Dictionary
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import Site, SiteKind
from scd_tui.judge import Elsewhere, Renormalised, Signs

POSITIONS = 256
"""Positions of the sample, at most."""
_FEW = 128
"""Of them, those on which other normalisations and other sites are tried."""
_OTHER: dict[SiteKind, SiteKind] = {"attn_out": "mlp_out", "mlp_out": "attn_out"}


def neighbours(model: LanguageModel, site: Site) -> tuple[Site, ...]:
    """The sites for which a dictionary of this one is most likely taken, as far as the model has them.

    In the residual stream two places before and two after; elsewhere the same kind in the layers around,
    and the block's other output.
    """
    if site.kind in ("hook_z", "attn_out", "mlp_out"):
        found = [Site(layer, site.kind) for layer in (site.layer - 1, site.layer + 1) if layer >= 0]
        if site.kind in _OTHER:
            found.append(Site(site.layer, _OTHER[site.kind]))
    else:
        # the end of a block and the start of the next are one place, which is named once
        stream = [Site(0, "resid_pre")]
        for layer in range(model.layers):
            stream += [Site(layer, "resid_mid"), Site(layer, "resid_post")]
        stream = [one for one in stream if model.has(one)]
        before_block = site.kind == "resid_pre" and site.layer > 0
        place = Site(site.layer - 1, "resid_post") if before_block else site
        at = stream.index(place)
        found = stream[max(0, at - 2) : at] + stream[at + 1 : at + 3]
    return tuple(one for one in found if model.has(one))


def _weaker(chosen: Chosen, rows: int) -> Chosen:
    """At each position the half of the active features whose activations are smaller; of one, none."""
    order = chosen.values.abs().argsort(descending=True, stable=True)
    order = order[chosen.positions[order].argsort(stable=True)]
    positions = chosen.positions[order]
    ranks = torch.arange(len(order), device=order.device) - torch.searchsorted(positions, positions)
    stronger = (torch.bincount(positions, minlength=rows)[positions] + 1) // 2
    kept = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    kept[order] = ranks >= stronger
    return Chosen(chosen.positions[kept], chosen.indices[kept], chosen.values[kept])


def _ratio(over: Tensor, under: Tensor) -> float | None:
    return float(over / under) if float(under) > 0 else None


def _unexplained(dictionary: Dictionary, x: Tensor) -> float | None:
    """Share of the variance of `[n, d]` that it leaves; None where nothing varies."""
    error = (x - dictionary.reconstruct(x)[1]).square().sum()
    return _ratio(error, (x - x.mean(dim=0)).square().sum())


@torch.no_grad()
def signs(
    dictionary: Dictionary, x: Tensor, elsewhere: Mapping[Site, Tensor] | None = None
) -> Signs:
    """The signs at its own activations `[n, d]`; `elsewhere` has those of other sites.

    Both have the same positions in the same order, of which any beginning has to be from all over the text.
    """
    dictionary = dictionary.on(x.device)
    chosen, made = dictionary.reconstruct(x)
    mu, _, s_out = dictionary.scales(x)
    error = x - made
    written = made - (s_out[:, None] * dictionary.b_dec + mu[:, None])
    weaker = s_out[:, None] * dictionary.activation.write(_weaker(chosen, len(x)), len(x))
    added = _ratio((error * weaker).sum(), weaker.square().sum())
    scaled = _ratio((error * written).sum(), written.square().sum())
    squares = error.square().sum(dim=-1)
    constant = error.mean(dim=0).square().sum() * len(x)
    variance = (x - x.mean(dim=0)).square().sum()
    return Signs(
        positions=len(x),
        scale=None if scaled is None else 1 + scaled,
        weaker_half=None if added is None else 1 + added,
        constant_of_error=_ratio(constant, squares.sum()) or 0.0,
        constant_of_variance=_ratio(constant, variance) or 0.0,
        normalisation=dictionary.normalisation,
        renormalised=_renormalised(dictionary, x[:_FEW], squares[:_FEW]),
        elsewhere=_elsewhere(dictionary, x[:_FEW], elsewhere or {}),
    )


def _renormalised(dictionary: Dictionary, x: Tensor, squares: Tensor) -> Renormalised | None:
    """The other normalisation that leaves the least error; `squares` `[n]` are the errors of its own."""
    found: list[Renormalised] = []
    for normalisation in NORMALISATIONS:
        if normalisation == dictionary.normalisation:
            continue
        other = dictionary.with_features(dictionary.activation, normalisation=normalisation)
        less = squares - (x - other.reconstruct(x)[1]).square().sum(dim=-1)
        of_own = _ratio(less.sum(), squares.sum())
        if of_own is not None:
            certain = _ratio(less.mean() * len(x) ** 0.5, less.std()) or 0.0
            found.append(
                Renormalised(normalisation=normalisation, error=1 - of_own, standard_errors=certain)
            )
    return min(found, key=lambda one: one.error, default=None)


def _elsewhere(
    dictionary: Dictionary, x: Tensor, elsewhere: Mapping[Site, Tensor]
) -> Elsewhere | None:
    """The other site of which it explains most."""
    own = _unexplained(dictionary, x)
    there = {site: _unexplained(dictionary, y[:_FEW].to(x.device)) for site, y in elsewhere.items()}
    known = {site: left for site, left in there.items() if left is not None}
    if own is None or not known:
        return None
    site = min(known, key=known.__getitem__)
    return Elsewhere(site=site, explained_variance=1 - known[site], here=1 - own)
