"""Mistakes in the parts of edges that go through attention heads."""

from patch import Patch

HEADS: tuple[Patch, ...] = (
    Patch(
        "a head is given the next one's part",
        "attribution.cut",
        "attribution.heads",
        "alone[:, :, :, head] = into[:, :, :, head]",
        "alone[:, :, :, head] = into[:, :, :, head - 1]",
    ),
    Patch(
        "every head is given what goes through all",
        "attribution.cut",
        "attribution.heads",
        "alone[:, :, :, head] = into[:, :, :, head]",
        "alone[:] = into",
    ),
    Patch(
        "a layer's own heads are left out",
        "attribution.cut",
        "attribution.heads",
        "if layer > site.layer:",
        "if layer >= site.layer:",
    ),
    Patch(
        "heads that are themselves a site are not seen",
        "attribution.cut",
        "attribution.heads",
        'if site == Site(layer, "hook_z"):',
        "if site.layer < 0:",
    ),
    Patch(
        "held patterns are differentiated",
        "attribution.cut",
        "attribution.heads",
        'edits.append((Attention(layer, "pattern"), torch.Tensor.detach))',
        'edits.append((Attention(layer, "pattern"), torch.Tensor.clone))',
    ),
    Patch(
        "what heads read is cut off as well",
        "attribution.cut",
        "attribution.heads",
        "        heads[layer] = z\n        return z",
        "        heads[layer] = z\n        return z.detach()",
    ),
)
