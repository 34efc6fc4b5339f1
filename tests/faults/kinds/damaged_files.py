"""Circuits, models in TOML, prompt sets and configurations, damaged as text and by value."""

import json
import os
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from circuits import ROOT, circuit_of
from forked import ENGINE, Forks, Ran
from hostile import HOSTILE, NUMBERS, OTHERS, unclean
from trial import Field, Kind, Tried

from scd_tui.catalog.models import data_dir
from scd_tui.catalog.prompts import prompts_dir
from scd_tui.graph import Edge, Node, encode_circuit

SECONDS = 30.0
_CONFIG = b'theme = "scd"\nmodel = "demo"\nhistory = 5\n[defaults]\ntop = 3\n[keys]\nquit = "q"\n'


def _sound() -> dict[str, bytes]:
    """A sound file of each kind, by its name."""
    mlp = Node("mlp_out.1/7@2", 0.25, 1.5, exact=0.2, top=True)
    attention = Node("attn_out.0/error@1", -0.5, 2.0, top=True)
    edges = (Edge(attention.id, mlp.id, 0.1), Edge(mlp.id, ROOT, 0.25))
    nodes = (Node(ROOT, 0.25, 0.0, top=True), mlp, attention)
    return {
        "circuit.json": encode_circuit(circuit_of(*nodes, edges=edges)),
        "model.toml": (data_dir() / "gpt2-small.toml").read_bytes(),
        "set.toml": (prompts_dir() / "post.toml").read_bytes(),
        "config.toml": _CONFIG,
    }


def _calls(file: Path, whole: Path) -> list[list[str]]:
    """What reads such a file."""
    name, path = file.name, str(file)
    if name == "circuit.json":
        other = str(whole / name)
        return [
            ["open", path, "--print"],
            ["diff", path, other, "--json"],
            ["open", path, "--prune", "--print"],
        ]
    if name == "model.toml":
        return [["models", path], ["attribute", "x", "--model", path], ["models", path, "--json"]]
    if name == "set.toml":
        return [["trust", path, "--device", "none"]]  # which is found out after the sets are read
    return [["config"], ["doctor", "--no-device"], ["models"]]


def _damages(name: str, data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """All damages as text, and for JSON those of each value."""
    for share in (0.0, 0.01, 0.3, 0.5, 0.9, 0.999):
        yield f"cut to {share}", data[: int(share * len(data))]
    for n in range(200):
        bit = chance.randrange(8 * len(data))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(changed)
        at = chance.randrange(len(data))
        piece = chance.choice(
            (b"\0", b"\xff", b"[" * 5000, b'"', b"9" * 5000, b"\x1b]52;c;x\x07", b"{")
        )
        yield f"{piece[:8]!r} at {at}, {n}", data[:at] + piece + data[at:]
    yield "nested", b"[" * 200_000
    yield "a table of tables", b"[" + b"a." * 20_000 + b"a]\nb = 1"
    yield "nested in TOML", b"a = " + b"[" * 20_000
    yield "bytes", chance.randbytes(5000)
    value: Any = json.loads(data) if name.endswith(".json") else tomllib.loads(data.decode())
    for keys in _keys(value):
        for other in (*OTHERS, *NUMBERS, *HOSTILE):
            if name.endswith(".json"):
                yield f"{keys} {other!r:.30}", json.dumps(_with(value, keys, other)).encode()
            elif (line := _toml(keys, other)) is not None:
                yield f"{keys} {other!r:.30}", line.encode()
        if name.endswith(".json"):
            yield f"{keys} gone", json.dumps(_with(value, keys, None, drop=True)).encode()


def _keys(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in list(inside)[:12]:
        yield (*keys, key)
        if isinstance(below, dict | list) and len(keys) < 4:
            yield from _keys(below, (*keys, key))


def _with(value: Any, keys: tuple[Any, ...], other: Any, *, drop: bool = False) -> Any:
    whole = json.loads(json.dumps(value))
    below = whole
    for key in keys[:-1]:
        below = below[key]
    if drop:
        below.pop(keys[-1])
    else:
        below[keys[-1]] = other
    return whole


def _toml(keys: tuple[Any, ...], other: Any) -> str | None:
    """A TOML file with one value, where TOML has such values."""
    if other is None or isinstance(other, dict) or not all(isinstance(key, str) for key in keys):
        return None
    written = json.dumps(other)
    return f"{'.'.join(json.dumps(key) for key in keys)} = {written}\n"


def damaged(field: Field) -> Iterator[Tried]:
    """Try as many as there is time for, in a random order."""
    chance = field.random("files")
    whole = field.folder / "whole"
    whole.mkdir()
    found = []
    for name, data in _sound().items():
        (whole / name).write_bytes(data)
        found += [(name, *one) for one in _damages(name, data, chance)]
    chance.shuffle(found)
    environment = field.home()
    with Forks(*ENGINE, "rich.table", "scd_tui.export.tree", env=environment) as forks:
        for number, (name, fault, data) in enumerate(found):
            folder = field.folder / str(number)
            (folder / "scd-tui").mkdir(parents=True)
            file = folder / "scd-tui" / name if name == "config.toml" else folder / name
            file.write_bytes(data)
            for words in _calls(file, whole):
                ran = forks.run(
                    *words,
                    env={"XDG_CONFIG_HOME": str(folder)},
                    seconds=SECONDS,
                    folder=str(folder),
                )
                yield Tried(f"{name} {fault}: {words[0]}", judged(ran))
            file.unlink()
            (folder / "scd-tui").rmdir()
            os.rmdir(folder)  # noqa: PTH106


def judged(ran: Ran) -> str:
    """What was lost; "" where it printed something, or said in one sentence what is wrong."""
    if ran.code is None:
        return f"no end within {SECONDS:.0f} s"
    lines = ran.err.splitlines()
    if ran.code not in (0, 1, 2):
        return f"exit code {ran.code}: {ran.err[-300:]}"
    if "Traceback" in ran.err or "SCD_TUI_TRACEBACK" in ran.err:
        return f"an exception's name: {lines}"
    if len(lines) > 1 or any(not line.startswith("scd-tui") for line in lines):
        return f"not one sentence: {lines}"
    return unclean(ran.out + ran.err)


KINDS = (
    Kind("damaged-files", "damaged circuits, sets, settings and models in TOML", damaged, 300),
)
