"""Answers to what a reader tries on a circuit. Pure: from the circuit and a request to its answer."""

from collections.abc import Callable

import msgspec

from scd_tui.attribution.chosen import chosen_curves
from scd_tui.attribution.circuit import node_record
from scd_tui.attribution.experiments import EdgeCut, cut_edge, remove_together, scale
from scd_tui.attribution.explain import Explanation, Trial, tokens_in_play
from scd_tui.attribution.heads import edges_by_head
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.neighbours import same_elsewhere, thread
from scd_tui.errors import InputError
from scd_tui.graph import Outcome, TokenShift, parse_node
from scd_tui.worker import protocol
from scd_tui.worker.protocol import Message

MOST_FACTORS = 64
"""Strengths of a node that are run at once."""

OnProgress = Callable[[int, int], None]
Experiment = (
    protocol.Remove
    | protocol.CutEdge
    | protocol.Scale
    | protocol.Neighbour
    | protocol.Heads
    | protocol.Curves
)


def answer(explanation: Explanation, request: Experiment, on_progress: OnProgress) -> Message:
    """The answer to one request. Raises InputError on nodes that it cannot be answered of."""
    model, number = explanation.loaded.model, request.request
    match request:
        case protocol.Remove():
            trial = remove_together(explanation, request.nodes)
            outcome = outcome_of(model, trial, request.count)
            return protocol.Removed(request=number, nodes=request.nodes, outcome=outcome)
        case protocol.CutEdge():
            cut = cut_edge(explanation, request.source, request.target)
            return _edge_cut(model, request, cut)
        case protocol.Scale():
            return _scaled(explanation, request)
        case protocol.Neighbour():
            return _neighbour(explanation, request)
        case protocol.Heads():
            heads = edges_by_head(explanation.attribution, request.node, request.sources)
            return protocol.HeadsFound(
                request=number,
                node=request.node,
                sources=request.sources,
                heads=tuple(protocol.HeadPart(*head, parts) for head, parts in heads.items()),
            )
        case protocol.Curves():
            columns = chosen_curves(explanation, request.nodes, on_progress)
            return protocol.CurvesFound(request=number, nodes=request.nodes, columns=columns)


def names_of(request: protocol.OfCircuit) -> tuple[str, ...]:
    """The node names in a request, which come from outside."""
    found: list[str] = []
    for field in ("node", "source", "target"):
        if isinstance(name := getattr(request, field, None), str):
            found.append(name)
    for field in ("nodes", "sources"):
        found += getattr(request, field, ())
    return tuple(found)


def check_names(request: protocol.OfCircuit) -> None:
    """Raise InputError on anything that is no node name."""
    for name in names_of(request):
        try:
            parse_node(name)
        except ValueError as error:
            raise InputError(str(error)) from None


def outcome_of(model: LanguageModel, trial: Trial, count: int) -> Outcome:
    """A trial with its `count` likeliest completions, and as many tokens that it moved each way."""
    shifts, order = trial.shifts, tokens_in_play(trial).tolist()

    def moved(ids: list[int], sign: int) -> tuple[TokenShift, ...]:
        return tuple(
            TokenShift(model.token(i), float(shifts[i]))
            for i in ids[:count]
            if float(shifts[i]) * sign > 0
        )

    return Outcome(
        predicted=trial.predicted,
        exact=trial.exact,
        promoted=moved(order, 1),
        suppressed=moved(order[::-1], -1),
        completions=model.completions(trial.changed, count),
    )


def _edge_cut(model: LanguageModel, request: protocol.CutEdge, cut: EdgeCut) -> Message:
    return protocol.EdgeWasCut(
        request=request.request,
        source=request.source,
        target=request.target,
        along=cut.along,
        outcome=outcome_of(model, cut, request.count),
    )


def _scaled(explanation: Explanation, request: protocol.Scale) -> Message:
    if not 0 < len(request.factors) <= MOST_FACTORS:
        raise InputError(f"a node is scaled by 1 to {MOST_FACTORS} factors at once")
    found = scale(explanation, request.node, request.factors)
    model = explanation.loaded.model
    return protocol.Scaled(
        request=request.request,
        node=request.node,
        factors=found.factors,
        values=found.values,
        slope=found.slope,
        there=found.there,
        completions=tuple(model.completions(row, request.count) for row in found.logits),
    )


def _neighbour(explanation: Explanation, request: protocol.Neighbour) -> Message:
    attribution = explanation.attribution
    answer = protocol.NeighbourFound(request=request.request, node=request.node, way=request.way)
    if request.way in ("earlier", "later"):
        step = -1 if request.way == "earlier" else 1
        name = same_elsewhere(attribution, request.node, step)
        if name is None:
            return answer
        return msgspec.structs.replace(answer, found=node_record(attribution, name))
    found = thread(attribution, request.node, -1 if request.way == "below" else 1)
    if found is None:
        return answer
    return msgspec.structs.replace(
        answer,
        found=node_record(attribution, found.node),
        cosine=found.cosine,
        weight=found.weight,
    )
