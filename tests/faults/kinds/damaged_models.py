"""Models, dictionaries and the files around them, damaged in every way that a file can be.

Each damage is made to a copy of a tiny model and its dictionaries, and the circuit behind a completion is
asked for. Whatever lies there, the command prints a circuit, or one sentence that names a file; soon, and
without memory for what a damaged number asks for.
"""

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forked import ENGINE, Forks, Ran
from hostile import HOSTILE, NUMBERS, OTHERS, unclean
from tiny import PROMPT, write_dictionaries, write_model
from trial import Field, Kind, Tried

SECONDS = 40.0
"""The most that one run may take; a sound one takes two."""
MEGABYTES = 1500
"""The most memory that one run may take; a sound one takes 500."""
WEIGHTS = "model.safetensors"
DICTIONARY = "blocks.1.hook_mlp_out"

Damage = Callable[[Path], None]
"""Changes what lies in a folder with `model` and `dictionaries`."""


@dataclass(frozen=True)
class Fault:
    name: str
    damage: Damage


def make(folder: Path) -> None:
    """A sound model of two layers with its dictionaries."""
    write_model(folder / "model", layers=2)
    write_dictionaries(folder / "dictionaries", 2, 32)


def judged(ran: Ran, folder: Path) -> str:
    """What a run lost; "" where it printed a circuit or said in one sentence what is wrong."""
    if ran.code is None:
        return f"no end within {SECONDS:.0f} s"
    if fault := unclean(ran.out + ran.err):
        return fault
    lines = [line for line in ran.err.splitlines() if line]
    if ran.code not in (0, 1, 2):
        return f"exit code {ran.code}: {lines[-1:]}"
    if ran.megabytes > MEGABYTES:
        return f"{ran.megabytes} MB"
    if any(not line.startswith("scd-tui") for line in lines):
        return f"not a sentence of ours: {lines}"
    for word in ("Traceback", "Error:", "Exception", "SCD_TUI_TRACEBACK"):
        if word in ran.err:
            return f"an exception's name: {lines}"
    if ran.code != 0:
        said = [line for line in lines if line.startswith("scd-tui attribute: ")]
        if len(said) != 1 or ran.out:
            return f"not one sentence: {lines}"
        if str(folder) not in said[0] and "is NaN or infinite" not in said[0]:
            return f"no file is named: {lines}"
    return ""


# --- one file -----------------------------------------------------------------------------


def _bytes(path: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / path
        file.write_bytes(change(file.read_bytes()))

    return damage


def _flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _with_header(header: object, rest: bytes) -> bytes:
    said = json.dumps(header).encode()
    return struct.pack("<Q", len(said)) + said + rest


def _headed(path: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    def of(data: bytes) -> bytes:
        header, rest = _header_of(data)
        changed = change(header)
        return _with_header(header if changed is None else changed, rest)

    return _bytes(path, of)


def of_weights(path: str, chance: random.Random) -> Iterator[Fault]:
    """A safetensors file: cut off, with bits flipped, with another header."""
    for share in (0, 0.0001, 0.01, 0.1, 0.5, 0.9, 0.999):
        yield Fault(f"{path} cut to {share}", _bytes(path, lambda d, s=share: d[: int(len(d) * s)]))
    for length in (1, 7, 8, 9, 100):
        yield Fault(f"{path} cut to {length} bytes", _bytes(path, lambda d, n=length: d[:n]))
    for length in (0, 1, 100 << 20, 1 << 40, (1 << 64) - 1):
        yield Fault(
            f"{path} header of {length} bytes",
            _bytes(path, lambda d, n=length: struct.pack("<Q", n) + d[8:]),
        )
    for _ in range(12):
        bit = chance.randrange(8 * 2000)
        yield Fault(f"{path} bit {bit}", _bytes(path, lambda d, b=bit: _flip(d, b)))
    yield Fault(f"{path} one byte more", _bytes(path, lambda d: d + b"x"))
    yield Fault(f"{path} is empty of tensors", _headed(path, lambda h: {}))
    for other in OTHERS:
        yield Fault(f"{path} header {other!r:.20}", _headed(path, lambda h, o=other: [o]))

    def first(header: dict[str, Any]) -> str:
        return next(name for name in sorted(header) if name != "__metadata__")

    for key, values in {
        "dtype": ("I64", "BOOL", "F8_E4M3", "NONE", *HOSTILE[:3], 7),
        "shape": ([], [1], [1 << 40, 1 << 40], [-1], "x", None),
        "data_offsets": ([0, 0], [0, 1 << 50], [9, 3], "x", None),
    }.items():
        for value in values:
            yield Fault(
                f"{path} {key} {value!r:.30}",
                _headed(path, lambda h, k=key, v=value: h[first(h)].update({k: v})),
            )
    for name in HOSTILE:
        yield Fault(
            f"{path} tensor called {name!r:.20}",
            _headed(path, lambda h, n=name: h.update({n: h.pop(first(h))})),
        )
    yield Fault(f"{path} metadata", _headed(path, lambda h: h.update(__metadata__={"format": "x"})))
    yield Fault(f"{path} metadata 7", _headed(path, lambda h: h.update(__metadata__=7)))


def of_tensors(path: str) -> Iterator[Fault]:
    """Tensors of another kind: NaN, transposed, missing, too many."""
    from safetensors.torch import load_file, save_file

    def edited(change: Callable[[dict[str, Any]], object]) -> Damage:
        def damage(folder: Path) -> None:
            tensors = load_file(folder / path)
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
            change(tensors)
            save_file(tensors, folder / path, {"format": "pt"})

        return damage

    def most(tensors: dict[str, Any]) -> str:
        return max(sorted(tensors), key=lambda name: tensors[name].numel())

    def put(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
        return lambda tensors: tensors.__setitem__(
            name or most(tensors), value(tensors[most(tensors)])
        )

    yield Fault(f"{path} NaN", edited(lambda t: t[most(t)].view(-1).__setitem__(3, float("nan"))))
    yield Fault(f"{path} inf", edited(lambda t: t[most(t)].view(-1).__setitem__(3, float("inf"))))
    yield Fault(f"{path} huge", edited(lambda t: t[most(t)].mul_(1e30)))
    yield Fault(f"{path} transposed", edited(put("", lambda w: w.t().contiguous())))
    yield Fault(f"{path} flat", edited(put("", lambda w: w.reshape(-1))))
    yield Fault(f"{path} integers", edited(put("", lambda w: w.int())))
    yield Fault(f"{path} complex", edited(put("", lambda w: w + 0j)))
    yield Fault(f"{path} half", edited(put("", lambda w: w.half())))
    yield Fault(f"{path} no rows", edited(put("", lambda w: w[:0])))
    yield Fault(f"{path} one more", edited(put("extra", lambda w: w.clone())))
    yield Fault(f"{path} one less", edited(lambda t: t.pop(most(t))))
    yield Fault(f"{path} none", edited(lambda t: t.clear()))


def of_json(sound: Path, path: str) -> Iterator[Fault]:
    """A JSON file: damaged as text, without each of its keys, and with other values for each."""
    texts = (b"", b"x", b"{", b"[]", b"7", b"null", b'"x"', b"\xff\xfe", b"{}", b"[" * 100_000)
    texts += (b'{"a": ' * 100_000, b'{"n_layer": ' + b"9" * 5000 + b"}", b"\0" * 1000)
    for text in texts:
        yield Fault(f"{path} is {text[:12]!r}", _bytes(path, lambda d, t=text: t))
    for share in (0.1, 0.5, 0.99):
        yield Fault(f"{path} cut to {share}", _bytes(path, lambda d, s=share: d[: int(len(d) * s)]))
    for keys, value in _leaves(json.loads((sound / path).read_text())):
        where = f"{path} {'.'.join(map(str, keys))}"
        yield Fault(f"{where} gone", _edited(path, lambda v, k=keys: _at(v, k).pop(k[-1])))
        for other in (*OTHERS, *NUMBERS, *HOSTILE[:3]):
            if other != value or type(other) is not type(value):
                change = _edited(path, lambda v, k=keys, o=other: _at(v, k).__setitem__(k[-1], o))
                yield Fault(f"{where} {other!r:.30}", change)


def _edited(path: str, change: Callable[[Any], object]) -> Damage:
    def of(data: bytes) -> bytes:
        value = json.loads(data)
        change(value)
        return json.dumps(value).encode()

    return _bytes(path, of)


Keys = tuple[str | int, ...]


def _leaves(value: Any, keys: Keys = (), deep: int = 3) -> Iterator[tuple[Keys, Any]]:
    """Every key of a JSON value down to some depth; of long tables the first few."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in list(inside)[: 40 if deep > 2 else 4]:
        yield (*keys, key), below
        if isinstance(below, dict | list) and deep > 1:
            yield from _leaves(below, (*keys, key), deep - 1)


def _at(value: Any, keys: Keys) -> Any:
    for key in keys[:-1]:
        value = value[key]
    return value


# --- which files there are ----------------------------------------------------------------


def _gone(path: str) -> Damage:
    return lambda folder: (folder / path).unlink()


def _instead(path: str, make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / path).unlink(missing_ok=True)
        make(folder / path)

    return damage


def _sparse(file: Path) -> None:
    with file.open("wb") as made:
        made.truncate(1 << 40)


def _index(folder: Path, target: str) -> None:
    """Weights in shards, of which one lies elsewhere."""
    data = (folder / "model" / WEIGHTS).read_bytes()
    names = [name for name in _header_of(data)[0] if name != "__metadata__"]
    (folder / "model" / WEIGHTS).unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, target)}
    (folder / "model" / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    if target.startswith("../"):
        (folder / "model" / target).write_bytes(data)


def of_files() -> Iterator[Fault]:
    """Files that are missing, or are something else."""
    mine = f"dictionaries/{DICTIONARY}"
    names = ("model/config.json", f"model/{WEIGHTS}", "model/tokenizer.json")
    names += ("model/tokenizer_config.json", f"{mine}/cfg.json", f"{mine}/sae_weights.safetensors")
    for name in names:
        yield Fault(f"{name} is gone", _gone(name))
        yield Fault(f"{name} is a folder", _instead(name, lambda file: file.mkdir()))
        yield Fault(f"{name} is a loop", _instead(name, lambda f: f.symlink_to(f)))
        yield Fault(f"{name} leads nowhere", _instead(name, lambda f: f.symlink_to("no-such")))
        yield Fault(f"{name} is a terabyte of nothing", _instead(name, _sparse))
        yield Fault(f"{name} is a pickle", _instead(name, _pickle))
    for target in ("no-such.safetensors", "../outside.safetensors", "/etc/passwd", "", HOSTILE[0]):
        yield Fault(f"shard {target!r:.30}", lambda folder, t=target: _index(folder, t))
    yield Fault(
        "pickled weights alone",
        lambda folder: (
            (folder / "model" / WEIGHTS).unlink(),
            _pickle(folder / "model" / "pytorch_model.bin"),
        ),
    )
    for hostile in HOSTILE:
        name = hostile.replace("/", "_").replace("\0", "_")
        yield Fault(
            f"a folder called {name!r:.20}",
            lambda f, n=name: (f / "dictionaries" / DICTIONARY).rename(f / "dictionaries" / n),
        )


class _Marker:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(_MARK),)


_MARK = Path("/tmp") / f"unpickled-{os.getpid()}"


def _pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps(_Marker()))


# --- the kind -----------------------------------------------------------------------------


def every(sound: Path, chance: random.Random) -> list[Fault]:
    """All of them, in a random order, since there are more than time for each."""
    weights = f"dictionaries/{DICTIONARY}/sae_weights.safetensors"
    found = list(of_files())
    for path in (f"model/{WEIGHTS}", weights):
        found += of_weights(path, chance)
        found += of_tensors(path)
    for path in (
        *("model/config.json", "model/tokenizer.json", "model/tokenizer_config.json"),
        *(f"dictionaries/{DICTIONARY}/cfg.json", "model/generation_config.json"),
    ):
        if (sound / path).exists():
            found += of_json(sound, path)
    chance.shuffle(found)
    return found


def damaged(field: Field) -> Iterator[Tried]:
    """Try as many as there is time for."""
    sound = field.folder / "sound"
    make(sound)
    environment = field.home()
    with Forks(*ENGINE, env=environment) as forks:
        for number, fault in enumerate(every(sound, field.random("damage"))):
            folder = field.folder / str(number)
            shutil.copytree(sound, folder)
            try:
                fault.damage(folder)
            except (KeyError, TypeError, IndexError, AttributeError):
                shutil.rmtree(folder)
                continue  # there is nothing of that kind to damage
            ran = attribute(forks, folder)
            lost = judged(ran, folder)
            if _MARK.exists():
                _MARK.rmdir()
                lost = "a pickle was run"
            yield Tried(fault.name, lost)
            shutil.rmtree(folder, ignore_errors=True)


def attribute(forks: Forks, folder: Path) -> Ran:
    """The circuit behind a completion, by the model and the dictionaries in a folder."""
    words = ["attribute", PROMPT, "--model", str(folder / "model"), "--no-gate", "--top", "2"]
    words += ["--dictionaries", str(folder / "dictionaries"), "--device", "cpu"]
    return forks.run(*words, seconds=SECONDS)


KINDS = (Kind("damaged-models", "damaged models and dictionaries", damaged, 600),)
