import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scd_tui.neuronpedia.address import SITE, Feature
from scd_tui.neuronpedia.cache import Cache
from scd_tui.neuronpedia.entries import BULK_LIFETIME, DAY, LIFETIMES, entry_of
from scd_tui.neuronpedia.records import Activation, Explanation, FeatureRecord

SOURCE = "6-res_post_32k-oai"
NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def named(index: int, source: str = SOURCE) -> Feature:
    return Feature("gpt2-small", source, index)


def record(index: int, text: str = "words", activations: int = 0) -> FeatureRecord:
    one = Activation((" the", " word"), (0.0, 2.5), 2.5, 1)
    explanations = (Explanation(text, "np_max-act", "gpt-4o-mini"),) if text else ()
    return FeatureRecord(
        "gpt2-small", SOURCE, index, explanations=explanations, activations=(one,) * activations
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Iterator[Cache]:
    made = Cache(tmp_path / "np", SITE, now=clock)
    yield made
    made.close()


def test_three_states_and_where_they_are_from(cache: Cache) -> None:
    cache.put(
        {
            named(1): entry_of(record(1), "brief", NOW, "neuronpedia.org"),
            named(2): entry_of(record(2, ""), "brief", NOW, "neuronpedia.org"),
            named(3): entry_of(None, "brief", NOW, "neuronpedia.org"),
        }
    )
    found = cache.get_many([named(n) for n in range(5)])
    assert {f.index: e.state for f, e in found.items()} == {
        1: "explained",
        2: "unexplained",
        3: "unknown",
    }
    entry = found[named(1)]
    assert (entry.origin, entry.fetched, entry.depth, entry.bulk) == (
        "neuronpedia.org",
        NOW,
        "brief",
        False,
    )
    assert entry.record == record(1)


@pytest.mark.parametrize(
    ("state", "made"),
    [("explained", record(1)), ("unexplained", record(1, "")), ("unknown", None)],
)
def test_each_state_has_its_lifetime_and_what_is_stale_stays(
    cache: Cache, clock: Clock, state: str, made: FeatureRecord | None
) -> None:
    cache.put({named(1): entry_of(made, "brief", NOW, "x")})
    clock.now = NOW + LIFETIMES[state] - 1  # type: ignore[index]
    assert not cache.get(named(1)).stale(clock.now)  # type: ignore[union-attr]
    clock.now += 2
    entry = cache.get(named(1))
    assert entry is not None and entry.state == state and entry.stale(clock.now)
    clock.now = NOW - DAY
    assert entry.stale(clock.now), "from the future: a clock was set back"


def test_a_full_record_outlives_one_in_brief_while_it_is_fresh(cache: Cache, clock: Clock) -> None:
    cache.put({named(1): entry_of(record(1, activations=1), "full", NOW, "x")})
    cache.put({named(1): entry_of(record(1), "brief", NOW + 5, "x")})
    assert cache.get(named(1)).depth == "full"  # type: ignore[union-attr]
    clock.now = NOW + 31 * DAY
    cache.put({named(1): entry_of(record(1), "brief", clock.now, "x")})
    assert cache.get(named(1)).depth == "brief"  # type: ignore[union-attr]


def bulk(cache: Cache, number: int, total: int, indices: list[int]) -> None:
    some = {i: (Explanation(f"bulk {i}", "np_max-act", "gpt-4o"),) for i in indices}
    assert cache.put_file("gpt2-small", SOURCE, f"batch-{number}", total, some, "bulk host")


def test_a_source_fetched_ahead_answers_for_all_its_features(cache: Cache, clock: Clock) -> None:
    bulk(cache, 0, 2, [0, 1, 10, 100, 1000, 10000])
    assert cache.get(named(10)).state == "explained"  # type: ignore[union-attr]
    assert cache.get(named(2)) is None, "half of the source is not there yet"
    bulk(cache, 1, 2, [3, 30])
    entry = cache.get(named(10000))
    assert entry is not None and entry.bulk and entry.depth == "label"
    assert entry.record is not None and entry.record.explanations[0].description == "bulk 10000"
    assert cache.get(named(2)).state == "unexplained", "looked up, and there is none"  # type: ignore[union-attr]
    assert cache.get(named(1, "5-res_post_32k-oai")) is None
    (status,) = cache.sources()
    assert (status.complete, status.done, status.explained) == (True, ("batch-0", "batch-1"), 8)
    clock.now += BULK_LIFETIME + 1
    assert cache.get(named(10)).stale(clock.now)  # type: ignore[union-attr]


def test_several_explanations_of_a_feature_can_lie_in_different_files(cache: Cache) -> None:
    for number, kind in enumerate(("z", "np_max-act", "z")):
        some = {7: (Explanation(f"text {kind}", kind, "gpt"),)}
        cache.put_file("gpt2-small", SOURCE, f"batch-{number}", 3, some, "x")
    entry = cache.get(named(7))
    assert entry is not None and entry.record is not None
    assert [e.description for e in entry.record.explanations] == ["text np_max-act", "text z"]


def test_what_was_looked_up_in_more_depth_wins_over_what_was_fetched_ahead(cache: Cache) -> None:
    bulk(cache, 0, 1, [1])
    cache.put({named(1): entry_of(record(1, "fuller", 1), "full", NOW, "x")})
    assert cache.get(named(1)).depth == "full"  # type: ignore[union-attr]


def test_eviction_leaves_what_was_fetched_ahead(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "np", SITE, limit=200_000)
    bulk(cache, 0, 1, list(range(2000)))
    for index in range(300):
        text = "".join(chr(33 + (index * k * k) % 90) for k in range(2000))
        cache.put(
            {
                named(50_000 + index): entry_of(
                    record(50_000 + index, text), "brief", time.time(), "x"
                )
            }
        )
    assert cache.get(named(50_299)).depth == "brief"  # type: ignore[union-attr]
    assert cache.status().features < 300
    assert all(cache.get(named(i)).state == "explained" for i in range(0, 2000, 97))  # type: ignore[union-attr]
    cache.close()


def test_damaged_values_and_those_of_another_feature_are_as_if_never_looked_up(
    tmp_path: Path, cache: Cache
) -> None:
    cache.put({named(n): entry_of(record(n), "brief", NOW, "x") for n in range(6)})
    connection = sqlite3.connect(tmp_path / "np" / "looked-up" / "cache.db")
    rows = connection.execute("SELECT rowid, key, value FROM Cache ORDER BY rowid").fetchall()
    damaged = [b"", b"junk", rows[2][2][:-5], rows[5][2], b"x\x9c" + bytes(50)]
    for (rowid, _, _), value in zip(rows[:5], damaged, strict=True):
        connection.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (value, rowid))
    connection.commit()
    connection.close()
    assert set(cache.get_many(named(n) for n in range(6))) == {named(5)}
    cache.put({named(0): entry_of(record(0), "brief", NOW, "x")})
    assert cache.get(named(0)) is not None


def test_services_and_versions_do_not_see_each_other_s_entries(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put({named(1): entry_of(record(1), "brief", NOW, "x")})
    other = Cache(tmp_path / "np", "https://np.example.org", now=Clock())
    assert other.get(named(1)) is None
    other.close()
    monkeypatch.setattr("scd_tui.neuronpedia.cache.SCHEMA", 2)
    assert cache.get(named(1)) is None


def test_clearing_forgets_everything(cache: Cache) -> None:
    bulk(cache, 0, 1, [1])
    cache.put({named(5): entry_of(record(5), "brief", NOW, "x")})
    cache.clear()
    assert cache.get(named(1)) is None and cache.get(named(5)) is None
    assert cache.status().sources == ()


def test_reading_takes_less_than_five_milliseconds(cache: Cache) -> None:
    """A full record of the usual size, among 20,000 entries; a label out of a block; a miss."""
    long = Activation(
        tuple(f" token{n}" for n in range(128)), tuple(n / 7 for n in range(128)), 18.1, 127
    )
    full = FeatureRecord(
        "gpt2-small", SOURCE, 1, explanations=record(1).explanations, activations=(long,) * 40
    )
    for start in range(0, 20_000, 500):
        cache.put(
            {named(i): entry_of(record(i), "brief", NOW, "x") for i in range(start, start + 500)}
        )
    cache.put({named(1): entry_of(full, "full", NOW, "x")})
    bulk(cache, 0, 1, list(range(20_000, 30_000)))
    for index in (1, 777, 25_000, 99_999):
        times = []
        for _ in range(20):
            begun = time.perf_counter()
            cache.get(named(index))
            times.append(time.perf_counter() - begun)
        assert sorted(times)[10] < 0.005


WRITER = """
import sys
from pathlib import Path
from scd_tui.neuronpedia.address import Feature
from scd_tui.neuronpedia.cache import Cache
from scd_tui.neuronpedia.entries import entry_of
from scd_tui.neuronpedia.records import Explanation, FeatureRecord
who = int(sys.argv[2])
cache = Cache(Path(sys.argv[1]), "https://www.neuronpedia.org")
for n in range(who, 120, 3):
    feature = Feature("m", "0-x", n)
    record = FeatureRecord("m", "0-x", n, explanations=(Explanation(f"by {who}"),))
    cache.put({feature: entry_of(record, "brief", 1e9, "x")})
    cache.put_file("m", "1-x", f"batch-{n}", 120, {n: (Explanation(f"by {who}"),)}, "x")
    cache.get(Feature("m", "0-x", n - 1))
cache.close()
"""


def test_several_processes_lose_nothing_of_each_other_s(tmp_path: Path) -> None:
    folder = tmp_path / "np"
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(n)]) for n in range(3)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    cache = Cache(folder, SITE)
    for n in range(120):
        looked_up = cache.get(Feature("m", "0-x", n))
        ahead = cache.get(Feature("m", "1-x", n))
        assert looked_up is not None and looked_up.record is not None
        assert ahead is not None and ahead.record is not None
        assert ahead.record.explanations == (Explanation(f"by {n % 3}"),)
    (status,) = cache.sources()
    assert status.complete and status.explained == 120
    cache.close()


def test_a_folder_that_cannot_be_had_says_so(tmp_path: Path) -> None:
    (tmp_path / "np").write_text("a file")
    with pytest.raises(OSError):
        Cache(tmp_path / "np", SITE)
