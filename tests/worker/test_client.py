import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from scd_tui.graph import NodeId
from scd_tui.worker import protocol as p
from scd_tui.worker.client import PROGRAM, WorkerClient, WorkerExit, WorkerGone

COMMAND = (sys.executable, str(Path(__file__).parent / "echo_worker.py"))


class Sitting:
    """A client with all that it said."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self.events: list[p.Event] = []
        self.exits: list[WorkerExit] = []
        self.changed = asyncio.Event()
        self.client = WorkerClient(command, on_event=self._event, on_exit=self._exit)

    def _event(self, event: p.Event) -> None:
        self.events.append(event)
        self.changed.set()

    def _exit(self, how: WorkerExit) -> None:
        self.exits.append(how)
        self.changed.set()

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    def complete(self, prompt: str) -> int:
        return self.client.send(p.Complete, prompt=prompt)


def sitting(test: Callable[[Sitting], Awaitable[None]], command: tuple[str, ...] = COMMAND) -> None:
    async def run() -> None:
        one = Sitting(command)
        try:
            await one.client.start()
            await test(one)
        finally:
            await one.client.close()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper script imports this checkout, installed or not."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    )


def test_requests_are_numbered_and_answers_come_in_order() -> None:
    async def test(one: Sitting) -> None:
        assert one.client.running
        numbers = [one.complete(text) for text in ("a", "b", "\x1b[31mc")]
        assert numbers == [1, 2, 3]
        await one.until(lambda: len(one.events) == 3)
        assert [event.request for event in one.events] == numbers
        assert isinstance(one.events[2], p.Completed)
        assert one.events[2].tokens[0].text == "\x1b[31mc"
        assert one.client.send(p.Cancel, request=2) == 2

    sitting(test)


def test_a_killed_worker_is_reported_once_with_its_last_words_cleaned() -> None:
    async def test(one: Sitting) -> None:
        one.complete("die")
        await one.until(lambda: one.exits)
        assert one.exits == [
            WorkerExit(None, "SIGKILL", ("first", "RuntimeError: \\x1b[31mdevice lost"))
        ]
        assert one.exits[0].reason == "was killed by SIGKILL"
        assert not one.client.running
        with pytest.raises(WorkerGone):
            one.complete("more")

    sitting(test)


def test_a_stopped_worker_can_be_killed_while_a_request_is_unfinished() -> None:
    async def test(one: Sitting) -> None:
        one.complete("first")
        await one.until(lambda: one.events)
        pid = one.client.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        one.complete("never answered")
        await asyncio.sleep(0.1)
        assert len(one.events) == 1 and not one.exits
        os.kill(pid, signal.SIGKILL)
        await one.until(lambda: one.exits)
        assert one.exits[0].signal == "SIGKILL"

    sitting(test)


def test_an_exit_code_is_reported() -> None:
    async def test(one: Sitting) -> None:
        one.complete("exit")
        await one.until(lambda: one.exits)
        assert (one.exits[0].code, one.exits[0].signal) == (3, None)
        assert one.exits[0].reason == "exited with code 3"

    sitting(test)


def test_two_megabytes_on_stderr_stall_nothing_and_leave_the_last_lines() -> None:
    async def test(one: Sitting) -> None:
        one.complete("chatter")
        await one.until(lambda: one.events)
        await one.client.close()
        tail = one.client.stderr_tail
        assert len(tail) == 40
        assert tail[-1] == "progress 99%"
        assert tail[-2].startswith("warning 19999")
        assert not one.exits

    sitting(test)


@pytest.mark.parametrize("how", ["garbage", "huge"])
def test_a_bad_frame_ends_the_worker_and_says_why(how: str) -> None:
    async def test(one: Sitting) -> None:
        one.complete(how)
        await one.until(lambda: one.exits)
        assert one.exits[0].fault is not None and "protocol" in one.exits[0].fault
        assert not one.client.running

    sitting(test)


def test_a_message_cut_short_by_the_end_is_the_end() -> None:
    async def test(one: Sitting) -> None:
        one.complete("half")
        await one.until(lambda: one.exits)
        assert (one.exits[0].code, one.exits[0].fault) == (5, None)

    sitting(test)


def test_a_worker_that_closes_its_pipe_and_stays_is_ended() -> None:
    async def test(one: Sitting) -> None:
        one.complete("close")
        await one.until(lambda: one.exits)
        assert one.exits[0].fault is not None

    sitting(test)


@pytest.mark.parametrize("state", ["idle", "hanging", "stopped"])
def test_closing_is_quick_whatever_the_worker_does(state: str) -> None:
    async def test(one: Sitting) -> None:
        one.complete("hang" if state == "hanging" else "hello")
        await one.until(lambda: one.events)
        pid = one.client.pid
        assert pid is not None
        if state == "stopped":
            os.kill(pid, signal.SIGSTOP)
        start = time.perf_counter()
        await one.client.close()
        # 300 ms where nothing else runs; the rest is for a machine under load.
        assert time.perf_counter() - start < 1.5
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not one.exits
        await one.client.close()

    sitting(test)


def test_a_command_that_is_not_there_is_one_sentence() -> None:
    async def run() -> None:
        one = Sitting(("/nonexistent/worker",))
        with pytest.raises(WorkerGone, match="cannot start the worker"):
            await one.client.start()
        assert not one.client.running
        await one.client.close()

    asyncio.run(run())


def test_text_that_is_no_unicode_is_refused_and_the_worker_lives() -> None:
    async def test(one: Sitting) -> None:
        with pytest.raises(UnicodeEncodeError):
            one.complete("\udcff")
        assert one.client.send(p.Upstream, circuit=1, node=NodeId("embed/pos@1")) == 2
        one.complete("after")
        await one.until(lambda: one.events)

    sitting(test)


def test_the_program_is_not_imported_from_the_folder_it_is_started_in(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit('the wrong one')")
    done = subprocess.run(
        [*PROGRAM, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
