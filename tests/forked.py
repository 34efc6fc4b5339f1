"""The command run many times, each time in a fork of one process that has imported what it needs.

A start with torch takes seconds and a fork milliseconds. Each run has streams of its own, as a shell
would have set them up, and goes through the same door as the command itself: `scd_tui.cli.main`.
"""

import fcntl
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ENGINE = ("scd_tui.attribution.explain", "scd_tui.attribution.load", "scd_tui.attribution.gating")
"""What a run with a model imports."""


@dataclass(frozen=True)
class Call:
    """A run: its words and its surroundings.

    `stdin` is a text, or None for a closed descriptor. `stdout` and `stderr` are kept, or `closed`,
    `full`, without a `reader`, or a `slow` pipe that does not block and whose reader begins late.
    `largest` is the most bytes of a file that it may write. `code` is Python that is run first.
    """

    words: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[str] = ()
    folder: str = ""
    stdin: str | None = ""
    stdout: str = "kept"
    stderr: str = "kept"
    unbuffered: bool = False
    largest: int | None = None
    user: int | None = None
    code: str = ""
    seconds: float = 60
    signals: Sequence[tuple[float, int]] = ()


@dataclass(frozen=True)
class Ran:
    """How it went: the exit code, minus a signal's number where one ended it; None after `seconds`."""

    code: int | None
    out: str
    err: str
    seconds: float
    megabytes: int


class Forks:
    """A process that runs calls, with some modules imported already."""

    def __init__(self, *modules: str, env: Mapping[str, str] | None = None) -> None:
        self._modules = modules
        self._env = {**os.environ, **(env or {}), "OMP_NUM_THREADS": "1"}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._modules],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._env,
        )  # fmt: skip
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, *words: str, **surroundings: Any) -> Ran:
        """Run one call to its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        call = asdict(Call(words, **surroundings))
        self._process.stdin.write(json.dumps(call).encode() + b"\n")
        self._process.stdin.flush()
        return Ran(**json.loads(self._process.stdout.readline()))


def hears(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def _serve(modules: Sequence[str]) -> None:
    for module in modules:
        import_module(module)
        if module in ENGINE:
            import_module("torch").set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    questions = os.fdopen(os.dup(0), "r")
    for line in questions:
        answers.write(
            json.dumps(asdict(_fork(Call(**json.loads(line)), answers, questions))) + "\n"
        )
        answers.flush()


def _fork(call: Call, *ours: io.IOBase | Any) -> Ran:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        ends = os.pipe() if "slow" in (call.stdout, call.stderr) else ()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                for one in ours:
                    os.close(one.fileno())
                os.setsid()
                _become(call, out.fileno(), err.fileno(), ends)
                from scd_tui.cli import main

                sys.exit(main())
            except SystemExit:
                _finish()
            except BaseException:
                import traceback

                traceback.print_exc(file=sys.stderr)
                sys.stderr.flush()
                os._exit(99)
        code, megabytes = _wait(pid, call, started, ends, out.fileno())
        seconds = time.monotonic() - started
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "surrogateescape"))
    return Ran(code, texts[0], texts[1], seconds, megabytes)


def _finish() -> None:
    """As the interpreter ends: threads, functions at exit, streams."""
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    os._exit(98)  # the command ends itself before


def _wait(
    pid: int, call: Call, started: float, ends: Sequence[int], out: int
) -> tuple[int | None, int]:
    if ends:
        os.close(ends[1])
        time.sleep(0.3)
        fcntl.fcntl(ends[0], fcntl.F_SETFL, os.O_NONBLOCK)
    due = sorted(call.signals)
    while True:
        if ends:
            _drain(ends[0], out)
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            break
        while due and time.monotonic() - started >= due[0][0]:
            os.kill(pid, due.pop(0)[1])
        if time.monotonic() - started > call.seconds:
            os.killpg(pid, signal.SIGKILL)
            os.wait4(pid, 0)
            return None, 0
        time.sleep(0.002)
    if ends:
        _drain(ends[0], out)
        os.close(ends[0])
    return os.waitstatus_to_exitcode(status), used.ru_maxrss // 1024


def _drain(end: int, out: int) -> None:
    while select.select([end], [], [], 0)[0]:
        piece = os.read(end, 1 << 16)
        if not piece:
            return
        os.write(out, piece)


def _become(call: Call, out: int, err: int, ends: Sequence[int]) -> None:
    """Set this process up as a shell would have, and Python after it."""
    sys.argv = ["scd-tui", *call.words]
    for name in call.without:
        os.environ.pop(name, None)
    os.environ.update(call.env)
    if "TMPDIR" in call.env or "TMPDIR" in call.without:
        tempfile.tempdir = None
    if call.largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (call.largest, call.largest))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if call.stdin is None:
        os.close(0)
    else:
        read, write = os.pipe()
        os.write(write, call.stdin.encode("utf-8", "surrogateescape"))
        os.close(write)
        os.dup2(read, 0)
        os.close(read)
    for number, how, kept in ((1, call.stdout, out), (2, call.stderr, err)):
        if how == "closed":
            os.close(number)
        elif how == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), number)
        elif how == "reader":
            read, write = os.pipe()
            os.close(read)
            os.dup2(write, number)
        elif how == "slow":
            os.dup2(ends[1], number)
            fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK)
        else:
            os.dup2(kept, number)
    for number in range(3, 256):  # a shell leaves no others
        try:
            os.close(number)
        except OSError:
            continue
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, call.unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if call.user is not None:
        os.setgroups([])
        os.setgid(call.user)
        os.setuid(call.user)
    if call.folder:
        os.chdir(call.folder)
    if call.code:
        exec(call.code, {})


def _stream(number: int, unbuffered: bool) -> io.TextIOWrapper | None:
    """What Python makes of a descriptor when it starts."""
    try:
        os.fstat(number)
    except OSError:
        return None
    mode = "wb" if number else "rb"
    raw = io.FileIO(number, mode, closefd=False)
    buffer: Any = raw
    if number == 0:
        buffer = io.BufferedReader(raw)
    elif not unbuffered:
        buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding="utf-8",
        errors="backslashreplace" if number == 2 else "strict",
        line_buffering=number == 2,
        write_through=unbuffered,
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    _serve(sys.argv[1:])
