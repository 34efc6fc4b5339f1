"""diskcache without pickle and without files: keys are text, values are bytes in the database.

Its own serialisers are not enough. A row that somebody planted with another mode is unpickled, and
one with a file name makes the cache read, or delete, a file wherever the name leads. Here a row that
is not plain bytes is refused, and no file name is ever followed.
"""

import contextlib
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import DEFAULT_SETTINGS, METADATA, MODE_RAW, UNKNOWN

from scd_tui.aside import put_aside
from scd_tui.reading import is_regular

BUSY_SECONDS = 5.0
"""How long a write waits for another process before it is given up: it is only a cache."""

T = TypeVar("T")
_FILES = ("cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal")


class Refused(ValueError):
    """A row that is not of our making."""


_BROKEN = (sqlite3.Error, Refused, TypeError, ValueError, KeyError, AttributeError, OverflowError)
"""What reading a damaged database raises, in sqlite3 or in diskcache."""


class PlainDisk(diskcache.Disk):  # type: ignore[misc]
    """Keys are str and values bytes, as they are; everything else is refused."""

    def put(self, key: Any) -> tuple[str, bool]:
        if not isinstance(key, str):
            raise Refused("a key is text")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        if not raw or not isinstance(key, str):
            raise Refused("a key that is not text")
        return key

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, None, Any]:
        if read or not isinstance(value, bytes):
            raise Refused("a value is bytes")
        return 0, MODE_RAW, None, sqlite3.Binary(value)

    def fetch(self, mode: int, filename: Any, value: Any, read: bool) -> bytes:
        if mode != MODE_RAW or filename is not None or read or not isinstance(value, bytes):
            raise Refused("a row that is not plain bytes")
        return value

    def filename(self, key: Any = UNKNOWN, value: Any = UNKNOWN) -> tuple[str, str]:
        raise Refused("nothing is kept in files")

    def remove(self, file_path: Any) -> None:
        """Nothing is kept in files, so none is removed, whatever a row says."""


class Store:
    """Bytes by name in one folder that is its owner's alone; several processes may share it.

    `limit` is its size in bytes, beyond which what was stored first is evicted; None is without
    bound. A database that cannot be read is moved aside and begun anew. Raises OSError when the
    folder cannot be had, belongs to somebody else, or has something else in the database's place.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = folder
        self._limit = limit
        private_folder(folder)
        self._cache = self._opened()

    def _opened(self) -> Any:
        for name in _FILES:
            _require_plain(self.folder / name)
        try:
            _check_settings(self.folder / _FILES[0])
            return self._new()
        except _BROKEN as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise OSError(f"{self.folder} is in use") from None
        self._remove()
        try:
            return self._new()
        except _BROKEN:
            raise OSError(f"{self.folder} cannot be used for a database") from None

    def _new(self) -> Any:
        policy = "none" if self._limit is None else "least-recently-stored"
        return diskcache.Cache(
            str(self.folder), timeout=BUSY_SECONDS, disk=PlainDisk, eviction_policy=policy,
            size_limit=self._limit or 1 << 50, cull_limit=10 if self._limit else 0,
        )  # fmt: skip

    def _remove(self) -> None:
        """Make room for a new database. Raises OSError where the old one cannot be moved aside."""
        for name in _FILES:
            path = self.folder / name
            if path.is_symlink():
                path.unlink()  # the link alone
            elif path.exists() and (not path.stat().st_size or path.name.endswith("-shm")):
                path.unlink(missing_ok=True)  # nothing is in it
            elif path.exists() and put_aside(path) is None:
                raise OSError(f"{path} is damaged and cannot be moved aside: delete it")

    def _tried(self, work: Callable[[], T], otherwise: T) -> T:
        """What `work` returns, or `otherwise` when the database is busy, full or broken."""
        try:
            return work()
        except (diskcache.Timeout, sqlite3.OperationalError):
            return otherwise
        except _BROKEN:
            with contextlib.suppress(OSError, *_BROKEN):
                self.close()
                self._remove()
                self._cache = self._new()
            return otherwise

    def get(self, key: str) -> bytes | None:
        """The bytes of that name; None where there are none, or none of our making."""

        def work() -> bytes | None:
            try:
                found: bytes | None = self._cache.get(key)
                return found
            except Refused:
                self._cache.delete(key)
                return None

        return self._tried(work, None)

    def put(self, items: dict[str, bytes]) -> bool:
        """Keep all of these, or none. Returns whether they were kept."""

        def work() -> bool:
            with self._cache.transact():
                for key, value in items.items():
                    self._cache.set(key, value)
            return True

        return self._tried(work, False)

    def atomically(self, work: Callable[[], T], otherwise: T) -> T:
        """Run `work` while no other process can write; its own writes are kept all or not at all."""

        def inside() -> T:
            with self._cache.transact():
                return work()

        return self._tried(inside, otherwise)

    def delete(self, key: str) -> None:
        self._tried(lambda: self._cache.delete(key), False)

    def count(self) -> int:
        return self._tried(lambda: len(self._cache), 0)

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for name in _FILES if is_regular(path := self.folder / name))

    def clear(self) -> None:
        self._tried(lambda: self._cache.clear(), 0)

    def close(self) -> None:
        self._cache.close()


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter, or make one so. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.is_symlink():
        raise OSError(f"{folder} is a link")
    folder.chmod(0o700)


def fault_of(path: Path) -> str:
    """Why a database of ours cannot be used, as a clause; "" if it can. Nothing is changed."""
    try:
        _require_plain(path)
        _check_settings(path)
    except OSError as error:
        return error.strerror or "it is no regular file"
    except _BROKEN:
        return "it is damaged; the next use moves it aside"
    return ""


def _require_plain(path: Path) -> None:
    """Raise OSError where sqlite would wait for what is no regular file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise OSError(f"{path} is no regular file, and a database belongs there: move it away")


def _check_settings(path: Path) -> None:
    """Refuse a database with settings that diskcache does not make: it would run them as pragmas."""
    if any(path.with_name(name).is_symlink() for name in _FILES):
        raise Refused("the database is a link")
    if not path.exists():
        return
    known = {*DEFAULT_SETTINGS, *METADATA}
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT key, value FROM Settings").fetchall()
    except sqlite3.OperationalError:
        return  # another process is just making it
    finally:
        connection.close()
    for key, value in rows:
        if key not in known:
            raise Refused(f"a setting {key!r}")
        if key.startswith("sqlite_") and value != DEFAULT_SETTINGS[key]:
            raise Refused(f"a setting {key!r} of {value!r}")
