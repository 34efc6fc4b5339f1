"""Remaining time, with a clock that a test moves."""

import pytest

from scd_tui.remaining import Remaining, about


def test_what_is_left_is_told_from_what_each_kind_took() -> None:
    now = 0.0
    remaining = Remaining({"read": 4, "write": 10}, {"write": 3.0}, clock=lambda: now)
    assert not remaining.begun
    now = 2.0
    remaining.done("read")
    assert remaining.begun and remaining.seconds == 3 * 2.0 + 10 * 3.0
    now = 6.0
    remaining.done("read")
    assert remaining.seconds == 2 * 3.0 + 10 * 3.0, "the mean of both"
    remaining.correct("write", 5)
    now = 7.0
    remaining.done("write", 2)
    assert remaining.seconds == 2 * 3.0 + 3 * 0.5, "a guess no more"
    remaining.done("write", 3)
    remaining.done("read", 2)
    assert remaining.seconds == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.2, "under 10 s"), (9.9, "under 10 s"), (42, "about 40 s"), (89, "about 90 s")),
        *((91, "about 2 min"), (600, "about 10 min"), (7300, "about 2.0 h")),
    ],
)
def test_a_time_claims_no_more_than_is_known(seconds: float, words: str) -> None:
    assert about(seconds) == words
