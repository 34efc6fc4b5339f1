"""Tokens of the vocabulary by how they begin, for whoever types one."""

from collections.abc import Sequence

from scd_tui.attribution.tokens import id_named
from scd_tui.graph import Token


def beginning_with(vocabulary: Sequence[Token], text: str, count: int) -> tuple[Token, ...]:
    """At most `count` tokens that begin with a text: the token itself, then in order of their ids.

    `#12` also begins with the token of that id, before all others. Tokens that begin so but for spaces
    before them or the case of their letters come after the others.
    """
    wanted = text.lstrip(" ").casefold()
    alike: list[tuple[bool, bool, Token]] = []
    for token in vocabulary:
        if token.text.lstrip(" ").casefold().startswith(wanted):
            alike.append((token.text != text, not token.text.startswith(text), token))
    alike.sort(key=lambda found: found[:2])
    found = [token for *_, token in alike]
    named = id_named(text)
    if named is not None and named < len(vocabulary):
        found = [vocabulary[named], *(token for token in found if token.id != named)]
    return tuple(found[:count])
