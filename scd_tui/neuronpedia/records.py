"""What is known of one dictionary feature, in the shape of Neuronpedia's feature response.

Only the fields that this project reads are kept. The parser takes what the service and its bulk
files really send: nulls, missing fields, indices as text or number, and much that is not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from scd_tui.neuronpedia.tokens import assembled, clip, readable

MAXIMUM_NAME = 200
"""Characters that are kept of a name."""
MAXIMUM_DESCRIPTION = 2_000
"""Characters that are kept of an explanation."""
MAXIMUM_EXPLANATIONS = 32
MAXIMUM_ACTIVATIONS = 64
"""Top activations that are read of one feature."""
MAXIMUM_LOGITS = 32
MAXIMUM_BARS = 256
MAXIMUM_LIST = 2_048
"""Items that are read of any list: a context has no more tokens than that."""

PREFERRED_TYPES = ("np_max-act-logits", "np_max-act")
"""Types of explanation that Neuronpedia's own graph view shows before others."""

# Neuronpedia writes this in place of a logit that is not known.
_MISSING_LOGIT = -10000.0


class Explanation(msgspec.Struct, frozen=True):
    """One description of a feature, and who wrote it.

    `type_name` is the method ("oai_token-act-pair", or "scd_auto" for the bundled ones),
    `explainer` the model or procedure that wrote it; either may be empty.
    """

    description: str
    type_name: str = ""
    explainer: str = ""


class Activation(msgspec.Struct, frozen=True):
    """One text on which the feature fires: display strings and the value on each token.

    `max_index` is the position of `max_value` in `tokens`.
    """

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    max_value: float
    max_index: int


class Histogram(msgspec.Struct, frozen=True):
    """Bar heights (counts) at bin centres."""

    centres: tuple[float, ...] = ()
    heights: tuple[float, ...] = ()


class FeatureRecord(msgspec.Struct, frozen=True):
    """All that is shown of one feature.

    `source` is Neuronpedia's source id ("6-res_post_32k-oai"), `density` the share of tokens on
    which the feature fires, `max_activation` 0 for a feature that was never seen to fire.
    Positive and negative logits are (token, effect) from the strongest on. `activations` go from
    the largest `max_value` on.
    """

    model_id: str
    source: str
    index: int
    max_activation: float = 0.0
    density: float = 0.0
    positive_logits: tuple[tuple[str, float], ...] = ()
    negative_logits: tuple[tuple[str, float], ...] = ()
    activation_histogram: Histogram = Histogram()
    logit_histogram: Histogram = Histogram()
    explanations: tuple[Explanation, ...] = ()
    activations: tuple[Activation, ...] = ()


def parse_feature(raw: Mapping[str, Any]) -> FeatureRecord:
    """A record from one decoded JSON object of Neuronpedia.

    Activations that repeat the tokens of a stronger one are left out, in any order of tokens, and
    those that never rise above zero; so is whatever exceeds the bounds that this module sets.
    Raises ValueError when the object names no feature (no model, source or whole-number index).
    """
    model_id, source = raw.get("modelId"), raw.get("layer")
    if not isinstance(model_id, str) or not isinstance(source, str):
        raise ValueError("a feature record needs modelId and layer")
    return FeatureRecord(
        model_id=clip(model_id, MAXIMUM_NAME),
        source=clip(source, MAXIMUM_NAME),
        index=parse_index(raw.get("index")),
        max_activation=max(0.0, _number(raw.get("maxActApprox"))),
        density=min(max(0.0, _number(raw.get("frac_nonzero"))), 1.0),
        positive_logits=_logits(raw.get("pos_str"), raw.get("pos_values")),
        negative_logits=_logits(raw.get("neg_str"), raw.get("neg_values")),
        activation_histogram=_histogram(raw, "freq_hist_data_bar"),
        logit_histogram=_histogram(raw, "logits_hist_data_bar"),
        explanations=parse_explanations(raw.get("explanations")),
        activations=distinct(_activations(raw.get("activations"))),
    )


def parse_index(value: Any) -> int:
    """A feature's index, which arrives as text or as a number. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**10:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        return int(value)
    raise ValueError(f"not a feature index: {clip(str(value), 40)!r}")


def parse_explanations(value: Any) -> tuple[Explanation, ...]:
    """The explanations in a list of Neuronpedia's, in order; empty ones are left out."""
    found: set[Explanation] = set()
    for item in _list(value):
        description = item.get("description") if isinstance(item, Mapping) else None
        if isinstance(description, str) and description.strip():
            found.add(
                Explanation(
                    description=clip(description.strip(), MAXIMUM_DESCRIPTION),
                    type_name=_name(item.get("typeName")),
                    explainer=_name(item.get("explanationModelName")),
                )
            )
    return in_order(found)


def in_order(explanations: Iterable[Explanation]) -> tuple[Explanation, ...]:
    """Each explanation once, the one to show first.

    The service's order means little, since most have no scores, and is not kept by every route. So
    they are ordered here: those that its own graph view prefers by type, then by author and text.
    """
    return tuple(sorted(set(explanations), key=_preference)[:MAXIMUM_EXPLANATIONS])


def _preference(explanation: Explanation) -> tuple[int, str, str, str]:
    kind = explanation.type_name
    rank = PREFERRED_TYPES.index(kind) if kind in PREFERRED_TYPES else len(PREFERRED_TYPES)
    return rank, explanation.explainer, kind, explanation.description


def distinct(activations: Sequence[Activation]) -> tuple[Activation, ...]:
    """Activations by falling `max_value`, each multiset of tokens once."""
    seen: set[tuple[str, ...]] = set()
    kept = []
    for activation in sorted(activations, key=lambda a: -a.max_value):
        key = tuple(sorted(activation.tokens))
        if key not in seen:
            seen.add(key)
            kept.append(activation)
    return tuple(kept)


def _number(value: Any) -> float:
    """A finite number, from a number or from text that is one; 0 for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0.0
    if isinstance(value, str) and len(value) > 40:
        return 0.0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _list(value: Any) -> list[Any]:
    return value[:MAXIMUM_LIST] if isinstance(value, list) else []


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(_number(v) for v in _list(value))


def _logits(tokens: Any, values: Any) -> tuple[tuple[str, float], ...]:
    pairs = zip(_list(tokens), _list(values), strict=False)
    known = [(t, _number(v)) for t, v in pairs if isinstance(t, str) and not _missing(v)]
    return tuple((readable(t), v) for t, v in known[:MAXIMUM_LOGITS])


def _missing(value: Any) -> bool:
    """Whether a logit stands for none: the service's own sign for that, or no finite number."""
    number = _number(value)
    return number <= _MISSING_LOGIT or (number == 0.0 and value not in (0, "0", "0.0"))


def _histogram(raw: Mapping[str, Any], name: str) -> Histogram:
    centres = _numbers(raw.get(f"{name}_values"))
    heights = _numbers(raw.get(f"{name}_heights"))
    bars = min(len(centres), len(heights), MAXIMUM_BARS)
    return Histogram(centres[:bars], heights[:bars])


def _name(value: Any) -> str:
    return clip(value, MAXIMUM_NAME) if isinstance(value, str) else ""


def _activations(value: Any) -> list[Activation]:
    found = []
    for item in _list(value)[:MAXIMUM_ACTIVATIONS]:
        if not isinstance(item, Mapping):
            continue
        given = [t if isinstance(t, str) else "" for t in _list(item.get("tokens"))]
        numbers = _numbers(item.get("values"))
        length = min(len(given), len(numbers))
        if not length:
            continue
        tokens, values = _together(given[:length], numbers)
        length = len(tokens)
        best = max(range(length), key=values.__getitem__)
        if values[best] > 0:
            found.append(Activation(tokens, values, values[best], best))
    return found


def _together(
    tokens: Sequence[str], values: Sequence[float]
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Readable tokens with their values; a character that was split over several has their largest."""
    texts, largest, start = [], [], 0
    for text, count in assembled(tokens):
        texts.append(text)
        largest.append(max(values[start : start + count]))
        start += count
    return tuple(texts), tuple(largest)
