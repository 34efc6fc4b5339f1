"""A contrast that the prompt itself offers, where nobody chose one.

The likeliest other token is often a function word. Where a token of the prompt is among the likeliest
next ones, such as the other name in a sentence of two people, it is the contrast that a reader wants.
"""

from scd_tui.graph import Circuit, Completion

LIKELIEST = 10
"""Next tokens that are looked at."""


def contrast_in_prompt(circuit: Circuit) -> Completion | None:
    """A token of the prompt that is among the likeliest next ones; None where there is none.

    Of several, those written as the target is come first (a name for a name: both begin with a capital),
    and of these the likeliest. Neither the target nor the contrast that is there already, and nothing
    without a letter or a digit. A leading space makes no difference. None as well where a contrast was
    chosen, where the metric has none, and for several tokens.
    """
    target = circuit.target
    if target.contrast is None or not target.contrast_is_default or target.later:
        return None
    prompt = circuit.tokens[: len(circuit.tokens) - circuit.forced]
    ids = {token.id for token in prompt}
    texts = {_word(token.text) for token in prompt} - {""}
    taken = (target.target.token, target.contrast.token)
    likeliest = sorted(circuit.completions, key=lambda one: -one.probability)[:LIKELIEST]
    found = []
    for completion in likeliest:
        token = completion.token
        if any(token.id == one.id or _word(token.text) == _word(one.text) for one in taken):
            continue
        if (token.id in ids or _word(token.text) in texts) and _form(token.text) != "":
            found.append(completion)
    wanted = _form(target.target.token.text)
    return min(found, key=lambda one: _form(one.token.text) != wanted, default=None)


def _word(text: str) -> str:
    return text.removeprefix(" ")


def _form(text: str) -> str:
    """How a token begins: as a number, with a capital or with another letter; "" for signs alone."""
    first = next((character for character in text if character.isalnum()), "")
    if not first:
        return ""
    return "number" if first.isdigit() else "capital" if first.isupper() else "letter"
