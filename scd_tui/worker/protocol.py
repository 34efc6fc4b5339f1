"""The messages between the app and the worker, and their framing.

A frame is four bytes, big-endian, that give the length of what follows, and a MessagePack map of a
type that one of the two unions below names. Nothing else is ever decoded, so a message from the
other side can be refused but never run. Every request carries a number that its answers repeat.

A request is answered by any number of `Progress` (and, for `Attribute`, `SiteDone`), then by its one
final answer or by `Failed`. After `Attributed` the worker goes on in the background: `Measured` for
every batch of ablations, then `Trusted`; any request interrupts that between two batches. `Alive` can
come between any two of these.
"""

import struct
from typing import Literal

import msgspec

from scd_tui.curves import Column
from scd_tui.decoding import FAILURES, why
from scd_tui.graph import (
    Circuit,
    Completion,
    DictionaryGate,
    Edge,
    Metric,
    ModelIdentity,
    Node,
    NodeId,
    Outcome,
    Settings,
    Site,
    SiteSummary,
    Token,
    Trust,
)

MAXIMUM_FRAME = 64 << 20
"""Bytes. A larger frame is a broken peer, not a message."""

Wanted = str | int | tuple[int, ...] | None
"""A token, or several: by text, by id, by ids; None leaves the choice to the worker."""

_LENGTH = struct.Struct(">I")
PREFIX = _LENGTH.size


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all messages. `request` is the number that the app gave the request."""

    request: int


# --- app → worker -----------------------------------------------------------------------------


class Load(Message, frozen=True, kw_only=True, tag=True):
    """Load a model with its dictionaries. `device` is `auto`, `cpu`, `cuda` or `cuda:N`."""

    model: str
    device: str = "auto"


class Tokenize(Message, frozen=True, kw_only=True, tag=True):
    """Split a prompt into tokens."""

    text: str


class Complete(Message, frozen=True, kw_only=True, tag=True):
    """Ask for the likeliest next tokens after a prompt."""

    prompt: str
    count: int = 10


class Attribute(Message, frozen=True, kw_only=True, tag=True):
    """Ask for the circuit behind a completion.

    `target` and `contrast` are texts, token ids or several; a `diff` without contrast takes the
    likeliest other token. `position` None is the last. `attribution.explain` says what the others are.
    """

    prompt: str
    target: Wanted
    contrast: Wanted = None
    metric: Metric = "diff"
    position: int | None = None
    continuation: int | None = None
    contrast_prompt: str | None = None
    settings: Settings = Settings()


class Upstream(Message, frozen=True, kw_only=True, tag=True):
    """Ask for the strongest edges into `node` of the circuit that request `circuit` made."""

    circuit: int
    node: NodeId
    count: int = 5


class Ablate(Message, frozen=True, kw_only=True, tag=True):
    """Ask for the exact effect of removing `node`, measured."""

    circuit: int
    node: NodeId
    count: int = 8


class Inspect(Message, frozen=True, kw_only=True, tag=True):
    """Ask for a feature's activation on every token of the circuit's prompt."""

    circuit: int
    site: Site
    index: int


class Watch(Message, frozen=True, kw_only=True, tag=True):
    """Tell which sites are on the screen: their dictionaries are checked first. Nothing is answered."""

    sites: tuple[Site, ...]


class Remove(Message, frozen=True, kw_only=True, tag=True):
    """Ask what removing several nodes together does, measured."""

    circuit: int
    nodes: tuple[NodeId, ...]
    count: int = 8


class CutEdge(Message, frozen=True, kw_only=True, tag=True):
    """Ask what it does when `target` misses what `source` sends it directly, measured."""

    circuit: int
    source: NodeId
    target: NodeId
    count: int = 8


class Scale(Message, frozen=True, kw_only=True, tag=True):
    """Ask for metric and completions with a node at several strengths, as factors of its own."""

    circuit: int
    node: NodeId
    factors: tuple[float, ...]
    count: int = 8


Way = Literal["earlier", "later", "below", "above"]
"""To the same node at an earlier or later token; to the feature of likest direction upstream or down."""


class Neighbour(Message, frozen=True, kw_only=True, tag=True):
    """Ask for the node that lies next to one."""

    circuit: int
    node: NodeId
    way: Way


class Heads(Message, frozen=True, kw_only=True, tag=True):
    """Ask which attention heads carried the edges from `sources` into a node."""

    circuit: int
    node: NodeId
    sources: tuple[NodeId, ...]


class Curves(Message, frozen=True, kw_only=True, tag=True):
    """Ask what chosen features carry alone: `attribution.chosen` says what the curves are of."""

    circuit: int
    nodes: tuple[NodeId, ...]


class Suggest(Message, frozen=True, kw_only=True, tag=True):
    """Ask for tokens of the vocabulary that begin with a text."""

    text: str
    count: int = 8


class Continue(Message, frozen=True, kw_only=True, tag=True):
    """Ask for what the model says next, the likeliest token each time."""

    prompt: str
    count: int = 8


class Cancel(Message, frozen=True, kw_only=True, tag=True):
    """Give up on the request of this number. Its answer will be `Failed` with kind `cancelled`."""


class Shutdown(Message, frozen=True, kw_only=True, tag=True):
    """Leave. The end of stdin does the same."""


OfCircuit = Upstream | Ablate | Inspect | Remove | CutEdge | Scale | Neighbour | Heads | Curves
"""What is asked about a circuit that was made."""
OfModel = Load | Tokenize | Complete | Attribute | Suggest | Continue | Watch
Request = OfModel | OfCircuit | Cancel | Shutdown


# --- worker → app -----------------------------------------------------------------------------


class Progress(Message, frozen=True, kw_only=True, tag=True):
    """`done` of `total` steps of a long request; `stage` says of what, in plain words."""

    stage: str
    done: int
    total: int


class Alive(Message, frozen=True, kw_only=True, tag=True):
    """A sign of life, every `pulse.BEAT_SECONDS` while the worker waits or computes. `request` is 0."""


class Loaded(Message, frozen=True, kw_only=True, tag=True):
    """`notes` are sentences on how it was loaded, where that was not as asked."""

    model: ModelIdentity
    notes: tuple[str, ...] = ()


class Gated(Message, frozen=True, kw_only=True, tag=True):
    """What the background has found of the dictionaries that request `request` loaded, so far.

    `notes` says what a reader of a circuit should know of it. There are as many verdicts as `total`, and
    none of them is `unclear`, when it is done. `seconds` of CPU were taken, all cores together.
    """

    gate: tuple[DictionaryGate, ...]
    total: int
    unclear: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


class Tokenized(Message, frozen=True, kw_only=True, tag=True):
    tokens: tuple[Token, ...]


class Completed(Message, frozen=True, kw_only=True, tag=True):
    tokens: tuple[Token, ...]
    completions: tuple[Completion, ...]


class SiteDone(Message, frozen=True, kw_only=True, tag=True):
    """A site's top nodes, and the edges into them, while the circuit is being made."""

    summary: SiteSummary
    nodes: tuple[Node, ...]


class Attributed(Message, frozen=True, kw_only=True, tag=True):
    circuit: Circuit


class Measured(Message, frozen=True, kw_only=True, tag=True):
    """Exact effects that the background has measured since the last message."""

    exact: dict[NodeId, float]
    done: int
    total: int


class Trusted(Message, frozen=True, kw_only=True, tag=True):
    trust: Trust
    seconds: float


class UpstreamFound(Message, frozen=True, kw_only=True, tag=True):
    """`nodes` holds the sources of `edges` that the circuit may not have yet."""

    node: NodeId
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class Ablated(Message, frozen=True, kw_only=True, tag=True):
    """What it did to take one node out."""

    node: NodeId
    outcome: Outcome


class Inspected(Message, frozen=True, kw_only=True, tag=True):
    """`activations[p]` is the feature's `f` at position p, 0 where it is inactive."""

    site: Site
    index: int
    activations: tuple[float, ...]


class Removed(Message, frozen=True, kw_only=True, tag=True):
    """The estimate counts no path twice that leads through several of the nodes."""

    nodes: tuple[NodeId, ...]
    outcome: Outcome


class EdgeWasCut(Message, frozen=True, kw_only=True, tag=True):
    """`along` is the edge's weight, measured along the direct path; the outcome that of the whole model."""

    source: NodeId
    target: NodeId
    along: float
    outcome: Outcome


class Scaled(Message, frozen=True, kw_only=True, tag=True):
    """The metric and the completions at each factor; `slope` is the estimate of what a factor adds.

    `there` is the factor at which a feature is what it is in the contrast prompt.
    """

    node: NodeId
    factors: tuple[float, ...]
    values: tuple[float, ...]
    slope: float
    there: float | None = None
    completions: tuple[tuple[Completion, ...], ...]


class NeighbourFound(Message, frozen=True, kw_only=True, tag=True):
    """`found` is None where there is none; along a thread with its cosine and the edge's weight."""

    node: NodeId
    way: Way
    found: Node | None = None
    cosine: float | None = None
    weight: float | None = None


class HeadPart(msgspec.Struct, frozen=True):
    """What went through one head, of each edge that was asked for."""

    layer: int
    head: int
    weights: tuple[float, ...]


class HeadsFound(Message, frozen=True, kw_only=True, tag=True):
    """What no head has of an edge went round attention."""

    node: NodeId
    sources: tuple[NodeId, ...]
    heads: tuple[HeadPart, ...]


class CurvesFound(Message, frozen=True, kw_only=True, tag=True):
    nodes: tuple[NodeId, ...]
    columns: tuple[Column, ...]


class Suggested(Message, frozen=True, kw_only=True, tag=True):
    text: str
    tokens: tuple[Token, ...]


class Continued(Message, frozen=True, kw_only=True, tag=True):
    """Each token with its probability after those before it."""

    completions: tuple[Completion, ...]


class Failed(Message, frozen=True, kw_only=True, tag=True):
    """`input`: the asker can mend it, `message` says how. `internal`: a fault, with its cause."""

    kind: Literal["input", "internal", "cancelled", "memory"]
    message: str


Event = (
    Alive
    | Progress
    | Loaded
    | Gated
    | Tokenized
    | Completed
    | SiteDone
    | Attributed
    | Measured
    | Trusted
    | UpstreamFound
    | Ablated
    | Inspected
    | Removed
    | EdgeWasCut
    | Scaled
    | NeighbourFound
    | HeadsFound
    | CurvesFound
    | Suggested
    | Continued
    | Failed
)

_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(Request)
_event_decoder = msgspec.msgpack.Decoder(Event)


class ProtocolError(Exception):
    """The other side sent something that is no message of this protocol."""


def frame(message: Message) -> bytes:
    """Encode a message with its length in front. Raises ProtocolError if it is too long to send."""
    body = _encoder.encode(message)
    if len(body) > MAXIMUM_FRAME:
        raise ProtocolError(f"a message of {len(body)} bytes is over the limit")
    return _LENGTH.pack(len(body)) + body


def body_length(prefix: bytes) -> int:
    """Length of the body that a frame's first four bytes announce. Raises ProtocolError."""
    length: int = _LENGTH.unpack(prefix)[0]
    if length > MAXIMUM_FRAME:
        raise ProtocolError(f"a frame announces {length} bytes, which is over the limit")
    return length


def decode_request(body: bytes) -> Request:
    """Raises ProtocolError when `body` is not one of the requests."""
    try:
        request: Request = _request_decoder.decode(body)
        return request
    except FAILURES as error:
        raise ProtocolError(f"not a request: {why(error, 'a message')}") from None


def decode_event(body: bytes) -> Event:
    """Raises ProtocolError when `body` is not one of the events."""
    try:
        event: Event = _event_decoder.decode(body)
        return event
    except FAILURES as error:
        raise ProtocolError(f"not an event: {why(error, 'a message')}") from None
