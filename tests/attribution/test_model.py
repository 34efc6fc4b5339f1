import pytest
import torch

from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError
from scd_tui.graph import SITE_KINDS, Site


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
        changed = tiny_model.forward(ids, [(site, torch.zeros_like)])
        assert not torch.allclose(clean, changed)


def test_edits_of_one_place_are_made_in_order(tiny_model: LanguageModel) -> None:
    ids = tiny_model.ids(tiny_model.prompt("the cat"))
    for kind in SITE_KINDS:
        site = Site(1, kind)
        both = tiny_model.forward(ids, [(site, lambda x: x * 2), (site, lambda x: x + 1)])
        once = tiny_model.forward(ids, [(site, lambda x: x * 2 + 1)])
        other = tiny_model.forward(ids, [(site, lambda x: (x + 1) * 2)])
        assert torch.equal(both, once)
        assert not torch.allclose(both, other)


def test_the_stream_between_attention_and_mlp_is_replaced_for_both_of_its_readers(
    tiny_model: LanguageModel,
) -> None:
    """Adding to it is adding to what attention wrote; the bridge's own hook changes the MLP alone."""
    ids = tiny_model.ids(tiny_model.prompt("the cat"))
    push = torch.linspace(-1, 1, tiny_model.width)
    by_stream = tiny_model.forward(ids, [(Site(1, "resid_mid"), lambda x: x + push)])
    by_attention = tiny_model.forward(ids, [(Site(1, "attn_out"), lambda x: x + push)])
    torch.testing.assert_close(by_stream, by_attention, atol=1e-4, rtol=1e-4)
    untouched = tiny_model.forward(ids, [(Site(1, "resid_mid"), lambda x: x)])
    assert torch.equal(untouched, tiny_model.forward(ids))
