"""Surroundings that a program takes for granted: a working directory, a home, a place for temporary files.

Each is missing, foreign or not writable, for root and for an ordinary user, with every command. The command
works, or says in one sentence what it lacks.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from circuits import ROOT, circuit_of
from forked import ENGINE, Forks, Ran
from hostile import unclean
from trial import Field, Kind, Tried

from scd_tui.commands import COMMANDS
from scd_tui.graph import Node, encode_circuit

NOBODY = 65534
KEPT = ("CONFIG", "STATE", "CACHE", "DATA")
SECONDS = 120.0


@dataclass(frozen=True)
class Surroundings:
    """`prepare` makes them in a folder; `code` is run in the process that then runs the command."""

    name: str
    env: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    prepare: Callable[[Path], object] = lambda folder: None
    code: str = ""
    user: int | None = None


_LATER = ("rich.table", "sqlite3", "scd_tui.neuronpedia.cache", "scd_tui.neuronpedia.local")
"""What an ordinary user may not be able to import from where root has installed it."""
_GONE = "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)"
_ALL = tuple(f"XDG_{kind}_HOME" for kind in KEPT)


def _locked(folder: Path) -> None:
    for kind in KEPT:
        path = folder / kind.lower()
        path.mkdir(exist_ok=True)
        path.chmod(0o500)


def _files(folder: Path) -> None:
    """Files in the places of folders."""
    for kind in KEPT:
        (folder / kind.lower()).write_bytes(b"")


def every() -> list[Surroundings]:
    """All of them, as root and as an ordinary user."""
    plain = [
        Surroundings("as they are"),
        Surroundings("the working directory is gone", code=_GONE),
        Surroundings("no HOME", without=("HOME", *_ALL)),
        Surroundings("HOME is empty", {"HOME": ""}, _ALL),
        Surroundings("HOME is not there", {"HOME": "/no/such/home"}, _ALL),
        Surroundings("HOME is a file", {"HOME": "/etc/passwd"}, _ALL),
        Surroundings("no TMPDIR", without=("TMPDIR",)),
        Surroundings("TMPDIR is not there", {"TMPDIR": "/no/such/folder"}),
        Surroundings("TMPDIR is a file", {"TMPDIR": "/etc/passwd"}),
        Surroundings("TMPDIR is empty", {"TMPDIR": ""}),
        Surroundings("TMPDIR cannot be written", {"TMPDIR": "/proc"}),
        Surroundings("nothing can be kept", dict.fromkeys(_ALL, "/proc/no")),
        Surroundings("kept in a device", dict.fromkeys(_ALL, "/dev/null")),
        Surroundings("files in the place of folders", prepare=_files),
        Surroundings("folders that cannot be written", prepare=_locked),
        Surroundings("relative folders", dict.fromkeys(_ALL, "here")),
        Surroundings("no environment", without=tuple(os.environ)),
    ]
    users = [
        Surroundings(
            f"{one.name}, an ordinary user", one.env, one.without, one.prepare, one.code, NOBODY
        )
        for one in plain
    ]
    return [*plain, *users] if os.getuid() == 0 else plain


def calls(folder: Path) -> list[list[str]]:
    """A call of every command, and one of the app, which has no terminal here."""
    file = folder / "circuit.json"
    file.write_bytes(encode_circuit(circuit_of(Node(ROOT, 0.25, 0.25, top=True), edges=())))
    file.chmod(0o644)
    text = folder / "text.txt"
    text.write_text("The keys that the man holds are in the box. " * 100)
    text.chmod(0o644)
    return [
        *([name, "--help"] for name in COMMANDS),
        *(["config"], ["models"], ["explanations", "--status"], ["explanations", "--clear"]),
        *(
            ["open", str(file), "--print"],
            ["diff", str(file), str(file)],
            ["doctor", "--no-device"],
        ),
        *(["attribute", "The keys", "--top", "2"], ["attribute", "The keys", "--out", "c.json"]),
        *(["check", "--tokens", "64"], ["download", "gpt2-small"], ["validate", str(file)]),
        ["contexts", "demo", "--text", str(text), "--tokens", "64"],
        ["a prompt"],
        ["open", "circuit.json", "--print"],
        ["models", "./x.toml"],
    ]


def surroundings(field: Field) -> Iterator[Tried]:
    """Every call in all of them."""
    field.folder.chmod(0o755)
    every_call = calls(field.folder)
    chance = field.random("surroundings")
    pairs = [(one, words) for one in every() for words in every_call]
    chance.shuffle(pairs)
    environment = field.home(HF_ENDPOINT="http://127.0.0.1:9")
    with Forks(*ENGINE, *_LATER, env=environment) as forks:
        for number, (one, words) in enumerate(pairs):
            folder = field.folder / str(number)
            folder.mkdir()
            env = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in KEPT}
            for name in one.without:
                env.pop(name, None)
            one.prepare(folder)
            if one.user is not None and "cannot" not in one.name:
                os.chown(folder, one.user, one.user)
            ran = forks.run(
                *words, env={**env, "HF_ENDPOINT": "http://127.0.0.1:9", **one.env},
                without=[name for name in one.without if name not in one.env],
                code=one.code, user=one.user, folder=str(folder), seconds=SECONDS,
            )  # fmt: skip
            yield Tried(f"{' '.join(words)[:40]}: {one.name}", judged(ran))
            for path in folder.rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(stat.S_IRWXU)
            shutil.rmtree(folder, ignore_errors=True)


def judged(ran: Ran) -> str:
    """What was lost; "" where it worked or said in one sentence what it lacks."""
    if ran.code is None:
        return f"no end within {SECONDS:.0f} s"
    if ran.code not in (0, 1, 2):
        return f"exit code {ran.code}: {ran.err[-300:]}"
    lines = ran.err.splitlines()
    if any(not line.startswith("scd-tui") for line in lines):
        return f"no sentence of ours: {lines[-3:]}"
    if "Traceback" in ran.err or "SCD_TUI_TRACEBACK" in ran.err:
        return f"an exception's name: {lines}"
    if ran.code != 0 and not lines and not ran.out:
        return f"exit code {ran.code} without a word"
    return unclean(ran.out + ran.err)


KINDS = (Kind("surroundings", "no home, no working directory, foreign folders", surroundings, 400),)
