"""How the command ends: exit codes with streams as a shell may leave them, and after signals."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from circuits import ROOT, circuit_of
from forked import Forks, Ran, hears

from scd_tui.commands import COMMANDS
from scd_tui.graph import Node, encode_circuit

LIGHT = [f"scd_tui.commands.{name.replace('-', '_')}" for name in ("app", *COMMANDS)]


@pytest.fixture(scope="module")
def forks(elsewhere: None) -> Iterator[Forks]:
    with Forks("scd_tui.cli", "rich.progress", "rich.table", *LIGHT) as made:
        yield made


@pytest.fixture
def calls(tmp_path: Path) -> list[list[str]]:
    """Something that every command can print without a model."""
    file = tmp_path / "circuit.json"
    file.write_bytes(encode_circuit(circuit_of(Node(ROOT, 0.25, 0.25, top=True), edges=())))
    return [
        *([name, "--help"] for name in COMMANDS),
        ["--help"],
        ["--version"],
        ["config"],
        ["config", "--path"],
        ["models", "demo", "--json"],
        ["explanations", "--status"],
        ["open", str(file), "--print"],
        ["diff", str(file), str(file)],
    ]


def quiet(ran: Ran, code: int) -> bool:
    """Whether it ended with that exit code and at most one sentence."""
    lines = ran.err.splitlines()
    return (
        ran.code == code and all(line.startswith("scd-tui") for line in lines) and len(lines) <= 1
    )


@pytest.mark.parametrize("stdout", ["closed", "full", "reader"])
def test_output_that_cannot_be_written_is_exit_code_1(
    forks: Forks, calls: list[list[str]], stdout: str
) -> None:
    wrong = []
    for n, words in enumerate(calls):
        ran = forks.run(*words, stdout=stdout, unbuffered=n % 2 == 0)
        if not quiet(ran, 1) or (stdout == "reader" and ran.err):
            wrong.append((words, ran))
    assert not wrong
    bad = forks.run("--no-such-option", stdout=stdout)
    assert quiet(bad, 2) and "--no-such-option" in bad.err


def test_streams_that_are_closed_do_no_harm(forks: Forks, calls: list[list[str]]) -> None:
    for words in calls:
        ran = forks.run(*words, stdin=None, stderr="closed")
        assert (ran.code, ran.out != "") == (0, True), words
    assert forks.run("config", stdin=None, stdout="closed", stderr="closed").code == 1
    for stderr in ("closed", "full", "reader"):
        assert forks.run("--no-such-option", stderr=stderr).code == 2
    ran = forks.run("attribute", "--prompt-file", "-", stdin=None)
    assert quiet(ran, ran.code or 0) and ran.code in (1, 2) and "cannot be read" in ran.err


def test_no_file_takes_the_place_of_a_closed_stream(forks: Forks, tmp_path: Path) -> None:
    """What would be opened next has the lowest number that is free, and gets what is printed."""
    file = tmp_path / "mine"
    opens = (
        "import scd_tui.commands.config as c\nrun = c.run\n"
        f"def opening(words):\n    c.held = open({str(file)!r}, 'w')\n    return run(words)\n"
        "c.run = opening"
    )
    assert forks.run("config", stdout="closed", stderr="closed", code=opens).code == 1
    assert file.read_text() == ""


def test_what_is_printed_arrives_whole_or_the_exit_code_is_1(forks: Forks) -> None:
    for unbuffered in (False, True):
        printed = forks.run("config", unbuffered=unbuffered)
        assert printed.code == 0 and len(printed.out) > 2000
        slow = forks.run("--print-completion", "bash", stdout="slow", unbuffered=unbuffered)
        whole = forks.run("--print-completion", "bash")
        assert (slow.code, slow.out) == (0, whole.out)
        part = forks.run("config", unbuffered=unbuffered, largest=1000)
        assert (part.code, part.out) == (1, printed.out[:1000])
        assert part.err == "scd-tui config: standard output cannot be written: File too large\n"


_SWALLOWS = """
import scd_tui.commands.config as c, threading, time
def run(words):
{body}
c.run = run
"""
_BODIES = {
    "waits": "time.sleep(20)",
    "swallows": "try: time.sleep(20)\nexcept BaseException: pass\nreturn 0",
    "turns it into another": "try: time.sleep(20)\nexcept BaseException: raise ImportError('x')",
    "swallows all": "while True:\n    try: time.sleep(20)\n    except BaseException: pass",
    "has a thread": "threading.Thread(target=time.sleep, args=(20,)).start()\ntime.sleep(20)",
    "has a thread at exit": "threading.Thread(target=time.sleep, args=(20,)).start()\nreturn 0",
    "computes": "import re; re.match('(a|a)*b', 'a' * 40)",
    "is deleted": "class D:\n    def __del__(self): time.sleep(20)\nD()\nreturn 0",
}


@pytest.mark.parametrize("body", _BODIES.values(), ids=_BODIES)
def test_an_interrupt_is_exit_code_130_whatever_is_under_way(forks: Forks, body: str) -> None:
    code = _SWALLOWS.format(body="\n".join(f"    {line}" for line in body.split("\n")))
    ran = forks.run("config", code=code, signals=[(0.2, signal.SIGINT)], seconds=10)
    assert ran.code == 130 and ran.seconds < 4
    assert ran.err in ("", "scd-tui config: interrupted\n") and ran.out == ""


def test_other_signals_end_it_without_a_word(forks: Forks) -> None:
    code = _SWALLOWS.format(body="    time.sleep(20)")
    for number in (signal.SIGTERM, signal.SIGHUP):
        ran = forks.run("config", code=code, signals=[(0.2, number)])
        assert (ran.code, ran.out, ran.err) == (128 + number, "", "")
    ignored = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN){code}"
    ignored = ignored.replace("sleep(20)", "sleep(0.5); return 0")
    assert forks.run("config", code=ignored, signals=[(0.2, signal.SIGINT)]).code == 0


def test_an_interrupt_at_the_start_is_exit_code_130_without_a_traceback() -> None:
    """As soon as the command itself has begun, which is when it hears SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scd_tui", "doctor"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not hears(process.pid, signal.SIGTERM) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and err in (b"", b"scd-tui doctor: interrupted\n")
