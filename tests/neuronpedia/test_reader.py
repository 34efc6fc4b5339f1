"""Cache, queue, client and service together, over sockets; long waits pass in a time of their own."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from neuronpedia import loopback
from neuronpedia.loopback import Running, running

from scd_tui.neuronpedia.address import Addresses, Feature
from scd_tui.neuronpedia.cache import Cache
from scd_tui.neuronpedia.client import Client
from scd_tui.neuronpedia.entries import DAY, Entry
from scd_tui.neuronpedia.reader import Clock, Reader
from scd_tui.neuronpedia.transport import Transport

SOURCE = "6-res_post_32k-oai"


class Quick(Clock):
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return time.monotonic() + self.passed

    def time(self) -> float:
        return time.time() + self.passed

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        if seconds is None or seconds <= 0:
            changed.wait(0.05 if seconds else None)
        else:
            self.waits.append(seconds)
            self.passed += seconds


class Bench:
    """A reader on a service and a folder, and what it has told."""

    def __init__(
        self, service: Running, folder: Path, *, asks: bool = True, seconds: float = 5.0
    ) -> None:
        self.told: dict[Feature, Entry] = {}
        self.news = threading.Condition()
        self.asked = 0
        self.clock = Quick()
        addresses = Addresses(site=service.url)
        self.reader = Reader(
            (lambda: Client(addresses, Transport(service.url, seconds=seconds))) if asks else None,
            lambda: Cache(folder, service.url, now=self.clock.time),
            self._tell,
            asking=self._asking,
            clock=self.clock,
            randomness=lambda: 0.0,
        )

    def _tell(self, entries: Mapping[Feature, Entry]) -> None:
        with self.news:
            self.told.update(entries)
            self.news.notify_all()

    def _asking(self) -> None:
        self.asked += 1

    def until(self, true: Callable[[], bool], seconds: float = 10) -> None:
        with self.news:
            assert self.news.wait_for(true, seconds), (
                f"told {len(self.told)}, {self.reader.status()}"
            )


def named(index: int, source: str = SOURCE) -> Feature:
    return Feature("gpt2-small", source, index)


@pytest.fixture
def service() -> Iterator[Running]:
    with running() as made:
        yield made


@pytest.fixture
def bench(service: Running, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(service, tmp_path / "np")
    yield made
    made.reader.close()


def written(service: Running, folder: Path, *features: Feature) -> None:
    """Wait until the cache has these: they are told before they are written."""
    cache = Cache(folder, service.url)
    end = time.monotonic() + 10
    while len(cache.get_many(features)) < len(features):
        assert time.monotonic() < end
        time.sleep(0.01)
    cache.close()


def test_a_circuit_s_labels_cost_a_handful_of_requests_and_the_second_time_none(
    service: Running, bench: Bench, tmp_path: Path
) -> None:
    circuit = [named(i, source) for source in loopback.SOURCES for i in range(10)]
    bench.reader.want(circuit)
    bench.until(lambda: len(bench.told) == 360)
    assert len(service.requests) == 2 and bench.asked == 1
    assert bench.told[named(3)].state == "explained" and bench.told[named(7)].state == "unexplained"
    assert bench.told[named(3)].origin == "127.0.0.1"
    bench.reader.close()
    service.requests.clear()
    again = Bench(service, tmp_path / "np")
    again.reader.want(circuit)
    again.until(lambda: len(again.told) == 360)
    again.reader.close()
    assert service.requests == [] and again.asked == 0
    service.stop()
    gone = Bench(service, tmp_path / "np")
    gone.reader.want(circuit)
    gone.until(lambda: len(gone.told) == 360)
    assert gone.reader.status().trouble is None
    gone.reader.close()


def test_what_is_opened_gets_its_full_record_once(service: Running, bench: Bench) -> None:
    bench.reader.want([named(1), named(2)])
    bench.until(lambda: len(bench.told) == 2)
    bench.reader.open(named(1))
    bench.until(lambda: bench.told[named(1)].depth == "full")
    record = bench.told[named(1)].record
    assert record is not None and len(record.activations) == 12
    bench.reader.open(named(2))
    bench.reader.open(named(1))
    bench.until(lambda: bench.reader.status().queued == 0)
    bench.reader.want([named(1)])
    time.sleep(0.1)
    assert service.paths().count(f"/api/feature/gpt2-small/{SOURCE}/1") == 1
    assert service.paths().count("/api/features") == 1


def test_an_unknown_feature_is_a_state_of_its_own_and_not_asked_for_in_full(
    service: Running, bench: Bench
) -> None:
    service.unknown.add((SOURCE, 1))
    bench.reader.want([named(1)])
    bench.reader.open(named(1))
    bench.until(lambda: named(1) in bench.told)
    assert bench.told[named(1)].state == "unknown" and bench.told[named(1)].record is None
    bench.until(lambda: bench.reader.status().queued == 0)


def test_what_is_no_longer_known_there_is_kept_here_and_told(
    service: Running, bench: Bench, tmp_path: Path
) -> None:
    bench.reader.want([named(1)])
    bench.until(lambda: len(bench.told) == 1)
    service.faults.append(loopback.not_found)
    bench.reader.open(named(1))
    bench.until(lambda: bench.reader.problem(named(1)) is not None)
    problem = bench.reader.problem(named(1))
    assert problem is not None
    assert problem.message == "127.0.0.1 has sent this feature before and now does not know it"
    assert bench.told[named(1)].state == "explained"
    bench.until(lambda: bench.reader.status().queued == 0)
    time.sleep(0.1)
    assert len(service.requests) == 2, "and it is not asked again"
    bench.reader.close()
    later = Bench(service, tmp_path / "np", asks=False)
    later.reader.want([named(1)])
    later.until(lambda: len(later.told) == 1)
    assert later.told[named(1)].state == "explained", "nor was it lost from the cache"
    later.reader.close()


def test_a_feature_left_out_of_a_stale_batch_keeps_what_was_said_of_it(
    service: Running, bench: Bench, tmp_path: Path
) -> None:
    bench.reader.want([named(1), named(2)])
    bench.until(lambda: len(bench.told) == 2)
    written(service, tmp_path / "np", named(1), named(2))
    bench.reader.close()
    later = Bench(service, tmp_path / "np")
    later.clock.passed = 40 * DAY
    service.unknown.add((SOURCE, 1))
    later.reader.want([named(1), named(2)])
    later.until(lambda: len(later.told) == 2)
    later.until(lambda: not later.told[named(2)].stale(later.clock.time()))
    assert later.told[named(1)].state == "explained"
    assert later.told[named(1)].stale(later.clock.time()) and later.reader.problem(named(1))
    later.reader.close()


def test_a_late_answer_in_brief_does_not_take_the_place_of_the_full_record(
    service: Running, bench: Bench
) -> None:
    go_on = threading.Event()

    def held(handler: loopback.Handler) -> None:
        assert go_on.wait(10)
        service.answer(handler)

    service.faults.append(held)
    bench.reader.want([named(1), named(2)])
    while not service.requests:
        time.sleep(0.01)
    bench.reader.open(named(1))
    bench.until(lambda: named(1) in bench.told)
    go_on.set()
    bench.until(lambda: named(2) in bench.told)
    assert bench.told[named(1)].depth == "full"


def test_what_was_left_out_is_asked_for_again_on_request(service: Running, bench: Bench) -> None:
    service.unknown.add((SOURCE, 1))
    bench.reader.want([named(1), named(2)])
    bench.until(lambda: len(bench.told) == 2)
    assert bench.told[named(1)].state == "unknown"
    service.unknown.clear()
    bench.reader.try_again()
    bench.reader.want([named(1), named(2)])
    bench.until(lambda: bench.told[named(1)].state == "explained")
    assert len(service.requests) == 2 and b'"index":2' not in service.requests[1][3]


def test_stale_entries_are_shown_at_once_and_refreshed_behind(
    service: Running, bench: Bench, tmp_path: Path
) -> None:
    bench.reader.want([named(1)])
    bench.until(lambda: len(bench.told) == 1)
    written(service, tmp_path / "np", named(1))
    bench.reader.close()
    later = Bench(service, tmp_path / "np")
    later.clock.passed = 40 * DAY
    service.latency = 0.2
    later.reader.want([named(1)])
    later.until(lambda: len(later.told) == 1)
    assert later.told[named(1)].stale(later.clock.time())
    later.until(lambda: not later.told[named(1)].stale(later.clock.time()))
    assert len(service.requests) == 2
    later.reader.close()


def test_a_fresh_label_does_not_cost_the_activations_that_were_seen(
    service: Running, bench: Bench, tmp_path: Path
) -> None:
    bench.reader.open(named(1))
    bench.until(lambda: named(1) in bench.told and bench.told[named(1)].depth == "full")
    seen = bench.told[named(1)].record
    assert seen is not None and len(seen.activations) > 1
    written(service, tmp_path / "np", named(1))
    bench.reader.close()
    later = Bench(service, tmp_path / "np")
    later.clock.passed = 40 * DAY
    later.reader.want([named(1)])
    later.until(
        lambda: named(1) in later.told and not later.told[named(1)].stale(later.clock.time())
    )
    fresh = later.told[named(1)]
    assert fresh.depth == "brief" and fresh.record is not None
    assert fresh.record.activations == seen.activations
    # it is not taken for the whole: opened, it is asked for again
    later.reader.open(named(1))
    later.until(lambda: later.told[named(1)].depth == "full")
    later.reader.close()


def _body(change: Callable[[bytes], bytes]) -> loopback.Fault:
    """The real answer to what is asked, changed."""

    def fault(handler: loopback.Handler) -> None:
        answered = handler.service.answered(handler)
        handler.reply(200, change(json.dumps(answered).encode()))

    return fault


def _changed(change: Callable[[Any], object]) -> loopback.Fault:
    """The same, where `change` is given each feature in turn, and its outcome is sent instead."""

    def all_changed(body: bytes) -> bytes:
        value = json.loads(body)
        changed = [change(one) for one in value] if isinstance(value, list) else change(value)
        return json.dumps(changed).encode()

    return _body(all_changed)


def _without(name: str) -> loopback.Fault:
    return _changed(lambda one: {key: value for key, value in one.items() if key != name})


BROKEN: dict[str, loopback.Fault] = {
    "null": loopback.null,
    "no JSON": loopback.cut_json,
    "a page": loopback.page,
    "a page called JSON": lambda handler: handler.reply(200, b"<html>sign in</html>"),
    "nothing": lambda handler: handler.reply(200, b""),
    "a text": lambda handler: handler.json(200, "not available"),
    "a number": lambda handler: handler.json(200, 3),
    "an object without anything": lambda handler: handler.json(200, {}),
    "a list of nulls": lambda handler: handler.json(200, [None, None]),
    "an error with status 200": lambda handler: handler.json(200, {"error": "not available"}),
    "another index": _changed(lambda one: {**one, "index": "99"}),
    "another source": _changed(lambda one: {**one, "layer": "0-att_32k-oai"}),
    "another model": _changed(lambda one: {**one, "modelId": "gpt3"}),
    "no index": _without("index"),
    "no explanations": _without("explanations"),
    "explanations that are none": _changed(lambda one: {**one, "explanations": "x"}),
    "an explanation without words": _changed(lambda one: {**one, "explanations": [{}]}),
    "no activations": _without("activations"),
    "deep": _changed(lambda one: json.loads("[" * 500 + "]" * 500)),
    "a long number": _changed(lambda one: {**one, "maxActApprox": 10**4000}),
    "cut in the middle": _body(lambda body: body[: len(body) // 2]),
    "bytes that are no text": _body(lambda body: body.replace(b"mentions", b"\xff\xfe\xfd")),
    "a 404 of something else": lambda handler: handler.reply(404, b"<html>", "text/html"),
    "a 404 that says nothing": lambda handler: handler.reply(404, b"null"),
}


@pytest.mark.parametrize("full", [False, True], ids=["brief", "full"])
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_nothing_is_kept_of_an_answer_that_cannot_be_understood(
    service: Running, tmp_path: Path, broken: loopback.Fault, full: bool
) -> None:
    """It is asked for again, and the cache has no word on it until an answer was understood."""
    bench = Bench(service, tmp_path / "np")
    seen: list[tuple[bool, str]] = []

    def look(entries: Mapping[Feature, Entry]) -> None:
        with contextlib.closing(Cache(tmp_path / "np", service.url)) as cache:
            problem = bench.reader.problem(named(1))
            kept = cache.get(named(1))
            # before a good answer has come there is nothing
            seen.append((kept is not None and not bench.told, problem.message if problem else ""))
        bench._tell(entries)

    bench.reader._listener = look
    service.faults += [broken, broken]
    if full:
        bench.reader.open(named(1))
    else:
        bench.reader.want([named(1), named(2)])
    refused = broken in (BROKEN["a 404 of something else"], BROKEN["a 404 that says nothing"])
    if refused and not full:
        # an address that is not there is no answer on a feature either
        bench.until(lambda: any(words for _, words in seen))
    else:
        bench.until(lambda: named(1) in bench.told)
        assert bench.told[named(1)].state == "explained"
    assert not any(kept for kept, _ in seen), seen
    assert any(words for _, words in seen), "it is told"
    bench.reader.close()


FAULTS = [
    (loopback.error_page, "server", "has a fault (HTTP 500)"),
    (loopback.limited, "limited", "limits the rate"),
    (loopback.page, "page", "a web page in place of data"),
    (loopback.truncated, "cut", "cut off"),
    (loopback.hang_up, "cut", "cut off"),
    (loopback.huge, "size", "larger than"),
    (loopback.redirect("http://example.com/"), "redirect", "not followed"),
    (loopback.drip, "slow", "no whole answer"),
    (loopback.cut_json, "content", "could not be understood"),
]


@pytest.mark.parametrize(("fault", "kind", "words"), FAULTS, ids=[f[2] for f in FAULTS])
def test_after_every_fault_what_was_wanted_comes(
    service: Running, tmp_path: Path, fault: loopback.Fault, kind: str, words: str
) -> None:
    bench = Bench(service, tmp_path / "np", seconds=0.4 if kind == "slow" else 10)
    troubles: list[str] = []
    tell = bench._tell

    def telling(entries: Mapping[Feature, Entry]) -> None:
        trouble = bench.reader.status().trouble
        troubles.append("" if trouble is None else f"{trouble.kind}: {trouble.message}")
        problem = bench.reader.problem(named(1))
        troubles.append("" if problem is None else problem.message)
        tell(entries)

    bench.reader._listener = telling
    # a single feature whose answer is too large is not asked for again
    service.faults += [fault] if kind == "size" else [fault, fault]
    bench.reader.want([named(1), named(2)])
    bench.until(lambda: len(bench.told) == 2)
    assert any(words in text for text in troubles)
    assert any(text.startswith(f"{kind}: ") for text in troubles)
    assert bench.reader.status().trouble is None and bench.reader.problem(named(1)) is None
    bench.reader.close()


def test_waits_after_429_are_minutes_and_the_server_is_left_alone_meanwhile(
    service: Running, bench: Bench
) -> None:
    service.faults += [loopback.limited] * 3
    bench.reader.want([named(1)])
    bench.until(lambda: len(bench.told) == 1)
    assert [round(wait, -1) for wait in bench.clock.waits] == [60, 120, 240]
    assert len(service.requests) == 4


def test_without_a_client_only_the_cache_is_read(service: Running, tmp_path: Path) -> None:
    bench = Bench(service, tmp_path / "np", asks=False)
    bench.reader.want([named(1)])
    bench.reader.open(named(1))
    bench.until(lambda: bench.reader.status().queued == 0)
    assert service.requests == [] and bench.told == {} and bench.asked == 0
    assert not bench.reader.asks
    bench.reader.close()


def test_the_cache_is_read_while_a_request_is_under_way(
    service: Running, bench: Bench, tmp_path: Path
) -> None:
    bench.reader.want([named(1)])
    bench.until(lambda: len(bench.told) == 1)
    bench.reader.close()
    service.latency = 1.0
    second = Bench(service, tmp_path / "np")
    second.reader.want([named(2)])
    while len(service.requests) < 2:
        time.sleep(0.01)
    begun = time.monotonic()
    second.reader.want([named(1)])
    second.until(lambda: named(1) in second.told)
    assert time.monotonic() - begun < 0.3
    second.reader.close()


def test_the_cache_is_read_once_for_what_is_not_in_it_and_again_when_asked_to(
    service: Running, tmp_path: Path
) -> None:
    bench = Bench(service, tmp_path / "np", asks=False)
    asked: list[Feature] = []

    class Counting(Cache):
        def get_many(self, features):  # type: ignore[no-untyped-def]
            asked.extend(features := list(features))
            return super().get_many(features)

    bench.reader._new_cache = lambda: Counting(tmp_path / "np", service.url)
    for _ in range(3):
        bench.reader.want([named(1), named(2)])
        bench.until(lambda: bench.reader.status().queued == 0)
    assert asked == [named(1), named(2)]
    other = Bench(service, tmp_path / "np")
    other.reader.want([named(1)])
    other.until(lambda: len(other.told) == 1)
    other.reader.close()
    time.sleep(0.1)
    bench.reader.try_again()
    bench.reader.want([named(1), named(2)])
    bench.until(lambda: named(1) in bench.told)
    bench.reader.close()


def test_a_mistake_of_ours_is_a_problem_and_not_the_end(service: Running, bench: Bench) -> None:
    class Broken(Client):
        def brief(self, features):  # type: ignore[no-untyped-def]
            if len(service.requests) == 0:
                service.requests.append(("", "", {}, b""))
                raise KeyError("x")
            return super().brief(features)

    bench.reader._new_client = lambda: Broken(
        Addresses(site=service.url), Transport(service.url, seconds=5)
    )
    bench.reader.want([named(1)])
    bench.until(lambda: len(bench.told) == 1)


def test_no_cache_is_no_loss_but_of_time(service: Running) -> None:
    told: dict[Feature, Entry] = {}
    done = threading.Event()

    def tell(entries: Mapping[Feature, Entry]) -> None:
        told.update(entries)
        if told:
            done.set()

    addresses = Addresses(site=service.url)
    reader = Reader(lambda: Client(addresses, Transport(service.url)), lambda: None, tell)
    reader.want([named(1)])
    assert done.wait(5) and told[named(1)].state == "explained"
    reader.close()
