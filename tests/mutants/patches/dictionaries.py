"""Mistakes in what a dictionary says of an activation."""

from patch import Patch

DICTIONARIES: tuple[Patch, ...] = (
    Patch(
        "a feature's strength lacks the scale coming out",
        "dictionary",
        "dictionary",
        "strengths=chosen.values * s_out[chosen.positions]",
        "strengths=chosen.values",
    ),
    Patch(
        "layer norm's epsilon is forgotten",
        "dictionary",
        "dictionary",
        "return x.mean(dim=-1), std + _LAYER_NORM_EPSILON, std",
        "return x.mean(dim=-1), std, std",
    ),
    Patch(
        "layer norm's epsilon is added coming out as well",
        "dictionary",
        "dictionary",
        "return x.mean(dim=-1), std + _LAYER_NORM_EPSILON, std",
        "return x.mean(dim=-1), std + _LAYER_NORM_EPSILON, std + _LAYER_NORM_EPSILON",
    ),
    Patch(
        "the biased standard deviation is taken",
        "dictionary",
        "dictionary",
        "std = x.std(dim=-1)",
        "std = x.std(dim=-1, correction=0)",
    ),
    Patch(
        "the constant lacks the mean",
        "dictionary",
        "dictionary",
        "constant=s_out[:, None] * self.b_dec + mu[:, None],",
        "constant=s_out[:, None] * self.b_dec,",
    ),
    Patch(
        "the constant's decoder bias is not scaled",
        "dictionary",
        "dictionary",
        "constant=s_out[:, None] * self.b_dec + mu[:, None],",
        "constant=self.b_dec + mu[:, None],",
    ),
    Patch(
        "the decoder's bias is never taken off the input",
        "dictionary",
        "dictionary",
        "return z - self.b_dec if self.applies_b_dec else z",
        "return z",
    ),
    Patch(
        "plain ReLU keeps the normalisation",
        "dictionary",
        "dictionary",
        'self.activation.plain(), normalisation="none"',
        "self.activation.plain()",
    ),
    Patch(
        "only positive features count as active",
        "activation",
        "dictionary",
        "positions, columns = values.nonzero(as_tuple=True)",
        "positions, columns = (values > 0).nonzero(as_tuple=True)",
    ),
    Patch(
        "JumpReLU's threshold is taken to be zero",
        "activation",
        "dictionary",
        "return Chosen.where_not_zero(before.relu() * (before > self.threshold))",
        "return Chosen.where_not_zero(before.relu())",
    ),
    Patch(
        "a gated column lacks its magnitude",
        "activation",
        "dictionary",
        "encoder = self.w_enc.T[indices] * self.r_mag[indices].exp()[:, None]",
        "encoder = self.w_enc.T[indices]",
    ),
    Patch(
        "decoder rows are not shortened where columns are lengthened",
        "activation",
        "dictionary",
        "return encoder * norms[:, None], bias * norms, decoder / norms[:, None]",
        "return encoder * norms[:, None], bias * norms, decoder",
    ),
    Patch(
        "what rescaled features write forgets the decoder's norms",
        "activation",
        "dictionary",
        "weights = weights / self.norms[chosen.indices]",
        "weights = weights * 1.0",
    ),
)
