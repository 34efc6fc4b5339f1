"""A clock that is set back or ahead while the app runs, in the app and in its worker.

Python takes up a `sitecustomize` from its path: this one adds to the time of day what a file says.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from pty_app import PtyApp
from trial import Field, Kind, Tried

from scd_tui.history import History

CODE = """
import os, time
_real = time.time
def _shifted():
    try:
        with open(os.environ["CLOCK_OFFSET"]) as file:
            return _real() + float(file.read() or 0)
    except OSError:
        return _real()
time.time = _shifted
"""
OFFSETS = (-1, -3_600, -86_400 * 400, -1_790_000_000, 3_600, 86_400 * 4000)
"""Seconds: from one back, over more than a year, to a date before 1970 for some."""
MOMENTS = ("at start", "while it loads", "when the circuit is there")
QUIT_SECONDS = 8.0


def run(field: Field) -> Iterator[Tried]:
    program = field.folder / "program"
    program.mkdir()
    (program / "sitecustomize.py").write_text(CODE)
    for moment in MOMENTS:
        for offset in OFFSETS:
            if field.over:
                return
            yield Tried(f"{offset:+} s {moment}", _one(field, program, moment, offset))


def _one(field: Field, program: Path, moment: str, offset: int) -> str:
    name = f"{moment.replace(' ', '-')}{offset}"
    file = field.folder / f"{name}.offset"
    file.write_text("0")
    before = field.home(name).get("PYTHONPATH", "")
    path = ":".join(part for part in (str(program), before) if part)
    environment = field.home(name, PYTHONPATH=path, CLOCK_OFFSET=str(file))
    app = PtyApp(field.folder, environment, (100, 30), "Make America Great")
    try:
        if moment == "at start":
            file.write_text(str(offset))
        if not app.until(lambda screen: "Prompt" in screen, 60):
            return f"the app never came up: {app.lost()}"
        if moment == "while it loads":
            file.write_text(str(offset))
        if not app.until(lambda screen: "resid_post" in screen, 90):
            return f"no circuit was made: {app.lost()}"
        file.write_text(str(offset))
        app.write(b"2jj")
        app.read(1.0, 4.0)
        app.write(b"o")
        app.read(0.5, 2.0)
        app.write(b"\x1b")
        app.read(0.5, 2.0)
        if found := app.lost():
            return found
        app.write(b"q")
        end = time.monotonic() + QUIT_SECONDS
        while app.alive and time.monotonic() < end:
            app.read(0.05, 0.2)
        if app.alive:
            return "it did not quit as always"
        if found := app.lost(may_leave=True):
            return found
    finally:
        app.close()
    kept = History(Path(environment["XDG_STATE_HOME"]) / "scd-tui" / "circuits").entries()
    return "" if len(kept) == 1 else f"{len(kept)} circuits are kept"


KINDS = (Kind("clock", "clocks that are set back or ahead", run, 400),)
