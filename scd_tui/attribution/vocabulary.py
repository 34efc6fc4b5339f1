"""Tokens of the vocabulary by how they begin, for whoever types one."""

from collections.abc import Sequence

from scd_tui.graph import Token


def beginning_with(vocabulary: Sequence[Token], text: str, count: int) -> tuple[Token, ...]:
    """At most `count` tokens that begin with a text: the token itself, then in order of their ids.

    Tokens that begin so but for spaces before them or the case of their letters come after the others.
    """
    wanted = text.lstrip(" ").casefold()
    alike: list[tuple[bool, bool, Token]] = []
    for token in vocabulary:
        if token.text.lstrip(" ").casefold().startswith(wanted):
            alike.append((token.text != text, not token.text.startswith(text), token))
    alike.sort(key=lambda found: found[:2])
    return tuple(token for *_, token in alike[:count])
