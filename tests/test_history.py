import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import writer
from tui.samples import COMPLETIONS, circuit

from scd_tui import locking
from scd_tui.errors import InputError
from scd_tui.graph import Marks, NodeId, Pruned, Settings
from scd_tui.history import LOCK, History, Kept, Look, View, key_of, target_words
from scd_tui.locking import locked
from scd_tui.merging import BOTH


def test_a_circuit_comes_back_as_it_was_left(tmp_path: Path) -> None:
    history = History(tmp_path / "kept", clock=lambda: 1000.0)
    look = Look("token", "exact", 0.05, errors=False, only=frozenset([NodeId("embed/token@3")]))
    view = View(((-1, "place:resid_post.3"), (0, "node:x")), ("place:resid_post.3",), look)
    entry = history.save(circuit(), view)
    assert entry is not None and history.entries() == [entry]
    assert (entry.when, entry.prompt, entry.model) == (1000.0, circuit().prompt, "demo")
    assert entry.target == "' question' − ' way'"
    kept = history.load(entry.key)
    assert (kept.entry, kept.view, kept.circuit) == (entry, view, circuit())


def test_a_record_from_before_the_look_was_kept_still_opens(tmp_path: Path) -> None:
    old = {
        "key": "0123456789abcdef0123",
        "when": 1760000000.5,
        "prompt": circuit().prompt,
        "target": "' question' − ' way'",
        "metric": "diff",
        "model": "demo",
        "dictionaries": "topk",
        "nodes": 3,
    }
    view = '{"open":[[-1,"place:resid_post.3"]],"cursor":["place:resid_post.3"]}'
    (tmp_path / f"{old['key']}.jsonl").write_bytes(
        b"\n".join([json.dumps(old).encode(), view.encode(), msgspec.json.encode(circuit())])
    )
    history = History(tmp_path)
    assert [entry.prompt for entry in history.entries()] == [circuit().prompt]
    kept = history.load("0123456789abcdef0123")
    step = (-1, "place:resid_post.3")
    assert kept.view == View((step,), (step[1],), None) and kept.circuit == circuit()


@pytest.mark.parametrize(
    "spoilt",
    [b"", b"3", b'{"look":{"by":"mood"}}', b'{"look":{"least":-1}}', b'{"open":[[0]]}'],
)
def test_a_circuit_is_not_lost_with_the_way_it_was_looked_at(tmp_path: Path, spoilt: bytes) -> None:
    history = History(tmp_path)
    entry = history.save(circuit(), View())
    assert entry is not None
    path = tmp_path / f"{entry.key}.jsonl"
    head, _, body = path.read_bytes().split(b"\n", 2)
    path.write_bytes(b"\n".join([head, spoilt, body]))
    kept = history.load(entry.key)
    assert kept.view is None and kept.circuit == circuit()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o755)
    History(folder).save(circuit(), View())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_same_question_is_one_entry_and_another_question_another(tmp_path: Path) -> None:
    times = iter(range(10))
    history = History(tmp_path, clock=lambda: float(next(times)))
    history.save(circuit(), View())
    history.save(circuit(), View(((-1, "root:x"),)))
    assert len(history.entries()) == 1
    others = [
        circuit(COMPLETIONS[1], COMPLETIONS[0]),
        circuit(metric="logp"),
        circuit(prompt="another"),
        msgspec.structs.replace(circuit(), settings=Settings(top=3)),
        msgspec.structs.replace(circuit(), contrast_prompt="clean"),
        msgspec.structs.replace(circuit(), pruned=Pruned(0.8, 0.98, False, 100, 900)),
    ]
    for other in others:
        history.save(other, View())
    assert len({key_of(other) for other in [circuit(), *others]}) == 7
    assert [entry.when for entry in history.entries()] == [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert history.prompts() == [circuit().prompt, "another"]
    assert history.last_model() == "demo"
    history.save(circuit(), View(), given="gpt2-small:res-jb")
    assert history.last_model() == "gpt2-small:res-jb", "with its set, or where it lay"


def test_an_entry_says_against_which_prompt_it_is_and_old_ones_need_not(tmp_path: Path) -> None:
    history = History(tmp_path)
    entry = history.save(msgspec.structs.replace(circuit(), contrast_prompt="clean"), View())
    assert entry is not None and history.entries()[0].contrast_prompt == "clean"
    path = tmp_path / f"{entry.key}.jsonl"
    path.write_bytes(path.read_bytes().replace(b',"contrast_prompt":"clean"', b"", 1))
    assert history.entries()[0].contrast_prompt == ""


def test_the_oldest_go_when_there_are_too_many_and_none_are_kept_with_0(tmp_path: Path) -> None:
    times = iter(range(10))
    history = History(tmp_path, keep=2, clock=lambda: float(next(times)))
    for prompt in ("a", "b", "c"):
        history.save(circuit(prompt=prompt), View())
    assert history.prompts() == ["c", "b"]
    none = History(tmp_path / "none", keep=0)
    assert none.save(circuit(), View()) is None
    assert none.entries() == [] and not (tmp_path / "none").exists()


def test_one_that_is_forgotten_or_spoilt_is_told_in_a_sentence(tmp_path: Path) -> None:
    history = History(tmp_path)
    entry = history.save(circuit(), View())
    assert entry is not None
    path = tmp_path / f"{entry.key}.jsonl"
    lines = path.read_bytes().split(b"\n")
    for spoilt in ([lines[0]], [lines[0], b"{}", b"[]"], lines[:2], [b"x"]):
        path.write_bytes(b"\n".join(spoilt))
        with pytest.raises(InputError, match="cannot be read"):
            history.load(entry.key)
    (tmp_path / "other.jsonl").write_bytes(lines[0])
    (tmp_path / "notes.jsonl").write_text("not json")
    assert history.entries() == []
    history.forget(entry.key)
    history.forget(entry.key)
    with pytest.raises(InputError, match="No such file"):
        history.load(entry.key)


def test_what_is_explained_is_said_in_words() -> None:
    assert target_words(circuit(metric="logp")) == "' question'"


def start_writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    call = [sys.executable, str(Path(__file__).parent / "writer.py"), str(folder), name, "1"]
    return subprocess.Popen([*call, str(count)], stdout=subprocess.PIPE, text=True)


def test_two_programs_that_write_one_circuit_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Pins, notes on the same nodes, exact effects, explanations and trials, in turns."""
    history = History(tmp_path)
    history.save(writer.first(), View())
    writers = [start_writer(tmp_path, name, 40) for name in "ab"]
    told = [one.communicate(timeout=60)[0].splitlines() for one in writers]
    assert [one.returncode for one in writers] == [0, 0] and [len(x) for x in told] == [40, 40]
    kept = history.find(circuit())
    assert kept is not None
    assert not [line for lines in told for line in lines if writer.missing(kept.circuit, line)]


def test_one_that_is_killed_while_it_writes_leaves_a_whole_file_and_no_lock(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.save(writer.first(), View())
    one = start_writer(tmp_path, "a", 100_000)
    assert one.stdout is not None
    told = [one.stdout.readline() for _ in range(5)]
    one.kill()
    told += one.communicate()[0].splitlines()
    kept = history.find(circuit())
    assert kept is not None
    assert not [x for x in told if x.count("\t") == 2 and writer.missing(kept.circuit, x.strip())]
    with locked(tmp_path / LOCK, seconds=0) as held:
        assert held
    left = tmp_path / ".scd-tui-killed"
    left.write_bytes(b"half")
    history.save(circuit(), View())
    assert left.exists(), "it may be somebody's who writes now"
    os.utime(left, (0, 0))
    history.save(circuit(), View())
    assert not left.exists()


def test_who_cannot_get_the_lock_goes_on_without_and_still_merges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that was stopped holds it; or there are no locks in that folder."""
    monkeypatch.setattr(locking, "WAIT_SECONDS", 0.01)
    history = History(tmp_path)
    first = history.write(circuit(), View())
    assert first is not None
    node = circuit().nodes[5].id
    theirs = msgspec.structs.replace(circuit(), marks=Marks(notes={node: "theirs"}))
    with locked(tmp_path / LOCK) as held:
        assert held
        history.write(theirs, View(), seen=first.seen)
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()
    ours = msgspec.structs.replace(circuit(), marks=Marks(notes={node: "ours"}))
    written = history.write(ours, View(), seen=first.seen)
    assert written is not None and written.merged
    assert written.circuit.marks.notes == {node: f"ours{BOTH}theirs"}
    # what comes in between reading and writing, where nothing keeps it out, is read again
    seen, load = written.seen, history.load

    def slow(key: str) -> Kept:
        kept = load(key)
        if not between:
            between.append(History(tmp_path).save(circuit(), View(), "from elsewhere"))
        return kept

    between: list[object] = []
    monkeypatch.setattr(history, "load", slow)
    written = history.write(circuit(), View(), seen=first.seen)
    assert written is not None and written.entry.given == "from elsewhere" and between
    assert written.seen.stamp != seen.stamp


def test_the_clock_set_back_does_not_throw_away_what_was_just_written(tmp_path: Path) -> None:
    times = iter([100.0, 200.0, 5.0])
    history = History(tmp_path, keep=2, clock=lambda: next(times))
    for prompt in ("a", "b", "c"):
        history.save(circuit(prompt=prompt), View())
    assert history.prompts() == ["b", "c"]
