"""Mistakes in what a reader tries on a circuit, and in what is looked for from a node."""

from patch import Patch

TRIALS: tuple[Patch, ...] = (
    Patch(
        "of several nodes each is taken out as it was in the clean run",
        "attribution.together",
        "attribution.together",
        "if row in touched:",
        "if row in ():",
    ),
    Patch(
        "what reaches a node through another that is out counts twice",
        "attribution.together",
        "attribution.together",
        "gradient = gradient - here.pulls(at[site]).sum(dim=0)",
        "gradient = gradient + 0 * here.pulls(at[site]).sum(dim=0)",
    ),
    Patch(
        "a node at its own strength is twice as strong",
        "attribution.experiments",
        "attribution.experiments",
        "[factor - 1 for factor in factors]",
        "[factor for factor in factors]",
    ),
    Patch(
        "a cut edge weakens its target by what its source's position lacks",
        "attribution.experiments",
        "attribution.experiments",
        "missing[end.position])",
        "missing[origin.position])",
    ),
    Patch(
        "a weakened target lacks the scale coming out",
        "attribution.experiments",
        "attribution.experiments",
        "/ encoded.s_in[q] * encoded.s_out[q]",
        "/ encoded.s_in[q]",
    ),
    Patch(
        "a thread follows directions that no edge ties",
        "attribution.neighbours",
        "attribution.neighbours",
        "torch.where(eligible, cosines, -2.0).argmax()",
        "cosines.argmax()",
    ),
    Patch(
        "the way up hands on weights instead of shares",
        "attribution.way",
        "attribution.way",
        "share * abs(edge.weight) / total",
        "share * abs(edge.weight)",
    ),
    Patch(
        "the way up takes errors before features",
        "attribution.way",
        "attribution.way",
        '(parse_node(one).kind == "feature", reached[one])',
        '(parse_node(one).kind == "error", reached[one])',
    ),
    Patch(
        "the post's dictionaries are run as they were trained",
        "attribution.replicate",
        "attribution.replicate",
        "loaded.dictionaries[site].as_plain_relu().encode(x[last : last + 1])",
        "loaded.dictionaries[site].encode(x[last : last + 1])",
    ),
    Patch(
        "the post's top features are those of the first position",
        "attribution.replicate",
        "attribution.replicate",
        "as_plain_relu().encode(x[last : last + 1])",
        "as_plain_relu().encode(x[:1])",
    ),
)
