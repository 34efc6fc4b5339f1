"""Files that a user names: every kind of thing lies at the path already, or around it.

As root and as an ordinary user. Nothing that is no regular file may be replaced, no link may become a
file, an old file stays unless the new one is whole, nothing is left beside it, nothing hangs, and what
goes wrong is one sentence.
"""

import os
import random
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trial import Field, Kind, Tried
from tui.samples import circuit

from scd_tui.errors import InputError
from scd_tui.files import check_named, write_named
from scd_tui.graph import decode_circuit, encode_circuit
from scd_tui.history import View
from scd_tui.saved import decode_saved
from scd_tui.tui.saving import save, stem_of

OLD = b"old " * 100
NOBODY = 65534
SECONDS = 8.0
"""The most that one write may take; none needs a tenth of it."""


@dataclass(frozen=True)
class Place:
    """What lies at the path. `make` makes it in a folder and returns the path to write to.

    `writable`: the data has to be where `reads` says; else it has to be refused.
    """

    name: str
    make: Callable[[Path], Path]
    writable: bool = True
    root_only: bool = False


def _plain(folder: Path) -> Path:
    return folder / "new"


def _file(mode: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "old"
        path.write_bytes(OLD)
        path.chmod(mode)
        return path

    return make


def _links(count: int, target: str, *, exists: bool) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        if exists:
            (folder / target).write_bytes(OLD)
        for number in range(count):
            before = target if number == 0 else f"link{number - 1}"
            (folder / f"link{number}").symlink_to(before)
        return folder / f"link{count - 1}"

    return make


def _far_link(folder: Path) -> Path:
    (folder / "far").mkdir()
    (folder / "far" / "target").write_bytes(OLD)
    (folder / "link").symlink_to(folder / "far" / "target")
    return folder / "link"


def _link_in_linked_folder(folder: Path) -> Path:
    (folder / "far").mkdir()
    (folder / "near").symlink_to("far")
    (folder / "far" / "target").write_bytes(OLD)
    (folder / "far" / "link").symlink_to("../far/target")
    return folder / "near" / "link"


def _hard(folder: Path) -> Path:
    path = _file(0o644)(folder)
    os.link(path, folder / "twin")
    return path


def _named(name: str, then: Callable[[Path], object] | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        if then is not None:
            then(path)
        return path

    return make


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(before)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _through(target: str) -> Callable[[Path], Path]:
    """A link to something outside."""

    def make(folder: Path) -> Path:
        (folder / "link").symlink_to(target)
        return folder / "link"

    return make


def _device(kind: int, major: int, minor: int) -> Callable[[Path], None]:
    return lambda path: os.mknod(path, kind | 0o666, os.makedev(major, minor))


def _under(mode: int, inside: bool) -> Callable[[Path], Path]:
    """In a folder of such a mode, with a file in it or not."""

    def make(folder: Path) -> Path:
        closed = folder / "closed"
        closed.mkdir()
        if inside:
            (closed / "it").write_bytes(OLD)
            (closed / "it").chmod(0o666)
        closed.chmod(mode)
        return closed / "it"

    return make


def _anothers(mode: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = _file(mode)(folder)
        os.chown(path, 12345, 12345)
        return path

    return make


def _immutable(folder: Path) -> Path:
    path = _file(0o644)(folder)
    done = subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False)
    if done.returncode:
        raise OSError("no immutable files here")
    return path


PLACES = (
    Place("nothing", _plain),
    *(Place(f"a file of mode {mode:o}", _file(mode)) for mode in (0o600, 0o644, 0o666, 0o4755)),
    Place("a read-only file", _file(0o444), writable=False),
    Place("a link", _links(1, "target", exists=True)),
    Place("a chain of links", _links(7, "target", exists=True)),
    Place("a chain of 39 links", _links(39, "target", exists=True)),
    Place("a chain of 60 links", _links(60, "target", exists=True), writable=False),
    Place("a link to nothing", _links(1, "none", exists=False)),
    Place("a chain to nothing", _links(3, "none", exists=False)),
    Place("a link to a missing folder", _links(1, "none/it", exists=False), writable=False),
    Place("a link to another folder", _far_link),
    Place("a link in a linked folder", _link_in_linked_folder),
    Place("a circle of links", _named("it", _loop), writable=False),
    Place("a file with two names", _hard),
    Place("a folder", _named("it", Path.mkdir), writable=False),
    Place("a link to a folder", _links(1, ".", exists=False), writable=False),
    Place("a missing folder", _named("none/it"), writable=False),
    Place("a file for a folder", lambda f: _file(0o644)(f) / "it", writable=False),
    Place("too long a name", _named("x" * 256), writable=False),
    Place("the longest name", _named("x" * 255)),
    Place("a name that is no UTF-8", _named(os.fsdecode(b"\xff\xfe"))),
    Place("a name with escapes", _named("a\x1b]52;c;x\x07b\nc")),
    Place("a socket", _named("it", _socket), writable=False),
    Place("a pipe that nobody reads", _named("it", os.mkfifo), writable=False),
    *(Place(d, _named(d), True) for d in ("/dev/null", "/dev/zero")),
    *(Place(f"a link to {d}", _through(d)) for d in ("/dev/null", "/dev/zero")),
    Place("/dev/full", _named("/dev/full"), writable=False),
    Place("a link to /dev/full", _through("/dev/full"), writable=False),
    Place("/dev/fd/97", _named("/dev/fd/97"), writable=False),
    Place("/proc/self/fd/97", _named("/proc/self/fd/97"), writable=False),
    Place("/proc/self/mem", _named("/proc/self/nothing"), writable=False),
    Place("/sys", _named("/sys/kernel/none"), writable=False),
    Place("a disk", _named("it", _device(stat.S_IFBLK, 7, 250)), writable=False, root_only=True),
    Place("a device of one's own", _named("it", _device(stat.S_IFCHR, 1, 3)), root_only=True),
    Place("a file in a closed folder", _under(0o555, True)),
    Place("another's file", _anothers(0o644), root_only=True),
    Place("an immutable file", _immutable, writable=False, root_only=True),
)
FOR_NOBODY = (
    Place("a new file in a closed folder", _under(0o555, False), writable=False),
    Place("a folder that cannot be entered", _under(0o600, True), writable=False),
)
"""What root may write to all the same."""


def run(field: Field) -> Iterator[Tried]:
    try:
        yield from _all(field)
    finally:
        shutil.rmtree(_open(), ignore_errors=True)


def _all(field: Field) -> Iterator[Tried]:
    random_numbers = field.random("outputs")
    sizes = [0, 1, 4095, 4096, 4097, 70_000, 1_000_000]
    for user in (0, NOBODY) if os.getuid() == 0 else (os.getuid(),):
        places = [p for p in PLACES if user == 0 or not p.root_only]
        places += FOR_NOBODY if user else ()
        for place in places:
            for size in (sizes[0], random_numbers.choice(sizes[1:])):
                for full in (False, True):
                    yield _written(place, user, size, full, random_numbers)
    for size in sizes:
        yield from _read(size, random_numbers)
    yield from _saves(field)
    yield from _commands(field)


def _written(place: Place, user: int, size: int, full: bool, numbers: random.Random) -> Tried:
    """`write_named` in a process of its own, on a disk that is `full` or not."""
    folder = Path(tempfile.mkdtemp(dir=_open()))
    os.chown(folder, user, user)
    who = "root" if user == 0 else "an ordinary user"
    name = f"{place.name}, {size} B, {who}{', full disk' * full}"
    data = numbers.randbytes(size)
    try:
        path = _as(user, lambda: place.make(folder))
    except OSError:
        return Tried(f"{name}: not to be made here")
    read_only = place.name == "a read-only file" and user == 0  # root may write it
    before = _state(folder)

    def work() -> str:
        if full:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            check_named(path)
            write_named(path, data)
        except InputError as error:
            return f"refused {error}"
        return "written"

    said = _as(user, lambda: _bounded(work))
    after = _state(folder)
    lost = ""
    special = str(path).startswith("/dev") or place.name.startswith(("a link to /dev", "a device"))
    fits = not full or size == 0 or special
    if said is None:
        lost = "it hung"
    elif "Traceback" in said or "Errno" in said:
        lost = said
    elif said == "written":
        if not place.writable and not read_only and size:
            lost = "written though it may not be"
        elif _is_file(path) and path.stat().st_size != size:
            lost = f"{path.stat().st_size} bytes are there"
        elif _is_file(path) and path.read_bytes() != data:
            lost = "other bytes are there"
    elif place.writable and fits:
        lost = said
    elif before != after:
        lost = f"something changed though it was refused: {said}"
    if not lost and (changed := _kinds(before) - _kinds(after)):
        lost = f"{sorted(changed)} is another kind of thing now"
    if not lost and list(folder.rglob(".scd-tui-*")):
        lost = "a temporary file is left"
    if place.name == "an immutable file":
        subprocess.run(["chattr", "-i", str(path)], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    return Tried(name, lost)


def _open() -> Path:
    """A folder that everybody may use."""
    folder = Path(tempfile.gettempdir()) / f"outputs-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    return folder


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _state(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Type and content of all that lies in a folder."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        content: bytes | str = b""
        if stat.S_ISREG(mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(mode):
            content = str(path.readlink())
        found[str(path.relative_to(folder))] = stat.S_IFMT(mode), content
    return found


def _kinds(state: dict[str, tuple[int, bytes | str]]) -> set[tuple[str, int]]:
    """What there was, and what kind of thing each was."""
    return {(name, kind) for name, (kind, _) in state.items()}


def _as(user: int, work: Callable[[], object]):  # type: ignore[no-untyped-def]
    """Do something as another user, with a umask of 0."""
    before, mask = os.geteuid(), os.umask(0)
    try:
        if user != before:
            os.setegid(user)
            os.seteuid(user)
        return work()
    finally:
        if user != before:
            os.seteuid(before)
            os.setegid(os.getgid())
        os.umask(mask)


def _bounded(work: Callable[[], str]) -> str | None:
    """What it says, from a child process; None where it does not end in time."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        user = os.geteuid()
        if user != os.getuid():  # `os.access` asks for the real one
            os.seteuid(0)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        try:
            said = work()
        except BaseException as error:
            said = f"Traceback {error!r}"
        os.write(theirs, os.fsencode(said)[:60_000] or b"nothing")
        os._exit(0)
    os.close(theirs)
    ready, _, _ = select.select([ours], [], [], SECONDS)
    said = os.fsdecode(os.read(ours, 1 << 16)) if ready else None
    if not ready:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ours)
    return said


def _read(size: int, numbers: random.Random) -> Iterator[Tried]:
    """Pipes that are read, slowly or not to their end."""
    for pause, least in ((0.0, size), (0.002, size), (0.0, size // 2)):
        folder = Path(tempfile.mkdtemp(dir=_open()))
        path, data = folder / "pipe", numbers.randbytes(size)
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            try:
                write_named(path, data)
                os._exit(0)
            except InputError:
                os._exit(7)
            except BaseException:
                os._exit(9)
        got, end = b"", time.monotonic() + SECONDS
        os.set_blocking(reader, False)
        while time.monotonic() < end and (len(got) < least or least == size):
            if not select.select([reader], [], [], 0.05)[0]:
                continue
            try:
                part = os.read(reader, 8192)
            except BlockingIOError:
                continue
            if not part:
                break
            got += part
            time.sleep(pause)
        os.close(reader)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        whole = least == size
        fine = (code == 0 and got == data) if whole else code in (0, 7) and data.startswith(got)
        shutil.rmtree(folder, ignore_errors=True)
        yield Tried(
            f"a pipe of {size} B, read to {least} B, {pause} s between",
            "" if fine else f"code {code}, {len(got)} B read",
        )


def _saves(field: Field) -> Iterator[Tried]:
    """What `s` finds under the name that it would take."""
    stem = stem_of(circuit())
    makers: dict[str, Callable[[Path], object]] = {
        "a link to nothing": lambda path: path.symlink_to("none"),
        "a circle": _loop,
        "a pipe": os.mkfifo,
        "a folder": Path.mkdir,
        "a socket": _socket,
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
        "another's circuit": lambda path: path.write_bytes(encode_circuit(circuit(prompt="x"))),
        "nonsense": lambda path: path.write_bytes(b"\xff" * 100),
    }
    for name, make in makers.items():
        folder = Path(tempfile.mkdtemp(dir=field.folder))
        make(folder / f"{stem}.json")
        before = _state(folder)
        said = _bounded(lambda folder=folder: str(save(folder, circuit(), View())[0]))  # type: ignore[misc]
        after = _state(folder)
        lost = ""
        if said is None:
            lost = "it hung"
        elif said != str(folder / f"{stem}-2.json"):
            lost = said
        elif any(after.get(key) != value for key, value in before.items()):
            lost = "what was there is not there any more"
        elif decode_saved((folder / f"{stem}-2.json").read_bytes())[0] != circuit():
            lost = "it is not the circuit"
        yield Tried(f"save beside {name}", lost)


def _commands(field: Field) -> Iterator[Tried]:
    """`scd-tui attribute --out` as a user calls it, with its standard output somewhere else too."""
    environment = field.home()
    call = [sys.executable, "-m", "scd_tui", "attribute", "The cat", "--top", "2", "--no-gate"]
    folder = field.folder
    (folder / "link").symlink_to("target")
    os.mkfifo(folder / "pipe")
    (folder / "it").mkdir()
    tries: list[tuple[str, int]] = [
        (str(folder / "link"), 0),
        ("/dev/null", 0),
        ("/dev/stdout", 0),
        ("-", 0),
        ("/dev/full", 1),
        (str(folder / "pipe"), 1),
        (str(folder / "it"), 2),
        (str(folder / "none" / "it"), 2),
    ]
    for out, code in tries:
        if field.over:
            return
        done = subprocess.run(
            [*call, "--out", out], env=environment, capture_output=True, check=False, timeout=120
        )
        said = done.stderr.decode("utf-8", "replace")
        lost = ""
        if done.returncode != code:
            lost = f"exit status {done.returncode}: {said[-300:]}"
        elif "Traceback" in said or "Error" in said:
            lost = said[-300:]
        elif out in ("-", "/dev/stdout"):
            end = done.stdout.index(b"\n}\n") + 3
            decode_circuit(done.stdout[:end])
        yield Tried(f"attribute --out {out.replace(str(folder), '')}", lost)
    with (folder / "log").open("wb") as log:
        log.write(OLD)
        log.flush()
        subprocess.run(
            [*call, "--out", "/dev/stdout"], env=environment, stdout=log, check=False, timeout=120
        )
    kept = (folder / "log").read_bytes().startswith(OLD + b"{")
    yield Tried("attribute --out /dev/stdout >> log", "" if kept else "the log was replaced")
    if not (folder / "link").is_symlink():
        yield Tried("links after all commands", "a link became a file")


KINDS = (Kind("outputs", "paths to write to: links, pipes, devices, full disks", run, 240),)
