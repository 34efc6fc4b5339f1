"""A saved circuit asked once more: the same question, to the same model with the same dictionaries."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from scd_tui.attribution.attribute import Attribution
from scd_tui.attribution.explain import Explanation, explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.errors import InputError
from scd_tui.graph import Circuit, NodeId
from scd_tui.numbers import counted

RELATIVE, OF_LARGEST = 1e-3, 1e-4
"""Effects are the same within the one of their own size, plus the other of the circuit's largest: what
float32 sums of another device, or in another order, come to."""


def ask_again(loaded: LoadedModel, circuit: Circuit) -> Explanation:
    """The attribution that a circuit was made of: its prompt, target and settings.

    Raises InputError if the file asks what the model cannot answer.
    """
    asked = circuit.target
    said = len(circuit.said)
    after = bool(asked.later or said)
    again = explain(
        loaded,
        circuit.prompt,
        target=[step.target.token.id for step in asked.steps],
        # by its id even where nobody chose it: on another device another token may be the likeliest
        contrast=[s.contrast.token.id for s in asked.steps if s.contrast is not None] or None,
        metric=asked.metric,
        position=None if after else asked.position,
        continuation=said + 1 if said else None,
        contrast_prompt=circuit.contrast_prompt,
        settings=circuit.settings,
    )
    if again.circuit.tokens != circuit.tokens:
        raise InputError("the file's tokens are not those of its prompt: attribute it again")
    target = msgspec.structs.replace(
        again.attribution.target, contrast_is_default=asked.contrast_is_default
    )
    return replace(
        again,
        attribution=replace(again.attribution, target=target),
        circuit=msgspec.structs.replace(again.circuit, target=target),
    )


@dataclass(frozen=True)
class Changed:
    """A node whose effect is not what the file says; `now` is None where it is not active."""

    node: NodeId
    then: float
    now: float | None


def changed(attribution: Attribution, circuit: Circuit) -> Iterator[Changed]:
    """The nodes of a saved circuit that have another effect in an attribution of it."""
    largest = max((abs(node.effect) for node in circuit.nodes), default=0.0)
    for node in circuit.nodes:
        try:
            now = attribution.effect(node.id)
        except InputError:
            yield Changed(node.id, node.effect, None)
            continue
        if abs(now - node.effect) > RELATIVE * abs(node.effect) + OF_LARGEST * largest:
            yield Changed(node.id, node.effect, now)


def comparison(attribution: Attribution, circuit: Circuit) -> str:
    """In one sentence, whether a saved circuit's effects are those of an attribution of it."""
    found = list(changed(attribution, circuit))
    nodes = counted(circuit.size, "node")
    if not found:
        return f"the metric and the effects of the file's {nodes}, computed again, are the same"
    worst = max(found, key=lambda c: abs(c.then - (0.0 if c.now is None else c.now)))
    now = "inactive" if worst.now is None else f"{worst.now:.3g}"
    return (
        f"of the metric and the effects of the file's {nodes}, {len(found)} "
        f"{'is' if len(found) == 1 else 'are'} not what the file says, most of all {worst.node}: "
        f"effect {worst.then:.3g} in the file, {now} here"
    )
