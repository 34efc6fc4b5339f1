"""Every way in which JSON and TOML can fail to decode is one exception, within a second."""

import time
from typing import Any

import msgspec
import pytest

from scd_tui.decoding import NESTING, Undecodable, decode_any_json, decode_json, decode_toml
from scd_tui.worker.protocol import ProtocolError, decode_event, decode_request


class Numbers(msgspec.Struct):
    whole: int = 0
    real: float = 0.0
    text: str = ""


def _refused(work: Any, *given: Any) -> str:
    begun = time.monotonic()
    with pytest.raises(Undecodable) as caught:
        work(*given)
    assert time.monotonic() - begun < 3
    assert type(caught.value) is Undecodable and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("depth", [101, 1_000, 1_000_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}"), ("[{},", "]")])
def test_deep_json_is_refused_before_it_is_decoded(opened: str, closed: str, depth: int) -> None:
    for text in (opened * depth + "1" + closed * depth, opened * depth):
        assert "nested" in _refused(decode_any_json, text.encode())
        assert "nested" in _refused(decode_json, b'{"a":' + text.encode() + b"}", Numbers)


@pytest.mark.parametrize("depth", [101, 1_000, 300_000])
def test_deep_toml_is_refused_by_brackets_and_by_dots(depth: int) -> None:
    for text in (
        "a = " + "[" * depth + "]" * depth,
        "a = " + "[" * depth,
        "a = " + "{a = " * depth,
        "a." * depth + "b = 1",
        "[" + "a." * depth + "b]",
        "[" + '"a".' * depth + "b]",
    ):
        assert "nested" in _refused(decode_toml, text, dict)


def test_what_is_as_deep_as_allowed_and_brackets_in_strings_are_read() -> None:
    deep = b"[" * NESTING + b"]" * NESTING
    assert decode_json(deep, list)
    text = '[{"\\\\\\"' * 400
    value = [{"text": text, "whole": 1}] * 3
    assert decode_any_json(msgspec.json.encode(value)) == value
    assert decode_json(msgspec.json.encode({"text": text}), Numbers).text == text
    dots = "a. b. " * 300
    toml = f'text = """{dots}\\"[[[" """\nother = \'{"[" * 300}\' # {"[" * 300}\n'
    assert decode_toml(toml, dict)["text"] == f'{dots}"[[[" '


@pytest.mark.parametrize("digits", [20, 400, 5_000, 5_000_000])
def test_numbers_that_nothing_can_be_calculated_with_are_refused(digits: int) -> None:
    number = b"9" * digits
    for name in ("whole", "real", "other"):
        data = b'{"%s": %s}' % (name.encode(), number)
        assert "too long" in _refused(decode_json, data, Numbers)
        assert "too long" in _refused(decode_any_json, data)
    if digits < 1_000_000:
        assert "too long" in _refused(decode_toml, f"whole = {number.decode()}", dict)
        assert "too long" in _refused(decode_toml, f"whole = [1, -{number.decode()}]", dict)


def test_numbers_that_look_like_it_are_read() -> None:
    long = b"0." + b"1" * 40
    assert decode_json(b'{"real": %s, "text": "%s"}' % (long, b"9" * 40), Numbers).real < 0.2
    assert decode_json(b'{"whole": -9223372036854775808}', Numbers).whole == -(2**63)
    assert decode_json(b'{"real": 1.2345678901234567e+300}', Numbers).real > 1e300
    assert decode_toml("a = 0.123456789012345678901", dict)["a"] < 0.2


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"\xff",
            b'{"text": "\xff"}',
            b'{"real": NaN}',
            b'{"real": 1e999}',
            b"[",
            b"\0" * 50,
        ),
        *(b'{"text": "\\ud800"}', b"null", b"[]", b'{"whole": 1.5}', b'{"whole": true}'),
    ],
)
def test_what_is_no_such_value_is_refused(data: bytes) -> None:
    _refused(decode_json, data, Numbers)


def test_python_s_own_numbers_are_read_where_they_are_asked_for() -> None:
    assert decode_any_json(b'{"a": Infinity}') == {"a": float("inf")}
    for data in (b"", b"\xff", b"{", b"{'a': 1}"):
        _refused(decode_any_json, data)


@pytest.mark.parametrize("text", ["'" * 300_000, '"' * 300_000, 'a="""' + '\\"' * 150_000])
@pytest.mark.parametrize("end", ["", "\n'''", '\n"""'])
def test_no_toml_takes_long_to_refuse(text: str, end: str) -> None:
    _refused(decode_toml, f"{text}{end}\n[", dict)


def test_a_message_to_or_from_the_worker_fails_in_one_way() -> None:
    deep = b"\x91" * 100_000 + b"\xc0"
    for body in (b"", b"\xff", deep, b"\x81\xa4kind" + deep, b"\x81\xa1\xff\xc0"):
        for decode in (decode_event, decode_request):
            with pytest.raises(ProtocolError):
                decode(body)
