"""Two apps, or three programs, on one circuit at once: what each did is in the file in the end.

Processes that write it as the app does, with seeds, some killed while they write; and two real apps on
terminals of their own, with notes and pins in turns.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import writer
from trial import Field, Kind, Tried, state_folders
from tui.samples import circuit

from kinds.dropped_line import Terminal
from scd_tui.graph import encode_circuit
from scd_tui.history import LOCK, History, View
from scd_tui.locking import locked

SCRIPT = Path(writer.__file__)


def run(field: Field) -> Iterator[Tried]:
    numbers = field.random("two-apps")
    saved = field.folder / "circuit.json"
    saved.write_bytes(encode_circuit(circuit()))
    for number in range(10_000):
        if field.over:
            return
        if number % 6 == 5:
            yield _apps(field, number, saved, numbers)
        else:
            yield _writers(field, number, numbers)


def _writers(field: Field, number: int, numbers: random.Random) -> Tried:
    folder = field.folder / f"writers{number}"
    history = History(folder)
    history.save(writer.first(), View())
    names = "ab"[: numbers.randint(1, 2)] if numbers.random() < 0.2 else "ab"
    count, killed = numbers.randint(5, 60), numbers.random() < 0.5
    call = [sys.executable, str(SCRIPT), str(folder)]
    started = [
        subprocess.Popen([*call, name, str(number), str(count)], stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    if killed:
        time.sleep(0.3 + numbers.random() * 0.6)
        started[0].kill()
    told = [one.communicate(timeout=120)[0].splitlines() for one in started]
    kept = history.find(circuit())
    name = f"{len(names)} writers of {count}, seed {number}{', one killed' * killed}"
    if kept is None:
        return Tried(name, "the file cannot be read")
    lines = [line for part in told for line in part if line.count("\t") == 2]
    lost = [line for line in lines if writer.missing(kept.circuit, line)]
    with locked(folder / LOCK, 0) as held:
        if not held:
            return Tried(name, "a lock is left")
    if not killed and any(one.returncode for one in started):
        return Tried(name, "a writer failed")
    return Tried(name, f"{len(lost)} of {len(lines)} are lost: {lost[:3]}" if lost else "")


def _apps(field: Field, number: int, saved: Path, numbers: random.Random) -> Tried:
    environment = field.home(f"home{number}", TERM="xterm-256color", PYTHONUTF8="1")
    apps = [Terminal(environment, "open", str(saved)) for _ in range(2)]
    name = f"two apps, seed {number}"
    try:
        for app in apps:
            if not app.until(b"resid_post 3"):
                return Tried(name, "an app never came up")
            app.read(0.8)
        texts: list[str] = []
        for app, row in zip(apps, (2, 3), strict=True):
            _keys(app, *["j"] * row)
        for step in range(4):
            turn = numbers.randrange(2)
            texts.append(f"<{turn}{step}>")
            _keys(apps[turn], "n", "\x1b[F", texts[-1], "\r")
            if step == 2:
                _keys(apps[0], "a")
                _keys(apps[1], "a")
            apps[1 - turn].read(numbers.random() * 3)
        _keys(apps[0], "q")
        apps[0].read(1.0)
        _keys(apps[1], "q")
    finally:
        left = [app.end("SIGTERM") for app in apps]
    kept = History(state_folders(environment)["state"] / "scd-tui" / "circuits").find(circuit())
    if kept is None:
        return Tried(name, "the file cannot be read")
    marks = kept.circuit.marks
    missing = [text for text in texts if not any(text in note for note in marks.notes.values())]
    if missing or len(marks.pins) != 2:
        return Tried(name, f"lost {missing}, pins {marks.pins}, notes {marks.notes}")
    return Tried(name, "" if all(left) else "an app did not leave")


def _keys(app: Terminal, *keys: str) -> None:
    for key in keys:
        app.type(key)
        app.read(0.3)


KINDS = (Kind("two-apps", "apps that write one circuit at once", run, 240),)
