"""Timing."""

from scd_tui.bench.procedure import Procedure, spread
from scd_tui.bench.stopwatch import best_of
from scd_tui.graph import Site


def test_the_fastest_run_counts() -> None:
    clock = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0])
    runs: list[int] = []
    assert best_of(3, lambda: runs.append(1), lambda: next(clock)) == 2.0
    assert len(runs) == 3


def test_the_procedure_is_scaled_to_all_targets_from_those_that_were_timed() -> None:
    assert Procedure(10.0, (1.0, 3.0)).seconds(50) == 10.0 + 50 * 2.0


def test_targets_are_early_middle_and_late_and_of_different_kinds() -> None:
    sites = [Site(layer, k) for layer in range(12) for k in ("attn_out", "mlp_out", "resid_post")]
    early, middle, late = spread(sites)  # type: ignore[arg-type]
    assert early.layer < 4 <= middle.layer < 8 <= late.layer
    assert len({early.kind, middle.kind, late.kind}) == 3
