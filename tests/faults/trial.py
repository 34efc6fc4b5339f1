"""What a kind of fault is given, and what it says of each fault that it tried."""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tried:
    """One fault that was tried. `lost` says in one sentence what was lost; "" where nothing was."""

    fault: str
    lost: str = ""


@dataclass(frozen=True)
class Field:
    """Where and how long faults of one kind are tried.

    `folder` is empty at first and is this kind's alone; the same `seed` tries the same faults in the same
    order, as far as time allows. A kind ends by itself when it has tried everything, or soon after
    `ends` (in `time.monotonic()` seconds).
    """

    folder: Path
    seed: int
    ends: float

    @property
    def over(self) -> bool:
        """Whether the time of this kind is spent."""
        return time.monotonic() >= self.ends

    def random(self, what: object = "") -> random.Random:
        """Random numbers that depend on the seed and on what they are drawn for."""
        return random.Random(f"{self.seed} {what}")

    def home(self, name: str = "home", **more: str) -> dict[str, str]:
        """An environment whose home, configuration, state and cache are in a folder of their own."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        kept = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in _KEPT}
        return {**os.environ, "HOME": str(folder), **kept, **more}


@dataclass(frozen=True)
class Kind:
    """Faults of one kind. `run` yields one `Tried` for each, as soon as its outcome is known."""

    name: str
    title: str
    run: Callable[[Field], Iterator[Tried]]
    seconds: float
    """How long it takes until everything was tried, or until nothing new is expected."""


def state_folders(environment: Mapping[str, str]) -> dict[str, Path]:
    """The folders of `Field.home` by what they hold: config, state, cache, data."""
    return {kind.lower(): Path(environment[f"XDG_{kind}_HOME"]) for kind in _KEPT}


_KEPT = ("CONFIG", "STATE", "CACHE", "DATA")
