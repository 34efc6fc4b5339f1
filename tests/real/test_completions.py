"""What SmolLM2 says after the post's five prompts and an indirect object, as it came out."""

import pytest
from real.plain import Transformer
from real.question import PROMPT

from scd_tui.attribution.load import LoadedModel
from scd_tui.catalog.prompts import prompts_dir, read_prompt_set

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

SAID: dict[str, tuple[tuple[str, float], ...]] = {
    "Copyright (C": (("++", 0.1874), (")", 0.1638), ("#", 0.0658), ("oc", 0.0275), ("),", 0.0148)),
    "The biggest name in basketball is Michael": (
        (" Jordan", 0.8293),
        (" B", 0.0311),
        (" J", 0.0273),
        (" Jackson", 0.0138),
        (".", 0.0054),
    ),
    "Make America Great": (
        ("\n", 0.1844),
        (",", 0.1280),
        (".", 0.0782),
        (":", 0.0736),
        (" by", 0.0335),
    ),
    "To be or not to be, that is the": (
        (" question", 0.2722),
        (" eternal", 0.2178),
        (" ultimate", 0.0401),
        (" only", 0.0324),
        (" greatest", 0.0184),
    ),
    "Good morning starshine, the Earth says": (
        (",", 0.4418),
        (".", 0.1642),
        (":", 0.0817),
        (" to", 0.0744),
        (" it", 0.0204),
    ),
    PROMPT: (
        (" Mary", 0.9229),
        (" the", 0.0216),
        (" his", 0.0057),
        (" a", 0.0053),
        (" her", 0.0046),
    ),
}
"""Top five by transformers alone; the post's model has memorised more of its prompts."""
CLOSE = 5e-4


def test_the_post_s_prompts_are_all_here() -> None:
    assert {p.text for p in read_prompt_set(prompts_dir() / "post.toml").prompts} | {PROMPT} == set(
        SAID
    )


@pytest.mark.parametrize("text", SAID)
def test_transformers_says_what_it_said(transformer: Transformer, text: str) -> None:
    best = transformer.logits(text)[-1].softmax(dim=-1).topk(5)
    found = [transformer.tokenizer.decode([token]) for token in best.indices.tolist()]
    assert found == [token for token, _ in SAID[text]]
    assert best.values.tolist() == pytest.approx([p for _, p in SAID[text]], abs=CLOSE)


@pytest.mark.parametrize("text", SAID)
def test_the_engine_says_the_same(loaded: LoadedModel, text: str) -> None:
    logits = loaded.model.next_token_logits(loaded.model.prompt(text))
    found = loaded.model.completions(logits, 5)
    assert [c.token.text for c in found] == [token for token, _ in SAID[text]]
    assert [c.probability for c in found] == pytest.approx([p for _, p in SAID[text]], abs=CLOSE)
