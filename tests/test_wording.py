import pytest

from scd_tui.graph import Token
from scd_tui.wording import differing, ids_of_alike, seen_unquoted


@pytest.mark.parametrize(
    ("prompt", "other", "shown"),
    [
        ("The keys that he holds", "The key that he holds", "…key that he holds"),
        ("The key that he holds", "The keys that he holds", "…keys that he holds"),
        ("Mary and John", "John and Mary", "John and Mary"),
        ("list [ a ]", "list { a ]", "…{ a ]"),
        ("one", "one", "one"),
    ],
)
def test_of_two_prompts_it_is_said_where_they_part(prompt: str, other: str, shown: str) -> None:
    assert differing(prompt, other) == shown


def tokens(*texts: str) -> list[Token]:
    return [Token(10 + n, text) for n, text in enumerate(texts)]


def test_only_tokens_that_show_alike_have_their_ids() -> None:
    assert ids_of_alike(tokens("\n", " a", "⏎", "a", "\n")) == (" #10", "", " #12", "", " #14")
    assert ids_of_alike(tokens("a", "b")) == ("", "")


def test_blanks_cannot_be_told_from_each_other_nor_seen_at_an_end() -> None:
    assert ids_of_alike(tokens(" ", "\u00a0")) == (" #10", " #11")
    assert ids_of_alike(tokens("\n", "\n  ")) == ("", ""), "between quotes"
    assert ids_of_alike(tokens("\n", "\n  "), seen_unquoted) == (" #10", " #11")
