"""`scd-tui doctor`: what the app would meet here, and what to do about what is wrong."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scd_tui.commands.parser import Parser
from scd_tui.leaving import SIGNALS, Signalled, leave_now

if TYPE_CHECKING:
    from rich.console import Console

    from scd_tui.config import Config
    from scd_tui.doctor.findings import Finding, Section

GRACE_SECONDS = 1.0
"""How long ending in order may take after ctrl+c."""
_COLOURS = {"ok": "green", "warn": "yellow", "problem": "bold red"}


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui doctor",
        description="Look at what the app would meet here: terminal, colours, clipboard route, folders, "
        "packages, device, worker and the settings of the network; with what to do about what is wrong. "
        "Exit code 1 when something would stop the app.",
    )
    parser.add_argument(
        "--no-device",
        action="store_true",
        help="leave out torch and the worker, which take some seconds to start",
    )
    parser.add_argument(
        "--network",
        action="store_true",
        help="ask Neuronpedia and the Hub, the same question for everybody (default: nothing is asked)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = make_parser().parse_args(argv)
    came: list[int] = []
    try:
        return asyncio.run(_run(arguments, came))
    except asyncio.CancelledError:
        raise Signalled(came[0] if came else signal.SIGINT) from None


async def _run(arguments: argparse.Namespace, came: list[int]) -> int:
    from scd_tui import __version__
    from scd_tui.console import CleanConsole

    _listen_for_signals(came)
    from scd_tui.doctor.findings import Report
    from scd_tui.saying import as_json

    console = CleanConsole(soft_wrap=True)
    sections = []
    if not arguments.json:
        console.print(f"scd-tui {__version__}", markup=False)
    async for section in _sections(arguments):
        sections.append(section)
        if not arguments.json:
            _print(section, console)
    report = Report(__version__, tuple(sections))
    if arguments.json:
        sys.stdout.write(as_json(report))
    else:
        console.print(f"\n{_verdict(report.count('problem'), report.count('warn'))}")
    return 1 if report.count("problem") else 0


def _listen_for_signals(came: list[int]) -> None:
    """End in order on ctrl+c, or else not in order: what was started is then killed.

    `came` gets the number of the signal.
    """
    task = asyncio.current_task()
    assert task is not None

    def leave(number: int) -> None:
        came.append(number)
        last_word = threading.Timer(GRACE_SECONDS, leave_now, (number,))
        last_word.daemon = True
        last_word.start()
        task.cancel()

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks for
                asyncio.get_running_loop().add_signal_handler(number, leave, number)


async def _sections(arguments: argparse.Namespace) -> "AsyncIterator[Section]":
    """One after the other; what is slow is under way meanwhile."""
    from scd_tui.config import read_config
    from scd_tui.doctor.findings import Section

    config, problem = read_config()
    started = [] if arguments.no_device else [asyncio.create_task(_computing(config))]
    asked = [asyncio.create_task(asyncio.to_thread(_asked))] if arguments.network else []
    await asyncio.sleep(0.01)  # so that the processes start before anything else is done
    try:
        yield Section("terminal", tuple(await asyncio.to_thread(_terminal, config)))
        yield Section("folders", tuple(await asyncio.to_thread(_folders, config, problem)))
        yield Section("network", tuple(await asyncio.to_thread(_network, config)))
        yield Section("software", tuple(await asyncio.to_thread(_software)))
        with _waiting("torch and the worker" if started else "the network"):
            for task in asked:
                yield Section("network, asked", tuple(await task))
            for computing in started:
                yield Section("device", tuple(await computing))
    finally:
        for one in (*started, *asked):
            one.cancel()
        await asyncio.gather(*started, *asked, return_exceptions=True)


def _terminal(config: "Config") -> "list[Finding]":
    from scd_tui.doctor.terminal import terminal
    from scd_tui.doctor.tmux import ask_tmux

    # The app reads stdin and draws on stderr: stdout may be a pipe.
    isatty = sys.stdin.isatty() and sys.stderr.isatty()
    size = None
    if isatty:
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(sys.stderr.fileno())
            size = (columns, rows)
    return terminal(os.environ, isatty, size, config, ask_tmux(os.environ))


def _folders(config: "Config", problem: str) -> "Iterator[Finding]":
    from scd_tui.catalog.cached import cache_dir
    from scd_tui.config import cache_path, config_path, state_path
    from scd_tui.doctor.configuration import configuration
    from scd_tui.doctor.damaged import damaged
    from scd_tui.doctor.paths import file, folder
    from scd_tui.neuronpedia.start import cache_folder

    yield file("configuration", config_path())
    yield from configuration(config, problem)
    yield folder(
        "past circuits", state_path() / "circuits", private=True, needed_for="past circuits"
    )
    yield from damaged()
    caches = cache_path()
    yield folder("cache", caches, private=False, needed_for="the gate's verdicts and records")
    yield folder("explanations", cache_folder(caches), private=True, needed_for="explanations")
    yield folder("downloads", cache_dir(), private=False, needed_for="models of the Hub")
    yield folder(
        *("working folder", Path.cwd()),
        private=False, needed_for="circuits saved with s", counted=False,
    )  # fmt: skip


def _network(config: "Config") -> "list[Finding]":
    from scd_tui.doctor.network import settings

    return settings(config, os.environ)


def _asked() -> "list[Finding]":
    from scd_tui.doctor.network import ask

    return ask(os.environ)


def _software() -> "list[Finding]":
    from scd_tui.doctor.software import software

    return software()


async def _computing(config: "Config") -> "list[Finding]":
    """Processors, memory, torch and its devices, and the worker on the configured one."""
    from scd_tui.doctor.device import devices, look_for_gpus, machine, probe_torch
    from scd_tui.doctor.worker import worker
    from scd_tui.worker.client import PROGRAM

    before = machine()
    python = PROGRAM[: PROGRAM.index("-m")]
    probed, (listed, driver), works = await asyncio.gather(
        probe_torch(python), asyncio.to_thread(look_for_gpus), worker(config.device)
    )
    return [*before, *devices(probed, listed, driver, config.device, os.environ), works]


@contextlib.contextmanager
def _waiting(for_what: str) -> Iterator[None]:
    """A sign of life on a terminal."""
    from scd_tui.console import CleanConsole

    console = CleanConsole(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(f"waiting for {for_what}"):
        yield


def _print(section: "Section", console: "Console") -> None:
    from textwrap import wrap

    from rich.text import Text

    console.print(Text(f"\n{section.name}", style="bold"))
    names = max((len(one.name) for one in section.findings), default=0)
    margin = names + 12
    # A pipe has no width, and its lines are cut by nobody.
    room = max(20, console.width - margin) if console.is_terminal else sys.maxsize
    for one in section.findings:
        lines = wrap(one.says, room, break_on_hyphens=False, break_long_words=False)
        if one.todo:
            cure = wrap(one.todo, room - 2, break_on_hyphens=False, break_long_words=False)
            lines += [f"→ {cure[0]}", *(f"  {line}" for line in cure[1:])]
        first, *more = lines or [""]
        state = (f"{one.state:<8}", _COLOURS[one.state])
        console.print(Text.assemble("  ", state, f"{one.name:<{names}}  {first}"))
        for line in more:
            console.print(Text(" " * margin + line))


def _verdict(problems: int, warnings: int) -> str:
    from scd_tui.numbers import counted

    said = counted(warnings, "warning")
    if problems:
        return f"{counted(problems, 'problem stops', 'problems stop')} the app, {said}"
    return f"nothing stops the app, {said}"
