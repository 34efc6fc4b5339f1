"""Mistakes in the cut pass, in effects and edges, and in the metric."""

from patch import Patch

EFFECTS: tuple[Patch, ...] = (
    Patch(
        "the graph is not cut at the sites",
        "attribution.cut",
        "attribution.invariants",
        "copy = activation.detach().clone().requires_grad_()",
        "copy = activation.clone() if activation.requires_grad "
        "else activation.detach().clone().requires_grad_()",
    ),
    Patch(
        "the place just before a site is not among its sources",
        "attribution.cut",
        "attribution.invariants",
        "return self.order[: self.order.index(site)]",
        "return self.order[: max(1, self.order.index(site) - 1)]",
    ),
    Patch(
        "the token embedding is left out of the sources",
        "attribution.cut",
        "attribution.invariants",
        "return self.order[: self.order.index(site)]",
        "return self.order[1 : self.order.index(site)]",
    ),
    Patch(
        "a pull is scaled by what goes in",
        "attribution.attribute",
        "attribution.reference",
        "* self.gradients[site][at]).sum(dim=-1) * encoded.s_out[at]",
        "* self.gradients[site][at]).sum(dim=-1) * encoded.s_in[at]",
    ),
    Patch(
        "a pull is divided by what comes out",
        "attribution.attribute",
        "attribution.reference",
        "return (slopes / encoded.s_in[at])[:, None]",
        "return (slopes / encoded.s_out[at])[:, None]",
    ),
    Patch(
        "the error's pull has a wrong sign",
        "attribution.attribute",
        "attribution.invariants",
        "= here - self._pulled(site, active).sum(dim=0)",
        "= here + self._pulled(site, active).sum(dim=0)",
    ),
    Patch(
        "the error's pull is the whole gradient",
        "attribution.attribute",
        "attribution.invariants",
        "= here - self._pulled(site, active).sum(dim=0)",
        "= here",
    ),
    Patch(
        "a pull starts at another position",
        "attribution.attribute",
        "attribution.invariants",
        "device=gradient.device), encoded.positions[chosen])",
        "device=gradient.device), encoded.positions[chosen] - 1)",
    ),
    Patch(
        "edges are given to the next target",
        "attribution.attribute",
        "attribution.invariants",
        "reading.split(place, product[1:])",
        "reading.split(place, product[:-1])",
    ),
    Patch(
        "gradients of several readers do not add up",
        "attribution.attribute",
        "attribution.invariants",
        "        for place, product in cut.pull_back(site, pulls, at).items():\n"
        "            result.gradients[place] += product[0]",
        "        for place, product in cut.pull_back(site, pulls, at).items():\n"
        "            result.gradients[place] = product[0]",
    ),
    Patch(
        "an MLP is run at the position before its target's",
        "attribution.cut",
        "attribution.families",
        "rows = torch.cat([x, x[places]]).requires_grad_()",
        "rows = torch.cat([x, x[places - 1]]).requires_grad_()",
    ),
    Patch(
        "what goes through an MLP arrives at the first position",
        "attribution.cut",
        "attribution.families",
        "products[numbers, places] = found[len(x) :]",
        "products[numbers, 0] = found[len(x) :]",
    ),
    Patch(
        "the middle of the stream feeds the MLP alone",
        "attribution.model",
        "attribution.families",
        "return new[0] + written[0]",
        "return out",
    ),
    Patch(
        "the metric is read at the last position, whatever was asked",
        "attribution.cut",
        "attribution.invariants",
        "return self.logits[[self.said.index(position) for position in positions]]",
        "return self.logits[[-1 for position in positions]]",
    ),
    Patch(
        "the metric logp is a bare logit",
        "attribution.metric",
        "attribution.metric",
        "return wanted - torch.logsumexp(here, dim=-1)",
        "return wanted",
    ),
)
