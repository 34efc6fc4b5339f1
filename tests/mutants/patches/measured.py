"""Mistakes in what is measured: ablations, edges along their path, trust."""

from patch import Patch

MEASURED: tuple[Patch, ...] = (
    Patch(
        "an ablated node is taken out at every position",
        "attribution.ablation",
        "attribution.ablation",
        "flat[row, node.position] -= lost(reading, node, baselines)",
        "flat[row] -= lost(reading, node, baselines)",
    ),
    Patch(
        "the error goes with an ablated feature",
        "attribution.ablation",
        "attribution.ablation",
        "flat[row, node.position] -= lost(reading, node, baselines)",
        "flat[row, node.position] -= "
        "lost(reading, node, baselines) + reading.encoded[site].error[node.position]",
    ),
    Patch(
        "exact effects have the wrong sign",
        "attribution.ablation",
        "attribution.ablation",
        "(clean - values).tolist()",
        "(values - clean).tolist()",
    ),
    Patch(
        "ties are ranked by chance",
        "attribution.trust",
        "attribution.trust",
        "return below + (equal + 1) / 2",
        "return below.double()",
    ),
    Patch(
        "a measured edge's source is doubled, not taken out",
        "attribution.ablation",
        "attribution.ablation",
        "rows[row, source.position] -= reading.written(source)",
        "rows[row, source.position] += reading.written(source)",
    ),
    Patch(
        "a measured edge's source is taken out at every position",
        "attribution.ablation",
        "attribution.ablation",
        "rows[row, source.position] -= reading.written(source)",
        "rows[row] -= reading.written(source)",
    ),
    Patch(
        "measured edges have the wrong sign",
        "attribution.ablation",
        "attribution.ablation",
        "(clean - arrived[row]) *",
        "(arrived[row] - clean) *",
    ),
    Patch(
        "all measured edges are those of the first in their batch",
        "attribution.ablation",
        "attribution.ablation",
        "(clean - arrived[row]) *",
        "(clean - arrived[0]) *",
    ),
    Patch(
        "what goes through other sites is in a measured edge",
        "attribution.ablation",
        "attribution.ablation",
        "rows = clean.repeat(len(edges), 1, 1)",
        "rows = arrived.clone()",
    ),
    Patch(
        "measured edges into the root have the wrong sign",
        "attribution.ablation",
        "attribution.ablation",
        "weights[row] = float(lost[row])",
        "weights[row] = -float(lost[row])",
    ),
    Patch(
        "with a mean in its place an error is taken out whole",
        "attribution.ablation",
        "attribution.ablation",
        "return written - baseline.error",
        "return written",
    ),
    Patch(
        "a feature is set to another one's mean",
        "attribution.ablation",
        "attribution.ablation",
        "baseline.strengths[node.index] * decoder",
        "baseline.strengths[node.index - 1] * decoder",
    ),
    Patch(
        "the edges measured are the largest positive ones",
        "attribution.trust",
        "attribution.trust",
        "found.sort(key=lambda edge: (-abs(edge.weight),",
        "found.sort(key=lambda edge: (-edge.weight,",
    ),
    Patch(
        "trust looks at positions that do not count",
        "attribution.trust",
        "attribution.trust",
        "return torch.where(attribution.reading.counts(site), values.abs(), 0.0)",
        "return values.abs()",
    ),
    Patch(
        "relative errors are of the sum, signs and all",
        "attribution.trust",
        "attribution.trust",
        "size = float(b.abs().sum())",
        "size = abs(float(b.sum()))",
    ),
    Patch(
        "the trust of edges compares measurements with themselves",
        "attribution.explain",
        "attribution.explain",
        "yield trust_scores([edge.weight for edge in edges], exact)",
        "yield trust_scores(exact, exact)",
    ),
)
