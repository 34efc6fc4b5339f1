"""Tokens as people read them, from the forms in which services and tokenizers write them.

Some sets hold display text already, others keep what a byte-level vocabulary (`Ġthe`, `Ċ`, `âĢĶ`)
or a SentencePiece one (`▁the`, `<0x0A>`) calls its tokens. Which it is, nobody says.
"""

import re
from functools import lru_cache

MAXIMUM_TOKEN = 256
"""Characters that are kept of one token."""

_MARKS = {"Ġ": " ", "Ċ": "\n", "ĉ": "\t"}
_BYTE = re.compile(r"<0x([0-7][0-9A-Fa-f])>")
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
