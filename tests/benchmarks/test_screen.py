"""The screen's budgets, measured on the real app in a pseudo-terminal.

Bytes, memory and ratios within one run are asserted. Times depend on what else the machine does: they are
reported (`pytest -s tests/benchmarks/test_screen.py` prints them).
"""

import os
import statistics
import time
from collections.abc import Iterator

import pytest
from benchmarks.driven import LEAST, MOVE_BYTES, MOVING, Driven, Report, on_rows, p95

DETAIL_BYTES, PAGE_BYTES = 8_000, 20_000
EFFECT_BYTES = 600
"""For one effect that was measured: its row, and the line that counts."""
MEMORY_MB = 80


def unfolded(rows: int, busy: bool) -> Iterator[Driven]:
    """The app with all of its rows unfolded, at rest."""
    app = on_rows(rows, busy)
    app.until(b"resid_post 3")
    app.rest(1.0)
    app.key(b"E", 0.5)
    app.rest(1.0)
    yield app
    app.close()


@pytest.fixture(scope="module")
def large() -> Iterator[Driven]:
    yield from unfolded(50_000, busy=True)


@pytest.fixture(scope="module")
def small() -> Iterator[Driven]:
    yield from unfolded(300, busy=False)


def test_bytes_of_moves_pages_rest_and_idle(large: Driven, report: Report) -> None:
    large.key(b"g", 0.5)
    moves = [large.key(b"j", MOVING)[2] for _ in range(24)]
    assert statistics.median(moves) <= MOVE_BYTES
    report("bytes a move, median", statistics.median(moves))
    large.rest()
    # Moving on beyond the edge, half a page at a time: what a long way costs, a key.
    way = [large.key(b"j", MOVING)[2] for _ in range(60)]
    assert statistics.mean(way) <= MOVE_BYTES
    report("bytes a move, mean of 60 that scroll", round(statistics.mean(way)))
    large.rest()
    assert large.key(b"k", 0.4)[2] <= MOVE_BYTES + DETAIL_BYTES
    pages = []
    for _ in range(5):
        pages.append(large.key(b"\x1b[6~", MOVING)[2])
        large.rest(0.3)
    assert statistics.median(pages) <= PAGE_BYTES
    report("bytes a page, median", statistics.median(pages))
    assert large.read(0.8) == b"", "nothing is written at rest, whatever the worker does"


def test_effects_that_arrive_cost_their_rows_and_a_move_meanwhile_its_own(
    report: Report,
) -> None:
    """A hundred exact effects, fifty a second: what each writes, at rest and beside a moving cursor."""
    for app in unfolded(300, busy=False):
        app.key(b"gjj", 0.5)
        app.rest()
        before = len(app.output)
        app.key(b"x", 0.3)
        written = bytes(app.output[before:])
        report("bytes while 100 exact effects arrive", len(written))
        seen = [line for _, _, lines in app.screens() for line in lines]
        assert any("99/101" in line or "100/101" in line for line in seen), "they did arrive"
        assert len(written) <= 100 * EFFECT_BYTES
        app.rest()
        app.key(b"j", 0.5)
        os.write(app.fd, b"x")
        before, moves = len(app.output), 0
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            os.write(app.fd, b"j" if moves % 20 < 10 else b"k")
            moves += 1
            app.read(0.02)
            time.sleep(0.05)
            app.rest(0)
        own = (len(app.output) - before - len(written)) / moves
        report("bytes a move meanwhile, without what arrives", round(own))
        assert own <= MOVE_BYTES


def test_a_key_takes_no_longer_on_fifty_thousand_rows(
    large: Driven, small: Driven, report: Report
) -> None:
    first: dict[str, list[float]] = {"small": [], "large": []}
    last: dict[str, list[float]] = {"small": [], "large": []}
    for app in (large, small):
        app.key(b"g", 0.5)
    for step in range(40):  # in turns, so that both meet the same load
        for name, app in (("small", small), ("large", large)):
            one, other, _ = app.key(b"k" if step % 2 else b"j", MOVING)
            first[name].append(one)
            last[name].append(other)
    for name in ("small", "large"):
        report(f"ms to first byte, p95, {name}", round(1000 * p95(first[name]), 1))
        report(f"ms to last byte, p95, {name}", round(1000 * p95(last[name]), 1))
    assert statistics.median(last["large"]) <= 2 * statistics.median(last["small"])


def test_memory_of_the_app_s_process_at_ten_thousand_rows(report: Report) -> None:
    for app in unfolded(10_000, busy=False):
        report("MB of the app's process", round(app.resident_mb(), 1))
        assert app.resident_mb() <= MEMORY_MB


def test_the_first_paint_computes_little_more_than_the_library_s_least(report: Report) -> None:
    ours: list[tuple[float, float]] = []
    least: list[tuple[float, float]] = []
    for _ in range(3):
        for found, make in ((least, lambda: Driven(LEAST)), (ours, lambda: on_rows(300, False))):
            app = make()
            found.append((app.until(b"Prompt"), app.cpu_seconds()))
            app.close()
    report("ms to first paint", round(1000 * min(ours)[0]))
    report("ms to the library's least", round(1000 * min(least)[0]))
    computed = [min(cpu for _, cpu in found) for found in (ours, least)]
    report("CPU seconds to both", computed)
    assert computed[0] <= 2.5 * computed[1]
