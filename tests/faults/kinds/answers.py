"""Answers of Neuronpedia, damaged: what is not understood is no answer, and nothing is kept of it."""

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

from neuronpedia.loopback import SOURCES, brief, feature, running
from trial import Field, Kind, Tried

from scd_tui.neuronpedia.address import Addresses, Feature
from scd_tui.neuronpedia.client import Client
from scd_tui.neuronpedia.entries import entry_of
from scd_tui.neuronpedia.faults import Fault
from scd_tui.neuronpedia.found import Found
from scd_tui.neuronpedia.transport import Transport

SOURCE = SOURCES[-1]
WANTED = (3, 17, 12)
"""With two explanations, with none, and with one."""
_NAMES = re.compile(r"Error|Exception|Errno|Traceback")


def _bytes_changed(body: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(body)
    for _ in range(draw.choice([1, 1, 1, 2, 8])):
        at = draw.randrange(len(damaged) or 1)
        damaged = damaged or bytearray(b"x")
        how = draw.randrange(4)
        if how == 0:
            damaged[at] ^= 1 << draw.randrange(8)
        elif how == 1:
            del damaged[at : at + draw.choice([1, 1, 10, 1000])]
        elif how == 2:
            damaged[at:at] = draw.randbytes(draw.choice([1, 1, 10]))
        else:
            del damaged[max(1, at) :]
    return bytes(damaged) or b"x"


def _structure_changed(body: bytes, draw: random.Random) -> bytes:
    """A value somewhere becomes another one, or goes with its name."""
    value = json.loads(body)
    whole: list[Any] = [value]
    holder: Any = whole
    key: Any = 0
    for _ in range(draw.randrange(1, 5)):
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        holder, key = (
            inner,
            draw.choice(list(inner) if isinstance(inner, dict) else range(len(inner))),
        )
    if isinstance(holder, dict) and draw.random() < 0.3:
        del holder[key]
    else:
        deep: Any = 1
        for _ in range(150):
            deep = [deep]
        holder[key] = draw.choice(
            [None, True, -1, 1e300, 10**30, "x", "", [], {}, [None], [{}], deep]
        )
    return json.dumps(whole[0]).encode()


def _whole(draw: random.Random) -> bytes:
    return draw.choice(
        [b"", b"null", b"{}", b"[{}]", b"3", b'"x"', b"true", b"<html></html>", b"[null]", b"\xff\xfe",
         b"[" * 100_000, b"9" * 5_000, b'{"error": "x"}', b"{" * 9, b" " * 1_000_000, b"\0" * 100]
    )  # fmt: skip


def _try(field: Field) -> Iterator[Tried]:
    asked = tuple(Feature("gpt2-small", SOURCE, index) for index in WANTED)
    with running() as service:
        client = Client(Addresses(site=service.url), Transport(service.url))
        kinds: tuple[Callable[[bytes, random.Random], bytes], ...] = (
            _bytes_changed,
            _structure_changed,
            lambda body, draw: _whole(draw),
        )
        for number in range(100_000):
            draw = field.random(number)
            change, full = draw.choice(kinds), draw.random() < 0.5
            made = feature(SOURCE, 3) if full else [brief(feature(SOURCE, i), 1) for i in WANTED]
            sent = change(json.dumps(made).encode(), draw)
            service.faults.append(lambda handler, sent=sent: handler.reply(200, sent))
            ask = (lambda: client.full(asked[0])) if full else (lambda: client.brief(asked))
            yield Tried(f"{number}: {sent[:80]!r}", _outcome(ask, made, sent))


def _outcome(ask: Callable[[], Found], made: Any, sent: bytes) -> str:
    try:
        found = ask()
    except Fault as fault:
        return fault.message if _NAMES.search(fault.message) or not fault.message else ""
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    items = made if isinstance(made, list) else [made]
    for one, record in found.records.items():
        entry = entry_of(record, "brief", 0.0, "host")
        real = next(item for item in items if item["index"] == str(one.index))
        if entry.state == "unknown" and not _left_out(sent, one):
            return f"{one} is taken for unknown"
        if entry.state == "unexplained" and real["explanations"] and not _emptied(sent, one):
            return f"{one} is taken for unexplained"
    return ""


def _items(sent: bytes) -> list[Any]:
    value = json.loads(sent)
    return value if isinstance(value, list) else [value]


def _left_out(sent: bytes, feature: Feature) -> bool:
    """Whether the answer is a sound one to many that does not have this feature, as for an unknown one."""
    items = _items(sent)
    return isinstance(json.loads(sent), list) and all(
        isinstance(one, dict) and str(one.get("index")) != str(feature.index) for one in items
    )


def _emptied(sent: bytes, feature: Feature) -> bool:
    """Whether the answer says in so many words that there are no explanations."""
    for one in _items(sent):
        if isinstance(one, dict) and str(one.get("index")) == str(feature.index):
            listed = one.get("explanations")
            return isinstance(listed, list) and not any(
                (item.get("description") or "").strip() for item in listed
            )
    return False


KINDS = (Kind("answers", "damaged answers of Neuronpedia", _try, 120),)
