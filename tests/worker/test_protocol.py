import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scd_tui.graph import Settings, Site, Token
from scd_tui.worker import protocol
from scd_tui.worker.protocol import PREFIX, ProtocolError

REQUESTS = [
    protocol.Load(request=1, model="demo"),
    protocol.Tokenize(request=2, text="\x1b[31m\udcff"[:5]),
    protocol.Complete(request=3, prompt="é"),
    protocol.Attribute(request=4, prompt="x", target=" y", contrast=7, settings=Settings(top=3)),
    protocol.Upstream(request=5, circuit=4, node="mlp_out.0/1@2"),
    protocol.Ablate(request=6, circuit=4, node="mlp_out.0/error@2"),
    protocol.Inspect(request=7, circuit=4, site=Site(0, "mlp_out"), index=3),
    protocol.Remove(request=8, circuit=4, nodes=("mlp_out.0/1@2", "mlp_out.0/error@2")),
    protocol.CutEdge(request=9, circuit=4, source="mlp_out.0/1@2", target="logp/3@4"),
    protocol.Scale(request=10, circuit=4, node="mlp_out.0/1@2", factors=(0.0, 2.5)),
    protocol.Neighbour(request=11, circuit=4, node="mlp_out.0/1@2", way="below"),
    protocol.Heads(request=12, circuit=4, node="mlp_out.0/1@2", sources=("embed/token@1",)),
    protocol.Curves(request=13, circuit=4, nodes=("mlp_out.0/1@2",)),
    protocol.Suggest(request=14, text=" q"),
    protocol.Continue(request=15, prompt="x", count=3),
    protocol.Attribute(request=16, prompt="x", target=(1, 2), contrast=(3, 4)),
    protocol.Cancel(request=4),
    protocol.Shutdown(request=8),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{type(r).__name__}{r.request}")
def test_requests_arrive_as_they_were_sent(request_: protocol.Request) -> None:
    data = protocol.frame(request_)
    assert protocol.body_length(data[:PREFIX]) == len(data) - PREFIX
    assert protocol.decode_request(data[PREFIX:]) == request_


def test_the_two_directions_do_not_mix() -> None:
    event = protocol.Tokenized(request=1, tokens=(Token(1, "a"),))
    body = protocol.frame(event)[PREFIX:]
    assert protocol.decode_event(body) == event
    with pytest.raises(ProtocolError, match="not a request"):
        protocol.decode_request(body)
    with pytest.raises(ProtocolError, match="not an event"):
        protocol.decode_event(protocol.frame(REQUESTS[0])[PREFIX:])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_never_anything_else(body: bytes) -> None:
    for decode in (protocol.decode_request, protocol.decode_event):
        with pytest.raises(ProtocolError):
            decode(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=12,
    )
)
def test_well_formed_messagepack_of_another_shape_is_refused(value: object) -> None:
    body = msgspec.msgpack.encode({"type": "Attribute", "request": value, "prompt": value})
    with pytest.raises(ProtocolError):
        protocol.decode_request(body)


def test_frames_beyond_the_limit_are_neither_sent_nor_read() -> None:
    with pytest.raises(ProtocolError, match="over the limit"):
        protocol.body_length(b"\xff\xff\xff\xff")
    with pytest.raises(ProtocolError, match="over the limit"):
        protocol.frame(protocol.Tokenize(request=1, text="x" * (protocol.MAXIMUM_FRAME + 1)))
