from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.vocabulary import beginning_with
from scd_tui.graph import Token


def texts(found: tuple[Token, ...]) -> list[str]:
    return [token.text for token in found]


WORDS = tuple(
    Token(n, text) for n, text in enumerate(["the", " The", " th", "th", " that", "a", "theory"])
)


def test_the_token_itself_comes_first_then_those_that_begin_with_it() -> None:
    assert texts(beginning_with(WORDS, "th", 9)) == ["th", "the", "theory", " The", " th", " that"]
    assert texts(beginning_with(WORDS, " th", 2)) == [" th", " that"]
    assert beginning_with(WORDS, "q", 9) == ()


def test_a_model_knows_all_of_its_tokens_by_their_ids(tiny_model: LanguageModel) -> None:
    every = tiny_model.every_token
    assert len(every) == tiny_model.vocabulary
    assert [token.id for token in every] == list(range(len(every)))
    (first, *_) = beginning_with(every, " cat", 5)
    assert first == tiny_model.single_token(" cat")
