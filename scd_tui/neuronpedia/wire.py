"""Bodies of answers to decoded objects: only what is read of them, and never more than fits.

A body is JSON as JavaScript writes it, where the fast typed decoder skips what nobody reads (most of
it). Bulk files are written by Python, which knows NaN; for those there is the standard library's.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from scd_tui.decoding import Undecodable, decode_any_json, decode_with
from scd_tui.neuronpedia.records import FeatureRecord, parse_feature


class _Wanted(msgspec.Struct):
    """The fields of a feature that `parse_feature` reads, whatever they hold."""

    modelId: Any = None
    layer: Any = None
    index: Any = None
    maxActApprox: Any = None
    frac_nonzero: Any = None
    pos_str: Any = None
    pos_values: Any = None
    neg_str: Any = None
    neg_values: Any = None
    freq_hist_data_bar_heights: Any = None
    freq_hist_data_bar_values: Any = None
    logits_hist_data_bar_heights: Any = None
    logits_hist_data_bar_values: Any = None
    explanations: Any = None
    activations: Any = None


_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_FEATURE = msgspec.json.Decoder(_Wanted)


class Features(NamedTuple):
    """What an answer to many holds: records, and how many of its items could not be understood."""

    records: list[FeatureRecord]
    odd: int


def decode_feature(body: bytes) -> FeatureRecord:
    """The feature in the body of one answer. Raises ValueError on anything else, `null` too."""
    return understood(_feature(body))


def decode_features(body: bytes) -> Features:
    """The features in the body of an answer to many. Raises ValueError when the body is no list."""
    try:
        raw = decode_with(_ITEMS, body)
        items: list[Any] = [*raw]
    except Undecodable:
        items = decode_any_json(body)
        if not isinstance(items, list):
            raise ValueError("not a list") from None
    found = []
    odd = 0
    for item in items:
        try:
            found.append(
                understood(_feature(bytes(item)) if isinstance(item, msgspec.Raw) else item)
            )
        except ValueError:
            odd += 1
    return Features(found, odd)


def says_unknown(body: bytes) -> bool:
    """Whether the body of an answer with status 404 is the service's own: its error in words."""
    try:
        found = decode_any_json(body)
    except Undecodable:
        return False
    return isinstance(found, Mapping) and any(
        isinstance(words := found.get(name), str) and words for name in ("error", "message")
    )


def understood(raw: object) -> FeatureRecord:
    """A record of an object that says what every answer of the service says.

    The service never leaves out explanations and activations, and never sends null for them: an object
    without them is damaged, and what it lacks is not known to be missing there. Raises ValueError.
    """
    if not isinstance(raw, Mapping):
        raise ValueError("not an object")
    for item in _objects(raw, "explanations"):
        if not isinstance(item.get("description"), str | None) or "description" not in item:
            raise ValueError("an explanation without words")
    for item in _objects(raw, "activations"):
        if not isinstance(item.get("tokens"), list) or not isinstance(item.get("values"), list):
            raise ValueError("an activation without tokens")
    return parse_feature(raw)


def _objects(raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = raw.get(name)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ValueError(f"no list of {name}")
    return items


def _feature(body: bytes) -> object:
    try:
        return msgspec.structs.asdict(decode_with(_FEATURE, body))
    except Undecodable:
        return decode_any_json(body)
