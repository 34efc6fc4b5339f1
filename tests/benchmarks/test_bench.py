"""`scd-tui bench` runs as a whole. What it finds is only reported: no time is asserted here."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from scd_tui.export.bench_table import render, three
from scd_tui.timings import Timings


@pytest.fixture(scope="module")
def found() -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "scd_tui", "bench", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


def test_the_bundled_model_is_measured_as_a_whole(
    found: dict, record_property: Callable[[str, object], None]
) -> None:
    for key in ("reference_over_ours", "ours_over_encoders", "upstream_ms", "peak_over_weights_gb"):
        assert found[key] > 0
        record_property(key, found[key])
    assert found["exact_forwards"] == pytest.approx(found["exact_s"] / found["forward_s"])
    assert found["ours_s"] == pytest.approx(sum(found["parts"].values()))
    assert {(one["tokens"], one["top"]) for one in found["lengths"]} == {
        (tokens, top) for tokens in (15, 60) for top in (10, 50)
    }
    assert found["targets"] == 1 + 12 * 11
    assert found["model"] == "demo" and found["dictionaries"] == 12


def test_the_table_says_what_the_data_say(found: dict) -> None:
    import msgspec

    timings = msgspec.convert(found, Timings)
    table = render(timings)
    assert f"{three(found['ours_over_encoders'])} × the encoder products" in table
    assert f"{three(found['exact_forwards'])} forward passes" in table
    assert f"{three(found['reference_sparse_s'] / found['ours_s'])} × a circuit" in table
    assert max(map(len, table.splitlines())) <= 100
