"""Files of ours that cannot be read: moved aside, never over another file, and never deleted.

The state folder and the cache folder have a folder `aside` each. A file goes there under the name of the
folder that it lay in, joined to its own, with a number where that is taken. Only a regular file is moved; a
folder, a device or a link is passed over where it is.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from scd_tui.config import cache_path, state_path

FOLDER = "aside"
MOST = 100
"""Files in one such folder: with more, what is damaged stays where it is."""
_TOLD = "told"
"""An empty file: what was moved after its time has not been told yet."""


def put_aside(path: Path) -> Path | None:
    """Move a damaged file aside, and say where to; None if it stays where it is."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        folder = aside_of(path)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken = {entry.name for entry in folder.iterdir()}
        if len(taken - {_TOLD}) >= MOST:
            return None
        for number in range(1, 10 * MOST):
            name = f"{path.parent.name}-{path.stem}{f'-{number}' * (number > 1)}{path.suffix}"
            if name not in taken and _moved(path, folder / name):
                os.utime(folder / name)  # when it was moved, for `untold`
                return folder / name
    except (OSError, ValueError):
        return None  # a folder that is read-only, or another's
    return None


def _moved(path: Path, to: Path) -> bool:
    """Move a file to a name that is free; False if it was taken meanwhile. Raises OSError."""
    try:
        os.link(path, to, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.lexists(to):
            return False
        path.rename(to)
        return True
    path.unlink()
    return True


def aside_of(path: Path) -> Path:
    """The folder that a file is moved into: in the state folder, or in the cache folder if it is there."""
    root = next((one for one in _roots() if path.is_relative_to(one)), path.parent)
    return root / FOLDER


def kept_aside() -> list[Path]:
    """All files that were moved aside, the last first."""
    return [path for _, path in sorted(_found(), reverse=True)]


def untold() -> list[Path]:
    """Those that no one was told of yet; from now on they count as told."""
    new: list[Path] = []
    for root in _roots():
        folder = root / FOLDER
        here = [(when, path) for when, path in _found() if path.parent == folder]
        try:
            told = (folder / _TOLD).lstat().st_mtime_ns
        except OSError:
            told = -1
        late = [path for when, path in here if when > told]
        if late:
            new += late
            _mark(folder / _TOLD, max(when for when, _ in here))
    return new


def _mark(path: Path, when: int) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600))
        os.utime(path, ns=(when, when))
    except OSError:
        return  # it is told again


def _found() -> Iterator[tuple[int, Path]]:
    """When each was moved, in nanoseconds, and where it is."""
    for root in _roots():
        try:
            with os.scandir(root / FOLDER) as entries:
                for entry in entries:
                    if entry.name != _TOLD and entry.is_file(follow_symlinks=False):
                        yield entry.stat(follow_symlinks=False).st_mtime_ns, Path(entry.path)
        except OSError:
            continue


def _roots() -> tuple[Path, ...]:
    return (state_path(), cache_path())


def words_on(files: list[Path]) -> str:
    """One sentence on files that were moved aside; "" for none."""
    if not files:
        return ""
    if len(files) == 1:
        return f"a file was damaged and is kept aside, as {files[0]}"
    return f"{len(files)} files were damaged and are kept aside, in {files[0].parent}"
