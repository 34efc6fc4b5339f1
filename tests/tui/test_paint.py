import pytest

from scd_tui.tui.paint import Columns, far_off


@pytest.mark.parametrize(
    ("estimate", "exact", "off"),
    [
        (1.0, 1.0, False),
        (1.0, 2.0, False),
        (1.0, 2.1, True),
        (-2.0, -1.0, False),
        (-2.1, -1.0, True),
        (-0.917, -0.143, True),
        (0.1, -0.1, True),
        (0.5, 0.0, True),
        (0.0, 0.0, False),
    ],
)
def test_an_estimate_is_far_off_outside_half_to_twice_of_what_was_measured(
    estimate: float, exact: float, off: bool
) -> None:
    assert far_off(estimate, exact) is off


def test_a_narrow_tree_keeps_the_exact_effects_before_the_bars() -> None:
    assert Columns.of(60).exact and Columns.of(60).bar
    assert Columns.of(44).exact and not Columns.of(44).bar
    assert Columns.of(40).bar and not Columns.of(40).exact
