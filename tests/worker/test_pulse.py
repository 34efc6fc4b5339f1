"""Signs of life of a worker, by a real thread beside a main thread that waits, computes or hangs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from scd_tui.worker.protocol import Alive, Message
from scd_tui.worker.pulse import Pulse, Spent

BEAT = 0.03


@contextmanager
def beating(waiting: Callable[[], bool]) -> Iterator[list[Message]]:
    sent: list[Message] = []
    over = threading.Event()

    def send(message: Message) -> None:
        if over.is_set():
            raise BrokenPipeError
        sent.append(message)

    pulse = Pulse(send, waiting, sleep=lambda seconds: time.sleep(BEAT))
    thread = threading.Thread(target=pulse.beat_forever)
    thread.start()
    time.sleep(2 * BEAT)
    yield sent
    over.set()
    # a thread that has nothing to say would not notice that nobody listens
    end = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < end:
        sum(range(200_000))
    assert not thread.is_alive(), "the pulse ends when nobody listens"


def beats_during(work: Callable[[], object], *, waiting: bool = False) -> int:
    with beating(lambda: waiting) as sent:
        before = len(sent)
        work()
        found = sent[before:]
    assert all(message == Alive(request=0) for message in found)
    return len(found)


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def test_a_thread_that_computes_is_alive() -> None:
    assert beats_during(lambda: compute(0.5)) >= 3


def test_a_thread_that_waits_for_a_request_is_alive() -> None:
    assert beats_during(lambda: time.sleep(0.4), waiting=True) >= 3


def test_a_thread_that_hangs_is_silent() -> None:
    # the one beat can be of the time before
    assert beats_during(lambda: time.sleep(0.6)) <= 1
    locked = threading.Lock()
    locked.acquire()
    assert beats_during(lambda: locked.acquire(timeout=0.6)) <= 1


@pytest.mark.parametrize(
    ("more", "moved"),
    [
        (Spent(0.0, 0, 0), False),
        (Spent(0.0005, 0, 0), False),
        (Spent(0.002, 0, 0), True),
        (Spent(0.0, 4096, 0), True),
        (Spent(0.0, 0, 1), True),
    ],
)
def test_a_process_moves_that_computes_or_reads_from_a_disk(more: Spent, moved: bool) -> None:
    before = Spent(12.5, 1 << 30, 40)
    after = Spent(*(a + b for a, b in zip(before, more, strict=True)))
    assert after.moved_since(before) == moved
