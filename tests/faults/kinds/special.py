"""Special files at every path that a command takes, and among the files that this program keeps."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pty_app import EXCEPTION, PtyApp
from special_files import SPECIAL, calls
from trial import Field, Kind, Tried, state_folders
from tui.samples import circuit

from scd_tui.graph import encode_circuit
from scd_tui.history import History, View

SECONDS = 10.0
"""The most that a call may take: a loaded machine needs two to start Python."""


def _commands(field: Field) -> Iterator[Tried]:
    """Each argument that takes a path, as a user calls the command, with a terminal nowhere."""
    sound, text = field.folder / "circuit.json", field.folder / "text"
    sound.write_bytes(encode_circuit(circuit()))
    text.write_text("some words", "utf-8")
    environment = field.home()
    tried = [
        (kind, ending, words)
        for kind in SPECIAL
        for ending in ("", ".toml", ".json")
        for words in calls("PATH", str(sound), str(text), str(field.folder / "out"))
    ]
    field.random("commands").shuffle(tried)
    for number, (kind, ending, words) in enumerate(tried):
        path = field.folder / f"{number}" / f"special{ending}"
        path.parent.mkdir()
        SPECIAL[kind](path)
        call = [str(path) if word == "PATH" else word for word in words]
        yield Tried(f"{kind}{ending}: {' '.join(words)}", _call(call, environment))
        shutil.rmtree(path.parent)


def _call(words: list[str], environment: dict[str, str]) -> str:
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scd_tui", *words],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it does not end within {SECONDS:.0f} s"
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode not in (1, 2):
        return f"exit code {done.returncode}: {said!r}"
    if EXCEPTION.search(said) or "Errno" in said:
        return f"an exception's name: {said!r}"
    if len(said.strip().splitlines()) != 1:
        return f"not one sentence: {said!r}"
    return "" if time.monotonic() - begun < SECONDS else "too slow"


def _kept(field: Field) -> Iterator[Tried]:
    """The app starts on folders of its own in which something else lies at a file's or folder's place."""
    places = {
        "state": ("", "circuits", "models", "aside", "neuronpedia-told", "circuits/x.jsonl",
                  "models/x.json"),
        "config": ("", "config.toml", "models", "models/x.toml"),
        "cache": ("", "neuronpedia", "neuronpedia/looked-up", "neuronpedia/looked-up/cache.db",
                  "neuronpedia/ahead/cache.db", "gates", "models", "contexts", "aside"),
    }  # fmt: skip
    tried = [(s, k, p) for s in SPECIAL for k, some in places.items() for p in some]
    field.random("kept").shuffle(tried)
    for number, (special, kind, place) in enumerate(tried):
        environment = field.home(f"home{number}")
        folders = state_folders(environment)
        History(folders["state"] / "scd-tui" / "circuits").save(circuit(), View())
        path = folders[kind] / "scd-tui" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        SPECIAL[special](path)
        yield Tried(f"{special} as {kind}/{place}", _start(field.folder, environment))
        shutil.rmtree(field.folder / f"home{number}", ignore_errors=True)


def _start(folder: Path, environment: dict[str, str]) -> str:
    app = PtyApp(folder, environment, (100, 30))
    try:
        if not app.until(lambda screen: "╰─" in screen, 40):
            return app.lost() or f"the app does not start: {app.screen().strip()[-200:]!r}"
        app.read(0.5, 3)
        return app.lost()
    finally:
        app.close()


KINDS = (
    Kind("special-inputs", "special files as input of every command", _commands, 900),
    Kind("special-kept", "special files among those that are kept", _kept, 600),
)
