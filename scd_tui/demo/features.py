"""Feature records of the bundled dictionaries, in Neuronpedia's keys.

What is written, under `features/`:

- `vocabulary.json`: the display text of every token id (a leading space is a real space);
- `stream.bin.gz`: the record stream, little-endian uint16 token ids, `context` tokens a window;
- `<source>.jsonl.gz`: one line a live feature, by index, with the keys of Neuronpedia's feature
  response. An activation names a stretch of the stream (`offset`, `length`) and its values that
  are not zero (`at` relative positions, `values`) in place of tokens and all values.

A feature is live if it fires in at least eight different windows of the stream; others are left
out. Contexts are 24 tokens of the window around the largest value, no multiset of tokens twice.

Logit effects are those of one unit of the feature's activation through the final layer norm and
the unembedding: `((d − mean d) ⊙ γ / σ) W_U · s`, less the mean over the vocabulary, with σ the
mean scale of the final norm and s the mean output scale of the site over the stream. They leave
out what later layers do with the direction.
"""

from __future__ import annotations

import gzip
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from scd_tui.demo.explain import Surroundings, explain
from scd_tui.demo.gate import load_dictionary
from scd_tui.demo.recipe import Recipe
from scd_tui.demo.sites import Recorder, batches, dictionary_ids, source_id
from scd_tui.demo.streams import Texts

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

log = logging.getLogger(__name__)

CONTEXT = 24  # tokens of a shown context
CONTEXTS = 10  # shown contexts a feature, at most
LIVE = 8  # different contexts that make a feature live
_LOGITS = 10
_BARS = 10
KIND_NAMES = ("documentation", "templates", "random sequences")


@dataclass(frozen=True)
class Firing:
    """Where one dictionary's features fire: parallel arrays, sorted by feature, then offset."""

    features: NDArray[np.int64]
    offsets: NDArray[np.int64]
    values: NDArray[np.float64]
    scale: float

    def of(self, feature: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Offsets in the stream and values of one feature."""
        left, right = np.searchsorted(self.features, [feature, feature + 1])
        return self.offsets[left:right], self.values[left:right]


def record_windows(
    texts: list[Texts], recipe: Recipe
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The record stream's windows `[rows, context]`, none twice, and each one's kind.

    Drawn from the given splits alike: five parts documentation, four templates, one repetition.
    """
    rng = np.random.default_rng(recipe.seed + 2)
    share = recipe.record_windows // len(texts)
    found, kinds = [], []
    for part in texts:
        counts = [share * 5 // 10, share * 4 // 10, share // 10]
        found.append(part.documentation.windows(rng, counts[0], recipe.context, anywhere=0.7))
        found.append(part.templates.windows(rng, counts[1], recipe.context, anywhere=0.1))
        found.append(part.repeated(rng, counts[2]).windows)
        kinds.append(np.repeat(np.arange(3), counts))
    windows, first = np.unique(np.concatenate(found), axis=0, return_index=True)
    order = np.argsort(first)
    return windows[order], np.concatenate(kinds)[first[order]]


def write_features(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    directory: Path,
    texts: list[Texts],
    recipe: Recipe,
) -> dict[str, int]:
    """Write the records of every dictionary in `directory`; the number of live features each."""
    out = directory / "features"
    out.mkdir(parents=True, exist_ok=True)
    vocabulary = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    (out / "vocabulary.json").write_bytes(msgspec.json.encode(vocabulary))
    windows, kinds = record_windows(texts, recipe)
    _write_gz(out / "stream.bin.gz", windows.astype("<u2").tobytes())
    around = Surroundings.of(windows, kinds, KIND_NAMES, vocabulary)
    ids = dictionary_ids(recipe.layers)
    dictionaries = [load_dictionary(directory / "dictionaries" / name) for name in ids]
    firings, sigma = _firings(model, dictionaries, windows)
    live = {}
    for name, sae, firing in zip(ids, dictionaries, firings, strict=True):
        effects = _logit_effects(model, sae.W_dec.detach(), firing.scale / sigma)
        lines = []
        for feature in range(sae.cfg.d_sae):
            at, values = firing.of(feature)
            record = _record(source_id(name), feature, at, values, effects[feature], around)
            if record is not None:
                lines.append(msgspec.json.encode(record))
        _write_gz(out / f"{source_id(name)}.jsonl.gz", b"\n".join(lines) + b"\n")
        live[source_id(name)] = len(lines)
        log.info("%s: %d of %d features live", source_id(name), len(lines), sae.cfg.d_sae)
    return live


@torch.no_grad()
def _firings(
    model: GPT2LMHeadModel, dictionaries: list[Any], windows: NDArray[np.int64]
) -> tuple[list[Firing], float]:
    """Every dictionary's firing over the stream, and the mean scale of the final norm."""
    gathered: list[list[tuple[Any, Any, Any]]] = [[] for _ in dictionaries]
    scales = np.zeros(len(dictionaries))
    sigma = 0.0
    offset = 0
    with Recorder(model) as recorder:
        for rows in batches(torch.from_numpy(windows), 64):
            stacked = recorder.stacked(rows)
            for site, sae in enumerate(dictionaries):
                features = sae.encode(stacked[site])
                where, which = features.nonzero(as_tuple=True)
                values = features[where, which]
                gathered[site].append(
                    (which.short().numpy(), (where + offset).int().numpy(), values.numpy())
                )
                scales[site] += float(stacked[site].std(-1).sum())
            sigma += float(stacked[-1].std(-1, unbiased=False).sum())
            offset += rows.numel()
    firings = []
    for site, parts in enumerate(gathered):
        which, where, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(which, kind="stable")
        firings.append(
            Firing(
                which[order].astype(np.int64),
                where[order].astype(np.int64),
                values[order].astype(np.float64),
                scales[site] / offset,
            )
        )
        gathered[site] = []
    return firings, sigma / offset


@torch.no_grad()
def _logit_effects(
    model: GPT2LMHeadModel, decoder: torch.Tensor, scale: float
) -> NDArray[np.float64]:
    """`[features, vocabulary]`: see the module's docstring."""
    centred = decoder - decoder.mean(-1, keepdim=True)
    logits = (centred * model.transformer.ln_f.weight) @ model.lm_head.weight.T * scale
    effects: NDArray[np.float64] = (logits - logits.mean(-1, keepdim=True)).double().numpy()
    return effects


def _record(
    source: str,
    feature: int,
    at: NDArray[np.int64],
    values: NDArray[np.float64],
    effects: NDArray[np.float64],
    around: Surroundings,
) -> dict[str, Any] | None:
    context = int(around.positions.max()) + 1
    activations = _contexts(at, values, around.tokens, context)
    if len(activations) < LIVE:
        return None
    order = np.argsort(-effects, kind="stable")
    highest, lowest = order[:_LOGITS], order[::-1][:_LOGITS]
    heights, edges = np.histogram(values, bins=_BARS, range=(0.0, float(values.max())))
    logit_heights, logit_edges = np.histogram(effects, bins=_BARS)
    promoted = [(int(t), float(effects[t])) for t in highest]
    return {
        "modelId": "demo",
        "layer": source,
        "index": str(feature),
        "maxActApprox": _short(values.max()),
        "frac_nonzero": _short(len(at) / len(around.tokens)),
        "pos_str": [around.names[t] for t in highest],
        "pos_values": [_short(effects[t]) for t in highest],
        "neg_str": [around.names[t] for t in lowest],
        "neg_values": [_short(effects[t]) for t in lowest],
        "freq_hist_data_bar_heights": heights.tolist(),
        "freq_hist_data_bar_values": [_short(v) for v in (edges[:-1] + edges[1:]) / 2],
        "logits_hist_data_bar_heights": logit_heights.tolist(),
        "logits_hist_data_bar_values": [
            _short(v) for v in (logit_edges[:-1] + logit_edges[1:]) / 2
        ],
        "explanations": [
            {
                "description": explain(around, at, values, promoted),
                "typeName": "scd_auto",
                "explanationModelName": "automatic (tokens and logits)",
            }
        ],
        "activations": activations,
    }


def _contexts(
    at: NDArray[np.int64],
    values: NDArray[np.float64],
    tokens: NDArray[np.int64],
    context: int,
) -> list[dict[str, Any]]:
    """The strongest contexts, one a window, no multiset of tokens twice."""
    order = np.argsort(-values, kind="stable")
    rows = at[order] // context
    _, first = np.unique(rows, return_index=True)
    seen: set[tuple[int, ...]] = set()
    found: list[dict[str, Any]] = []
    for i in order[np.sort(first)]:
        row, position = divmod(int(at[i]), context)
        length = min(CONTEXT, context)
        start = row * context + min(max(0, position - length * 2 // 3), context - length)
        key = tuple(sorted(tokens[start : start + length].tolist()))
        if key in seen:
            continue
        seen.add(key)
        left, right = np.searchsorted(at, [start, start + length])
        found.append(
            {
                "offset": start,
                "length": length,
                "at": (at[left:right] - start).tolist(),
                "values": [_short(v) for v in values[left:right]],
            }
        )
        if len(found) == CONTEXTS:
            break
    return found


def _short(value: float) -> float:
    """Three significant digits: enough for a screen, and half the file."""
    return float(f"{value:.3g}")


def _write_gz(path: Path, data: bytes) -> None:
    # no name and no time in the header, so that the same build writes the same bytes
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(data)
