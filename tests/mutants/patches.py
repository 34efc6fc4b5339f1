"""Mistakes that the engine's tests have to notice: each a small change of one source file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patch:
    """One mistake: in `module`, `old` (which stands there just once) becomes `new`."""

    name: str
    module: str
    old: str
    new: str


PATCHES: tuple[Patch, ...] = (
    Patch(
        "the graph is not cut at the sites",
        "cut",
        "copy = activation.detach().clone().requires_grad_()",
        "copy = activation.clone() if activation.requires_grad "
        "else activation.detach().clone().requires_grad_()",
    ),
    Patch(
        "the place just before a site is not among its sources",
        "cut",
        "return self.order[: self.order.index(site)]",
        "return self.order[: max(1, self.order.index(site) - 1)]",
    ),
    Patch(
        "the token embedding is left out of the sources",
        "cut",
        "return self.order[: self.order.index(site)]",
        "return self.order[1 : self.order.index(site)]",
    ),
    Patch(
        "a feature's strength lacks the scale coming out",
        "dictionary",
        "return self.values * self.s_out[self.positions]",
        "return self.values",
    ),
    Patch(
        "layer norm's epsilon is forgotten",
        "dictionary",
        "return x.mean(dim=-1), std + _LAYER_NORM_EPSILON, std",
        "return x.mean(dim=-1), std, std",
    ),
    Patch(
        "layer norm's epsilon is added coming out as well",
        "dictionary",
        "return x.mean(dim=-1), std + _LAYER_NORM_EPSILON, std",
        "return x.mean(dim=-1), std + _LAYER_NORM_EPSILON, std + _LAYER_NORM_EPSILON",
    ),
    Patch(
        "the biased standard deviation is taken",
        "dictionary",
        "std = x.std(dim=-1)",
        "std = x.std(dim=-1, correction=0)",
    ),
    Patch(
        "the constant lacks the mean",
        "dictionary",
        "constant=s_out[:, None] * self.b_dec + mu[:, None],",
        "constant=s_out[:, None] * self.b_dec,",
    ),
    Patch(
        "the constant's decoder bias is not scaled",
        "dictionary",
        "constant=s_out[:, None] * self.b_dec + mu[:, None],",
        "constant=self.b_dec + mu[:, None],",
    ),
    Patch(
        "the decoder's bias is never taken off the input",
        "dictionary",
        "return z - self.b_dec if self.applies_b_dec else z",
        "return z",
    ),
    Patch(
        "only positive features count as active",
        "activation",
        "positions, columns = values.nonzero(as_tuple=True)",
        "positions, columns = (values > 0).nonzero(as_tuple=True)",
    ),
    Patch(
        "JumpReLU's threshold is taken to be zero",
        "activation",
        "return Chosen.where_not_zero(before.relu() * (before > self.threshold))",
        "return Chosen.where_not_zero(before.relu())",
    ),
    Patch(
        "a gated column lacks its magnitude",
        "activation",
        "encoder = self.w_enc.T[indices] * self.r_mag[indices].exp()[:, None]",
        "encoder = self.w_enc.T[indices]",
    ),
    Patch(
        "decoder rows are not shortened where columns are lengthened",
        "activation",
        "return encoder * norms[:, None], bias * norms, decoder / norms[:, None]",
        "return encoder * norms[:, None], bias * norms, decoder",
    ),
    Patch(
        "a pull is scaled by what goes in",
        "attribute",
        "slopes = encoded.s_out[node.position] * (encoded.decoder[rows] @ here)",
        "slopes = encoded.s_in[node.position] * (encoded.decoder[rows] @ here)",
    ),
    Patch(
        "a pull is divided by what comes out",
        "attribute",
        "along = (slopes / encoded.s_in[node.position]) @ encoded.encoder[rows]",
        "along = (slopes / encoded.s_out[node.position]) @ encoded.encoder[rows]",
    ),
    Patch(
        "the error's pull has a wrong sign",
        "attribute",
        'along if node.kind == "feature" else here - along',
        'along if node.kind == "feature" else here + along',
    ),
    Patch(
        "the error's pull is the whole gradient",
        "attribute",
        'along if node.kind == "feature" else here - along',
        'along if node.kind == "feature" else here',
    ),
    Patch(
        "a pull starts at another position",
        "attribute",
        'pull[node.position] = along if node.kind == "feature"',
        'pull[node.position - 1] = along if node.kind == "feature"',
    ),
    Patch(
        "edges are given to the next target",
        "attribute",
        "reading.split(place, product[1:])",
        "reading.split(place, product[:-1])",
    ),
    Patch(
        "gradients of several readers do not add up",
        "attribute",
        "        for place, product in cut.pull_back(site, torch.stack(pulls)).items():\n"
        "            result.gradients[place] += product[0]",
        "        for place, product in cut.pull_back(site, torch.stack(pulls)).items():\n"
        "            result.gradients[place] = product[0]",
    ),
    Patch(
        "the middle of the stream feeds the MLP alone",
        "model",
        "return new[0] + written[0]",
        "return out",
    ),
    Patch(
        "the metric is read at the last position, whatever was asked",
        "metric",
        "return value_at(target, logits[..., target.positions, :])",
        "return value_at(target, logits[..., -1:, :])",
    ),
    Patch(
        "the metric logp is a bare logit",
        "metric",
        "return wanted - torch.logsumexp(here, dim=-1)",
        "return wanted",
    ),
    Patch(
        "an ablated node is taken out at every position",
        "ablation",
        "flat[row, node.position] -= lost(reading, node, baselines)",
        "flat[row] -= lost(reading, node, baselines)",
    ),
    Patch(
        "the error goes with an ablated feature",
        "ablation",
        "flat[row, node.position] -= lost(reading, node, baselines)",
        "flat[row, node.position] -= "
        "lost(reading, node, baselines) + reading.encoded[site].error[node.position]",
    ),
    Patch(
        "exact effects have the wrong sign",
        "ablation",
        "(clean - values).tolist()",
        "(values - clean).tolist()",
    ),
    Patch(
        "ties are ranked by chance",
        "trust",
        "return below + (equal + 1) / 2",
        "return below.double()",
    ),
    Patch(
        "what rescaled features write forgets the decoder's norms",
        "activation",
        "weights = weights / self.norms[chosen.indices]",
        "weights = weights * 1.0",
    ),
    Patch(
        "plain ReLU keeps the normalisation",
        "dictionary",
        'self.activation.plain(), normalisation="none"',
        "self.activation.plain()",
    ),
    Patch(
        "explained variance is taken about zero",
        "gate",
        " - float((self.sum / self.count).square().sum())",
        "",
    ),
    Patch(
        "the token put before is counted in the cross-entropy",
        "gate",
        "[:, windows.skip : -1]\n        wanted = rows[:, windows.skip + 1 :]",
        "[:, :-1]\n        wanted = rows[:, 1:]",
    ),
    Patch(
        "the token put before is replaced too",
        "gate",
        "torch.cat([activation[:, : self.skip], made], dim=1)",
        "torch.cat([0 * activation[:, : self.skip], made], dim=1)",
    ),
    Patch(
        "silence is counted by position",
        "gate",
        "self.fired[indices] = True",
        "self.fired[positions % width] = True",
    ),
    Patch(
        "zero ablation takes nothing out",
        "gate",
        "return torch.zeros_like(x)",
        "return x",
    ),
    Patch(
        "random directions keep the trained constant",
        "chance",
        "features, b_dec=self.mean, applies_b_dec=True",
        "features, applies_b_dec=True",
    ),
    Patch(
        "random directions are not fitted in length",
        "chance",
        "return self._ab / self._bb if self._bb > 0 else 0.0",
        "return 1.0",
    ),
)
