"""A worker double that answers everything as the real one would, from the sample circuit."""

from tui.samples import (
    COMPLETIONS,
    MODEL,
    SITES,
    TOKENS,
    TRUST,
    FakeWorker,
    circuit,
    edges_into,
    site_nodes,
    summary,
)

from scd_tui.graph import Completion, Node, NodeId, Token, parse_node
from scd_tui.worker import protocol as p


def answer(worker: FakeWorker, request: p.Request) -> None:
    """Emit the answers to one request at once."""
    n = request.request
    match request:
        case p.Load():
            worker.emit(p.Progress(request=n, stage="loading dictionaries", done=3, total=12))
            worker.emit(p.Loaded(request=n, model=MODEL))
        case p.Complete():
            worker.emit(p.Completed(request=n, tokens=TOKENS, completions=COMPLETIONS))
        case p.Attribute():
            target = _completion(request.target)
            if target is None:
                text = f"{request.target!r} is 2 tokens: a target is one token"
                worker.emit(p.Failed(request=n, kind="input", message=text))
                return
            contrast = _completion(request.contrast)
            for done, site in enumerate(reversed(SITES), 1):
                worker.emit(p.SiteDone(request=n, summary=summary(site), nodes=site_nodes(site)))
                worker.emit(p.Progress(request=n, stage="edges", done=done, total=len(SITES)))
            made = circuit(
                target, contrast or COMPLETIONS[1], request.metric, contrast is None, request.prompt
            )
            worker.emit(p.Attributed(request=n, circuit=made))
            exact = {node.id: node.effect * 0.9 for node in made.nodes if node.top}
            worker.emit(p.Measured(request=n, exact=exact, done=100, total=100))
            worker.emit(p.Trusted(request=n, trust=TRUST, seconds=0.5))
        case p.Upstream():
            ref = parse_node(request.node)
            before = SITES.index(ref.site) if ref.site is not None else len(SITES)
            edges = edges_into(request.node, before)
            nodes = tuple(Node(NodeId(edge.source), edge.weight, 1.0) for edge in edges)
            worker.emit(p.UpstreamFound(request=n, node=request.node, nodes=nodes, edges=edges))
        case p.Ablate():
            worker.emit(
                p.Ablated(
                    request=n,
                    node=request.node,
                    predicted=1.32,
                    exact=1.21,
                    promoted=(p.TokenShift(Token(100, " question"), 0.7),),
                    suppressed=(p.TokenShift(Token(101, " way"), -0.4),),
                    completions=COMPLETIONS[1:],
                )
            )
        case p.Inspect():
            values = tuple(float(i % 4 == 1) * (i + 1) for i in range(len(TOKENS)))
            worker.emit(
                p.Inspected(request=n, site=request.site, index=request.index, activations=values)
            )
        case _:
            pass


def _completion(wanted: str | int | None) -> Completion | None:
    for completion in COMPLETIONS:
        if wanted in (completion.token.id, completion.token.text):
            return completion
    return None
