"""Feature records made here, from a text: where each feature fires, how often, and what it promotes.

For dictionaries that nobody has described. A record's contexts are stretches of `CONTEXT` tokens
around the largest value in a window; density and histogram are over all tokens of the text but sinks. Logit
effects are `d γ W_U` for the decoder row d (centred where the final norm centres), less their mean:
the direct path alone, and up to a constant of the site, so that they rank tokens and no more. Rows
that are not in the residual stream (hook_z) have none.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scd_tui.attribution.activation import Chosen
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.gate import cross_entropy
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.windows import Windows
from scd_tui.graph import Site
from scd_tui.neuronpedia.records import Activation, FeatureRecord, Histogram, distinct

CONTEXT = 24
CONTEXTS = 10
LOGITS = 10
BARS = 10
_AT_ONCE = 512
"""Decoder rows that are multiplied with the unembedding at once."""


@dataclass
class Fired:
    """Where a dictionary's features fire in a text: feature, token of the text, value; each `[m]`."""

    parts: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    tokens: int = 0

    def add(self, chosen: Chosen, places: Tensor) -> None:
        """Features of the next activations, which are those of the tokens `places` of the text."""
        where = places[chosen.positions.cpu()]
        self.parts.append((chosen.indices.int().cpu(), where, chosen.values.float().cpu()))
        self.tokens += len(places)

    def by_feature(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Every feature that fires, with its tokens and values, in order of the text."""
        indices, where, values = (torch.cat(column) for column in zip(*self.parts, strict=True))
        order = indices.argsort(stable=True)
        features, counts = torch.unique_consecutive(indices[order], return_counts=True)
        sizes = counts.tolist()
        at = torch.split(where[order], sizes)
        yield from zip(features.tolist(), at, torch.split(values[order], sizes), strict=True)


@torch.no_grad()
def fire(
    model: LanguageModel,
    dictionaries: Mapping[Site, Dictionary],
    windows: Windows,
    on_batch: Callable[[], None] = lambda: None,
) -> dict[Site, Fired]:
    """What every dictionary finds in the text, in one pass over it."""
    found = {site: Fired() for site in dictionaries}
    places = windows.places()

    def look(site: Site) -> Callable[[Tensor], Tensor]:
        batches = iter(places)

        def make(x: Tensor) -> Tensor:
            chosen, _ = dictionaries[site].reconstruct(x)
            found[site].add(chosen, next(batches))
            return x

        return make

    cross_entropy(model, windows, {site: look(site) for site in dictionaries}, on_batch)
    return found


@torch.no_grad()
def logit_effects(
    model: LanguageModel, dictionary: Dictionary, features: list[int]
) -> Tensor | None:
    """`[features, vocabulary]`, see the module's docstring; None where rows are not residual."""
    device = dictionary.b_dec.device
    indices = torch.tensor(features, device=device)
    places = torch.arange(len(features), device=device)
    ones = torch.ones(len(features), dtype=dictionary.b_dec.dtype, device=device)
    rows = dictionary.activation.write(Chosen(places, indices, ones), len(features)).float()
    unembed, norm = model.bridge.W_U, model.bridge.ln_final
    if rows.shape[1] != unembed.shape[0]:
        return None
    rows = rows.to(unembed.device)
    if getattr(norm, "bias", None) is not None:
        rows = rows - rows.mean(dim=1, keepdim=True)
    weight = getattr(norm, "weight", None)
    if weight is not None:
        rows = rows * weight
    effects: Tensor = rows.to(unembed.dtype) @ unembed
    return (effects - effects.mean(dim=1, keepdim=True)).float().cpu()


def records_of(
    model: LanguageModel,
    dictionary: Dictionary,
    fired: Fired,
    windows: Windows,
    name: str,
    source: str,
) -> Iterator[FeatureRecord]:
    """A record for every feature that fires, by index; `name` and `source` are what they say."""
    length = windows.ids.shape[1]
    texts = [model.token(int(i)).text for i in windows.ids.flatten().tolist()]
    everything = list(fired.by_feature())
    for start in range(0, len(everything), _AT_ONCE):
        some = everything[start : start + _AT_ONCE]
        effects = logit_effects(model, dictionary, [feature for feature, _, _ in some])
        for number, (feature, at, values) in enumerate(some):
            row = None if effects is None else effects[number]
            peak = float(values.max())
            heights = (
                torch.histc(values, BARS, min=0.0, max=peak) if peak > 0 else torch.zeros(BARS)
            )
            yield FeatureRecord(
                model_id=name,
                source=source,
                index=feature,
                max_activation=max(0.0, peak),
                density=len(at) / fired.tokens,
                positive_logits=_strongest(model, row, largest=True),
                negative_logits=_strongest(model, row, largest=False),
                activation_histogram=Histogram(
                    tuple(peak * (n + 0.5) / BARS for n in range(BARS)), tuple(heights.tolist())
                ),
                activations=_contexts(at, values, texts, length),
            )


def _strongest(
    model: LanguageModel, row: Tensor | None, largest: bool
) -> tuple[tuple[str, float], ...]:
    if row is None:
        return ()
    values, ids = row.topk(min(LOGITS, len(row)), largest=largest)
    return tuple(
        (model.token(i).text, v) for i, v in zip(ids.tolist(), values.tolist(), strict=True)
    )


def _contexts(at: Tensor, values: Tensor, texts: list[str], length: int) -> tuple[Activation, ...]:
    """The strongest contexts, one a window."""
    strength = dict(zip(at.tolist(), values.tolist(), strict=True))
    found: list[Activation] = []
    seen: set[int] = set()
    for place in sorted(strength, key=lambda place: -strength[place]):
        window = place // length
        if window in seen or strength[place] <= 0:
            continue
        seen.add(window)
        size = min(CONTEXT, length)
        begin = window * length + min(max(0, place % length - size * 2 // 3), length - size)
        shown = range(begin, begin + size)
        found.append(
            Activation(
                tuple(texts[n] for n in shown),
                tuple(max(0.0, strength.get(n, 0.0)) for n in shown),
                strength[place],
                place - begin,
            )
        )
        if len(seen) >= 2 * CONTEXTS:
            break
    return distinct(found)[:CONTEXTS]
