"""The app on a worker that is a real process, through its death."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from tui.samples import PROMPT, Records
from tui.screen import dump

from scd_tui.tui.app import ScdApp
from scd_tui.worker.client import WorkerClient

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "worker" / "sample_worker.py"))


async def until(pilot: Pilot[int], true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await pilot.pause(0.02)


def real_workers() -> tuple[Callable[[Any, Any], WorkerClient], list[WorkerClient]]:
    """A factory of workers that are real processes, and the list of those it made."""
    clients: list[WorkerClient] = []

    def worker(on_event: Any, on_exit: Any) -> WorkerClient:
        clients.append(WorkerClient(COMMAND, on_event=on_event, on_exit=on_exit))
        return clients[-1]

    return worker, clients


def test_a_stalled_worker_is_killed_and_the_app_goes_on() -> None:
    worker, clients = real_workers()

    async def main() -> float:
        app = ScdApp(PROMPT, worker=worker, records=lambda model: Records())
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: app.session.store.trust)
            pid = clients[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            await pilot.press("1", "j", "enter", "2", "j", "j")
            await pilot.pause(0.2)
            text = dump(app)
            assert "attributing" in text, "an unfinished request is shown"
            assert 'Circuit for " question"' in text, "and the app is alive meanwhile"
            os.kill(pid, signal.SIGKILL)
            await until(pilot, lambda: app.session.phase == "gone")
            await pilot.pause()
            text = dump(app)
            assert "The worker was killed by SIGKILL" in text
            assert "Loading weights" in text, "its last words are shown"
            assert "with a request unfinished" in text
            assert 'Circuit for " question"' in text and "▾ resid_post 3" in text
            await pilot.press("R")
            await until(pilot, lambda: app.session.target_token == 101)
            await pilot.pause()
            text = dump(app)
            assert "killed" not in text
            assert 'Circuit for " way"' in text, "the request that died was done again"
            assert clients[1].pid != pid
            start = time.perf_counter()
        return time.perf_counter() - start

    assert asyncio.run(main()) < 1.5
    last = clients[1].pid
    assert last is not None
    try:
        os.kill(last, 0)
        raise AssertionError("the worker outlived the app")
    except ProcessLookupError:
        pass
