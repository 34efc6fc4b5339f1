"""What is known of one dictionary feature, in the shape of Neuronpedia's feature response.

Only the fields that this project reads are kept. The parser takes what the service and its bulk
files really send: nulls, missing fields, indices as text or number, and much that is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

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

    Activations that repeat the tokens of a stronger one are left out, in any order of tokens.
    Raises ValueError when the object names no feature (no model, source or whole-number index).
    """
    model_id, source, index = raw.get("modelId"), raw.get("layer"), raw.get("index")
    if not isinstance(model_id, str) or not isinstance(source, str):
        raise ValueError("a feature record needs modelId and layer")
    try:
        number = int(index)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"not a feature index: {index!r}") from None
    return FeatureRecord(
        model_id=model_id,
        source=source,
        index=number,
        max_activation=_number(raw.get("maxActApprox")),
        density=_number(raw.get("frac_nonzero")),
        positive_logits=_logits(raw.get("pos_str"), raw.get("pos_values")),
        negative_logits=_logits(raw.get("neg_str"), raw.get("neg_values")),
        activation_histogram=_histogram(raw, "freq_hist_data_bar"),
        logit_histogram=_histogram(raw, "logits_hist_data_bar"),
        explanations=_explanations(raw.get("explanations")),
        activations=distinct(_activations(raw.get("activations"))),
    )


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(_number(v) for v in _list(value))


def _logits(tokens: Any, values: Any) -> tuple[tuple[str, float], ...]:
    pairs = zip(_list(tokens), _numbers(values), strict=False)
    return tuple((t, v) for t, v in pairs if isinstance(t, str) and v > _MISSING_LOGIT)


def _histogram(raw: Mapping[str, Any], name: str) -> Histogram:
    centres = _numbers(raw.get(f"{name}_values"))
    heights = _numbers(raw.get(f"{name}_heights"))
    bars = min(len(centres), len(heights))
    return Histogram(centres[:bars], heights[:bars])


def _explanations(value: Any) -> tuple[Explanation, ...]:
    found = []
    for item in _list(value):
        description = item.get("description") if isinstance(item, Mapping) else None
        if isinstance(description, str) and description.strip():
            found.append(
                Explanation(
                    description=description,
                    type_name=_text(item.get("typeName")),
                    explainer=_text(item.get("explanationModelName")),
                )
            )
    return tuple(found)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _activations(value: Any) -> list[Activation]:
    found = []
    for item in _list(value):
        if not isinstance(item, Mapping):
            continue
        tokens = tuple(_text(t) for t in _list(item.get("tokens")))
        values = _numbers(item.get("values"))
        length = min(len(tokens), len(values))
        if not length:
            continue
        values = values[:length]
        best = max(range(length), key=values.__getitem__)
        found.append(Activation(tokens[:length], values, values[best], best))
    return found
