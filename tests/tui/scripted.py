"""A worker double that answers everything as the real one would, from the sample circuit."""

import msgspec
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

from scd_tui.curves import Column, Curve
from scd_tui.graph import (
    Completion,
    ModelIdentity,
    Node,
    Outcome,
    Token,
    TokenShift,
    parse_node,
)
from scd_tui.worker import protocol as p

OUTCOME = Outcome(
    predicted=1.5,
    exact=1.4,
    promoted=(TokenShift(Token(100, " question"), 0.7),),
    suppressed=(TokenShift(Token(101, " way"), -0.4),),
    completions=COMPLETIONS[1:],
)


def answer(worker: FakeWorker, request: p.Request) -> None:
    """Emit the answers to one request at once."""
    n = request.request
    match request:
        case p.Load():
            worker.emit(p.Progress(request=n, stage="loading dictionaries", done=3, total=12))
            worker.emit(p.Loaded(request=n, model=loaded_by(request)))
        case p.Complete():
            worker.emit(p.Completed(request=n, tokens=TOKENS, completions=COMPLETIONS))
        case p.Attribute():
            target = COMPLETIONS[0] if request.target is None else _completion(request.target)
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
            loads = [one for one in worker.sent if isinstance(one, p.Load)]
            if loads:
                made = msgspec.structs.replace(made, model=loaded_by(loads[-1]))
            worker.emit(p.Attributed(request=n, circuit=made))
            exact = {node.id: node.effect * 0.9 for node in made.nodes if node.top}
            worker.emit(p.Measured(request=n, exact=exact, done=100, total=100))
            worker.emit(p.Trusted(request=n, trust=TRUST, seconds=0.5))
        case p.Upstream():
            ref = parse_node(request.node)
            before = SITES.index(ref.site) if ref.site is not None else len(SITES)
            edges = edges_into(request.node, before)
            known = {node.id: node for node in circuit().nodes}
            nodes = tuple(known[edge.source] for edge in edges)
            worker.emit(p.UpstreamFound(request=n, node=request.node, nodes=nodes, edges=edges))
        case p.Ablate():
            alone = msgspec.structs.replace(OUTCOME, predicted=1.32, exact=1.21)
            worker.emit(p.Ablated(request=n, node=request.node, outcome=alone))
        case p.Remove():
            worker.emit(p.Removed(request=n, nodes=request.nodes, outcome=OUTCOME))
        case p.CutEdge():
            worker.emit(
                p.EdgeWasCut(
                    request=n,
                    source=request.source,
                    target=request.target,
                    along=0.44,
                    outcome=OUTCOME,
                )
            )
        case p.Scale():
            worker.emit(
                p.Scaled(
                    request=n,
                    node=request.node,
                    factors=request.factors,
                    values=tuple(3.21 + (factor - 1) * 0.5 for factor in request.factors),
                    slope=0.6,
                    completions=tuple(
                        COMPLETIONS if factor else COMPLETIONS[1:] for factor in request.factors
                    ),
                )
            )
        case p.Neighbour():
            ref = parse_node(request.node)
            step = {"earlier": -1, "later": 1}.get(request.way)
            found = None
            if step is not None and 0 <= ref.position + step < len(TOKENS):
                found = msgspec.structs.replace(ref, position=ref.position + step).id
            elif step is None and ref.site is not None:
                number = SITES.index(ref.site) + (1 if request.way == "above" else -1)
                if 0 <= number < len(SITES):
                    found = next(x.id for x in site_nodes(SITES[number]) if "error" not in x.id)
            worker.emit(
                p.NeighbourFound(
                    request=n,
                    node=request.node,
                    way=request.way,
                    found=None if found is None else Node(found, 0.25, 1.0),
                    cosine=None if step else 0.91,
                    weight=None if step else 0.12,
                )
            )
        case p.Heads():
            shares = tuple(0.1 * k for k in range(len(request.sources)))
            worker.emit(
                p.HeadsFound(
                    request=n,
                    node=request.node,
                    sources=request.sources,
                    heads=(
                        p.HeadPart(2, 3, shares),
                        p.HeadPart(2, 0, tuple(-0.01 for _ in shares)),
                    ),
                )
            )
        case p.Curves():
            curve = Curve(sizes=(0, 1, 2), faithfulness=(0, 0.5, 0.9), completeness=(1, 0.6, 0.2))
            worker.emit(p.Progress(request=n, stage="curves", done=1, total=6))
            worker.emit(
                p.CurvesFound(
                    request=n,
                    nodes=request.nodes,
                    columns=tuple(
                        Column(
                            nodes="features",
                            baseline="zero",
                            errors=errors,
                            order=order,  # type: ignore[arg-type]
                            count=2,
                            empty=0.5,
                            curve=curve,
                            needed=2,
                        )
                        for errors in (True, False)
                        for order in ("chosen", "effect", "random")
                    ),
                )
            )
        case p.Suggest():
            tokens = tuple(c.token for c in COMPLETIONS if c.token.text.startswith(request.text))
            worker.emit(p.Suggested(request=n, text=request.text, tokens=tokens[: request.count]))
        case p.Continue():
            worker.emit(p.Continued(request=n, completions=COMPLETIONS[: request.count]))
        case p.Inspect():
            values = tuple(float(i % 4 == 1) * (i + 1) for i in range(len(TOKENS)))
            worker.emit(
                p.Inspected(request=n, site=request.site, index=request.index, activations=values)
            )
        case _:
            pass


def loaded_by(request: p.Load) -> ModelIdentity:
    """The model that is loaded: always the same, but under the name that was asked for."""
    return msgspec.structs.replace(MODEL, name=request.model.partition(":")[0])


def _completion(wanted: p.Wanted) -> Completion | None:
    for completion in COMPLETIONS:
        if wanted in (completion.token.id, completion.token.text):
            return completion
    return None
