import pytest

from scd_tui.numbers import (
    bar,
    counted,
    meter,
    percent,
    probability,
    signed,
    sparkline,
    tenths,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.32, " +1.320"), (-0.11, " −0.110"), (-0.0001, "  0.000"), (12345.678, " +12346")],
)
def test_signed_always_fits_and_shows_its_sign(value: float, text: str) -> None:
    assert signed(value, 7) == text


def test_what_is_no_number_is_said() -> None:
    assert signed(float("nan"), 7) == "    n/a"
    assert percent(float("inf")) == "n/a"
    assert bar(float("nan"), 3) == "   "


def test_bars_show_that_there_is_something() -> None:
    assert bar(0.0, 4) == "    "
    assert bar(0.0001, 4) == "▏   "
    assert bar(0.5, 4) == "██  "
    assert bar(7.0, 4) == "████"
    assert meter(3, 6, 4) == "██░░"
    assert meter(0, 0, 3) == "░░░"


def test_probabilities_and_tenths() -> None:
    assert probability(0.9999) == ">99.9%"
    assert probability(1.0) == "100.0%"
    assert probability(0.0001) == "<0.1%"
    assert [tenths(v, 10.0) for v in (0.0, 0.01, 4.9, 9.9, 10.0)] == [0, 1, 4, 9, 9]


def test_a_sparkline_sums_what_a_cell_stands_for() -> None:
    assert sparkline([1, 2, 4, 8], 4) == "▁▂▄█"
    assert sparkline([1, 1, 0, 0, 8, 8], 3) == "▁ █"
    assert sparkline([1000, 1], 8) == "█▁", "what is there is seen"
    assert (sparkline([], 5), sparkline([0, 0], 5), sparkline([1.0], 0)) == ("", "  ", "")
    assert sparkline([float("nan"), 2], 2) == " █"


def test_what_is_counted_is_one_or_many() -> None:
    assert counted(1, "node") == "1 node" and counted(0, "node") == "0 nodes"
    assert counted(1, "leaf", "leaves") == "1 leaf" and counted(1200, "leaf", "leaves") == (
        "1,200 leaves"
    )


def test_a_bar_without_room_is_nothing() -> None:
    assert bar(0.5, 0) == ""
