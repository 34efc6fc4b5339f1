"""The worker as the app starts it: its own process, real pipes, the bundled model."""

import contextlib
import os
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from scd_tui.worker import protocol
from scd_tui.worker.protocol import Message

PROMPT = "Make America Great"
NOISE = (
    "import os, sys; from scd_tui.worker import server\n"
    "def noisy(*a, **k):\n"
    "    print('from print'); os.write(1, b'from a library'); sys.__stdout__.write('behind')\n"
    "    sys.__stdout__.flush()\n"
    "    return real(*a, **k)\n"
    "from scd_tui.attribution import model\n"
    "real, model.LanguageModel.completions = model.LanguageModel.completions, noisy\n"
    "raise SystemExit(server.serve())\n"
)


class Worker:
    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def put(self, request: Message) -> None:
        self.stdin.write(protocol.frame(request))
        self.stdin.flush()

    def events(self) -> Iterator[Message]:
        while prefix := self.stdout.read(protocol.PREFIX):
            yield protocol.decode_event(self.stdout.read(protocol.body_length(prefix)))

    def until(self, kind: type[Message]) -> Message:
        for event in self.events():
            assert not isinstance(event, protocol.Failed), event
            if isinstance(event, kind):
                return event
        raise AssertionError(f"the worker ended before {kind.__name__}")


def started(*command: str) -> Iterator[Worker]:
    worker = Worker(*command)
    yield worker
    worker.process.kill()
    worker.process.wait()
    for pipe in (worker.stdin, worker.stdout, worker.process.stderr):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    yield from started("-m", "scd_tui", "worker")


@pytest.fixture
def noisy_worker() -> Iterator[Worker]:
    yield from started("-c", NOISE)


def test_from_a_prompt_to_a_measured_circuit_over_pipes(worker: Worker) -> None:
    worker.put(protocol.Load(request=1, model="demo", device="cpu"))
    loaded = worker.until(protocol.Loaded)
    assert len(loaded.model.sites) == 12
    worker.put(protocol.Complete(request=2, prompt=PROMPT))
    first = worker.until(protocol.Completed).completions[0]
    assert first.token.text == " Again"
    worker.put(protocol.Attribute(request=3, prompt=PROMPT, target=first.token.id))
    circuit = worker.until(protocol.Attributed).circuit
    assert circuit.metric_value > 0
    assert worker.until(protocol.Trusted).trust.overall.n == 100
    worker.put(protocol.Shutdown(request=4))
    assert worker.process.wait(timeout=20) == 0


def test_what_libraries_print_goes_to_stderr_and_not_into_the_protocol(
    noisy_worker: Worker,
) -> None:
    noisy_worker.put(protocol.Load(request=1, model="demo", device="cpu"))
    noisy_worker.until(protocol.Loaded)
    noisy_worker.put(protocol.Complete(request=2, prompt=PROMPT))
    noisy_worker.until(protocol.Completed)
    _, stderr = noisy_worker.process.communicate(timeout=20)
    assert noisy_worker.process.returncode == 0
    for noise in (b"from print", b"from a library", b"behind"):
        assert noise in stderr


def test_the_end_of_stdin_ends_the_worker(worker: Worker) -> None:
    worker.put(protocol.Load(request=1, model="demo", device="cpu"))
    worker.stdin.close()
    assert worker.process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    "rubbish",
    [
        struct.pack(">I", protocol.MAXIMUM_FRAME + 1),
        struct.pack(">I", 4) + b"\x93\x01\x02\x03",
        struct.pack(">I", 30) + b"\x80\x04cos\nsystem\n(S'touch x'\ntR.....",
        b"\xff" + os.urandom(63) + b"\x00" * 64,  # the first byte makes it too long
    ],
    ids=["too long", "another type", "a pickle", "noise"],
)
def test_rubbish_on_stdin_ends_the_worker_with_a_word_on_stderr(rubbish: bytes) -> None:
    """Read by the same inbox in a process without torch, which has nothing to do with it."""
    code = (
        "import sys; from scd_tui.worker.inbox import Inbox\n"
        "inbox = Inbox(sys.stdin.buffer); inbox.read_forever()\n"
        "print(type(inbox.take(wait=False)).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=rubbish, capture_output=True, timeout=20
    )
    assert done.stdout == b"Shutdown\n"
    assert b"the app's side broke off: " in done.stderr
