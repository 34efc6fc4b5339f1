"""Files that this program keeps or is given, with a bit, a number or a nesting that does not belong."""

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from pty_app import EXCEPTION
from trial import Field, Kind, Tried, state_folders
from tui.samples import circuit

from scd_tui.catalog.model_checks import ModelCheck
from scd_tui.config import Config, read_config
from scd_tui.decoding import Undecodable, decode_json
from scd_tui.errors import InputError
from scd_tui.graph import DictionaryGate
from scd_tui.history import History, View
from scd_tui.neuronpedia.cache import pack, unpack
from scd_tui.neuronpedia.entries import Entry
from scd_tui.neuronpedia.records import Explanation, FeatureRecord
from scd_tui.saved import decode_saved, encode_saved
from scd_tui.whereabouts import Loaded

SECONDS = 3.0
"""The most that reading one file may take."""
Read = Callable[[bytes], object]


def _flips(data: bytes) -> Iterator[tuple[str, bytes]]:
    for place in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << (place % 8)
        yield f"bit {place}", bytes(flipped)


def _odd_values() -> Iterator[tuple[str, bytes]]:
    for depth in (1, 10, 99, 100, 101, 1_000, 10_000, 100_000, 1_000_000):
        yield f"{depth} lists", b"[" * depth + b"]" * depth
        yield f"{depth} open lists", b"[" * depth
        yield f"{depth} tables", b'{"a":' * depth + b"1" + b"}" * depth
    for digits in (19, 20, 400, 4_300, 4_301, 5_000, 5_000_000):
        yield f"{digits} digits", b"9" * digits
        yield f"-{digits} digits", b"-" + b"9" * digits
    for number in (b"1e999", b"-1e999", b"NaN", b"Infinity", b"1e-999", b"1" * 300 + b".5", b"-0"):
        yield number.decode()[:12], number
    for text in (b'"\\ud800"', b'"\xff"', b'"\\u0000"', b"null", b"{}", b"[]", b'""', b"true", b""):
        yield repr(text), text


def _values(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Odd values in the place of each field, one at a time, and of the whole."""
    whole = msgspec.json.decode(data)
    fields = list(whole) if isinstance(whole, dict) else []
    for name, value in _odd_values():
        yield f"{name} as a file", value
        for field in fields:
            parts = [
                msgspec.json.encode(key)
                + b":"
                + (value if key == field else msgspec.json.encode(one))
                for key, one in whole.items()
            ]
            yield f"{name} as {field}", b"{" + b",".join(parts) + b"}"


def _read_by(read: Read, data: bytes) -> str:
    begun = time.monotonic()
    try:
        read(data)
    except (InputError, Undecodable, ValueError) as error:
        said = str(error)
        if isinstance(error, (UnicodeError, msgspec.MsgspecError)) or EXCEPTION.search(said):
            return f"{type(error).__name__}: {said[:200]}"
        if not said or "\n" in said:
            return f"no sentence: {said[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "too slow" if time.monotonic() - begun > SECONDS else ""


def _decoded(field: Field) -> Iterator[Tried]:
    """What the functions that decode make of them, in this process."""
    record = FeatureRecord("m", "0-res", 3, explanations=(Explanation("words"),))
    kept = pack(Entry("explained", "full", 1.0, "host", record))
    gate = DictionaryGate(site=circuit().sites[0].site, l0=1, explained_variance=0.9)
    subjects: list[tuple[str, bytes, Read]] = [
        (
            "note",
            msgspec.json.encode(Loaded("a", "b", "c", "d", "/e")),
            lambda d: decode_json(d, Loaded),
        ),
        (
            "model check",
            msgspec.json.encode(ModelCheck(difference=0.5)),
            lambda d: decode_json(d, ModelCheck),
        ),
        (
            "verdicts",
            msgspec.json.encode([gate]),
            lambda d: decode_json(d, tuple[DictionaryGate, ...]),
        ),
        ("cache row", kept, lambda d: unpack(d, Entry)),
        ("circuit", encode_saved(circuit(), View()), decode_saved),
    ]
    for name, data, read in subjects:
        faults = (
            _flips(data) if name == "cache row" else itertools.chain(_values(data), _flips(data))
        )
        for fault, damaged in faults:
            yield Tried(f"{name}, {fault}", _read_by(read, damaged))
    path = field.folder / "config.toml"
    text = b'theme = "scd"\nmodel = "demo"\nhistory = 200\n[defaults]\ntop = 10\n'
    more = [(n, b"history = " + v) for n, v in _odd_values()]
    dots = [("dots", b"a." * 400_000 + b"b = 1"), ("tables", b"[" + b"a." * 400_000 + b"b]")]
    for fault, damaged in itertools.chain(_flips(text), more, dots):
        path.write_bytes(damaged)
        begun = time.monotonic()
        try:
            found, problem = read_config(path)
            lost = (
                ""
                if isinstance(found, Config) and "\n" not in problem
                else f"not one line: {problem!r}"
            )
        except Exception as error:
            lost = f"{type(error).__name__}: {error}"
        slow = "too slow" if time.monotonic() - begun > SECONDS else ""
        yield Tried(f"configuration, {fault}", lost or slow)


def _histories(field: Field) -> Iterator[Tried]:
    """All single-bit flips of a first line, odd values in each line: nothing raises, nothing is gone."""
    folder = field.folder / "circuits"
    history = History(folder)
    entry = history.save(circuit(), View())
    assert entry is not None
    path = folder / f"{entry.key}.jsonl"
    data = path.read_bytes()
    lines = data.split(b"\n")
    first = len(lines[0]) + 1
    faults = [(n, d + data[first:]) for n, d in _flips(data[:first])]
    for line in range(3):
        faults += [
            (f"line {line}: {n}", b"\n".join([*lines[:line], v, *lines[line + 1 :]]))
            for n, v in _odd_values()
        ]
    for fault, damaged in faults:
        path.write_bytes(damaged)
        yield Tried(f"past circuit, {fault}", _lists(folder, path, damaged))
        shutil.rmtree(folder / "aside", ignore_errors=True)


def _lists(folder: Path, path: Path, data: bytes) -> str:
    history = History(folder)
    try:
        history.last_model()
        listed = history.entries()
        if listed:
            history.load(path.stem)
    except InputError as error:
        if EXCEPTION.search(str(error)):
            return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    kept = [one.kept for one in history.passed_over() if one.kept is not None]
    where = [path, *kept]
    if not any(one.exists() and one.read_bytes() == data for one in where):
        return "the file is gone"
    return "" if listed or history.passed_over() else "nothing is said"


def _starts(field: Field) -> Iterator[Tried]:
    """A sample of them at a real start of the app, in a terminal."""
    from kinds.special import _start

    random = field.random("starts")
    good = msgspec.json.encode({"a": 1})
    for number in range(60):
        environment = field.home(f"home{number}")
        folders = {kind: one / "scd-tui" for kind, one in state_folders(environment).items()}
        history = History(folders["state"] / "circuits")
        entry = history.save(circuit(), View())
        assert entry is not None
        past = folders["state"] / "circuits" / f"{entry.key}.jsonl"
        config, note = folders["config"] / "config.toml", folders["state"] / "models" / "x.json"
        database = folders["cache"] / "neuronpedia" / "looked-up" / "cache.db"
        path, data = random.choice(
            [
                (past, past.read_bytes()),
                (config, b'theme = "scd"\n'),
                (note, good),
                (database, b"SQLite format 3\0" * 300),
            ]
        )
        damaged = bytearray(data)
        for _ in range(random.choice([1, 1, 3])):
            damaged[random.randrange(min(400, len(damaged)))] ^= 1 << random.randrange(8)
        if random.random() < 0.3:
            damaged = bytearray(random.choice(list(_odd_values()))[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damaged)
        lost = _start(field.folder, environment)
        yield Tried(f"start {number}: {path.name}", lost)
        shutil.rmtree(field.folder / f"home{number}", ignore_errors=True)


KINDS = (
    Kind("damaged-decoded", "flipped bits, nesting and numbers in what is decoded", _decoded, 300),
    Kind("damaged-history", "damaged past circuits in a list", _histories, 120),
    Kind("damaged-starts", "starts of the app on damaged files", _starts, 300),
)
