"""Mistakes in what a model is tried for when it is loaded, and in what becomes of NaN."""

from patch import Patch

SOUNDNESS: tuple[Patch, ...] = (
    Patch(
        "a site passes whose gradient is another one",
        "attribution.site_checks",
        "attribution.site_checks",
        "> TOLERANCE * float(plain.norm())",
        "> 1e9 * float(plain.norm())",
    ),
    Patch(
        "a sublayer's output passes that is not what is added",
        "attribution.site_checks",
        "attribution.site_checks",
        "if gradient is None or not torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-3):",
        "if gradient is None:",
    ),
    Patch(
        "a stream behind the MLP passes as one before it",
        "attribution.site_checks",
        "attribution.site_checks",
        "if mid not in found and [site",
        "if mid in found and [site",
    ),
    Patch(
        "a block that scales drops the cut",
        "attribution.model",
        "attribution.site_checks",
        "if name in self._scaled and torch.is_grad_enabled():",
        "if name in self._scaled and not torch.is_grad_enabled():",
    ),
    Patch(
        "every layer has heads",
        "attribution.cut",
        "attribution.site_checks",
        'if model.has(Attention(layer, "z")):',
        "if layer >= 0:",
    ),
    Patch(
        "hook points that break a pass are kept",
        "attribution.model",
        "attribution.site_checks",
        "del self._points[name]",
        "assert name in self._points",
    ),
    Patch(
        "rounding passes for a pattern that is held",
        "attribution.model",
        "attribution.site_checks",
        "> _ROUNDING * logits[-1].abs().max()",
        "> 0.0 * logits[-1].abs().max()",
    ),
    Patch(
        "patterns are frozen where that does nothing",
        "attribution.explain",
        "attribution.site_checks",
        "if settings.freeze_patterns and (unheld",
        "if not settings.freeze_patterns and (unheld",
    ),
    Patch(
        "the difference from plain transformers is a mean",
        "attribution.agreement",
        "attribution.agreement",
        "torch.where(ours == plain, 0.0, ours - plain).abs().max()",
        "torch.where(ours == plain, 0.0, ours - plain).abs().mean()",
    ),
    Patch(
        "another model than transformers' is not told",
        "attribution.load",
        "attribution.agreement",
        "elif check.difference <= TOLERANCE:",
        "elif check.difference > TOLERANCE:",
    ),
    Patch(
        "only the least weight is looked at",
        "attribution.finite",
        "attribution.finite",
        "pair.isfinite().all()",
        "pair[0].isfinite()",
    ),
    Patch(
        "NaN in logits alone is passed over",
        "attribution.finite",
        "attribution.finite",
        "if _all_finite([*found.values(), logits]):",
        "if _all_finite(list(found.values())):",
    ),
    Patch(
        "NaN is written into a file",
        "graph",
        "attribution.finite",
        "if not all(map(isfinite, numbers)):",
        "if not numbers:",
    ),
)
