"""How the command ends as a process of its own: exit codes, streams, signals.

Every command is started as a shell starts it, with standard streams that are closed, full or without a
reader in all combinations, and is sent signals at random moments, with a terminal and without one.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path

import psutil
from circuits import ROOT, circuit_of
from forked import hears
from hostile import unclean
from trial import Field, Kind, Tried

from scd_tui.commands import COMMANDS
from scd_tui.graph import Node, encode_circuit

PROGRAM = [sys.executable, "-m", "scd_tui"]
PROMPT = "When Mary and John went to the store, John gave a drink to"
SECONDS = 90
"""The most that a command may take; on a busy machine torch alone takes ten."""
LEAVING = 4.0
"""Seconds that a process may go on after a signal."""
HOW = ("kept", "closed", "full", "reader")


def calls(folder: Path) -> list[list[str]]:
    """A call of every command that prints something at once, and wrong ones."""
    file = folder / "circuit.json"
    file.write_bytes(encode_circuit(circuit_of(Node(ROOT, 0.25, 0.25, top=True), edges=())))
    return [
        *([name, "--help"] for name in COMMANDS),
        *(["--help"], ["--version"], ["config"], ["models"], ["models", "--json"]),
        *(["explanations", "--status"], ["open", str(file), "--print"], ["diff", *[str(file)] * 2]),
        *(["--print-completion", "bash"], ["doctor", "--no-device"], ["config", "--path"]),
        *([name, "--no-such"] for name in ("open", "attribute", "worker")),
        *(["--no-such"], ["open", "/no/such", "--print"], ["attribute", "--prompt-file", "-"]),
    ]


def started(
    words: Sequence[str], env: Mapping[str, str], stdin: str, stdout: str, stderr: str
) -> subprocess.Popen[bytes]:
    """The command with its streams: `kept` ones can be read, others are as `HOW` says."""

    def close() -> None:
        for number, how in enumerate((stdin, stdout, stderr)):
            if how == "closed":
                os.close(number)

    ends: list[int] = []

    def end(how: str) -> int:
        if how == "kept":
            return subprocess.PIPE
        if how == "reader":
            read, write = os.pipe()
            os.close(read)
        else:
            write = os.open("/dev/full" if how == "full" else os.devnull, os.O_WRONLY)
        ends.append(write)
        return write

    try:
        return subprocess.Popen(
            [*PROGRAM, *words], env=env, preexec_fn=close, stdin=subprocess.DEVNULL,
            stdout=end(stdout), stderr=end(stderr),
        )  # fmt: skip
    finally:
        for number in ends:
            os.close(number)


def exits(field: Field) -> Iterator[Tried]:
    """Every combination for every call, in a random order."""
    env = field.home()
    whole = [
        (words, *how, unbuffered)
        for words in calls(field.folder)
        for how in product(("kept", "closed"), HOW, HOW)
        for unbuffered in ("", "1")
    ]
    field.random("exits").shuffle(whole)
    for words, stdin, stdout, stderr, unbuffered in whole:
        environment = {**env, "PYTHONUNBUFFERED": unbuffered}
        fault = f"{' '.join(words)[-40:]} <{stdin} >{stdout} 2>{stderr} {unbuffered}"
        process = started(words, environment, stdin, stdout, stderr)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            yield Tried(fault, f"no end within {SECONDS} s")
            continue
        wrong = "--no-such" in words or "/no/such" in words or "--prompt-file" in words
        expected = (1, 2) if wrong else (0,) if stdout == "kept" else (1,)
        if words[0] == "doctor" and stdout == "kept":
            expected = (0, 1)
        yield Tried(fault, judged(process.returncode, out or b"", err or b"", expected))


def judged(code: int, out: bytes, err: bytes, expected: Sequence[int]) -> str:
    """What was lost: another exit code, more than a sentence."""
    said = err.decode("utf-8", "surrogateescape")
    if code not in expected:
        return f"exit code {code} and not one of {expected}: {said[-200:]}"
    if len(said.splitlines()) > 1 or (said and not said.startswith("scd-tui")):
        return f"not one sentence: {said[-300:]}"
    return unclean(said)


def streams(field: Field) -> Iterator[Tried]:
    """Output through pipes that do not block, take little, or end: all of it arrives, or the code is 1."""
    env = field.home()
    file = field.folder / "circuit.json"
    nodes = [Node(f"mlp_out.0/{n}@1", 0.1, 0.2, top=True) for n in range(5000)]
    file.write_bytes(encode_circuit(circuit_of(Node(ROOT, 0.25, 0.25, top=True), *nodes, edges=())))
    for words in (["--print-completion", "bash"], ["open", str(file), "--print"], ["config"]):
        whole = subprocess.run([*PROGRAM, *words], env=env, capture_output=True).stdout
        for unbuffered, blocking, share in product("01", (True, False), (0.0, 0.3, 0.99, 2.0)):
            environment = {**env, "PYTHONUNBUFFERED": unbuffered.replace("0", "")}
            read, write = os.pipe()
            os.set_blocking(write, blocking)
            process = subprocess.Popen(
                [*PROGRAM, *words], env=environment, stdout=write, stderr=subprocess.PIPE
            )
            os.close(write)
            time.sleep(0.3)
            got = b""
            while len(got) < share * len(whole) and (piece := os.read(read, 5000)):
                got += piece
            if share < 1:
                os.close(read)
            _, err = process.communicate(timeout=SECONDS)
            if share >= 1:
                os.close(read)
            # a pipe holds 64 KiB: what lies in it has left the program
            all_sent = share >= 1 or len(whole) - len(got) <= 1 << 16
            lost = judged(process.returncode, b"", err, (0, 1) if all_sent else (1,))
            if process.returncode == 0 and share >= 1 and got != whole:
                lost = f"{len(got)} of {len(whole)} bytes arrived"
            yield Tried(f"{words[0]} {unbuffered} blocking {blocking} read {share}", lost)
        for size in (0, 1, 100, 5000):
            code = (
                "import resource, runpy, signal, sys\n"
                "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
                f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
                f"sys.argv = ['scd-tui', *{words!r}]\n"
                "sys.dont_write_bytecode = True\n"
                "runpy.run_module('scd_tui', run_name='__main__')"
            )
            for unbuffered in ("", "1"):
                with (field.folder / "out").open("wb") as out:
                    done = subprocess.run(
                        [sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE,
                        env={**env, "PYTHONUNBUFFERED": unbuffered},
                    )  # fmt: skip
                expected = (1,) if size < len(whole) else (0,)
                lost = judged(done.returncode, b"", done.stderr, expected)
                yield Tried(f"{words[0]} a disk of {size} bytes {unbuffered}", lost)


def interrupts(field: Field) -> Iterator[Tried]:
    """Signals at random moments to several commands and to the app, until time is up."""
    chance = field.random("interrupts")
    folder = field.folder
    text = folder / "text.txt"
    text.write_text("The keys that the man holds are in the box. " * 400)
    slow = [
        ["attribute", PROMPT],
        ["attribute", PROMPT, "--method", "exact"],
        ["doctor"],
        ["doctor", "--no-device"],
        ["bench", "--model", "tiny-shape"],
        ["check"],
        ["trust"],
        ["models"],
        ["contexts", "demo", "--text", str(text)],
        ["replicate-post", "--out", str(folder / "post"), "--model", "demo"],
        ["explanations", "gpt2-small"],
        ["download", "gpt2-small"],
        ["--help"],
    ]
    env = field.home(
        HF_ENDPOINT="http://127.0.0.1:9",
        NEURONPEDIA_BULK_URL="http://127.0.0.1:9",
        OMP_NUM_THREADS="1",
    )
    number = 0
    while not field.over:
        words = slow[number % len(slow)]
        which = chance.choice((signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        # as many early ones, while libraries are imported, as later ones
        moment = chance.choice((0.0, 0.3, 2.0, 12.0)) * chance.random()
        twice = chance.random() < 0.2
        fault = f"{' '.join(words)[:30]} {which.name} after {moment:.2f} s{' twice' * twice}"
        if number % 7 == 6:
            yield Tried(f"app {which.name} after {moment:.2f} s", _app(env, which, moment))
        else:
            yield Tried(fault, _interrupted(words, env, which, moment, twice))
        number += 1


def _interrupted(
    words: Sequence[str], env: Mapping[str, str], which: signal.Signals, moment: float, twice: bool
) -> str:
    process = subprocess.Popen(
        [*PROGRAM, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    _begun(process)
    time.sleep(moment)
    children = _children(process.pid)
    alive = process.poll() is None
    process.send_signal(which)
    if twice:
        time.sleep(0.05)
        process.send_signal(which)
    sent = time.monotonic()
    try:
        _, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"no end within {SECONDS} s"
    took = time.monotonic() - sent
    said = err.decode("utf-8", "surrogateescape").replace(f"scd-tui {words[0]}: interrupted\n", "")
    if not alive or process.returncode in (0, 1):
        # it had ended, or had done all and was about to
        return _left(children) if not alive or took < 0.05 else f"exit code {process.returncode}"
    if process.returncode != 128 + which:
        return f"exit code {process.returncode}: {said[-300:]}"
    if "Traceback" in said or "Exception" in said or unclean(said):
        return f"noise: {said[-300:]}"
    if took > LEAVING:
        return f"it went on for {took:.1f} s"
    return _left(children)


def _begun(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the command itself runs; before that Python is starting, which answers for itself."""
    with suppress(OSError, StopIteration):
        while process.poll() is None and not hears(process.pid, signal.SIGTERM):
            time.sleep(0.001)


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _left(children: Sequence[psutil.Process]) -> str:
    end = time.monotonic() + 3
    while True:
        alive = [one for one in children if _runs(one)]
        if not alive:
            return ""
        if time.monotonic() > end:
            return f"left running: {alive}"
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _app(env: Mapping[str, str], which: signal.Signals, moment: float) -> str:
    """The app in a terminal: it leaves the terminal as it was, and its worker ends."""
    pid, end = pty.fork()
    if pid == 0:
        os.execve(sys.executable, PROGRAM, {**env, "TERM": "xterm-256color"})
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen = b""
    begun = time.monotonic()
    while time.monotonic() < begun + moment + 0.5 or not hears(pid, signal.SIGTERM):
        seen += _read(end)
        if time.monotonic() > begun + SECONDS:
            break
    children = _children(pid)
    os.kill(pid, which)
    sent = time.monotonic()
    while True:
        seen += _read(end)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > sent + 20:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "it went on for 20 s"
    while piece := _read(end):
        seen += piece
    os.close(end)
    code = os.waitstatus_to_exitcode(status)
    if code != 128 + which:
        return f"exit code {code}: {seen[-200:]!r}"
    if b"Traceback" in seen:
        return f"a traceback: {seen[-300:]!r}"
    if seen.count(b"\x1b[?1049h") != seen.count(b"\x1b[?1049l"):
        return f"the terminal was left as the app uses it: {seen[-150:]!r}"
    return _left(children)


def _read(end: int) -> bytes:
    with suppress(OSError):
        if select.select([end], [], [], 0.01)[0]:
            return os.read(end, 1 << 16)
    return b""


KINDS = (
    Kind("exits", "streams closed, full and without a reader", exits, 400),
    Kind("streams", "pipes and disks that take a part", streams, 200),
    Kind("interrupts", "signals at random moments", interrupts, 400),
)
