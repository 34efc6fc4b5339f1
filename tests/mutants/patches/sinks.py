"""Mistakes in which positions are left out."""

from patch import Patch

SINKS: tuple[Patch, ...] = (
    Patch(
        "the median is of all positions",
        "attribution.sinks",
        "attribution.sinks",
        "torch.where(ranks <= middle, ordered[..., middle + 1, None], ordered[..., middle, None])",
        "ordered[..., middle, None].expand_as(norms)",
    ),
    Patch(
        "a contrast prompt readmits no sink",
        "attribution.sinks",
        "attribution.sinks",
        "return bool((here > 0).any() & ~large.any())",
        "return False",
    ),
    Patch(
        "positions that do not differ are in the median of differences",
        "attribution.sinks",
        "attribution.sinks",
        "others = torch.where(others > 0, others, torch.nan)",
        "others = others.clone()",
    ),
    Patch(
        "explained variance takes a readmitted sink",
        "attribution.circuit",
        "attribution.sinks",
        "reading.counts(site), reading.positions.own",
        "reading.counts(site), reading.counted",
    ),
    Patch(
        "edges out of sinks are listed",
        "attribution.circuit",
        "attribution.sinks",
        "weights = torch.where(counts, weights, 0.0)",
        "weights = weights + 0.0",
    ),
    Patch(
        "influence flows through sinks",
        "attribution.influence",
        "attribution.sinks",
        "return torch.where(torch.cat([counts, counted, counted]), sizes, 0.0)",
        "return sizes",
    ),
    Patch(
        "a curve splices the sink",
        "attribution.faithfulness",
        "attribution.sinks",
        "made = torch.where(nodes.counted[:, None], made, x)",
        "made = made + 0.0",
    ),
    Patch(
        "the check's windows hold their sinks",
        "attribution.windows",
        "attribution.sinks",
        "counted &= norm_ratios(torch.stack(norms)) < RATIO",
        "counted &= norm_ratios(torch.stack(norms)) < torch.inf",
    ),
    Patch(
        "integrated gradients move the sink",
        "attribution.integrated",
        "attribution.sinks",
        "(reading.cut.activation(site) - origin) * reading.counted[:, None]",
        "(reading.cut.activation(site) - origin)",
    ),
)
