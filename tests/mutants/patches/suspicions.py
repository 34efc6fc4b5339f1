"""Mistakes in the signs of a dictionary that is run in another way than it was trained."""

from patch import Patch

SUSPICIONS: tuple[Patch, ...] = (
    Patch(
        "the weaker half is the stronger",
        "attribution.suspicions",
        "attribution.suspicions",
        "argsort(descending=True, stable=True)",
        "argsort(stable=True)",
    ),
    Patch(
        "the weaker half is written at another scale than the rest",
        "attribution.suspicions",
        "attribution.suspicions",
        "weaker = s_out[:, None] * dictionary.activation",
        "weaker = dictionary.activation",
    ),
    Patch(
        "the mean of the error is over its width",
        "attribution.suspicions",
        "attribution.suspicions",
        "constant = error.mean(dim=0).square().sum() * len(x)",
        "constant = error.mean(dim=1).square().sum()",
    ),
    Patch(
        "other normalisations are held to the error of none",
        "attribution.suspicions",
        "attribution.suspicions",
        "other = dictionary.with_features(dictionary.activation, normalisation=normalisation)",
        "other = dictionary",
    ),
    Patch(
        "what is explained elsewhere is explained here",
        "attribution.suspicions",
        "attribution.suspicions",
        "explained_variance=1 - known[site], here=1 - own",
        "explained_variance=1 - own, here=1 - own",
    ),
    Patch(
        "the end of a block and the start of the next are two places",
        "attribution.suspicions",
        "attribution.suspicions",
        'place = Site(site.layer - 1, "resid_post") if before_block else site',
        'place = Site(site.layer - 1, "resid_mid") if before_block else site',
    ),
)
