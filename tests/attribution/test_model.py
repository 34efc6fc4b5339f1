import pytest
import torch

from scd_tui.attribution.model import LanguageModel, hook_name
from scd_tui.errors import InputError
from scd_tui.graph import Site


@pytest.mark.parametrize("text", ["the cat", " é日本", "a\x1b[31m\n", "[red]a[/] b", "\u202e"])
def test_tokens_spell_the_prompt_and_nothing_is_put_before_it(
    tiny_model: LanguageModel, text: str
) -> None:
    tokens = tiny_model.tokenize(text)
    spelled = b"".join(
        token.text.encode()
        if "\\x" not in token.text
        else bytes.fromhex(token.text.replace("\\x", ""))
        for token in tokens
    )
    assert spelled.decode() == text
    assert tokens[0].text != "<|endoftext|>"


def test_empty_and_overlong_prompts_are_refused(tiny_model: LanguageModel) -> None:
    with pytest.raises(InputError, match="the prompt is empty"):
        tiny_model.prompt("")
    with pytest.raises(InputError, match="33 tokens and the model reads 32"):
        tiny_model.prompt("x" * 33)


def test_completions_are_the_likeliest_tokens_in_order(tiny_model: LanguageModel) -> None:
    logits = tiny_model.next_token_logits(tiny_model.prompt("the cat"))
    found = tiny_model.completions(logits, 5)
    values, ids = logits.softmax(0).topk(5)
    assert [c.token.id for c in found] == ids.tolist()
    assert [c.probability for c in found] == pytest.approx(values.tolist())
    assert [c.logit for c in found] == pytest.approx(logits[ids].tolist())


def test_hooks_change_what_the_model_goes_on_with(tiny_model: LanguageModel) -> None:
    ids = tiny_model.ids(tiny_model.prompt("the cat"))
    clean = tiny_model.forward(ids)
    for site in (Site(0, "attn_out"), Site(1, "mlp_out"), Site(2, "resid_post")):
        changed = tiny_model.forward(ids, [(hook_name(site), torch.zeros_like)])
        assert not torch.allclose(clean, changed)


def test_a_place_that_dictionaries_cannot_be_read_at_is_refused() -> None:
    with pytest.raises(InputError, match=r"a dictionary at resid_mid\.0 is not supported"):
        hook_name(Site(0, "resid_mid"))
