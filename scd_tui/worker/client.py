"""The app's end of the two pipes: starts the worker, talks to it, and notices when it dies.

Plain asyncio. The worker runs in a session of its own, so that a `ctrl+c` in the terminal does not
reach it, and its stderr is always being read: a library that prints a lot can neither fill the pipe
and stall the worker, nor write on the screen.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from scd_tui.text import visible
from scd_tui.worker.protocol import (
    PREFIX,
    Event,
    Message,
    ProtocolError,
    Shutdown,
    body_length,
    decode_event,
    frame,
)

PROGRAM = (sys.executable, "-P", "-m", "scd_tui")
"""This program in a process of its own. Without `-P` Python would import from the folder that the app
was started in, and a `random.py` of the user's would take the place of Python's."""
STDERR_LINES = 40
"""Last lines of the worker's stderr that are kept to explain its death."""
STDERR_LINE_LENGTH = 500
POLITE_SECONDS = 0.12
"""How long a worker gets to leave when asked, and again when terminated, before the next step."""


class WorkerGone(Exception):
    """There is no running worker to send to."""


class WorkerExit(msgspec.Struct, frozen=True):
    """How a worker ended. `fault` is set when the client ended it for breaking the protocol."""

    code: int | None
    signal: str | None
    stderr_tail: tuple[str, ...] = ()
    fault: str | None = None

    @property
    def reason(self) -> str:
        """What the worker did, to follow its name: such as `was killed by SIGKILL`."""
        if self.fault is not None:
            return f"was stopped: {self.fault}"
        if self.signal is not None:
            return f"was killed by {self.signal}"
        return "exited" if self.code is None else f"exited with code {self.code}"


class WorkerClient:
    """One worker process, from `start` to its end. A client is not started twice.

    `on_event` gets every event in the order sent, `on_exit` is called once if the worker ends by
    itself or is ended for a broken frame, and not after `close`. Both are called in the event loop
    and must return quickly.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        on_event: Callable[[Event], None],
        on_exit: Callable[[WorkerExit], None],
    ) -> None:
        self._command = tuple(command or (*PROGRAM, "worker"))
        self._on_event = on_event
        self._on_exit = on_exit
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._last_request = 0
        self._closing = False
        self._ended = False

    @property
    def running(self) -> bool:
        """Whether there is a process that has not been seen to end."""
        return self._process is not None and not self._ended and not self._closing

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines that the worker wrote to stderr, safe to show."""
        return tuple(self._stderr)

    async def start(self) -> None:
        """Start the process. Raises WorkerGone, in one sentence, if it cannot be started."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerGone(f"cannot start the worker: {visible(str(error))}") from None
        stderr = asyncio.create_task(self._drain_stderr(self._process))
        reader = asyncio.create_task(self._read(self._process, stderr))
        self._tasks = [stderr, reader]

    def send(self, kind: type[Message], **fields: object) -> int:
        """Send a request and return its number.

        The number is filled in unless `fields` gives one, as `Cancel` must. Raises WorkerGone when
        there is no worker, ProtocolError when the request is too long, and UnicodeEncodeError when
        a text is not Unicode.
        """
        process = self._process
        if process is None or process.stdin is None or not self.running:
            raise WorkerGone("the worker is not running")
        number = fields.pop("request", None)
        if not isinstance(number, int):
            self._last_request += 1
            number = self._last_request
        data = frame(kind(request=number, **fields))
        # A pipe whose reader has died swallows writes; the reader task reports the death.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(data)
        return number

    async def close(self) -> None:
        """End the worker: ask, then terminate, then kill. A dead or unstarted one is fine."""
        process, was_running = self._process, self.running
        self._closing = True
        if process is None:
            return
        if was_running and process.stdin is not None:
            with contextlib.suppress(Exception):
                process.stdin.write(frame(Shutdown(request=0)))
                process.stdin.close()
            if not await self._exited(process):
                self._signal(process, signal.SIGTERM)
                if not await self._exited(process):
                    self._signal(process, signal.SIGKILL)
                    await self._exited(process)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @staticmethod
    async def _exited(process: asyncio.subprocess.Process) -> bool:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), POLITE_SECONDS)
        return process.returncode is not None

    @staticmethod
    def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        """Signal the worker and whatever it started: its process group is its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)

    async def _drain_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        partial = b""
        while chunk := await process.stderr.read(1 << 16):
            # Progress bars rewrite their line with carriage returns: the last writing counts.
            *lines, partial = (partial + chunk).split(b"\n")
            self._keep(lines)
            partial = partial.rsplit(b"\r", 1)[-1][-(1 << 16) :]
        self._keep([partial])

    def _keep(self, lines: list[bytes]) -> None:
        for line in lines[-STDERR_LINES:]:
            text = line.rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", "backslashreplace")
            if text.strip():
                self._stderr.append(visible(text.rstrip()[:STDERR_LINE_LENGTH]))

    async def _read(
        self, process: asyncio.subprocess.Process, stderr: "asyncio.Task[None]"
    ) -> None:
        assert process.stdout is not None
        fault: str | None = None
        try:
            while True:
                prefix = await process.stdout.readexactly(PREFIX)
                event = decode_event(await process.stdout.readexactly(body_length(prefix)))
                if not self._closing:
                    self._on_event(event)
        except asyncio.IncompleteReadError:
            pass  # the end of its stdout: it is ending, or has closed the pipe
        except ProtocolError as error:
            fault = f"it broke the protocol: {visible(str(error))}"
        if fault is not None:
            self._signal(process, signal.SIGKILL)
        elif process.returncode is None and not await self._exited(process):
            # It closed its stdout and stays: nobody can talk with it any more.
            self._signal(process, signal.SIGKILL)
            fault = "it closed its end of the pipe"
        code = await process.wait()
        # Grandchildren may hold stderr open; what has come by now is what there is.
        await asyncio.wait([stderr], timeout=POLITE_SECONDS)
        self._ended = True
        if not self._closing:
            self._on_exit(_describe(code, fault, self.stderr_tail))


def _describe(code: int, fault: str | None, tail: tuple[str, ...]) -> WorkerExit:
    if code >= 0:
        return WorkerExit(code, None, tail, fault)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return WorkerExit(None, name, tail, fault)
