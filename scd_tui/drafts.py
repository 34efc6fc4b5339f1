"""What was typed and not finished when a sitting broke off: kept, and offered at the next start.

Each sitting writes a file of its own, for its owner alone, and holds a lock beside it for as long as it
lives; a file whose lock is free was left by one that was killed. The next sitting takes such files over.
A text goes when it is used or given up, when its sitting is left in order, or after a month.
"""

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

import msgspec

from scd_tui.decoding import Undecodable, decode_json
from scd_tui.files import write_private
from scd_tui.locking import locked
from scd_tui.reading import RESULT, read_bytes

DraftKind = Literal["prompt", "note", "question"]
MOST = 20
"""Texts that are kept of each kind, the last ones."""
LONGEST = 200_000
"""Characters of a text that is kept; no model reads as much."""
_AGE_SECONDS = 30 * 86400.0


class Draft(msgspec.Struct, frozen=True):
    """A text that was not finished. `about` is the key of a note's circuit, or the prompt of a question,
    and `node` what the note is on. `when` is in seconds since 1970."""

    kind: DraftKind
    text: str
    about: str = ""
    node: str = ""
    when: float = 0.0

    @property
    def place(self) -> tuple[str, str, str]:
        return self.kind, self.about, self.node


class Drafts:
    """The unfinished texts of one sitting, and those that it took over. Without a folder, none are kept."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._own: dict[tuple[str, str, str], Draft] = {}
        self._left: list[Draft] = []
        self._alive = ExitStack()
        self._locked = False
        self._written = b"[]"
        self._writing = threading.Lock()

    def put(self, kind: DraftKind, text: str, about: str = "", node: str = "") -> None:
        """Have this text of the sitting kept; an empty one is none."""
        draft = Draft(kind, text, about, node, self._clock())
        self._own.pop(draft.place, None)
        if text and len(text) <= LONGEST:
            self._own[draft.place] = draft

    def left(self, kind: DraftKind, about: str = "", node: str = "") -> list[str]:
        """What earlier sittings left of a kind and a place, the last first, each text once."""
        place = (kind, about, node)
        return list(dict.fromkeys(one.text for one in self._left if one.place == place))

    def notes(self) -> list[Draft]:
        """Notes that were left."""
        return [one for one in self._left if one.kind == "note"]

    def count(self, kind: DraftKind) -> int:
        """How many texts of a kind were left."""
        return sum(one.kind == kind for one in self._left)

    def done(
        self, kind: DraftKind, about: str = "", node: str = "", text: str | None = None
    ) -> None:
        """What was left there, or that text alone, was used or given up."""
        place = (kind, about, node)
        self._left = [
            one for one in self._left if one.place != place or text not in (None, one.text)
        ]

    def save(self, patience: float = -1) -> None:
        """Write what there is, if it is not written; quickly done. Raises OSError."""
        if self._folder is None or not self._writing.acquire(timeout=patience):
            return
        try:
            data = msgspec.json.encode(self._all())
            if data == self._written:
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._locked:
                self._locked = True
                self._alive.enter_context(locked(self._folder / f"{self._name}.lock", 0))
            write_private(self._folder / f"{self._name}.json", data)
            self._written = data
        finally:
            self._writing.release()

    def _all(self) -> list[Draft]:
        own = list(self._own.values())
        texts = {(one.place, one.text) for one in own}
        others = [one for one in self._left if (one.place, one.text) not in texts]
        kept: list[Draft] = []
        for kind in ("prompt", "note", "question"):
            kept += [one for one in (*own, *others) if one.kind == kind][:MOST]
        return kept

    def take_over(self) -> None:
        """Take over what sittings left that are dead. Raises OSError."""
        if self._folder is None:
            return
        with ExitStack() as held:
            found: list[Path] = []
            for path in sorted(self._folder.glob("*.json")):
                lock = path.with_suffix(".lock")
                if path.stem == self._name:
                    continue
                # one that lives holds its lock, and one that takes it over too
                if held.enter_context(locked(lock, 0)):
                    found.append(path)
                    self._left += _read(path)
            oldest = self._clock() - _AGE_SECONDS
            self._left = sorted(
                (one for one in self._left if one.when > oldest), key=lambda one: -one.when
            )
            self.save()
            for path in found:
                for gone in (path, path.with_suffix(".lock")):
                    with suppress(OSError):
                        gone.unlink()

    def close(self, in_order: bool) -> None:
        """The sitting ends. In order, what was typed or taken up in it is given up."""
        with suppress(OSError):
            if in_order:
                for one in self._own.values():
                    self.done(one.kind, one.about, one.node, one.text)
                self._own.clear()
            self.save()
            if self._folder is not None and not self._all():
                for end in ("json", "lock"):
                    (self._folder / f"{self._name}.{end}").unlink(missing_ok=True)
        self._alive.close()


def _read(path: Path) -> list[Draft]:
    """The texts in a file; none where it is something else."""
    try:
        found = decode_json(read_bytes(path, RESULT), list[Draft])
    except (OSError, Undecodable):
        return []
    return [one for one in found if one.text and len(one.text) <= LONGEST]


def drafts_in(state: Path, kept: bool) -> Drafts:
    """Those of a state folder; none where no history is kept either."""
    return Drafts(state / "drafts" if kept else None)
