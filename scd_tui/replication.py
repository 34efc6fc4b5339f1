"""The records of a replication: what the post showed of its five prompts, found anew.

The post is "sparse circuit discovery in GPT-2-small" (DavidUdell/sparse_circuit_discovery). For each prompt
it shows the top completions, the strongest feature of the last sublayer with what ablating it does, and
the edges that lead there from every sublayer upstream. Each prompt is asked with the post's metric, the
loss of the completion (`logp` is that, negated), and with `diff`; and once more with the dictionaries
run as its code runs them.
"""

from scd_tui.curves import Validation
from scd_tui.graph import Circuit, Completion, Edge, NodeId, Record, Site, Token
from scd_tui.judge import Measured, Verdict

LOOKED_AT = 10
"""Completions that are listed, and features as the post's code loads them."""


THE_POST = {
    "Copyright (C": 0.82,
    "The biggest name in basketball is Michael": 0.81,
    "Make America Great": 0.95,
    "To be or not to be, that is the": 0.06,
    "Good morning starshine, the Earth says": 0.09,
}
"""The probability that the post gives of each prompt's completion, on GPT-2 small."""


class Shift(Record, frozen=True):
    """Log-probability that a node lends a token, in nats: clean minus ablated."""

    token: Token
    nats: float


class Step(Record, frozen=True):
    """A node on the way upstream: of what flows into the start, the `share` that comes through it.

    `edges` are the strongest into it from each place directly upstream.
    """

    node: NodeId
    share: float
    edges: tuple[Edge, ...]


class Answer(Record, frozen=True, kw_only=True):
    """What one metric says of a prompt.

    `top` is the feature of largest |effect| at the last site, `promoted` and `suppressed` what removing
    it does to the tokens in play. `way` begins with it and has a node a sublayer, the last first.
    `circuit` holds all that is named here.
    """

    circuit: Circuit
    top: NodeId
    effect: float
    exact: float
    promoted: tuple[Shift, ...]
    suppressed: tuple[Shift, ...]
    way: tuple[Step, ...]
    validation: Validation


class LoadedAsPublished(Record, frozen=True, kw_only=True):
    """What a site's dictionary says of a prompt as it was trained, and run as the post's code runs it.

    Active features a token, and the share of node effects explained, under one metric.
    """

    site: Site
    active: float
    active_as_published: float
    share: float | None
    share_as_published: float | None


class AsPublished(Record, frozen=True, kw_only=True):
    """A prompt with its dictionaries run as the post's code runs them: plain ReLU on raw activations.

    `tops` are the strongest features of the last site at the last position, which is all that the post's
    code keeps, with their effects on the target's log-probability, in nats.
    """

    sites: tuple[LoadedAsPublished, ...]
    tops: tuple[tuple[NodeId, float], ...]


class PromptReplication(Record, frozen=True, kw_only=True):
    """A prompt. Without answers, `refused` says why this model could not be asked."""

    text: str
    target: str
    completions: tuple[Completion, ...] = ()
    answers: tuple[Answer, ...] = ()
    as_published: AsPublished | None = None
    refused: str = ""


class Gated(Record, frozen=True, kw_only=True):
    """The load gate of all dictionaries, run in one way."""

    measured: tuple[Measured, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> int:
        return sum(verdict.passed for verdict in self.verdicts)


class Replication(Record, frozen=True, kw_only=True):
    """The whole of it. `text` is what the gate was measured on."""

    text: str
    gate: Gated
    gate_as_published: Gated
    prompts: tuple[PromptReplication, ...]
