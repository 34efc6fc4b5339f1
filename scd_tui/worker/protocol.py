"""The messages between the app and the worker, and their framing.

A frame is four bytes, big-endian, that give the length of what follows, and a MessagePack map of a
type that one of the two unions below names. Nothing else is ever decoded, so a message from the
other side can be refused but never run. Every request carries a number that its answers repeat.

A request is answered by any number of `Progress` (and, for `Attribute`, `SiteDone`), then by its one
final answer or by `Failed`. After `Attributed` the worker goes on in the background: `Measured` for
every batch of ablations, then `Trusted`; any request interrupts that between two batches.
"""

import struct
from typing import Literal

import msgspec

from scd_tui.graph import (
    Circuit,
    Completion,
    Edge,
    Metric,
    ModelIdentity,
    Node,
    NodeId,
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


class Cancel(Message, frozen=True, kw_only=True, tag=True):
    """Give up on the request of this number. Its answer will be `Failed` with kind `cancelled`."""


class Shutdown(Message, frozen=True, kw_only=True, tag=True):
    """Leave. The end of stdin does the same."""


Request = Load | Tokenize | Complete | Attribute | Upstream | Ablate | Inspect | Cancel | Shutdown


# --- worker → app -----------------------------------------------------------------------------


class Progress(Message, frozen=True, kw_only=True, tag=True):
    """`done` of `total` steps of a long request; `stage` says of what, in plain words."""

    stage: str
    done: int
    total: int


class Loaded(Message, frozen=True, kw_only=True, tag=True):
    model: ModelIdentity


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


class TokenShift(msgspec.Struct, frozen=True):
    """Log-probability that a node lends a token: clean minus ablated, in nats."""

    token: Token
    shift: float


class Ablated(Message, frozen=True, kw_only=True, tag=True):
    """What an ablation did: metric lost, tokens that the node promotes and suppresses, new completions.

    The tokens are among the 100 likeliest, with or without the node.
    """

    node: NodeId
    predicted: float
    exact: float
    promoted: tuple[TokenShift, ...]
    suppressed: tuple[TokenShift, ...]
    completions: tuple[Completion, ...]


class Inspected(Message, frozen=True, kw_only=True, tag=True):
    """`activations[p]` is the feature's `f` at position p, 0 where it is inactive."""

    site: Site
    index: int
    activations: tuple[float, ...]


class Failed(Message, frozen=True, kw_only=True, tag=True):
    """`input`: the asker can mend it, `message` says how. `internal`: a fault, with its cause."""

    kind: Literal["input", "internal", "cancelled", "memory"]
    message: str


Event = (
    Progress
    | Loaded
    | Tokenized
    | Completed
    | SiteDone
    | Attributed
    | Measured
    | Trusted
    | UpstreamFound
    | Ablated
    | Inspected
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
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"not a request: {error}") from None


def decode_event(body: bytes) -> Event:
    """Raises ProtocolError when `body` is not one of the events."""
    try:
        event: Event = _event_decoder.decode(body)
        return event
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"not an event: {error}") from None
