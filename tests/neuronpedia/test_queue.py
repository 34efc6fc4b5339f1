"""What is asked next, and when, in a time that nobody has to wait for."""

import msgspec
import pytest

from scd_tui.neuronpedia.address import Feature
from scd_tui.neuronpedia.backoff import LONGEST_SECONDS, Backoff
from scd_tui.neuronpedia.faults import Fault, FaultKind
from scd_tui.neuronpedia.found import BATCH, Found
from scd_tui.neuronpedia.queue import TRIES, Job, Queue
from scd_tui.neuronpedia.records import FeatureRecord

HOST = "neuronpedia.org"


def named(index: int) -> Feature:
    return Feature("gpt2-small", "6-res_post_32k-oai", index)


def found(*features: Feature, remaining: int | None = None, refused: str = "") -> Found:
    records = {f: FeatureRecord(f.model, f.source, f.index) for f in features}
    return Found({**records}, remaining, refused)


def make() -> Queue:
    return Queue(lambda: 0.0)


def take(queue: Queue, now: float = 0.0) -> Job:
    job = queue.next("brief", now)
    assert job is not None
    return job


def why(queue: Queue, index: int) -> str:
    problem = queue.problem(named(index))
    return "" if problem is None else problem.message


def test_what_is_looked_at_goes_first_and_what_scrolled_away_is_dropped() -> None:
    queue = make()
    queue.want(named(n) for n in range(600))
    first = take(queue)
    assert first.features == tuple(named(n) for n in range(BATCH))
    assert queue.next("brief", 0) is None, "one request at a time"
    queue.want([named(9_000), named(3)])
    queue.answered(first, found(*first.features), HOST, 1)
    assert take(queue, 1).features == (named(9_000),), "3 was answered, the rest is out of sight"


def test_the_record_that_is_open_does_not_wait_for_the_others() -> None:
    queue = make()
    queue.want([named(1), named(2)])
    queue.open(named(2))
    assert queue.queued == 2
    brief = take(queue)
    full = queue.next("full", 0)
    assert full == Job("full", (named(2),))
    queue.open(named(5))
    queue.answered(full, found(named(2)), HOST, 1)
    assert queue.next("full", 1) == Job("full", (named(5),))
    queue.answered(brief, found(*brief.features), HOST, 1)
    assert queue.next("brief", 1) is None and queue.wait("brief", 1) is None


def test_a_failure_stops_all_and_loses_nothing() -> None:
    queue = make()
    queue.want([named(1)])
    queue.open(named(1))
    job = take(queue)
    queue.failed(job, Fault("limited", "slow down"), 100)
    assert queue.next("brief", 159) is None and queue.next("full", 159) is None
    assert queue.wait("brief", 130) == 30
    assert why(queue, 1) == "slow down"
    assert take(queue, 160).features == (named(1),)
    queue.answered(job, found(named(1)), HOST, 161)
    assert queue.problem(named(1)) is None and queue.backoff.trouble is None


@pytest.mark.parametrize("kind", ["size", "content"])
def test_a_batch_that_cannot_be_read_is_halved_until_the_culprit_stands_alone(
    kind: FaultKind,
) -> None:
    queue = make()
    everything = [named(n) for n in range(8)]
    queue.want(everything)
    now, answered = 0.0, set()
    for _ in range(40):
        now += 10_000
        job = queue.next("brief", now)
        if job is None:
            break
        if named(5) in job.features:
            queue.failed(job, Fault(kind, "too much"), now)
        else:
            answered |= set(job.features)
            queue.answered(job, found(*job.features), HOST, now)
    assert answered == set(everything) - {named(5)}
    assert why(queue, 5) == "too much"
    queue.want([named(5)])
    if kind == "size":
        assert queue.next("brief", now + 1e6) is None, "not asked again"
    queue.try_again()
    queue.want([named(5)])
    assert take(queue, now + 1e6).features == (named(5),)


def test_an_answer_that_was_not_understood_is_asked_for_again_later_and_holds_nobody_up() -> None:
    queue = make()
    words = "an answer could not be understood"
    now, waits = 0.0, []
    for _ in range(8):
        queue.want([named(1), named(2)])
        job = take(queue, now)
        assert named(1) in job.features
        broken = msgspec.structs.replace(found(named(2), refused=words), damaged=True)
        queue.answered(job, broken, HOST, now)
        assert why(queue, 1) == words and queue.problem(named(2)) is None
        assert queue.queued == 0, "it is not what the status line waits for"
        queue.want([named(1), named(3)])
        assert take(queue, now).features == (named(3),), "others are asked for meanwhile"
        queue.answered(Job("brief", (named(3),)), found(named(3)), HOST, now)
        wait = queue.wait("brief", now)
        assert wait is not None and queue.next("brief", now + wait - 0.1) is None
        waits.append(wait)
        now += wait
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900]
    job = take(queue, now)
    queue.answered(job, found(named(1)), HOST, now)
    assert queue.problem(named(1)) is None and queue.wait("brief", now) is None


def test_a_feature_on_which_the_service_breaks_is_left_in_the_end() -> None:
    """As for a source that the service does not know, on some of its versions."""
    queue = make()
    for n in range(TRIES):
        queue.open(named(1))
        job = queue.next("full", n * 10_000)
        assert job is not None
        queue.failed(job, Fault("server", "HTTP 500"), n * 10_000)
    queue.open(named(1))
    assert queue.next("full", 1e6) is None and why(queue, 1) == "HTTP 500"
    queue.open(named(2))
    assert queue.next("full", 1e6) is not None


def test_what_was_answered_for_another_feature_is_a_problem_of_the_missing_one() -> None:
    queue = make()
    queue.want([named(1), named(2)])
    queue.answered(take(queue), found(named(2), refused="answered for 77: refused"), HOST, 0)
    assert why(queue, 1) == "answered for 77: refused"
    assert queue.problem(named(2)) is None and queue.queued == 0


def test_waiting_doubles_with_each_failure_up_to_a_quarter_of_an_hour() -> None:
    backoff = Backoff(lambda: 0.0)
    waits = []
    for _ in range(12):
        backoff.failed(Fault("server", "x"), 0)
        waits.append(backoff.wait(0))
    assert waits[:5] == [4, 8, 16, 32, 64] and waits[-1] == LONGEST_SECONDS
    backoff.answered(None, HOST, 0)
    assert backoff.wait(0) == 0
    backoff.failed(Fault("server", "x"), 0)
    assert backoff.wait(0) == 4


def test_waits_differ_between_programs_that_failed_together() -> None:
    waits = set()
    for number in range(10):
        backoff = Backoff(lambda number=number: number / 10)  # type: ignore[misc]
        backoff.failed(Fault("limited", "x"), 0)
        waits.add(backoff.wait(0))
    assert len(waits) == 10 and min(waits) >= 30 and max(waits) <= 60


def test_a_wait_that_the_service_names_is_kept() -> None:
    backoff = Backoff(lambda: 0.9)
    backoff.failed(Fault("limited", "x", 500), 0)
    assert backoff.wait(0) == 500
    backoff.failed(Fault("limited", "x", 1e9), 0)
    assert backoff.wait(0) == 3600


@pytest.mark.parametrize(
    ("remaining", "wait"), [(None, 0), (25_000, 0), (100, 0), (35, 100), (0, 60)]
)
def test_the_last_requests_of_an_hour_are_spread_over_it(
    remaining: int | None, wait: float
) -> None:
    backoff = Backoff(lambda: 0.0)
    backoff.answered(remaining, HOST, 0)
    assert backoff.wait(0) == wait
    assert (backoff.trouble is None) == (wait == 0)
