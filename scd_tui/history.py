"""Past circuits, kept for their owner alone: one file each, in a folder that nobody else can enter.

A file has three lines of JSON: what a list of circuits shows of it, how it was being looked at, and the
circuit. A list is made from the first lines, so that no index can be wrong; a file is replaced at once.
The same question asked again is the same file. Two programs at a time, each with an answer to the same
question, do each other no harm: whoever writes holds a lock, and merges what the file has got since it
last read or wrote it (`scd_tui.merging`).
"""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from scd_tui.aside import put_aside
from scd_tui.decoding import Undecodable, decode_json
from scd_tui.errors import InputError
from scd_tui.files import TEMPORARY, write_private
from scd_tui.graph import Circuit, Marks, Metric, ModelIdentity, NodeId, decode_circuit
from scd_tui.locking import locked
from scd_tui.merging import merged
from scd_tui.reading import CIRCUIT, LINE, Unreadable, read_bytes, read_line
from scd_tui.wording import contrast_words, place_words, wanted_words

Step = tuple[int, str]
By = Literal["site", "token", "effect"]
Order = Literal["size", "signed", "exact", "token", "name"]


class Look(msgspec.Struct, frozen=True):
    """How nodes are grouped and sorted, and which are left out.

    `least` is the weakest |effect| that is shown, as a share of the circuit's largest. With `only`, other
    nodes that the circuit was made with are out.
    """

    by: By = "site"
    order: Order = "size"
    least: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    errors: bool = True
    only: frozenset[NodeId] | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing is left out."""
        return self.least == 0 and self.errors and self.only is None


class Folds(msgspec.Struct, frozen=True):
    """What is unfolded of a tree, and where the cursor stands in it.

    `open` lists what is unfolded, those above before those below: the index in this list of the row above,
    or −1, and the row's own key. `cursor` is the path of keys to the row under the cursor.
    """

    open: tuple[Step, ...] = ()
    cursor: tuple[str, ...] = ()


class View(Folds, frozen=True):
    """How a circuit is being looked at. `look` is None in files from before it was kept.

    `others` has what was left in the ways of grouping that it is not being looked at in.
    """

    look: Look | None = None
    others: dict[By, Folds] = {}

    @property
    def untouched(self) -> bool:
        """Whether it is as any circuit is shown at first: one site unfolded, the cursor among the sites."""
        return len(self.open) <= 1 and len(self.cursor) <= 1 and not self.others


class Entry(msgspec.Struct, frozen=True):
    """What a list shows of a past circuit. `when` is in seconds since 1970, `target` is in words.

    `given` is how its model was named when it was loaded, which can be a folder's path.
    `contrast_prompt` is "" where there is none, and in files from before it was kept here; so is `place`,
    where the target is read, if that is not right after the prompt.
    """

    key: str
    when: float
    prompt: str
    target: str
    metric: Metric
    model: str
    dictionaries: str
    nodes: int
    marked: int = 0
    given: str = ""
    contrast_prompt: str = ""
    place: str = ""


class PassedOver(msgspec.Struct, frozen=True):
    """A file of a folder of ours that was not read: why, and where it was moved, None if it was not."""

    path: Path
    why: str
    kept: Path | None = None


Stamp = tuple[int, int, int]
"""Which writing of a file it is: every one is another file, of a size, at a time."""


class Seen(NamedTuple):
    """What a program knows of a question's file: the writing that it last read or made, and the marks
    in it. The first is None where it knows of no file."""

    stamp: Stamp | None = None
    marks: Marks = Marks()


UNSEEN = Seen()


class Kept(msgspec.Struct, frozen=True):
    """A past circuit as it was left. `view` is None where that cannot be read, though the circuit can."""

    entry: Entry
    view: View | None
    circuit: Circuit
    stamp: Stamp | None = None

    @property
    def seen(self) -> Seen:
        return Seen(self.stamp, self.circuit.marks)


class Written(NamedTuple):
    """What was written of a circuit. `merged`: the file had more, which is in `circuit` now."""

    entry: Entry
    circuit: Circuit
    view: View
    seen: Seen
    merged: bool


def target_words(circuit: Circuit) -> str:
    """What a circuit explains, as it stands in lists: the target, and what it is held against."""
    target = circuit.target
    words = wanted_words(target)
    return f"{words} − {contrast_words(target)}" if target.contrast is not None else words


def key_of(circuit: Circuit) -> str:
    """A name for the question that a circuit answers; the answer's numbers are not in it.

    A pruned circuit is another than the whole one.
    """
    model = circuit.model
    question: list[object] = [
        *(model.name, model.revision, model.dictionaries, model.dictionaries_revision),
        *(circuit.prompt, circuit.contrast_prompt, circuit.forced, circuit.target.root),
        circuit.settings,
    ]
    if circuit.pruned is not None:
        question.append(circuit.pruned)
    return hashlib.sha256(msgspec.json.encode(question)).hexdigest()[:20]


class History:
    """The past circuits in `folder`, at most `keep` of them; with 0 nothing is written.

    It reads and writes files: the app calls it in a thread.
    """

    def __init__(
        self, folder: Path, keep: int = 200, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._keep = keep
        self._clock = clock
        self._passed_over: dict[Path, PassedOver] = {}

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.jsonl"

    def entries(self) -> list[Entry]:
        """All that there are, the last first. What cannot be read is passed over, and moved aside."""
        found = map(self._entry, self._paths())
        return sorted((one for one in found if one is not None), key=lambda one: -one.when)

    def passed_over(self) -> list[PassedOver]:
        """What this object passed over so far, each file once."""
        return list(self._passed_over.values())

    def _paths(self) -> list[Path]:
        try:
            inside = list(self._folder.iterdir())
        except OSError:  # no such folder, no folder, or one that is closed to us
            return []
        return [path for path in inside if path.suffix == ".jsonl" and path.name[0] != "."]

    def _entry(self, path: Path) -> Entry | None:
        try:
            return _first_line(path)
        except FileNotFoundError:
            if path.is_symlink():
                self._pass_over(path, "it is a link that leads nowhere")
        except OSError as error:
            self._pass_over(path, error.strerror or "the disk refuses it")
        except Undecodable as error:
            self._pass_over(path, str(error), damaged=True)
        return None

    def _pass_over(self, path: Path, why: str, *, damaged: bool = False) -> PassedOver:
        """Note that a file cannot be read, and move it aside if it is damaged."""
        found = PassedOver(path, why, put_aside(path) if damaged else None)
        self._passed_over[path] = found
        return found

    def prompts(self) -> list[str]:
        """The prompts of all of them, the last first, each once."""
        return list(dict.fromkeys(entry.prompt for entry in self.entries()))

    def last_model(self) -> str | None:
        """The model that was used last, as it was named. Reads one file: the app asks before its first
        frame."""
        last = sorted(((_changed(path), path) for path in self._paths()), reverse=True)
        for _, path in last:
            try:
                entry = _first_line(path)
            except (OSError, Undecodable):
                continue
            return entry.given or entry.model
        return None

    def load(self, key: str) -> Kept:
        """Raises InputError, in one sentence, if it is not there any more or cannot be read."""
        path = self._path(key)
        try:
            stamp = _stamp(path)  # before it is read: what is written meanwhile is then read again
            lines = read_bytes(path, CIRCUIT).split(b"\n", 2)
            if len(lines) < 3:
                raise Undecodable("its end is missing")
            head, view, circuit = lines
            return Kept(decode_json(head, Entry), _view(view), decode_circuit(circuit), stamp)
        except FileNotFoundError as error:
            raise InputError(f"that circuit cannot be read: {error.strerror}") from None
        except OSError as error:
            self._pass_over(path, error.strerror or "the disk refuses it")
            raise InputError(f"that circuit cannot be read: {error.strerror}") from None
        except ValueError as error:
            kept = self._pass_over(path, str(error), damaged=True).kept
            where = f"; the file is kept aside, as {kept}" if kept is not None else ""
            raise InputError(f"that circuit cannot be read: {error}{where}") from None

    def find(self, circuit: Circuit) -> Kept | None:
        """What is kept of a circuit's question, if that can be read."""
        try:
            return self.load(key_of(circuit))
        except InputError:
            return None

    def save(self, circuit: Circuit, view: View, given: str = "") -> Entry | None:
        """Keep a circuit, with what is kept of its question already. Raises OSError."""
        written = self.write(circuit, view, given)
        return None if written is None else written.entry

    def write(
        self, circuit: Circuit, view: View, given: str = "", seen: Seen = UNSEEN
    ) -> Written | None:
        """Keep a circuit, merged with its file. `seen` is the file as the writer last knew it.

        How it is looked at is as the writer has it, unless it never saw the file and did nothing yet.
        Returns None where nothing is kept. Raises OSError.
        """
        if not self._keep:
            return None
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        key = key_of(circuit)
        with locked(self._folder / LOCK):
            for last in (False,) * 3 + (True,):
                made = self._with_kept(key, circuit, view, given, seen)
                before = _stamp(self._path(key))
                # Under the lock nothing comes between, but where there are no locks something may.
                if last or before == made.before:
                    break
            written = self._put(key, made)
            self._forget_old(key)
        return written

    def _with_kept(self, key: str, circuit: Circuit, view: View, given: str, seen: Seen) -> "_Made":
        stamp = _stamp(self._path(key))
        if stamp is None or stamp == seen.stamp:
            return _Made(circuit, view, given, stamp, merged=False)
        try:
            kept = self.load(key)
        except InputError:
            return _Made(circuit, view, given, _stamp(self._path(key)), merged=False)
        if seen.stamp is None and view.untouched and kept.view is not None:
            view = kept.view
        circuit = merged(seen.marks, circuit, kept.circuit)
        return _Made(circuit, view, given or kept.entry.given, kept.stamp, merged=True)

    def _put(self, key: str, made: "_Made") -> Written:
        circuit, path = made.circuit, self._path(key)
        entry = Entry(
            key=key,
            when=self._clock(),
            prompt=circuit.prompt,
            target=target_words(circuit),
            metric=circuit.target.metric,
            model=circuit.model.name,
            dictionaries=circuit.model.dictionaries,
            nodes=circuit.size,
            given=made.given,
            contrast_prompt=circuit.contrast_prompt or "",
            place=place_words(circuit),
        )
        self._require_free(path)
        lines = [msgspec.json.encode(part) for part in (entry, made.view, circuit)]
        status = write_private(path, b"\n".join(lines) + b"\n")
        seen = Seen(_stamp_of(status), circuit.marks)
        return Written(entry, circuit, made.view, seen, made.merged)

    def _require_free(self, path: Path) -> None:
        """Raise OSError where a file would be lost by being replaced: one that could not be read and could
        not be moved aside, or one that is no regular file."""
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        found = self._passed_over.get(path)
        if not stat.S_ISREG(mode) or (found is not None and found.kept is None):
            raise Unreadable(path, "something else is in its place; move that away")

    def forget(self, key: str) -> None:
        """Remove one for good."""
        self._path(key).unlink(missing_ok=True)

    def _forget_old(self, but: str) -> None:
        """Remove the oldest, were there too many; never the one just written, whatever the clock says."""
        if len(self._paths()) > self._keep:
            others = [entry.key for entry in self.entries() if entry.key != but]
            for key in others[self._keep - 1 :]:
                self.forget(key)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what programs that were killed while they wrote have left."""
        for path in self._folder.glob(f"{TEMPORARY}*"):
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime > _LEFT_SECONDS:
                    path.unlink()


class _Made(NamedTuple):
    """What is to be written, and which writing of the file it has in it."""

    circuit: Circuit
    view: View
    given: str
    before: Stamp | None
    merged: bool


LOCK = ".lock"
"""Carries the lock of a folder of past circuits."""
_LEFT_SECONDS = 3600.0
"""A temporary file as old as this is nobody's: to write one takes seconds."""


def _stamp(path: Path) -> Stamp | None:
    """Which writing of a file is there, None where there is none."""
    try:
        return _stamp_of(path.stat())
    except OSError:
        return None


def _stamp_of(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns


def given_in(entries: Iterable[Entry], model: ModelIdentity) -> str:
    """How a model of this name, with these dictionaries, was named when it was loaded last; "" if none is
    known. It says where a model lies that no name finds. The last of `entries` come first."""
    wanted = (model.name, model.dictionaries)
    same = (entry for entry in entries if (entry.model, entry.dictionaries) == wanted)
    return next((entry.given for entry in same if entry.given), "")


def _view(line: bytes) -> View | None:
    try:
        return decode_json(line, View)
    except Undecodable:
        return None


def _first_line(path: Path) -> Entry:
    """What the first line of a file says. Raises OSError, or Undecodable if it is not one of ours."""
    entry = decode_json(read_line(path, LINE), Entry)
    if entry.key != path.stem:
        raise Undecodable("it says that its name is another")
    if not 0 <= entry.when < _LAST:
        raise Undecodable("its time is none")
    return entry


_LAST = 1e11
"""Seconds since 1970 that no clock shows: the year 5138."""


def _changed(path: Path) -> float:
    """When a file was written last; 0 where that cannot be told."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def fault_of(path: Path) -> str:
    """Why a past circuit cannot be read, as a clause; "" if it can."""
    try:
        _first_line(path)
        lines = read_bytes(path, CIRCUIT).split(b"\n", 2)
        if len(lines) < 3:
            return "its end is missing"
        decode_circuit(lines[2])
    except OSError as error:
        return error.strerror or "the disk refuses it"
    except ValueError as error:
        return str(error)
    return ""
