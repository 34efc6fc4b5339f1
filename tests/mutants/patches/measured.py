"""Mistakes in what is measured: ablations, edges along their path, trust."""

from patch import Patch

MEASURED: tuple[Patch, ...] = (
    Patch(
        "an ablated node is taken out at every position",
        "ablation",
        "ablation",
        "flat[row, node.position] -= lost(reading, node, baselines)",
        "flat[row] -= lost(reading, node, baselines)",
    ),
    Patch(
        "the error goes with an ablated feature",
        "ablation",
        "ablation",
        "flat[row, node.position] -= lost(reading, node, baselines)",
        "flat[row, node.position] -= "
        "lost(reading, node, baselines) + reading.encoded[site].error[node.position]",
    ),
    Patch(
        "exact effects have the wrong sign",
        "ablation",
        "ablation",
        "(clean - values).tolist()",
        "(values - clean).tolist()",
    ),
    Patch(
        "ties are ranked by chance",
        "trust",
        "trust",
        "return below + (equal + 1) / 2",
        "return below.double()",
    ),
    Patch(
        "a measured edge's source is doubled, not taken out",
        "ablation",
        "ablation",
        "rows[row, source.position] -= reading.written(source)",
        "rows[row, source.position] += reading.written(source)",
    ),
    Patch(
        "a measured edge's source is taken out at every position",
        "ablation",
        "ablation",
        "rows[row, source.position] -= reading.written(source)",
        "rows[row] -= reading.written(source)",
    ),
    Patch(
        "measured edges have the wrong sign",
        "ablation",
        "ablation",
        "(clean - arrived[row]) *",
        "(arrived[row] - clean) *",
    ),
    Patch(
        "all measured edges are those of the first in their batch",
        "ablation",
        "ablation",
        "(clean - arrived[row]) *",
        "(clean - arrived[0]) *",
    ),
    Patch(
        "what goes through other sites is in a measured edge",
        "ablation",
        "ablation",
        "rows = clean.repeat(len(edges), 1, 1)",
        "rows = arrived.clone()",
    ),
    Patch(
        "measured edges into the root have the wrong sign",
        "ablation",
        "ablation",
        "weights[row] = float(lost[row])",
        "weights[row] = -float(lost[row])",
    ),
    Patch(
        "with a mean in its place an error is taken out whole",
        "ablation",
        "ablation",
        "return written - baseline.error",
        "return written",
    ),
    Patch(
        "a feature is set to another one's mean",
        "ablation",
        "ablation",
        "baseline.strengths[node.index] * decoder",
        "baseline.strengths[node.index - 1] * decoder",
    ),
    Patch(
        "the edges measured are the largest positive ones",
        "trust",
        "trust",
        "found.sort(key=lambda edge: (-abs(edge.weight),",
        "found.sort(key=lambda edge: (-edge.weight,",
    ),
    Patch(
        "trust looks at positions that do not count",
        "trust",
        "trust",
        ".positions >= attribution.first",
        ".positions >= 0",
    ),
    Patch(
        "relative errors are of the sum, signs and all",
        "trust",
        "trust",
        "size = float(b.abs().sum())",
        "size = abs(float(b.sum()))",
    ),
    Patch(
        "the trust of edges compares measurements with themselves",
        "explain",
        "explain",
        "yield trust_scores([edge.weight for edge in edges], exact)",
        "yield trust_scores(exact, exact)",
    ),
)
