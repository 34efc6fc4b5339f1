"""Past circuits, kept for their owner alone: one file each, in a folder that nobody else can enter.

A file has three lines of JSON: what a list of circuits shows of it, how it was being looked at, and the
circuit. A list is made from the first lines, so that no index can be wrong; a file is replaced at once,
so that two programs at a time do each other no harm. The same question asked again is the same file:
whoever shows its answer takes in what the file has of it before it is written again.
"""

import hashlib
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from scd_tui.aside import put_aside
from scd_tui.decoding import Undecodable, decode_json
from scd_tui.errors import InputError
from scd_tui.files import write_private
from scd_tui.graph import Circuit, Metric, ModelIdentity, NodeId, decode_circuit
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


class Kept(msgspec.Struct, frozen=True):
    """A past circuit as it was left. `view` is None where that cannot be read, though the circuit can."""

    entry: Entry
    view: View | None
    circuit: Circuit


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
            lines = read_bytes(path, CIRCUIT).split(b"\n", 2)
            if len(lines) < 3:
                raise Undecodable("its end is missing")
            head, view, circuit = lines
            return Kept(decode_json(head, Entry), _view(view), decode_circuit(circuit))
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
        """Keep a circuit, in place of an earlier answer to its question. Raises OSError."""
        if not self._keep:
            return None
        entry = Entry(
            key=key_of(circuit),
            when=self._clock(),
            prompt=circuit.prompt,
            target=target_words(circuit),
            metric=circuit.target.metric,
            model=circuit.model.name,
            dictionaries=circuit.model.dictionaries,
            nodes=circuit.size,
            given=given,
            contrast_prompt=circuit.contrast_prompt or "",
            place=place_words(circuit),
        )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        self._require_free(self._path(entry.key))
        lines = [msgspec.json.encode(part) for part in (entry, view, circuit)]
        write_private(self._path(entry.key), b"\n".join(lines) + b"\n")
        self._forget_old()
        return entry

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

    def _forget_old(self) -> None:
        if len(self._paths()) > self._keep:
            for entry in self.entries()[self._keep :]:
                self.forget(entry.key)


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
