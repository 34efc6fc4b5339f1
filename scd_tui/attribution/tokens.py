"""Tokens and their texts, for tokenizers of every kind.

The text of a token is what it adds to running text: of a SentencePiece `▁The` it is ` The`, of `The` it
is `The`, of `▁` a space, of a WordPiece `##ing` it is `ing`. Bytes that are no UTF-8 are written `\\xNN`.
A token that has no text, such as one beyond the tokenizer in a padded vocabulary, is named by its id,
`#50300`.

The other way round, a text is split as it would be in the midst of a text: many tokenizers put a space
before the first word, which nobody typed.
"""

import re
from typing import Any

from scd_tui.graph import Token
from scd_tui.text import whole

_BEFORE = ("\n", "a", ".", "0", "|")
"""Texts to split a text behind, until one is found that stays apart from it."""
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BY_ID = re.compile(r"#([0-9]{1,12})")


def id_named(text: str) -> int | None:
    """The id in a name such as `#1234`; None where a text is no such name."""
    found = _BY_ID.fullmatch(text)
    return None if found is None else int(found[1])


def _byte_decoder() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte, inverted (GPT-2's encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(256 + n): byte for n, byte in enumerate(others)})
    return table


class Tokens:
    """What a Hugging Face tokenizer says of texts and tokens, without special tokens of its own."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._bytes = _byte_decoder()
        self.byte_level = _is_byte_level(tokenizer)
        """Whether tokens are written in the alphabet of byte-level BPE."""
        self._added: dict[int, str] = {
            token_id: str(added) for token_id, added in tokenizer.added_tokens_decoder.items()
        }
        self._known: dict[int, Token] = {}
        self._sentinel: tuple[int, str] | None = None

    def token(self, token_id: int) -> Token:
        """The token with this id, whether or not the tokenizer has it."""
        if token_id not in self._known:
            self._known[token_id] = Token(token_id, self._text(token_id) or f"#{token_id}")
        return self._known[token_id]

    def split(self, text: str) -> tuple[Token, ...]:
        """A text from its beginning."""
        return tuple(map(self.token, self._ids(text)))

    def within(self, text: str) -> tuple[Token, ...]:
        """A text as it would be split in the midst of another.

        Where no split of it says the very same text (a tokenizer may change letters), as from its
        beginning.
        """
        plain = self.split(text)
        if _joined(plain) == text:
            return plain
        for before in _BEFORE:
            first, both = self._ids(before), self._ids(before + text)
            if first and both[: len(first)] == first:
                rest = tuple(map(self.token, both[len(first) :]))
                if _joined(rest) == text:
                    return rest
        return plain

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _piece(self, token_id: int) -> str | None:
        """What the tokenizer itself calls a token; None where it has none of this id."""
        try:
            piece: str | None = self._tokenizer.convert_ids_to_tokens(token_id)
        except (IndexError, KeyError, OverflowError, ValueError):
            return None
        return piece

    def _text(self, token_id: int) -> str:
        if token_id in self._added:
            return self._added[token_id]
        piece = self._piece(token_id)
        if piece is None:
            return ""
        if self.byte_level and all(character in self._bytes for character in piece):
            raw = bytes(self._bytes[character] for character in piece)
            return raw.decode("utf-8", errors="backslashreplace")
        if not self.byte_level and (byte := _BYTE.fullmatch(piece)):
            return bytes([int(byte[1], 16)]).decode("utf-8", errors="backslashreplace")
        before = self._before()
        if before is None:
            return self._decoded([token_id])
        first, text = before
        both = self._decoded([first, token_id])
        return both.removeprefix(text) if both.startswith(text) else self._decoded([token_id])

    def _before(self) -> tuple[int, str] | None:
        """A token, and its text, that others are read behind."""
        if self._sentinel is None:
            for letter in ("a", "e", "0", "."):
                for token_id in reversed(self._ids(letter)):
                    text = self._decoded([token_id])
                    if text.endswith(letter):
                        self._sentinel = token_id, text
                        return self._sentinel
        return self._sentinel

    def _decoded(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text


def _joined(tokens: tuple[Token, ...]) -> str:
    return whole("".join(token.text for token in tokens))


def _is_byte_level(tokenizer: Any) -> bool:
    """Whether its tokens are written in the alphabet of byte-level BPE."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return hasattr(tokenizer, "byte_decoder")
    return "ByteLevel" in repr(backend.decoder)
