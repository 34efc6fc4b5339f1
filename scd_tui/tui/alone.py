"""What stands in a circuit's place where the model has no dictionaries: completions with their logits."""

import math

from scd_tui.graph import Completion
from scd_tui.numbers import probability, signed
from scd_tui.text import visible
from scd_tui.tui.ink import Line, wrap
from scd_tui.tui.paint import quoted, token_cells
from scd_tui.tui.session import Session

TITLE = "Logits, without a circuit"
TOKEN_CELLS = 18
_HEADS = f"{'probability':>12}{'log-probability':>17}{'logit':>10}"


def lines(session: Session, width: int) -> list[Line]:
    """In `width` cells; none where the model has dictionaries, or is not loaded yet.

    Logits are raw, log-probabilities in nats; both of the token after the prompt.
    """
    if not session.lacks_dictionaries:
        return []
    sentence = wrap([(session.no_dictionaries, "warn")], max(20, width - 4))
    found: list[Line] = [(("  ", "text"), *line) for line in sentence]
    if not session.completions:
        return [*found, (), (("  Type a prompt: its completions need none.", "dim"),)]
    found += [(), (("  " + " " * TOKEN_CELLS + _HEADS, "dim"),)]
    target, contrast = session.target_token, session.contrast_token
    for one in session.completions:
        found.append(_row(one, {target: "●", contrast: "○"}.get(one.token.id, " ")))
    return [*found, *_difference(session)]


def _row(one: Completion, mark: str) -> Line:
    log = math.log(one.probability) if one.probability > 0 else -math.inf
    return (
        (f" {mark}", "towards" if mark == "●" else "away"),
        *token_cells(one.token.text, "", TOKEN_CELLS),
        (probability(one.probability, 12), "text"),
        (signed(log, 17), "text"),
        (signed(one.logit, 10), "text"),
    )


def _difference(session: Session) -> list[Line]:
    """The logit difference of the target and its contrast token, where both are listed."""
    by_id = {one.token.id: one for one in session.completions}
    target = by_id.get(-1 if session.target_token is None else session.target_token)
    contrast = by_id.get(-1 if session.contrast_token is None else session.contrast_token)
    if target is None or contrast is None:
        return []
    names = " − ".join(quoted(visible(one.token.text)) for one in (target, contrast))
    value = signed(target.logit - contrast.logit)
    return [(), ((f"  logit difference {names}  ", "dim"), (value, "text"))]
