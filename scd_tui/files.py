"""Writing files: never half, and never in place of something that is no file.

The program's own files are replaced at once and are their owner's alone. A path that a user named is
followed to where it leads: a regular file is replaced at once there, with its permissions kept; a pipe
or a device is written to (`scd_tui.pipes`); a folder is refused. All that goes wrong is one sentence.
"""

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from scd_tui.errors import InputError, RunError
from scd_tui.pipes import inherited, pour, pour_into

TEMPORARY = ".scd-tui-"
"""What the names of temporary files begin with. They are short, so that a long name has room."""


def write_private(path: Path, data: bytes) -> os.stat_result:
    """Replace `path`, one of the program's own files, at once, readable by its owner only.

    Returns what the system says of the new file. Raises OSError.
    """
    # mkstemp makes the file with mode 0600, and a rename keeps it.
    temporary = _written(path.parent, data)
    try:
        status = temporary.stat()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return status


def write_new(path: Path, data: bytes) -> None:
    """Make `path`, for its owner only; another program that makes it at the same time is not overwritten.

    Raises FileExistsError where anything has that name, and other OSErrors.
    """
    temporary = _written(path.parent, data, flush=True)
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        _make(path, data)
    finally:
        temporary.unlink(missing_ok=True)


def check_named(path: Path) -> None:
    """Find out ahead of long work whether `write_named` could do nothing with a path that a user named.

    Raises InputError.
    """
    try:
        target = _target(path)
        if target.descriptor is not None:
            inherited(target.descriptor)
        elif target.status is None or stat.S_ISREG(target.status.st_mode):
            _require_access(target)
    except OSError as error:
        raise _problem(path, error) from None


def write_named(path: Path, data: bytes) -> None:
    """Write to a path that a user named. A new file is its owner's alone.

    The old file stays as it is unless all was written; only where its folder, a hard link or another
    owner does not allow a new file in its place is it written over, after room was made for all.
    Raises InputError in one sentence: RunError where the call was right.
    """
    try:
        target = _target(path)
        if target.descriptor is not None:
            pour_into(target.descriptor, data)
        elif target.status is None:
            _replace(target, data)
        elif not stat.S_ISREG(target.status.st_mode):
            pour(target.path, data)
        elif not _in_real_folder(
            target
        ):  # /proc/*/fd of another process: there is no file to replace
            _write_over(target.path, data)
        else:
            _require_access(target)
            try:
                _replace(target, data)
            except _CannotReplace:
                _write_over(target.path, data)
    except OSError as error:
        raise _problem(path, error) from None


# --- where a path leads -------------------------------------------------------------------------


class _Target(NamedTuple):
    """Where a path leads: a descriptor of this process, or a path without links.

    `status` is of what is there; None where there is nothing yet.
    """

    path: Path
    descriptor: int | None = None
    status: os.stat_result | None = None


def _target(path: Path) -> _Target:
    """Raises OSError, also for what cannot be written to whatever its permissions are."""
    if (number := _descriptor(path)) is not None:
        return _Target(path, number)
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    real = Path(os.path.realpath(path))
    if status is None:
        if not real.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return _Target(real)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISBLK(status.st_mode):
        raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))
    if stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    return _Target(real, None, status)


_MOST_LINKS = 40


def _descriptor(path: Path) -> int | None:
    """The descriptor of this process that `/dev/stdout`, `/dev/fd/N` and links to them stand for."""
    own = ("/dev/fd", f"/proc/{os.getpid()}/fd", f"/proc/{os.getpid()}/task/{os.getpid()}/fd")
    for _ in range(_MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if str(folder) in own and path.name.isascii() and path.name.isdecimal():
            return int(path.name)
        try:
            path = folder / (folder / path.name).readlink()
        except OSError:
            return None
    return None


def _in_real_folder(target: _Target) -> bool:
    """Whether the path without links is of the very file that was found."""
    try:
        found = target.path.lstat()
    except OSError:
        return False
    assert target.status is not None
    return os.path.samestat(found, target.status)


def _require_access(target: _Target) -> None:
    """Raises OSError where a file may not be written, or none be made."""
    path = target.path if target.status is not None else target.path.parent
    if not os.access(path, os.W_OK):
        number = errno.EACCES
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            number = errno.EROFS
        raise OSError(number, os.strerror(number))


# --- the ways of writing ------------------------------------------------------------------------


class _CannotReplace(Exception):
    """The file itself has to be written over."""


def _written(folder: Path, data: bytes, *, flush: bool = False) -> Path:
    """A new file in `folder` that holds the data, on the disk if `flush`. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=TEMPORARY)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _replace(target: _Target, data: bytes) -> None:
    """Put a new file at a path at once. Raises OSError, and _CannotReplace."""
    old = target.status
    if old is not None and old.st_nlink > 1:
        raise _CannotReplace  # its other names would go on with what it was
    try:
        temporary = _written(target.path.parent, data, flush=True)
    except PermissionError:
        if old is None:
            raise
        raise _CannotReplace from None
    try:
        if old is not None:
            _take_after(temporary, old)
        temporary.replace(target.path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # EBUSY: something is mounted there, as single files are in containers
        refused = isinstance(error, OSError) and error.errno in (
            *(errno.EPERM, errno.EACCES, errno.EBUSY),
        )
        if old is not None and refused:
            raise _CannotReplace from None
        raise
    _flush_folder(target.path.parent)


def _take_after(new: Path, old: os.stat_result) -> None:
    """Give a new file the owner and permissions of the one that it replaces. Raises PermissionError."""
    made = new.stat()
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
        os.chown(new, old.st_uid, old.st_gid)
    new.chmod(stat.S_IMODE(old.st_mode) & 0o777)


def _flush_folder(folder: Path) -> None:
    """Have the rename on the disk too, where a folder can be flushed."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _write_over(path: Path, data: bytes) -> None:
    """Write into a file that stays the same file. Raises OSError; where there is no room, before a byte
    of it was changed."""
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        size = os.fstat(handle).st_size
        if len(data) > size:
            try:
                os.posix_fallocate(handle, size, len(data) - size)
            except OSError:
                os.ftruncate(handle, size)
                raise
        view, done = memoryview(data), 0
        while done < len(data):
            done += os.pwrite(handle, view[done:], done)
        os.ftruncate(handle, len(data))
        os.fsync(handle)
    finally:
        os.close(handle)


def _make(path: Path, data: bytes) -> None:
    """Make a file that is not there yet. Raises OSError, and leaves nothing then."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


# --- sentences ----------------------------------------------------------------------------------

_CALL = {
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder; name a file in it",
    errno.ELOOP: "its symbolic links lead round in a circle",
    errno.ENOTBLK: "it is a disk or a part of one; name a file",
    errno.ENOTSOCK: "it is a socket; name a file",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EBADF: "nothing is open for writing under that number",
}
_RUN = {
    errno.EACCES: "you may not write it",
    errno.EPERM: "you may not write it",
    errno.EROFS: "it is on a read-only disk",
    errno.ENOSPC: "there is no room on the disk",
    errno.EDQUOT: "your share of the disk is full",
    errno.EFBIG: "it would be larger than a file may be here",
    errno.ENXIO: "nobody reads from this pipe; start its reader first",
    errno.EPIPE: "its reader has left",
    errno.ETIMEDOUT: "its reader takes nothing",
}


def why(error: OSError) -> str:
    """What kept a file from being written, in words that follow "it cannot be written"."""
    words = {**_CALL, **_RUN}.get(error.errno or 0)
    return words or error.strerror or "the system refuses it"


def _problem(path: Path, error: OSError) -> InputError:
    kind = InputError if error.errno in _CALL else RunError
    return kind(f"{path} cannot be written: {why(error)}")
