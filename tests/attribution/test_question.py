"""From text to tokens: targets of several tokens, continuations, positions."""

import pytest
import torch

from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.question import ask
from scd_tui.errors import InputError

PROMPT = "the cat sat on the"


def test_a_target_of_several_tokens_is_put_after_the_prompt_but_for_its_last(
    varied_model: LanguageModel,
) -> None:
    prompt, target = varied_model.prompt(PROMPT), varied_model.tokenize(" mat. To be")
    assert len(target) > 2
    question = ask(varied_model, PROMPT, target=" mat. To be")
    assert question.tokens == (*prompt, *target[:-1])
    assert question.forced == len(target) - 1
    assert question.target == tuple(token.id for token in target)


def test_a_continuation_is_what_the_model_says_when_asked_again_and_again(
    varied_model: LanguageModel,
) -> None:
    ids = [token.id for token in varied_model.prompt(PROMPT)]
    said = []
    for _ in range(4):
        with torch.no_grad():
            said.append(int(varied_model.forward(torch.tensor([[*ids, *said]]))[0, -1].argmax()))
    assert len(set(said)) > 1
    question = ask(varied_model, PROMPT, continuation=4)
    assert [token.id for token in question.tokens] == [*ids, *said[:3]]
    assert question.target == (said[3],)
    assert question.forced == 3
    other = ask(varied_model, PROMPT, continuation=4, target=7)
    assert (other.tokens, other.target) == (question.tokens, (7,))


def test_without_a_target_it_is_the_likeliest_at_the_position_asked_about(
    varied_model: LanguageModel,
) -> None:
    ids = varied_model.ids(varied_model.prompt(PROMPT))
    with torch.no_grad():
        best = varied_model.forward(ids)[0].argmax(dim=-1).tolist()
    assert len(set(best)) > 2
    assert ask(varied_model, PROMPT).target == (best[-1],)
    for position, token in enumerate(best):
        assert ask(varied_model, PROMPT, position=position).target == (token,)
        assert ask(varied_model, PROMPT, position=position - len(best)).target == (token,)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"target": ""}, "the target is empty"),
        ({"target": "question"}, "with a leading space, ' question'"),
        ({"target": [7, 99_999]}, "there is no token 99999"),
        ({"continuation": 0}, "count from 1"),
        ({"continuation": 2, "position": 1}, "leave out the position"),
        ({"continuation": 99}, "no room for 98 more"),
        ({"target": "abc" * 20}, "the model reads 32: shorten it"),
        ({"position": 40}, "there is no position 40"),
        ({"target": 7, "contrast": ""}, "the contrast is empty"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(
    varied_model: LanguageModel, wanted: dict, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        ask(varied_model, PROMPT, **wanted)
    assert "\n" not in str(caught.value)
