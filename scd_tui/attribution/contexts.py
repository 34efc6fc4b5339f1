"""Feature records made here, from a text: where each feature fires, how often, and what it promotes.

For dictionaries that nobody has described. A record's contexts are stretches of `CONTEXT` tokens
around the largest value in a window; density and histogram are over all tokens of the text but sinks. Logit
effects are `d γ W_U` for the decoder row d (centred where the final norm centres), less their mean:
the direct path alone, and up to a constant of the site, so that they rank tokens and no more. Rows
that are not in the residual stream (hook_z) have none.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from scd_tui.attribution.activation import Chosen
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.windows import Windows, read_activations
from scd_tui.graph import Site
from scd_tui.neuronpedia.records import Activation, FeatureRecord, Histogram, distinct

CONTEXT = 24
CONTEXTS = 10
LOGITS = 10
BARS = 10
AT_ONCE = 128
"""Decoder rows that are multiplied with the unembedding at once: records come in such blocks."""
_RECORDS = 1 << 20
"""Firings in memory at a time, of 12 bytes each."""


class Fired:
    """Where a dictionary's features fire in a text: feature, token of the text and value of each firing.

    They are in a temporary file, in `folder` if given, so that memory does not grow with the text;
    `counts` `[width]` says how many each feature has. `close` deletes the file. All methods that write
    or read raise OSError.
    """

    def __init__(self, width: int, folder: Path | None = None) -> None:
        self.counts = torch.zeros(width, dtype=torch.int64)
        self.tokens = 0
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (`close` is for that)

    def add(self, chosen: Chosen, places: Tensor) -> None:
        """Features of the next activations, which are those of the tokens `places` of the text."""
        indices = chosen.indices.int().cpu()
        where = places[chosen.positions.cpu()].int()
        values = chosen.values.float().cpu().view(torch.int32)
        self._file.write(torch.stack([indices, where, values], dim=1).numpy().tobytes())
        self.counts += torch.bincount(indices, minlength=len(self.counts))
        self.tokens += len(places)

    def by_feature(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Every feature that fires, with its tokens and values, in order of the text.

        The file is read once for each stretch of features that together have `_RECORDS` firings.
        """
        for first, last in self._stretches():
            found = [some[(some[:, 0] >= first) & (some[:, 0] < last)] for some in self._read()]
            records = torch.cat(found)
            records = records[records[:, 0].argsort(stable=True)]
            counts = self.counts[first:last]
            fired = counts.nonzero().flatten()
            sizes = counts[fired].tolist()
            at = torch.split(records[:, 1], sizes)
            values = torch.split(records[:, 2].contiguous().view(torch.float32), sizes)
            yield from zip((fired + first).tolist(), at, values, strict=True)

    def close(self) -> None:
        self._file.close()

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Features from the first to before the last, together with at most `_RECORDS` firings, or one
        feature with more."""
        first, held = 0, 0
        for feature, count in enumerate(self.counts.tolist()):
            if held and held + count > _RECORDS:
                yield first, feature
                first, held = feature, 0
            held += count
        if held:
            yield first, len(self.counts)

    def _read(self) -> Iterator[Tensor]:
        """`[m, 3]` int32 at a time: feature, token, and the bits of the value."""
        self._file.seek(0)
        while data := self._file.read(12 * _RECORDS):
            yield torch.frombuffer(bytearray(data), dtype=torch.int32).reshape(-1, 3)


@torch.no_grad()
def fire(
    model: LanguageModel,
    dictionaries: Mapping[Site, Dictionary],
    windows: Windows,
    on_batch: Callable[[], None] = lambda: None,
    folder: Path | None = None,
) -> dict[Site, Fired]:
    """What every dictionary finds in the text, in one pass over it; kept in files in `folder`.

    Sinks are left out. Raises OSError where the files cannot be written, InputError where all are sinks.
    """
    found = {site: Fired(dictionaries[site].width, folder) for site in dictionaries}
    for places, activations in read_activations(model, windows, dictionaries):
        for site, x in activations.items():
            chosen, _ = dictionaries[site].reconstruct(x)
            found[site].add(chosen, places)
        on_batch()
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


def timed_block(model: LanguageModel, dictionary: Dictionary) -> float:
    """About how many seconds a feature's logit effects and their strongest tokens take."""
    features = list(range(min(AT_ONCE, dictionary.width)))
    begun = time.perf_counter()
    effects = logit_effects(model, dictionary, features)
    for largest in (True, False):
        _strongest(model, effects, len(features), largest=largest)
    return (time.perf_counter() - begun) / len(features)


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
    everything = fired.by_feature()
    while some := list(islice(everything, AT_ONCE)):
        effects = logit_effects(model, dictionary, [feature for feature, _, _ in some])
        up = _strongest(model, effects, len(some), largest=True)
        down = _strongest(model, effects, len(some), largest=False)
        for number, (feature, at, values) in enumerate(some):
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
                positive_logits=up[number],
                negative_logits=down[number],
                activation_histogram=Histogram(
                    tuple(peak * (n + 0.5) / BARS for n in range(BARS)), tuple(heights.tolist())
                ),
                activations=_contexts(at, values, texts, length),
            )


def _strongest(
    model: LanguageModel, effects: Tensor | None, rows: int, largest: bool
) -> list[tuple[tuple[str, float], ...]]:
    """The tokens that each row of `[rows, vocabulary]` promotes or suppresses most; of None, nothing."""
    if effects is None:
        return [()] * rows
    values, ids = effects.topk(min(LOGITS, effects.shape[1]), largest=largest)
    return [
        tuple((model.token(i).text, v) for i, v in zip(*row, strict=True))
        for row in zip(ids.tolist(), values.tolist(), strict=True)
    ]


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
