"""A circuit of GPT-2 small's size: 360 features over the 36 sources of the loopback service."""

from typing import Any

import msgspec
from neuronpedia.loopback import SOURCES
from tui.samples import COMPLETIONS, LAST, LEAVES, PROMPT, TOKENS

from scd_tui.graph import (
    Circuit,
    ModelIdentity,
    Node,
    Settings,
    Site,
    SiteSummary,
    Target,
    feature_id,
)

KINDS = {"att": "attn_out", "mlp": "mlp_out", "res_post": "resid_post"}
SITES = {
    Site(int(source.split("-")[0]), KINDS[source.split("-")[1].removesuffix("_32k")]): source  # type: ignore[arg-type]
    for source in SOURCES
}


def full_size(**changes: Any) -> Circuit:
    """The circuit, with `changes`. Features whose index ends in 7 have no explanation there."""
    model = ModelIdentity(
        name="gpt2-small",
        revision="1",
        dictionaries="v5-32k",
        dictionaries_revision="1",
        device="cpu",
        layers=12,
        context=64,
        vocabulary=50257,
        sites=tuple(SITES),
        sources={str(site): source for site, source in SITES.items()},
        neuronpedia="gpt2-small",
    )
    target = Target("diff", LAST, COMPLETIONS[0], COMPLETIONS[1], True)
    nodes = [Node(target.root, 3.21, 0.0)]
    for layer, site in enumerate(SITES):
        nodes += [
            Node(feature_id(site, 100 * layer + n, LAST - n % 3), 2.0 - n / 10, 1.5, top=True)
            for n in range(10)
        ]
    made = Circuit(
        prompt=PROMPT,
        tokens=TOKENS,
        model=model,
        settings=Settings(),
        target=target,
        metric_value=3.21,
        share_explained=0.78,
        completions=COMPLETIONS,
        sites=tuple(SiteSummary(site, 2.5, -0.2, 0.05, 0.5, 0.9, 140) for site in reversed(SITES)),
        nodes=(*nodes, *LEAVES),
        edges=(),
        expanded=(),
        seconds={},
    )
    return msgspec.structs.replace(made, **changes)
