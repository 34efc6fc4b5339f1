"""The cache's database, with rows in it that somebody else put there."""

import contextlib
import pickle
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import Any

import diskcache
import pytest

from scd_tui.neuronpedia.store import PlainDisk, Refused, Store, private_folder

EXPIRED = 1.0


class Bomb:
    """Unpickling it makes a file, as it could do anything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store(tmp_path / "store", limit=1 << 20)
    store.put({"mine": b"good"})
    store.close()
    return tmp_path / "store"


def plant(
    folder: Path, key: object, raw: int, mode: int, filename: str | None, value: object
) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    connection.execute(
        "INSERT INTO Cache(key, raw, store_time, expire_time, access_time, size, mode, filename, value)"
        " VALUES (?, ?, 0, ?, 0, 0, ?, ?, ?)",
        (key, raw, None if key != "expired" else EXPIRED, mode, filename, value),
    )
    connection.commit()
    connection.close()


def use_everything(store: Store) -> None:
    """Read, overwrite, evict, count and clear."""
    for key in ("planted", "mine", "expired"):
        store.get(key)
    for number in range(200):
        store.put({f"n{number}": bytes(20_000)})
    store.put({"planted": b"x"})
    store.delete("expired")
    store.count()
    store.clear()
    store.close()


@pytest.mark.parametrize("raw", [0, 1])
@pytest.mark.parametrize("mode", [1, 2, 3, 4, 9, None])
def test_a_planted_pickle_is_never_run(folder: Path, tmp_path: Path, mode: int, raw: int) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    plant(folder, "planted", raw, mode, None, bomb)
    plant(folder, bomb, 0, mode, None, bomb)
    store = Store(folder, limit=1 << 20)
    if raw and mode != 1:
        assert store.get("planted") is None
    assert store.get("mine") == b"good"
    use_everything(store)
    assert not (tmp_path / "ran").exists()


def test_the_plant_is_live() -> None:
    """What the tests plant does run code in diskcache's own JSON serialiser."""
    with tempfile.TemporaryDirectory() as name:
        ran = Path(name) / "ran"
        cache = diskcache.Cache(f"{name}/c", disk=diskcache.JSONDisk)
        cache.close()
        plant(Path(name) / "c", pickle.dumps(Bomb(ran)), 0, 1, None, b"")
        with contextlib.suppress(Exception):
            list(diskcache.Cache(f"{name}/c", disk=diskcache.JSONDisk))
        assert ran.exists()


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
def test_a_planted_file_name_is_neither_read_nor_deleted(
    folder: Path, tmp_path: Path, mode: int
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"secret")
    for key, name in (("planted", str(victim)), ("expired", "../victim")):
        plant(folder, key, 1, mode, name, None)
    store = Store(folder, limit=1 << 20)
    assert store.get("planted") is None
    use_everything(store)
    assert victim.read_bytes() == b"secret"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("disk_min_file_size_x", 1),
        ("sqlite_journal_mode", "off"),
        ("sqlite_writable_schema", 1),
        ("eviction", "x"),
    ],
)
def test_planted_settings_are_not_run_and_the_database_is_begun_anew(
    folder: Path, key: str, value: object
) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    connection.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (key, value))
    connection.commit()
    connection.close()
    store = Store(folder, limit=1 << 20)
    assert store.get("mine") is None
    assert store.put({"mine": b"again"}) and store.get("mine") == b"again"
    store.close()


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b""])
def test_a_damaged_database_is_begun_anew(folder: Path, damage: bytes) -> None:
    (folder / "cache.db").write_bytes(damage)
    for name in ("cache.db-wal", "cache.db-shm"):
        (folder / name).unlink(missing_ok=True)
    store = Store(folder)
    assert store.get("mine") is None
    assert store.put({"mine": b"again"}) and store.get("mine") == b"again"
    store.close()


def test_damage_while_it_is_open_costs_what_was_in_it_and_no_more(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put({f"n{number}": bytes([number]) * 5_000 for number in range(200)})
    store.close()
    path = tmp_path / "store" / "cache.db"
    data = bytearray(path.read_bytes())
    data[20_000:-20_000] = b"\xff" * (len(data) - 40_000)
    path.write_bytes(data)
    store = Store(tmp_path / "store")
    for number in range(200):
        store.get(f"n{number}")
    assert store.put({"new": b"value"}) or store.put({"new": b"value"})
    assert store.get("new") == b"value"
    store.close()


def test_the_size_is_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit=1 << 20)
    for number in range(400):
        store.put({f"n{number}": bytes([number % 256]) * 10_000})
    assert store.get("n399") is not None and store.get("n0") is None
    assert store.size() < 8 << 20
    assert store.count() < 150
    store.close()
    endless = Store(tmp_path / "endless")
    for number in range(400):
        endless.put({f"n{number}": bytes([number % 256]) * 10_000})
    assert endless.count() == 400
    endless.close()


def test_the_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    Store(folder).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(OSError, match="is a link"):
        private_folder(tmp_path / "link")


def test_a_database_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = Store(tmp_path / "elsewhere")
    elsewhere.put({"a": b"b"})
    elsewhere.close()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "cache.db").symlink_to(tmp_path / "elsewhere" / "cache.db")
    store = Store(tmp_path / "store")
    assert store.get("a") is None
    store.close()
    assert (tmp_path / "elsewhere" / "cache.db").is_file()


def test_only_text_and_bytes_are_kept(tmp_path: Path) -> None:
    disk = PlainDisk(str(tmp_path))
    for key in (1, b"x", None, ("a",)):
        with pytest.raises(Refused):
            disk.put(key)
    for value in (1, "x", None, object()):
        with pytest.raises(Refused):
            disk.store(value, False)
    with pytest.raises(Refused):
        disk.filename()
