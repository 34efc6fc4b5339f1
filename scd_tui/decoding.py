"""JSON and TOML from outside, decoded: every way in which that can fail is one exception.

The decoders raise exceptions of some seven kinds: for bytes that are no UTF-8, for numbers of too many
digits, for deep nesting. Nesting is bounded here before anything is decoded, since decoders call themselves
once per level.
"""

import json
import re
import tomllib
from typing import Any, TypeVar

import msgspec

NESTING = 100
"""Levels of lists and tables in a file: this program writes fewer than ten."""

T = TypeVar("T")

_BRACKETS = b'[]{}"'
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_ALIKE = bytes.maketrans(b"{}", b"[]")
_JSON_TEXT = re.compile(rb'"[^"]*"')
_TOML_TEXT = re.compile(
    r'"""(?:[^\\"]|\\.|"(?!""))*+(?:""")?'
    r"|'''(?:[^']|'(?!''))*+(?:''')?"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
"""Strings and comments, also such as have no end: no text makes it try twice."""
_TOML_PARTS = re.compile(r"[=,\[\]{}\n]")
_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER = re.compile(rb"(?<![.0-9eE+])[0-9]{20,}(?![.0-9eE])")
_LONG_IN_TOML = re.compile(r"[=\[,]\s*[+-]?[0-9][0-9_]{19,}(?![.0-9_eE])")
_TOO_DEEP = f"it is nested more than {NESTING} levels deep"
_TOO_LONG = "it holds a number that is too long"


class Undecodable(ValueError):
    """What cannot be decoded. The message is a clause that says why; it quotes no more than names."""


def decode_json(data: bytes, kind: type[T]) -> T:
    """JSON as a value of this type. Raises Undecodable."""
    _require_plain(data)
    try:
        return msgspec.json.decode(data, type=kind)
    except FAILURES as error:
        raise Undecodable(why(error, "JSON")) from None


def decode_with(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    """The same with a decoder that is used often. Raises Undecodable."""
    _require_plain(data)
    try:
        return decoder.decode(data)
    except FAILURES as error:
        raise Undecodable(why(error, "JSON")) from None


def decode_any_json(data: bytes) -> Any:
    """Any JSON, with NaN and infinity as Python writes them. Raises Undecodable."""
    _require_plain(data)
    try:
        try:
            return msgspec.json.decode(data)
        except FAILURES:
            return json.loads(data.decode("utf-8"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Undecodable(f"it is not JSON ({where})") from None
    except FAILURES as error:
        raise Undecodable(why(error, "JSON")) from None


def decode_toml(text: str, kind: type[T]) -> T:
    """TOML as a value of this type. Raises Undecodable."""
    _require_plain_toml(text)
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except FAILURES as error:
        raise Undecodable(why(error, "TOML")) from None


def why(error: Exception, language: str) -> str:
    """What an exception of a decoder means, as a clause."""
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, MemoryError):
        return "it is too large for the memory"
    if isinstance(error, (msgspec.MsgspecError, tomllib.TOMLDecodeError)):
        # they say which field, or which line and column
        return str(error).rstrip(".")
    if isinstance(error, OverflowError) or "digits" in str(error):
        return _TOO_LONG
    if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError):
        return str(error).rstrip(".") or f"it is not {language}"
    return f"it is not {language}"


FAILURES = (ValueError, TypeError, RecursionError, OverflowError, MemoryError)
"""All that decoders raise: msgspec's and tomllib's own exceptions are ValueErrors."""


def _require_plain(data: bytes) -> None:
    """Raise Undecodable on JSON that is nested too deeply, and on whole numbers beyond 64 bits.

    Such a number decodes, and every later calculation with it fails. Bytes that are not JSON may pass.
    """
    deep = data.count(b"[") + data.count(b"{") > NESTING
    long = b"0" * 20 in data.translate(_AS_ZERO)
    if not deep and not long:
        return
    bare = data
    if b"\\" in bare:
        bare = bare.replace(b"\\\\", b"").replace(b'\\"', b"")
    if long and _LONG_INTEGER.search(_JSON_TEXT.sub(b'""', bare)):
        raise Undecodable(_TOO_LONG)
    if deep:
        brackets = bare.translate(None, _ALL_BUT_BRACKETS).replace(b'""', b"")
        brackets = _JSON_TEXT.sub(b"", brackets) if b'"' in brackets else brackets
        if _is_deep(brackets.translate(_ALIKE, b'"')):
            raise Undecodable(_TOO_DEEP)


def _is_deep(brackets: bytes) -> bool:
    """Whether brackets, all of one kind, are nested more than `NESTING` deep somewhere."""
    if _depth(brackets[: 100 * NESTING]) > NESTING:
        return True
    for _ in range(NESTING):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    # the remaining brackets have no partner, or are nested deeper than `NESTING`
    return _depth(brackets) > NESTING


def _depth(brackets: bytes) -> int:
    """The deepest nesting up to the first bracket that closes nothing; at most `NESTING` + 1."""
    depth = deepest = 0
    for one in brackets:
        depth += 1 if one == 0x5B else -1
        deepest = max(deepest, depth)
        if depth < 0 or depth > NESTING:
            break
    return deepest


def _require_plain_toml(text: str) -> None:
    """The same for TOML, where the dots of a key nest as well as brackets do."""
    bare = _TOML_TEXT.sub("", text)
    if any(part.count(".") > NESTING for part in _TOML_PARTS.split(bare)):
        raise Undecodable(_TOO_DEEP)
    if _is_deep(re.sub(r"[^\[\]{}]", "", bare).encode("ascii").translate(_ALIKE)):
        raise Undecodable(_TOO_DEEP)
    if _LONG_IN_TOML.search(bare):
        raise Undecodable(_TOO_LONG)
