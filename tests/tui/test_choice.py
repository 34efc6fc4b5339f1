import msgspec
import pytest
import torch
from tiny import PROMPT
from tui.samples import circuit

from scd_tui.attribution.again import ask_again
from scd_tui.attribution.explain import Explanation, explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.graph import Settings
from scd_tui.tui.choice import Choice, choice_of


def asked(loaded: LoadedModel, choice: Choice) -> Explanation:
    return explain(
        loaded,
        PROMPT,
        **{name: getattr(choice, name) for name in Choice.__struct_fields__},
    )


@pytest.mark.parametrize(
    "choice",
    [
        Choice(7),
        Choice(7, 11),
        Choice(7, metric="logp"),
        Choice((7, 8), (11, 12)),
        Choice((7, 8), metric="logit", settings=Settings(top=3)),
        Choice(7, 11, position=4),
        Choice(7, continuation=3),
        Choice((7, 8), continuation=2),
        Choice(7, 11, contrast_prompt="the cat sat on the mat. To or"),
    ],
    ids=str,
)
def test_a_circuit_says_what_was_asked(tiny_loaded: LoadedModel, choice: Choice) -> None:
    """Asked once more, it is the same circuit; `ask_again` has its own way to find the question."""
    made = asked(tiny_loaded, choice).circuit
    assert choice_of(made) == choice
    again = ask_again(tiny_loaded, made)
    assert again.circuit.target == made.target
    torch.testing.assert_close(again.attribution.value, made.metric_value)


def test_what_the_worker_chose_is_not_asked_for_by_name(tiny_loaded: LoadedModel) -> None:
    made = asked(tiny_loaded, Choice(continuation=2)).circuit
    found = choice_of(made)
    assert (found.target, found.contrast) == (made.target.target.token.id, None)
    assert found.continuation == 2 and found.elsewhere
    assert not choice_of(circuit()).elsewhere


def test_another_prompt_is_asked_in_the_same_way() -> None:
    choice = Choice(7, 11, "logp", 3, None, "other", Settings(top=2))
    assert choice.anew(" a") == Choice(" a", metric="logp", settings=Settings(top=2))
    assert msgspec.structs.replace(choice, position=None).elsewhere is False
