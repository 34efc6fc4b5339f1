"""The folders that things are kept in: whether they can be written, and who can read them."""

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from scd_tui.doctor.findings import Fact, Finding, State
from scd_tui.numbers import in_bytes
from scd_tui.text import visible

SECONDS = 1.0
"""For adding up the files of one folder, which may lie at the other end of a network."""
LEAST_FREE = 1 << 30
"""Bytes of a disk below which there is something to say."""


def file(name: str, path: Path) -> Finding:
    """A file that is only read: others may read it too, but not write it."""
    facts: dict[str, Fact] = {"path": str(path), "exists": False}
    try:
        found = path.stat()
    except FileNotFoundError:
        return Finding(name=name, says=f"{_shown(path)}, not there: the defaults hold", facts=facts)
    except OSError as error:
        says = f"{_shown(path)}, {error.strerror}"
        return Finding(name=name, state="warn", says=says, todo="let it be read", facts=facts)
    mode = stat.S_IMODE(found.st_mode)
    state, todo = _permissions(path, found, mode & 0o022, "others can change it", "go-w")
    return Finding(
        name=name,
        state=state,
        says=f"{_shown(path)}, mode {mode:04o}",
        todo=todo,
        facts={**facts, "exists": True, "mode": mode, "bytes": found.st_size},
    )


def folder(
    name: str, path: Path, *, private: bool, needed_for: str, counted: bool = True
) -> Finding:
    """A folder of things that are kept. What holds prompts is `private`: nobody else may look in."""
    facts: dict[str, Fact] = {"path": str(path), "exists": path.is_dir()}
    place, why = _writable(path)
    free = _free(place)
    facts |= {"writable": not why, "free": free}
    words = [_shown(path)]
    state: State = "ok"
    todo = ""
    if path.is_dir():
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        facts["mode"] = mode
        if counted:
            size, files, whole = folder_size(path)
            facts |= {"bytes": size, "files": files, "counted_all": whole}
            words.append(f"{'' if whole else 'more than '}{in_bytes(size)} in {files:,} files")
        words.append(f"mode {mode:04o}")
        forbidden = mode & (0o077 if private else 0o022)
        fault = "others can look into it" if private else "others can change it"
        state, todo = _permissions(path, found, forbidden, fault, "go-rwx" if private else "go-w")
    else:
        words.append("not there yet" if not why else "not there")
    if free is not None:
        words.append(f"{in_bytes(free)} free")
    if why:
        state, todo = "warn", f"{needed_for} cannot be kept ({why}): make {_shown(place)} writable"
    elif free is not None and free < LEAST_FREE and not todo:
        state, todo = "warn", "the disk is nearly full: make room"
    return Finding(name=name, state=state, says=", ".join(words), todo=todo, facts=facts)


def _shown(path: Path) -> str:
    return visible(str(path))


def _permissions(
    path: Path, found: os.stat_result, forbidden: int, fault: str, cure: str
) -> tuple[State, str]:
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        return "warn", "it belongs to somebody else"
    if forbidden:
        return "warn", f"{fault}: chmod {cure} {_shown(path)}"
    return "ok", ""


def _writable(path: Path) -> tuple[Path, str]:
    """The nearest folder that is there, and why nothing can be written into it; "" if it can.

    It is tried with a file that has no name or loses it at once: permission bits do not tell of
    read-only disks, nor of quotas.
    """
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            return place, ""
    except OSError as error:
        return place, error.strerror or type(error).__name__


def _free(place: Path) -> int | None:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def folder_size(path: Path, seconds: float = SECONDS) -> tuple[int, int, bool]:
    """Bytes and number of the files below a folder, links not followed; and whether time sufficed."""
    end = time.monotonic() + seconds
    size = files = 0
    rest = [str(path)]
    while rest:
        try:
            with os.scandir(rest.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        rest.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        size += entry.stat(follow_symlinks=False).st_size
                        files += 1
                    if time.monotonic() > end:
                        return size, files, False
        except OSError:  # gone meanwhile, or not ours to look into
            continue
    return size, files, True
