"""Mistakes in the load gate."""

from patch import Patch

GATE: tuple[Patch, ...] = (
    Patch(
        "explained variance is taken about zero",
        "attribution.gate",
        "attribution.gate",
        " - float((self.sum / self.count).square().sum())",
        "",
    ),
    Patch(
        "the token put before is counted in the cross-entropy",
        "attribution.gate",
        "attribution.gate",
        'losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")',
        "logits = model.forward(batch.ids, edits, slice(0, -1))\n"
        "        counted, wanted = torch.ones_like(batch.ids[:, 1:]).bool(), batch.ids[:, 1:]\n"
        '        losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")',
    ),
    Patch(
        "the token put before is replaced too",
        "attribution.windows",
        "attribution.gate",
        "torch.zeros_like(before, dtype=torch.bool)",
        "torch.ones_like(before, dtype=torch.bool)",
    ),
    Patch(
        "silence is counted by position",
        "attribution.gate",
        "attribution.gate",
        "self.fired[indices] = True",
        "self.fired[positions % width] = True",
    ),
    Patch(
        "zero ablation takes nothing out",
        "attribution.gate",
        "attribution.gate",
        "return torch.zeros_like(x)",
        "return x",
    ),
    Patch(
        "random directions keep the trained constant",
        "attribution.chance",
        "attribution.gate",
        "features, b_dec=self.mean, applies_b_dec=True",
        "features, applies_b_dec=True",
    ),
    Patch(
        "random directions are not fitted in length",
        "attribution.chance",
        "attribution.gate",
        "return self._ab / self._bb if self._bb > 0 else 0.0",
        "return 1.0",
    ),
    Patch(
        "an interval takes every window for one of the same variance",
        "attribution.gate",
        "attribution.gating",
        "part[1] - share * variance for part, variance",
        "part[1] for part, variance",
    ),
    Patch(
        "a verdict near a bar is taken for clear",
        "attribution.gating",
        "attribution.gating",
        "return len({judge(end, published).passed for end in ends}) == 1",
        "return True",
    ),
)
