"""diskcache without pickle and without files: keys are text, values are bytes in the database.

Its own serialisers are not enough. A row that somebody planted with another mode is unpickled, and
one with a file name makes the cache read, or delete, a file wherever the name leads. Here a row that
is not plain bytes is refused, and no file name is ever followed.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import DEFAULT_SETTINGS, METADATA, MODE_RAW, UNKNOWN

BUSY_SECONDS = 5.0
"""How long a write waits for another process before it is given up: it is only a cache."""

T = TypeVar("T")
_FILES = ("cache.db", "cache.db-wal", "cache.db-shm")


class Refused(ValueError):
    """A row that is not of our making."""


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
    bound. A database that cannot be read is begun anew. Raises OSError when the folder cannot be
    had, or belongs to somebody else.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = folder
        self._limit = limit
        private_folder(folder)
        self._cache = self._opened()

    def _opened(self) -> Any:
        try:
            _check_settings(self.folder / _FILES[0])
            return self._new()
        except (sqlite3.DatabaseError, Refused, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise OSError(f"{self.folder} is in use") from None
        self._remove()
        return self._new()

    def _new(self) -> Any:
        policy = "none" if self._limit is None else "least-recently-stored"
        return diskcache.Cache(
            str(self.folder), timeout=BUSY_SECONDS, disk=PlainDisk, eviction_policy=policy,
            size_limit=self._limit or 1 << 50, cull_limit=10 if self._limit else 0,
        )  # fmt: skip

    def _remove(self) -> None:
        for name in _FILES:
            (self.folder / name).unlink(missing_ok=True)

    def _tried(self, work: Callable[[], T], otherwise: T) -> T:
        """What `work` returns, or `otherwise` when the database is busy, full or broken."""
        try:
            return work()
        except (diskcache.Timeout, sqlite3.OperationalError):
            return otherwise
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError, sqlite3.Error):
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
        return sum(path.stat().st_size for name in _FILES if (path := self.folder / name).is_file())

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


def _check_settings(path: Path) -> None:
    """Refuse a database with settings that diskcache does not make: it would run them as pragmas."""
    if path.is_symlink():
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
