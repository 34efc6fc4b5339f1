"""What is written to a path that a user named, whatever lies there."""

import errno
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scd_tui import files, pipes
from scd_tui.errors import InputError, RunError
from scd_tui.files import check_named, write_named, write_new, write_private

OLD, NEW = b"old\n", b"new " * 5000


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """No temporary file is left, whatever happened."""
    yield
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".scd-tui-")]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 8 KB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_new_file_is_its_owners_alone_and_an_old_one_keeps_its_permissions(
    tmp_path: Path,
) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(OLD)
    old.chmod(0o640)
    before = old.stat().st_ino
    for path, mode in ((new, 0o600), (old, 0o640)):
        check_named(path)
        write_named(path, NEW)
        assert path.read_bytes() == NEW and stat.S_IMODE(path.stat().st_mode) == mode
    assert old.stat().st_ino != before, "replaced at once, not written over"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target, middle, link = folder / "target", folder / "middle", tmp_path / "link"
    middle.symlink_to("target")
    link.symlink_to("elsewhere/middle")
    for before in (None, OLD):  # first it leads nowhere
        if before is not None:
            target.write_bytes(before)
        check_named(link)
        write_named(link, NEW)
        assert link.is_symlink() and middle.is_symlink() and target.read_bytes() == NEW
        assert not target.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "link"}


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name + "2")
    path.with_name(path.name + "2").symlink_to(path.name)


def _link_to_folder(path: Path) -> None:
    path.symlink_to(".")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def _disk(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 250))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_folder, "is a folder"),
        (_link_to_folder, "is a folder"),
        (_loop, "round in a circle"),
        (_socket, "is a socket"),
        (_disk, "is a disk"),
    ],
)
def test_what_cannot_be_written_to_is_refused_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    make(Path("it"))
    before = os.lstat("it")
    for attempt in (lambda: check_named(Path("it")), lambda: write_named(Path("it"), NEW)):
        with pytest.raises(InputError, match=f"^it cannot be written: .*{words}") as raised:
            attempt()
        assert raised.value.exit_code == 2
    assert os.lstat("it").st_mode == before.st_mode and os.lstat("it").st_ino == before.st_ino


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none/it", "folder does not exist"),
        ("file/it", "part of its path is a file"),
        ("x" * 300, "name is too long"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_ahead(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").write_bytes(OLD)
    for attempt in (check_named, lambda path: write_named(path, NEW)):
        with pytest.raises(InputError, match=words):
            attempt(tmp_path / name)


def test_a_long_name_has_room_for_its_temporary(tmp_path: Path) -> None:
    write_named(tmp_path / ("x" * 255), NEW)
    write_private(tmp_path / ("y" * 255), NEW)
    write_new(tmp_path / ("z" * 255), NEW)


def test_devices_are_written_to_and_stay(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    for path in (Path("/dev/null"), link):
        check_named(path)
        write_named(path, NEW)
        assert stat.S_ISCHR(path.stat().st_mode)
    with pytest.raises(RunError, match="no room on the disk"):
        write_named(Path("/dev/full"), NEW)


def test_a_pipe_gets_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(RunError, match="nobody reads from this pipe"):
        write_named(path, NEW)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    data = NEW * 20  # more than a pipe holds
    reader.start()
    while True:
        try:
            write_named(path, data)
            break
        except RunError:  # the reader has not opened it yet
            continue
    reader.join()
    assert got == [data] and stat.S_ISFIFO(path.lstat().st_mode)


def test_a_reader_that_takes_nothing_or_leaves_does_not_hold_up_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "PATIENCE_SECONDS", 0.05)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(RunError, match="takes nothing"):
        write_named(path, NEW * 20)
    monkeypatch.setattr(pipes, "PATIENCE_SECONDS", 10)
    threading.Timer(0.05, os.close, (reader,)).start()
    with pytest.raises(RunError, match="reader has left"):
        write_named(path, NEW * 20)


def test_a_descriptor_that_was_given_is_written_to_and_one_of_our_own_is_not(
    tmp_path: Path,
) -> None:
    file = tmp_path / "redirected"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(handle, OLD)
        link = tmp_path / "link"
        for path in (f"/dev/fd/{handle}", f"/proc/self/fd/{handle}"):
            with pytest.raises(InputError, match="nothing is open for writing"):
                write_named(Path(path), NEW)  # as if it were the cache's
        os.set_inheritable(handle, True)
        link.symlink_to(f"/dev/fd/{handle}")
        check_named(link)
        write_named(link, NEW)
        assert file.read_bytes() == OLD + NEW, "behind what stands there already"
    finally:
        os.close(handle)
    with pytest.raises(InputError, match="nothing is open for writing"):
        check_named(link)


def test_the_old_file_stays_when_there_is_no_room(tmp_path: Path, small_files: None) -> None:
    old, twin = tmp_path / "old", tmp_path / "twin"
    old.write_bytes(OLD)
    for write in (write_named, write_new):
        with pytest.raises((RunError, OSError), match=r"larger than|too large"):
            write(tmp_path / "new", NEW)
    with pytest.raises(RunError, match="larger than a file may be"):
        write_named(old, NEW)
    os.link(old, twin)
    with pytest.raises(RunError, match="larger than a file may be"):
        write_named(old, NEW)
    assert old.read_bytes() == twin.read_bytes() == OLD
    assert {path.name for path in tmp_path.iterdir()} == {"old", "twin"}


@pytest.mark.parametrize("data", [NEW, b"n"], ids=["longer", "shorter"])
def test_all_names_of_a_file_go_on_with_what_is_written(tmp_path: Path, data: bytes) -> None:
    old, twin = tmp_path / "old", tmp_path / "twin"
    old.write_bytes(OLD)
    os.link(old, twin)
    write_named(old, data)
    assert twin.read_bytes() == data and old.samefile(twin)


@pytest.mark.parametrize("where", ["making", "renaming"])
def test_a_file_that_cannot_be_replaced_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """In a folder where nothing may be made; or where it is mounted, as in a container."""

    def refused(*words: object, **more: object) -> Path:
        number = errno.EACCES if where == "making" else errno.EBUSY
        raise OSError(number, os.strerror(number))

    path = tmp_path / "old"
    path.write_bytes(OLD)
    before = path.stat().st_ino
    if where == "making":
        monkeypatch.setattr(files, "_written", refused)
    else:
        monkeypatch.setattr(Path, "replace", refused)
    write_named(path, NEW)
    assert path.read_bytes() == NEW and path.stat().st_ino == before


def test_a_file_that_may_not_be_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old"
    path.write_bytes(OLD)
    path.chmod(0o400)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may do anything
    for attempt in (check_named, lambda path: write_named(path, NEW)):
        with pytest.raises(RunError, match="you may not write it"):
            attempt(path)
    assert path.read_bytes() == OLD


def test_a_name_that_is_taken_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one"
    write_new(path, OLD)
    (tmp_path / "nowhere").symlink_to("none")

    def unlinkable(*words: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    for name in ("one", "nowhere"):
        with pytest.raises(FileExistsError):
            write_new(tmp_path / name, NEW)
    monkeypatch.setattr(os, "link", unlinkable)  # a file system without hard links
    with pytest.raises(FileExistsError):
        write_new(path, NEW)
    write_new(tmp_path / "two", NEW)
    assert path.read_bytes() == OLD and (tmp_path / "two").read_bytes() == NEW
    assert stat.S_IMODE((tmp_path / "two").stat().st_mode) == 0o600
    assert not (tmp_path / "none").exists()
