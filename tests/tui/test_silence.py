"""A worker that gives no sign of life, first by a clock, then as a process that was stopped."""

import asyncio
import os
import signal

import pytest
from tui.samples import PROMPT, Records
from tui.screen import dump
from tui.test_worker_death import real_workers, until

from scd_tui.tui import silence
from scd_tui.tui.app import ScdApp
from scd_tui.tui.silence import Silence


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ticks(one: Silence, clock: Clock, count: int) -> list[int]:
    found = []
    for _ in range(count):
        clock.now += 1
        found.append(one.tick())
    return found


def test_ten_seconds_without_a_word_are_worrying_and_a_word_ends_it() -> None:
    clock = Clock()
    one = Silence(clock)
    assert ticks(one, clock, 12) == [0] * 9 + [10, 11, 12]
    one.heard()
    assert ticks(one, clock, 10) == [0] * 9 + [10]


def test_time_in_which_the_app_stood_still_is_no_silence_of_the_worker() -> None:
    clock = Clock()
    one = Silence(clock)
    ticks(one, clock, 5)
    clock.now += 3600
    assert ticks(one, clock, 10) == [0] * 10
    assert ticks(one, clock, 1) == [10]


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_a_stopped_worker_is_said_with_the_way_out(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "WORRYING_SECONDS", 1)
    worker, clients = real_workers()

    async def main() -> None:
        app = ScdApp(PROMPT, worker=worker, records=lambda model: Records())
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.session.store.trust)
            pid = clients[0].pid
            assert pid is not None
            await pilot.pause(2.2)
            assert "No sign of life" not in dump(app), "nothing is expected of it"
            os.kill(pid, signal.SIGSTOP)
            await pilot.press("1", "j", "enter", "2")
            await until(pilot, lambda: "No sign of life from the worker for" in dump(app))
            text = " ".join(dump(app).split())
            assert "What you see is kept. R ends it, starts another and asks again." in text
            assert 'Circuit for " question"' in text
            await pilot.press("R")
            await until(pilot, lambda: app.session.target_token == 101)
            await pilot.pause()
            assert "No sign of life" not in dump(app)
            assert 'Circuit for " way"' in dump(app), "what was asked is asked again"
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    asyncio.run(main())


def test_a_worker_that_goes_on_is_believed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "WORRYING_SECONDS", 1)
    worker, clients = real_workers()

    async def main() -> None:
        app = ScdApp(PROMPT, worker=worker, records=lambda model: Records())
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: app.session.store.trust)
            pid = clients[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            await pilot.press("1", "j", "enter")
            await until(pilot, lambda: app.session.silent)
            os.kill(pid, signal.SIGCONT)
            await until(pilot, lambda: app.session.target_token == 101)
            await pilot.pause()
            assert not app.session.silent and "No sign of life" not in dump(app)

    asyncio.run(main())
