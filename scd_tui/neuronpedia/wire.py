"""Bodies of answers to decoded objects: only what is read of them, and never more than fits.

A body is JSON as JavaScript writes it, where the fast typed decoder skips what nobody reads (most of
it). Bulk files are written by Python, which knows NaN; for those there is the standard library's.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

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
_FEATURE = msgspec.json.Decoder(_Wanted | None)


def decode_json(body: bytes) -> Any:
    """Any JSON, NaN included. Raises ValueError, also for JSON that is nested too deeply."""
    try:
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError:
            return json.loads(body)
    except (RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON that can be read: {type(error).__name__}") from None


def decode_feature(body: bytes) -> FeatureRecord | None:
    """The feature in the body of one answer; None for `null`. Raises ValueError."""
    raw = _feature(body)
    return None if raw is None else parse_feature(raw)


def decode_features(body: bytes) -> list[FeatureRecord]:
    """The features in the body of an answer to many; such as name none are left out.

    Raises ValueError when the body is no list.
    """
    try:
        items: list[Any] = list(_ITEMS.decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        items = decode_json(body)
        if not isinstance(items, list):
            raise ValueError("not a list") from None
    found = []
    for item in items:
        try:
            raw = _feature(bytes(item)) if isinstance(item, msgspec.Raw) else item
            if isinstance(raw, Mapping):
                found.append(parse_feature(raw))
        except ValueError:
            continue
    return found


def _feature(body: bytes) -> Mapping[str, Any] | None:
    try:
        wanted = _FEATURE.decode(body)
        return None if wanted is None else msgspec.structs.asdict(wanted)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raw = decode_json(body)
    if raw is not None and not isinstance(raw, Mapping):
        raise ValueError("not an object")
    return raw
