import msgspec
import pytest
from tui.samples import circuit

from scd_tui.comparison import compare
from scd_tui.graph import Completion, Step, Target, Token
from scd_tui.history import target_words
from scd_tui.tui.detail import metric_spans
from scd_tui.tui.ink import plain
from scd_tui.tui.paint import root_text
from scd_tui.tui.store import CircuitStore
from scd_tui.wording import (
    contrast_words,
    differing,
    ids_of_alike,
    names_of,
    seen_unquoted,
    wanted_words,
)


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


def held(*pairs: tuple[str, str], default: bool = True) -> Target:
    first, *later = (
        Step(*(Completion(Token(n, text), 0.5, 1.0) for n, text in enumerate(pair)))
        for pair in pairs
    )
    return Target("diff", 3, first.target, first.contrast, default, tuple(later))


def test_contrasts_that_nobody_chose_are_named_one_by_one() -> None:
    assert contrast_words(held((" Mary", " John"), (".", ","))) == "' John' · ','"
    assert contrast_words(held((" Mary", " John"))) == "' John'"
    assert contrast_words(msgspec.structs.replace(held((" a", " b")), contrast=None)) == ""


def test_a_target_and_a_contrast_that_show_alike_have_their_ids() -> None:
    alike = held(("\n", "⏎"))
    assert (wanted_words(alike), contrast_words(alike)) == ("'⏎' #0", "'⏎' #1")
    blanks = held((" ", "\u00a0"))
    assert (wanted_words(blanks)[-3:], contrast_words(blanks)[-3:]) == (" #0", " #1")
    assert wanted_words(held((" The", "The"))) == "' The'"


def test_what_is_offered_is_named_by_its_id_where_a_text_does_not_name_it() -> None:
    assert names_of(tokens(" a", "b", "b", "\\xe2"), "b") == [" a", "#11", "#12", "#13"]
    assert names_of(tokens("#3", "#31"), "#3") == ["#10", "#11"]


def test_a_contrast_that_was_chosen_is_the_text_that_it_was_chosen_as() -> None:
    assert contrast_words(held((" a", "\\xe2\\x82"), ("b", "\\xac"), default=False)) == "'€'"


def test_all_screens_and_lists_name_them_so() -> None:
    made = msgspec.structs.replace(circuit(), target=held((" Mary", " John"), ("\n", ",")))
    assert target_words(made) == "' Mary⏎' − ' John' · ','"
    assert root_text(CircuitStore.of(made)) == '" Mary⏎" − " John" · ","'
    text = plain(metric_spans(made.target))
    assert '− logit of " John" · "," (for each token the likeliest other)' in text
    (differs,) = (d for d in compare(circuit(), made).differs if d.what == "contrast")
    assert differs.b == "' John' · ','"
