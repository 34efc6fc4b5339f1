import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scd_tui import reading
from scd_tui.reading import StandardInput as Stdin
from scd_tui.reading import Unreadable, read_bytes, read_line, read_start, read_text


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))


def _loop(path: Path) -> None:
    path.symlink_to(path)


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (_fifo, "it is a FIFO"),
    "socket": (_socket, "a socket"),
    "folder": (Path.mkdir, "it is a folder"),
    "zero": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "random": (lambda path: path.symlink_to("/dev/urandom"), "it is a device"),
    "null": (lambda path: path.symlink_to("/dev/null"), "it is a device"),
    "loop": (_loop, "round in a circle"),
    "dangling": (lambda path: path.symlink_to("/nonexistent"), "No such file"),
}


@pytest.fixture(params=KINDS)
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    make, said = KINDS[request.param]
    os.chdir(tmp_path)
    make(tmp_path / "special")
    yield tmp_path / "special", said
    os.chdir("/")


@pytest.mark.parametrize("read", [read_bytes, read_text, read_line, read_start])
def test_no_special_file_is_read_or_waited_for(
    special: tuple[Path, str], read: Callable[[Path, int], object]
) -> None:
    path, said = special
    begun = time.monotonic()
    with pytest.raises(OSError, match=said):
        read(path, 1000)
    assert time.monotonic() - begun < 1


def test_a_regular_file_is_read_up_to_its_bound_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"one\r\ntwo" + b"x" * 92)
    assert read_bytes(path, 100) == path.read_bytes()
    assert read_text(path, 100).startswith("one\ntwo")
    assert read_line(path, 100) == b"one\r"
    assert read_line(path, 2) == b"on"
    assert read_start(path, 3) == b"one"
    with pytest.raises(Unreadable, match="it is larger than 0 KiB; give a smaller file"):
        read_bytes(path, 99)
    path.write_bytes(b"\xff")
    with pytest.raises(Unreadable, match="not UTF-8 text"):
        read_text(path, 100)


def test_a_file_that_is_larger_than_it_says_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = Path("/proc/self/status")
    assert status.stat().st_size == 0
    assert b"VmSize" in read_bytes(status, 1 << 20)
    with pytest.raises(Unreadable, match="larger"):
        read_bytes(status, 10)
    path = tmp_path / "grows"
    path.write_bytes(b"x" * 10)
    real = os.fstat
    with path.open("ab") as more:

        def growing(handle: int) -> os.stat_result:
            found = real(handle)
            monkeypatch.undo()
            more.write(b"y" * 10)
            more.flush()
            return found

        monkeypatch.setattr(reading.os, "fstat", growing)
        with pytest.raises(Unreadable, match="larger"):
            read_bytes(path, 15)


def test_a_name_that_cannot_be_is_refused_and_a_closed_file_says_why(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="no file can have this name"):
        read_bytes(Path("a\0b"), 10)
    path = tmp_path / os.fsdecode(b"\xff\xfe.json")
    path.write_bytes(b"x")
    assert read_bytes(path, 10) == b"x"
    with pytest.raises(OSError, match="File name too long"):
        read_bytes(tmp_path / ("x" * 300), 10)


def test_standard_input_is_read_once_and_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"0123456789")
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        stdin = Stdin()
        assert stdin.read(10) == b"0123456789"
        with pytest.raises(Unreadable, match="use - once"):
            stdin.read(10)
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(Unreadable, match="larger"):
            Stdin().read(9)
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(Unreadable, match="it is closed; give a file"):
        Stdin().read(9)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(Unreadable):
            read_bytes(tmp_path / "fifo", 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
