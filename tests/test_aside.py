"""Damaged files of ours: moved aside once, never over another and never deleted, and told once."""

import os
from pathlib import Path

import pytest
from tui.samples import circuit

from scd_tui import aside
from scd_tui.aside import aside_of, kept_aside, put_aside, untold, words_on
from scd_tui.config import cache_path, state_path
from scd_tui.doctor.damaged import damaged
from scd_tui.history import History, View


def _damaged(folder: Path, name: str = "a.json", data: bytes = b"{") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def test_each_goes_under_a_name_of_its_own_and_is_told_once() -> None:
    for number in range(3):
        moved = put_aside(_damaged(state_path() / "models", data=b"%d" % number))
        assert moved is not None and moved.read_bytes() == b"%d" % number
    names = {path.name for path in kept_aside()}
    assert names == {"models-a.json", "models-a-2.json", "models-a-3.json"}
    assert len(untold()) == 3 and untold() == []
    moved = put_aside(_damaged(cache_path() / "gates"))
    assert moved == cache_path() / "aside" / "gates-a.json"
    assert untold() == [moved] and untold() == []
    assert str(moved) in words_on([moved]) and words_on([]) == ""
    assert len(kept_aside()) == 4


def test_what_is_no_regular_file_stays_where_it_is(tmp_path: Path) -> None:
    folder = state_path() / "models"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(_damaged(tmp_path))
    (folder / "folder").mkdir()
    for name in ("fifo", "link", "folder", "missing"):
        assert put_aside(folder / name) is None
    assert {path.name for path in folder.iterdir()} == {"fifo", "link", "folder"}


def test_their_number_is_bounded_and_then_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "MOST", 2)
    folder = state_path() / "models"
    assert put_aside(_damaged(folder)) and put_aside(_damaged(folder))
    path = _damaged(folder)
    assert put_aside(path) is None and path.exists()


def test_without_hard_links_nothing_is_replaced_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*given: object, **how: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(aside.os, "link", no_links)
    folder = state_path() / "models"
    first, second = put_aside(_damaged(folder, data=b"1")), put_aside(_damaged(folder, data=b"2"))
    assert first is not None and second is not None
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")


def test_a_folder_that_cannot_be_had_is_no_error() -> None:
    path = _damaged(state_path() / "models")
    aside_of(path).write_bytes(b"")
    assert put_aside(path) is None and path.exists()
    assert kept_aside() == [] and untold() == []


def _saved(prompt: str) -> Path:
    entry = History(state_path() / "circuits").save(circuit(prompt=prompt), View())
    assert entry is not None
    return state_path() / "circuits" / f"{entry.key}.jsonl"


def test_no_flipped_bit_of_a_first_line_stops_a_start_or_loses_the_file() -> None:
    _saved("good")
    path = _saved("damaged")
    data = path.read_bytes()
    length = data.index(b"\n") + 1
    for place in range(length * 8):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        history = History(path.parent)
        assert history.last_model()
        prompts = history.prompts()
        assert "good" in prompts
        if path.exists():
            assert path.read_bytes() == flipped and len(prompts) == 2
            continue
        (one,) = history.passed_over()
        assert one.path == path and one.why and "Error" not in one.why
        assert one.kept is not None and one.kept.read_bytes() == flipped
        assert untold() == [one.kept]
        one.kept.unlink()


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 20,
        b"[" * 100_000,
        b'{"key": ' * 100_000,
        b'{"nodes": ' + b"9" * 5000 + b"}",
        b'{"when": 1e999}',
        b'{"when": NaN}',
        b"",
        b"\0" * 1000,
    ],
)
def test_a_past_circuit_that_cannot_be_read_is_one_sentence_wherever_it_is_damaged(
    body: bytes,
) -> None:
    good = _saved("good")
    for line in range(3):
        path = _saved("damaged")
        lines = path.read_bytes().split(b"\n")
        lines[line] = body
        path.write_bytes(b"\n".join(lines))
        history = History(path.parent)
        if line == 1:  # how it was looked at: the circuit is read all the same
            assert history.load(path.stem).circuit == circuit(prompt="damaged")
            continue
        with pytest.raises(Exception, match="that circuit cannot be read: ") as caught:
            history.load(path.stem)
        assert "Error" not in str(caught.value) and "\n" not in str(caught.value)
        assert len(history.passed_over()) == 1 and not path.exists()
        assert [one.stem for one in history._paths()] == [good.stem]
    assert len(kept_aside()) == 2


@pytest.mark.parametrize("what", ["fifo", "folder", "zero", "loop", "dangling", "socket"])
def test_what_is_no_file_among_past_circuits_is_passed_over_and_never_replaced(what: str) -> None:
    _saved("good")
    path = _saved("other")
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as one:
            here = Path.cwd()
            os.chdir(path.parent)
            one.bind(path.name)
            os.chdir(here)
    else:
        path.symlink_to({"zero": "/dev/zero", "loop": path, "dangling": "/nonexistent"}[what])
    mode = path.lstat().st_mode
    history = History(path.parent)
    assert history.prompts() == ["good"] and history.last_model() == "demo"
    (one,) = history.passed_over()
    assert one.path == path and one.kept is None and one.why
    with pytest.raises(OSError, match="something else is in its place; move that away"):
        history.save(circuit(prompt="other"), View())
    assert path.lstat().st_mode == mode
    (finding,) = damaged()
    assert str(path) in finding.says


def test_a_damaged_file_that_cannot_be_moved_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aside, "MOST", 0)
    path = _saved("damaged")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], b"{"]))
    history = History(path.parent)
    assert history.find(circuit(prompt="damaged")) is None
    with pytest.raises(OSError, match="something else is in its place"):
        history.save(circuit(prompt="damaged"), View())
    assert path.read_bytes().endswith(b"\n{")


def test_doctor_names_what_is_damaged_and_what_was_moved() -> None:
    assert list(damaged()) == []
    path = _damaged(state_path() / "circuits", "x.jsonl")
    _damaged(state_path() / "models", "y.json")
    _damaged(cache_path() / "gates", "z.json")
    _damaged(cache_path() / "neuronpedia" / "ahead", "cache.db", b"x" * 100)
    named = " ".join(finding.says for finding in damaged())
    assert all(one in named for one in (str(path), "y.json", "z.json", "cache.db"))
    assert put_aside(path) is not None
    found = list(damaged())
    assert found[-1].name == "kept aside" and "circuits-x.jsonl" in found[-1].says
