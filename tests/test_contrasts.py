"""A token of the prompt that is offered as the contrast, against what the tokens' texts say."""

import msgspec
import pytest
from circuits import ROOT, circuit_of

from scd_tui.contrasts import contrast_in_prompt
from scd_tui.export.tree import contrast_hint
from scd_tui.graph import Circuit, Completion, Node, Target, Token

PROMPT = ("When", " John", " and", " Mary", " went", ",", "Ann", " gave", " it")
LIKELIEST = (" Mary", " the", " her", " John", " him", " a", " Ann")


def asked(
    likeliest: tuple[str, ...] = LIKELIEST, against: str = " the", **changes: object
) -> Circuit:
    """A circuit of PROMPT for the likeliest token; equal texts have equal ids."""
    texts = sorted({*PROMPT, *likeliest})
    tokens = {text: Token(number, text) for number, text in enumerate(texts)}
    completions = tuple(Completion(tokens[t], 0.5 / (n + 1), 1.0) for n, t in enumerate(likeliest))
    by_text = {one.token.text: one for one in completions}
    target = Target("diff", 8, completions[0], by_text[against], contrast_is_default=True)
    made = circuit_of(Node(ROOT, 0.25, 0.0), edges=())
    return msgspec.structs.replace(
        made,
        tokens=tuple(tokens[text] for text in PROMPT),
        completions=completions,
        target=msgspec.structs.replace(target, **changes),
    )


def offered(circuit: Circuit) -> str | None:
    found = contrast_in_prompt(circuit)
    return None if found is None else found.token.text


def test_the_likeliest_token_of_the_prompt_that_is_not_the_target_is_offered() -> None:
    assert offered(asked()) == " John"
    assert offered(asked((" Mary", " the", " him", " Ann", " John"))) == " Ann", "without the space"
    assert offered(asked((" Mary", " the", " him"))) is None
    assert offered(asked(("Mary", " the", " Mary", " John"))) == " John", "the target, spelt anew"
    assert offered(asked((" Mary", " and", " him", " John"), " and")) == " John", "what is there"


def test_a_token_that_is_written_as_the_target_is_comes_first() -> None:
    names_and_words = (" Mary", " the", " and", " it", " Ann", " John", " went")
    assert offered(asked(names_and_words)) == " Ann", "a name for a name"
    assert offered(asked((" her", " the", " Ann", " it", " and"))) == " it", "a word for a word"
    assert offered(asked((" her", " the", " Ann", " John"))) == " Ann", "else the likeliest"
    assert offered(asked((" Mary", " the", ",", " him"))) is None, "a sign is no contrast"


@pytest.mark.parametrize("place, found", [(9, " John"), (10, None)])
def test_only_the_likeliest_ten_count(place: int, found: str | None) -> None:
    others = tuple(f" other{n}" for n in range(20))
    likeliest = (" Mary", " the", *others[: place - 2], " John", *others[place:])
    assert likeliest[place] == " John"
    assert offered(asked(likeliest)) == found


def test_nothing_is_offered_in_place_of_a_choice() -> None:
    assert offered(asked(contrast_is_default=False)) is None
    assert offered(asked(metric="logp", contrast=None, contrast_is_default=False)) is None
    forced = msgspec.structs.replace(asked((" Mary", " the", " it")), forced=1)
    assert offered(forced) is None, "it stands after the prompt"


def test_the_option_is_spelt_as_a_shell_takes_it() -> None:
    assert contrast_hint(asked()) == "' John' (12.5%) is in the prompt too: --contrast ' John'"
    assert contrast_hint(asked((" Mary", " the"))) == ""
    odd = msgspec.structs.replace(asked(), tokens=(Token(3, " John\x1b"),))
    likely = (*odd.completions[:2], Completion(Token(3, " John\x1b"), 0.1, 1.0))
    odd = msgspec.structs.replace(odd, completions=likely)
    assert contrast_hint(odd).endswith("--contrast '#3'"), "by its id"
