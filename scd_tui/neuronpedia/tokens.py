"""Tokens as people read them, from the forms in which services and tokenizers write them.

Some sets hold display text already, others keep what a byte-level vocabulary (`Ġthe`, `Ċ`, `âĢĶ`)
or a SentencePiece one (`▁the`, `<0x0A>`) calls its tokens. Which it is, nobody says.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

MAXIMUM_TOKEN = 256
"""Characters that are kept of one token."""
MAXIMUM_PIECES = 4
"""Tokens that a character is split over, at most: it has no more bytes."""

_MARKS = {"Ġ": " ", "Ċ": "\n", "ĉ": "\t"}
_BYTE = re.compile(r"<0x([0-7][0-9A-Fa-f])>")
_ANY_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CONTROL = frozenset(range(32)) - {9, 10, 13}


def _byte_of_character() -> dict[str, int]:
    """The alphabet of byte-level vocabularies: printable bytes are themselves, others from U+0100."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(256 + number): byte for number, byte in enumerate(others)})
    table[" "] = 32  # a space that was put back already
    return table


_BYTES = _byte_of_character()


def clip(text: str, most: int) -> str:
    """`text` in at most `most` characters, with no half of a surrogate pair in it."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=16_384)
def readable(token: str) -> str:
    """The token's text, as far as it can be told; what cannot be decoded stays as it is."""
    token = clip(token, MAXIMUM_TOKEN)
    if token.isascii():
        return _BYTE.sub(lambda found: chr(int(found[1], 16)), token) if "<0x" in token else token
    token = token.replace("▁", " ")
    decoded = _decoded(token)
    if decoded is not None:
        return decoded
    for mark, text in _MARKS.items():
        token = token.replace(mark, text)
    return token


def assembled(tokens: Sequence[str]) -> list[tuple[str, int]]:
    """Readable tokens and of how many each is made: 1, or more where a character is split over them.

    Vocabularies of bytes cut characters that they seldom saw (`æĹ`, `¥`): the pieces are no text, and
    together they are one character.
    """
    found: list[tuple[str, int]] = []
    start = 0
    while start < len(tokens):
        text, count = readable(tokens[start]), 1
        data = _piece(tokens[start])
        if data is not None and _begins(data):
            for more in range(1, min(MAXIMUM_PIECES, len(tokens) - start)):
                if (piece := _piece(tokens[start + more])) is None:
                    break
                data += piece
                if not _begins(data):
                    with suppress(UnicodeDecodeError):
                        text, count = data.decode("utf-8"), more + 1
                    break
        found.append((text, count))
        start += count
    return found


def _piece(token: str) -> bytes | None:
    """The bytes that a token may stand for; None where it stands for none."""
    if found := _ANY_BYTE.fullmatch(token):
        return bytes([int(found[1], 16)])
    numbers = [_BYTES.get(character) for character in token[:MAXIMUM_TOKEN]]
    return None if None in numbers else bytes(n for n in numbers if n is not None)


def _begins(data: bytes) -> bool:
    """Whether it is UTF-8 but for a character at its end that is not all there."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end == len(data) and error.reason == "unexpected end of data"
    return False


def _decoded(token: str) -> str | None:
    """The token read as bytes in the byte-level alphabet; None where it cannot be that.

    Letters that are accented in earnest do not make UTF-8, so they are told apart by decoding.
    """
    numbers = [_BYTES.get(character) for character in token]
    if None in numbers:
        return None
    data = bytes(number for number in numbers if number is not None)
    if not any(mark in token for mark in _MARKS) and data.isascii():
        return None
    if not _CONTROL.isdisjoint(data):
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
