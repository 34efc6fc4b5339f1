"""Mistakes in effects by other methods, and in where they begin to count."""

from patch import Patch

METHODS: tuple[Patch, ...] = (
    Patch(
        "the way is seen at its steps' ends",
        "attribution.integrated",
        "attribution.integrated",
        "torch.arange(steps, device=model.device) + 0.5",
        "torch.arange(steps, device=model.device) + 1.0",
    ),
    Patch(
        "the steps' sum is not divided",
        "attribution.integrated",
        "attribution.integrated",
        "gradient[None] / steps",
        "gradient[None]",
    ),
    Patch(
        "only the last batch of steps counts",
        "attribution.integrated",
        "attribution.integrated",
        "gradient += _summed_gradient",
        "gradient = _summed_gradient",
    ),
    Patch(
        "the way starts at nothing, without the constants",
        "attribution.integrated",
        "attribution.integrated",
        "origin = reading.origin(site)",
        "origin = 0 * reading.origin(site)",
    ),
    Patch(
        "the way leads past the clean run",
        "attribution.integrated",
        "attribution.integrated",
        "along = (reading.cut.activation(site) - origin) *",
        "along = reading.cut.activation(site) *",
    ),
    Patch(
        "integrated effects are the gradient's",
        "attribution.methods",
        "attribution.methods",
        "return lambda site, scores: found[site]",
        "return lambda site, scores: scores",
    ),
    Patch(
        "measured errors are in another order",
        "attribution.methods",
        "attribution.methods",
        '[NodeRef("error", p, site) for p in range(len(reading.cut.tokens))]',
        '[NodeRef("error", p, site) for p in reversed(range(len(reading.cut.tokens)))]',
    ),
    Patch(
        "effects are not replaced by the method's",
        "attribution.attribute",
        "attribution.methods",
        "effects_of(site, reading.split(site, gradient[None])[0])",
        "reading.split(site, gradient[None])[0]",
    ),
    Patch(
        "features of the first position are selected though it does not count",
        "attribution.attribute",
        "attribution.methods",
        "sizes = torch.where(reading.counts(site), scores.features.abs(), 0.0)",
        "sizes = scores.features.abs()",
    ),
    Patch(
        "the error of the first position is selected though it does not count",
        "attribution.attribute",
        "attribution.sinks",
        "errors = torch.where(reading.counted, scores.errors.abs(), 0.0)",
        "errors = scores.errors.abs()",
    ),
)
