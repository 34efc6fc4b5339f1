"""A worker that is stopped, goes on or is killed at a random moment, from its start on."""

import contextlib
import time
from collections.abc import Iterator
from random import Random

import psutil
from pty_app import PtyApp
from trial import Field, Kind, Tried

KILLED = "was killed by SIGKILL"
SILENT = "No sign of life from the worker"
TOLD_SECONDS = 25.0
"""Ten seconds of silence, and what a loaded machine takes to say so."""
MADE_SECONDS = 90.0
ENDS = ("goes on", "is restarted", "is killed", "is left")


def run(field: Field) -> Iterator[Tried]:
    numbers = field.random("worker")
    for number in range(200):
        for end in ENDS:
            if field.over:
                return
            moment = numbers.choice([0.3, 1.0, 2.0, 4.0, 8.0, 12.0]) * numbers.uniform(0.7, 1.3)
            name = f"stopped after {moment:.1f} s, then it {end}"
            yield Tried(name, _one(field, f"home{number}{end}", moment, end, numbers))


def _one(field: Field, home: str, moment: float, end: str, numbers: Random) -> str:
    environment = field.home(home)
    size = numbers.choice([(80, 24), (140, 40)])
    app = PtyApp(field.folder, environment, size, "Make America Great")
    try:
        if not app.until(lambda screen: "Prompt" in screen, 60):
            return "the app never came up"
        worker = _worker(app)
        if worker is None:
            return "no worker was started"
        _wait(app, moment)
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.suspend()
        app.write(b"2jMx")  # something is asked of it, whatever is on the screen
        if not app.until(lambda screen: SILENT in screen, TOLD_SECONDS):
            return f"nothing was said of the silence: {app.lost() or app.screen()[-400:]}"
        return _after(app, worker, end)
    finally:
        app.close()


def _after(app: PtyApp, worker: psutil.Process, end: str) -> str:
    if end == "is left":
        app.write(b"q")
        until = time.monotonic() + 10
        while app.alive and time.monotonic() < until:
            app.read(0.05, 0.2)
        if app.alive:
            return "the app did not quit"
        if _lives(worker):
            return "the worker outlived the app"
        return app.lost(may_leave=True)
    if end == "goes on":
        worker.resume()
    elif end == "is restarted":
        app.write(b"R")
    else:
        worker.kill()
        if not app.until(lambda screen: KILLED in screen):
            return "nothing was said of its death"
        app.write(b"R")
    made = app.until(
        lambda screen: "metric" in screen and SILENT not in screen and KILLED not in screen,
        MADE_SECONDS,
    )
    if not made:
        return f"no circuit afterwards: {app.screen()[-400:]}"
    if end != "goes on":
        # it is asked, terminated and killed, a fraction of a second each
        until = time.monotonic() + 5
        while _lives(worker) and time.monotonic() < until:
            app.read(0.05, 0.1)
        if _lives(worker):
            return "the old worker is still there"
    return app.lost()


def _lives(worker: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
    return False


def _worker(app: PtyApp) -> psutil.Process | None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        children = psutil.Process(app.pid).children()
        if children:
            return children[0]
        app.read(0.02, 0.1)
    return None


def _wait(app: PtyApp, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        app.read(0.05, 0.1)


KINDS = (Kind("worker", "workers that are stopped, go on, are killed", run, 300),)
