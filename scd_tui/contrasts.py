"""A contrast that the prompt itself offers, where nobody chose one.

The likeliest other token is often a function word. Where a token of the prompt is among the likeliest
next ones, such as the other name in a sentence of two people, it is the contrast that a reader wants.
"""

from scd_tui.graph import Circuit, Completion

LIKELIEST = 10
"""Next tokens that are looked at."""


def contrast_in_prompt(circuit: Circuit) -> Completion | None:
    """The likeliest of the likeliest next tokens that the prompt has too; None where there is none.

    Neither the target nor the contrast that is there already. A leading space makes no difference.
    None as well where a contrast was chosen, where the metric has none, and for several tokens.
    """
    target = circuit.target
    if target.contrast is None or not target.contrast_is_default or target.later:
        return None
    prompt = circuit.tokens[: len(circuit.tokens) - circuit.forced]
    ids = {token.id for token in prompt}
    texts = {_word(token.text) for token in prompt} - {""}
    taken = (target.target.token, target.contrast.token)
    likeliest = sorted(circuit.completions, key=lambda one: -one.probability)[:LIKELIEST]
    for completion in likeliest:
        token = completion.token
        if any(token.id == one.id or _word(token.text) == _word(one.text) for one in taken):
            continue
        if token.id in ids or _word(token.text) in texts:
            return completion
    return None


def _word(text: str) -> str:
    return text.removeprefix(" ")
