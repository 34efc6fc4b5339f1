"""From what is asked, in text, to tokens: the prompt, what follows it, and what is explained there."""

from collections.abc import Sequence
from dataclasses import dataclass

from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError
from scd_tui.graph import Token


@dataclass(frozen=True)
class Question:
    """A question in tokens.

    The last `forced` of `tokens` follow the prompt: they come before the target's last token.
    `target` and `contrast` are token ids, as many of each; `position` is where the first is read, None
    for as late as can be.
    """

    tokens: tuple[Token, ...]
    forced: int
    target: tuple[int, ...]
    contrast: tuple[int, ...] | None
    position: int | None


def ask(
    model: LanguageModel,
    prompt: str,
    *,
    target: str | int | Sequence[int] | None = None,
    contrast: str | int | Sequence[int] | None = None,
    position: int | None = None,
    continuation: int | None = None,
) -> Question:
    """Find the tokens that a question is about.

    Texts of the target and of the contrast may be of several tokens; `#1234` is the token with that id,
    also where another token's text is that. Without a target it is the
    likeliest token. With `continuation` n the model first says n - 1 tokens more, the likeliest each time,
    and the target (without one, what it says next) is read after them. Raises InputError.
    """
    tokens = said = model.prompt(prompt)
    if continuation is not None:
        if continuation < 1:
            raise InputError("the tokens of a continuation count from 1")
        if position is not None:
            raise InputError("a continuation follows the prompt: leave out the position")
        said = model.continued(tokens, continuation - 1)
    if target is None:
        if position is None:
            logits = model.next_token_logits(said)
        else:
            logits = model.next_token_logits(said[: _end(position, said)])
        target = model.completions(logits, 1)[0].token.id
    wanted = _ids(model, target, "target")
    said = (*said, *(model.token(i) for i in wanted[:-1]))
    if len(said) > model.context:
        raise InputError(
            f"the prompt and what is asked after it have {len(said)} tokens and the model reads "
            f"{model.context}: shorten it"
        )
    return Question(
        tokens=said,
        forced=len(said) - len(tokens),
        target=wanted,
        contrast=None if contrast is None else _ids(model, contrast, "contrast"),
        position=position,
    )


def _end(position: int, tokens: Sequence[Token]) -> int:
    """How many tokens there are up to and with a position, which may count from the end."""
    at = position + len(tokens) * (position < 0)
    if not 0 <= at < len(tokens):
        raise InputError(
            f"there is no position {position}: the prompt has positions 0 to {len(tokens) - 1}"
        )
    return at + 1


def _ids(model: LanguageModel, wanted: str | int | Sequence[int], role: str) -> tuple[int, ...]:
    """Token ids of one token by id, of several by ids, or of a text."""
    if isinstance(wanted, int):
        return (model.single_token(wanted, role).id,)
    if not isinstance(wanted, str):
        return tuple(model.single_token(i, role).id for i in wanted)
    tokens = model.named(wanted)
    if len(tokens) != 1 and (not tokens or model.is_single(" " + wanted)):
        # nothing at all, or a word whose space was forgotten: the refusal says which
        return (model.single_token(wanted, role).id,)
    return tuple(token.id for token in tokens)
