"""The client over real sockets, against a service that behaves as the public one does, and worse."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from neuronpedia import loopback
from neuronpedia.loopback import Running, running

from scd_tui.neuronpedia.address import Addresses, Feature
from scd_tui.neuronpedia.client import Client
from scd_tui.neuronpedia.faults import Fault
from scd_tui.neuronpedia.found import BATCH, Found
from scd_tui.neuronpedia.transport import Transport

SOURCE = "6-res_post_32k-oai"


def named(index: int, source: str = SOURCE) -> Feature:
    return Feature("gpt2-small", source, index)


@pytest.fixture
def service() -> Iterator[Running]:
    with running() as made:
        yield made


def client_of(service: Running, seconds: float = 5.0) -> Client:
    return Client(Addresses(site=service.url), Transport(service.url, seconds=seconds))


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    made = client_of(service)
    yield made
    made.close()


def test_a_feature_arrives_with_all_that_is_shown_of_it(client: Client) -> None:
    record = client.full(named(1154)).records[named(1154)]
    assert record is not None
    assert (record.model_id, record.source, record.index) == ("gpt2-small", SOURCE, 1154)
    assert [e.description for e in record.explanations] == [f"mentions of 1154 of {SOURCE}"]
    assert record.positive_logits == ((" question", 1.5), (" way", 0.5))
    assert record.negative_logits == ((" nearly", -0.61),), "-10000 stands for none"
    assert len(record.activations) == 12
    assert record.activations[0].tokens[:5] == (" words", " about", "\n", " 1154", "—")
    assert record.activations[0].max_value == 12.25


def test_many_are_told_apart_by_their_names_whatever_the_order(
    service: Running, client: Client
) -> None:
    asked = [named(i % 7 + 5, source) for i, source in enumerate(loopback.SOURCES)]
    service.unknown.add((asked[3].source, asked[3].index))
    found = client.brief(asked)
    assert set(found.records) == set(asked) and found.refused == ""
    assert found.records[asked[3]] is None, "left out of the answer: not known"
    for feature, record in found.records.items():
        if record is not None:
            assert Feature(record.model_id, record.source, record.index) == feature
            assert len(record.activations) == 1
    sent = json.loads(service.requests[0][3])
    assert sent[0] == {
        "modelId": "gpt2-small",
        "layer": "0-att_32k-oai",
        "index": 5,
        "maxActsToReturn": 1,
    }
    assert len(service.requests) == 1
    with pytest.raises(ValueError, match="more than 256"):
        client.brief([named(i) for i in range(BATCH + 1)])


def test_it_says_who_it_is_takes_packed_answers_and_keeps_its_connection(
    service: Running, client: Client
) -> None:
    ports = set()
    answer = service.answer

    def noting(handler: loopback.Handler) -> None:
        ports.add(handler.client_address[1])
        answer(handler)

    service.answer = noting  # type: ignore[method-assign]
    for index in range(5):
        client.full(named(index))
    headers = service.requests[0][2]
    assert headers["User-Agent"].startswith("scd-tui/")
    assert headers["Accept-Encoding"] == "gzip"
    assert "Cookie" not in headers and "x-api-key" not in headers and "Authorization" not in headers
    assert len(ports) == 1, "one connection for all"


FAULTS: list[tuple[loopback.Fault, str, str]] = [
    (loopback.error_page, "server", "127.0.0.1 has a fault (HTTP 500)"),
    (loopback.limited, "limited", "127.0.0.1 limits the rate of requests"),
    (loopback.page, "page", "127.0.0.1 sent a web page in place of data"),
    (loopback.truncated, "cut", "an answer of 127.0.0.1 was cut off"),
    (loopback.hang_up, "cut", "an answer of 127.0.0.1 was cut off"),
    (loopback.huge, "size", "an answer of 127.0.0.1 is larger than 25 MB"),
    (loopback.huge_plain, "size", "an answer of 127.0.0.1 is larger than 25 MB"),
    (loopback.redirect("http://example.com/x"), "redirect", "sends us on to example.com"),
    (loopback.redirect("file:///etc/passwd"), "redirect", "sends us on to nowhere"),
]


@pytest.mark.parametrize(
    ("fault", "kind", "words"), FAULTS, ids=lambda v: getattr(v, "__name__", None)
)
@pytest.mark.parametrize("many", [False, True])
def test_every_fault_has_its_own_words(
    service: Running, client: Client, fault: loopback.Fault, kind: str, words: str, many: bool
) -> None:
    def ask() -> Found:
        return client.brief([named(1)]) if many else client.full(named(1))

    service.faults.append(fault)
    with pytest.raises(Fault) as caught:
        ask()
    assert caught.value.kind == kind
    assert words in caught.value.message
    assert ask().records[named(1)] is not None, "and the next request is answered"


def test_a_feature_that_is_not_there_is_no_error(service: Running, client: Client) -> None:
    service.faults.append(loopback.not_found)
    assert client.full(named(1)).records == {named(1): None}


def test_json_that_ends_in_the_middle_is_refused(service: Running, client: Client) -> None:
    service.faults += [loopback.cut_json, loopback.cut_json]
    with pytest.raises(Fault, match=r"an answer of 127\.0\.0\.1 could not be understood"):
        client.full(named(1))
    with pytest.raises(Fault, match="could not be understood"):
        client.brief([named(1)])


def test_no_such_address_is_told_from_a_refusal(service: Running, client: Client) -> None:
    service.faults.append(loopback.not_found)
    with pytest.raises(Fault) as caught:
        client.brief([named(1)])
    assert caught.value.message == "127.0.0.1 has nothing at the address that was asked (HTTP 404)"
    service.faults.append(lambda handler: handler.json(403, {"error": "go away"}))
    with pytest.raises(Fault, match=r"127\.0\.0\.1 refuses the request \(HTTP 403\)"):
        client.brief([named(1)])


@pytest.mark.parametrize("fault", [loopback.drip, loopback.drip_headers])
def test_an_answer_that_drips_is_given_up(service: Running, fault: loopback.Fault) -> None:
    client = client_of(service, seconds=0.3)
    service.faults.append(fault)
    begun = time.monotonic()
    with pytest.raises(Fault) as caught:
        client.full(named(1))
    assert caught.value.kind == "slow" and "no whole answer in 0 s" in caught.value.message
    assert time.monotonic() - begun < 2
    assert client.full(named(1)).records[named(1)] is not None


def test_nobody_there_is_offline() -> None:
    service = Running()
    service.stop()
    with pytest.raises(Fault) as caught:
        client_of(service).full(named(1))
    assert (caught.value.kind, caught.value.message) == (
        "offline",
        "offline: 127.0.0.1 cannot be reached",
    )


def test_an_answer_for_another_layer_or_index_is_refused(service: Running, client: Client) -> None:
    service.change = lambda value: {**value, "layer": "5-res_post_32k-oai"}
    with pytest.raises(Fault, match=r"was not asked for, gpt2-small/5-res_post_32k-oai/1$"):
        client.full(named(1))
    service.change = lambda value: {**value, "index": 2}
    with pytest.raises(Fault, match="not asked for"):
        client.full(named(1))
    service.change = lambda value: [*value[1:], {**value[0], "index": "77"}]
    found = client.brief([named(1), named(2)])
    assert list(found.records) == [named(2)], "what is missing is not taken for unknown"
    assert found.refused.endswith(f"was not asked for, gpt2-small/{SOURCE}/77")


def test_numbers_as_text_and_indices_as_numbers_are_taken(service: Running, client: Client) -> None:
    service.change = lambda value: {
        **value,
        "index": 1,
        "maxActApprox": "12.25",
        "frac_nonzero": "0.5",
        "pos_values": ["1.5", "NaN"],
    }
    record = client.full(named(1)).records[named(1)]
    assert record is not None
    assert (record.max_activation, record.density) == (12.25, 0.5)
    assert record.positive_logits == ((" question", 1.5),)


def test_redirects_are_followed_and_not_in_circles() -> None:
    with running() as first, running() as second:
        first.always = loopback.redirect(f"{second.url}/api/features", 308)
        client = client_of(first)
        assert client.brief([named(1)]).records[named(1)] is not None
        assert second.requests[0][0] == "POST" and second.requests[0][3] == first.requests[0][3]
        second.always = loopback.redirect(f"{second.url}/again")
        with pytest.raises(Fault, match="round in circles"):
            client.full(named(1))
        client.close()


def test_no_password_is_read_from_netrc(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    transport = Transport(service.url)
    transport._session.trust_env = True
    transport.send("GET", f"{service.url}/api/feature/gpt2-small/{SOURCE}/1")
    assert "Authorization" not in service.requests[0][2]


def test_what_is_left_of_the_hour_is_passed_on(service: Running, client: Client) -> None:
    assert client.full(named(1)).remaining is None
    service.remaining = 17
    assert client.full(named(1)).remaining == 17


def test_names_that_lead_elsewhere_are_never_sent(service: Running, client: Client) -> None:
    for name in ("../../admin", "a/b", "..", "x?y", "x#y", "", "a b", "ａ"):
        assert (
            client.full(Feature("gpt2-small", name, 1)).records[Feature("gpt2-small", name, 1)]
            is None
        )
        client.brief([Feature(name, SOURCE, 1)])
    assert service.requests == []
