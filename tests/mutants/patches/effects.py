"""Mistakes in the cut pass, in effects and edges, and in the metric."""

from patch import Patch

EFFECTS: tuple[Patch, ...] = (
    Patch(
        "the graph is not cut at the sites",
        "cut",
        "invariants",
        "copy = activation.detach().clone().requires_grad_()",
        "copy = activation.clone() if activation.requires_grad "
        "else activation.detach().clone().requires_grad_()",
    ),
    Patch(
        "the place just before a site is not among its sources",
        "cut",
        "invariants",
        "return self.order[: self.order.index(site)]",
        "return self.order[: max(1, self.order.index(site) - 1)]",
    ),
    Patch(
        "the token embedding is left out of the sources",
        "cut",
        "invariants",
        "return self.order[: self.order.index(site)]",
        "return self.order[1 : self.order.index(site)]",
    ),
    Patch(
        "a pull is scaled by what goes in",
        "attribute",
        "reference",
        "slopes = encoded.s_out[node.position] * (encoded.decoder[rows] @ here)",
        "slopes = encoded.s_in[node.position] * (encoded.decoder[rows] @ here)",
    ),
    Patch(
        "a pull is divided by what comes out",
        "attribute",
        "reference",
        "along = (slopes / encoded.s_in[node.position]) @ encoded.encoder[rows]",
        "along = (slopes / encoded.s_out[node.position]) @ encoded.encoder[rows]",
    ),
    Patch(
        "the error's pull has a wrong sign",
        "attribute",
        "invariants",
        'along if node.kind == "feature" else here - along',
        'along if node.kind == "feature" else here + along',
    ),
    Patch(
        "the error's pull is the whole gradient",
        "attribute",
        "invariants",
        'along if node.kind == "feature" else here - along',
        'along if node.kind == "feature" else here',
    ),
    Patch(
        "a pull starts at another position",
        "attribute",
        "invariants",
        'pull[node.position] = along if node.kind == "feature"',
        'pull[node.position - 1] = along if node.kind == "feature"',
    ),
    Patch(
        "edges are given to the next target",
        "attribute",
        "invariants",
        "reading.split(place, product[1:])",
        "reading.split(place, product[:-1])",
    ),
    Patch(
        "gradients of several readers do not add up",
        "attribute",
        "invariants",
        "        for place, product in cut.pull_back(site, torch.stack(pulls)).items():\n"
        "            result.gradients[place] += product[0]",
        "        for place, product in cut.pull_back(site, torch.stack(pulls)).items():\n"
        "            result.gradients[place] = product[0]",
    ),
    Patch(
        "the middle of the stream feeds the MLP alone",
        "model",
        "families",
        "return new[0] + written[0]",
        "return out",
    ),
    Patch(
        "the metric is read at the last position, whatever was asked",
        "metric",
        "metric",
        "return value_at(target, logits[..., target.positions, :])",
        "return value_at(target, logits[..., -1:, :])",
    ),
    Patch(
        "the metric logp is a bare logit",
        "metric",
        "metric",
        "return wanted - torch.logsumexp(here, dim=-1)",
        "return wanted",
    ),
)
