"""Markdown in which text from outside is text."""

import pytest

from scd_tui.export.replication import code, prose, small


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Again", "` Again`"),
        ("a|b", "`a\\|b`"),
        ("`", "`` ` ``"),
        ("a``b", "``` a``b ```"),
        ("\n\x1b[31m", "`⏎\\x1b[31m`"),
        (" ", "`   `"),
    ],
)
def test_a_token_is_a_code_span_that_nothing_in_it_ends(text: str, expected: str) -> None:
    assert code(text) == expected


def test_an_explanation_is_no_markup() -> None:
    hostile = "[x](http://y) <img> `c` **b** a|b\n# h"
    assert prose(hostile) == ("\\[x\\]\\(http://y\\) \\<img\\> \\`c\\` \\*\\*b\\*\\* a\\|b⏎\\# h")


@pytest.mark.parametrize(
    ("value", "text"), [(0.00213, "+0.0021"), (-1.26, "−1.3"), (0.0, "+0"), (123.0, "+1.2e+02")]
)
def test_small_weights_keep_two_digits(value: float, text: str) -> None:
    assert small(value) == text
