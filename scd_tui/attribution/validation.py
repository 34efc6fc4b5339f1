"""Every curve of a circuit: what its nodes carry alone, against random ones and against neurons.

Features are taken out to zero or to their mean, with the dictionaries' errors kept or taken out
too; by |effect|, or at random. In a circuit with a contrast prompt, what that prompt has stands in the
place of zero: the effects are differences from it, and so must their check be.

With errors kept all features together are the model. With errors out, what arrives at a later dictionary
is not what arrived in the clean run, and features fire there that were silent. A circuit of all nodes
leaves them out, as they are no nodes; the complement of no nodes, which is everything, has them. So
faithfulness of all is what the nodes carry by themselves, and completeness at 0 what the dictionaries make
of the prompt when they are left to themselves: the verdict on the dictionaries.

Sinks that are left out of the circuit are left out of every curve: they stay as they are. One that a
contrast prompt readmits still stays at the mean, since means are of ordinary positions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import msgspec
import torch

from scd_tui.attribution.attribute import Attribution
from scd_tui.attribution.baseline import Baseline, ContrastBaseline, StandIn, mean_baselines
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.explain import Explanation
from scd_tui.attribution.faithfulness import (
    Measure,
    Ranked,
    by_chance,
    circuit_metrics,
    counted_features,
    measured_curve,
    ratios,
    strongest_first,
)
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.neurons import (
    mean_neurons,
    neuron_effects,
    neuron_metrics,
    neurons_of,
    ranks,
)
from scd_tui.attribution.room import asked_of, rows_at_once
from scd_tui.attribution.windows import Windows, token_windows, without_sinks
from scd_tui.catalog.texts import Text
from scd_tui.curves import ENOUGH, Column, Order, Stand, Validation
from scd_tui.errors import InputError
from scd_tui.graph import Site, Token
from scd_tui.wording import sink_lines

MOST_TOKENS = 4096
"""Of a text, that means are taken over."""
SEEDS = (0, 1, 2)
"""Of the random orders whose mean is taken."""
TOKENS_AT_ONCE = 1024
"""Tokens of circuits that share one forward pass: each asks for a row of a dictionary's width."""
_PARTS = 5
"""Into which a search for a crossing divides an interval, at a forward pass each time."""


def sizes_up_to(count: int) -> list[int]:
    """0, 1, 3, 10, 30, 100, … and `count` itself."""
    steps = (digit * 10**power for power in range(len(str(count))) for digit in (1, 3))
    return sorted({0, *(size for size in steps if size < count), count})


def in_batches(measure: Measure, at_once: int) -> Measure:
    """The same with at most `at_once` circuits a call."""

    def batches(sizes: Sequence[int], *, complement: bool = False) -> list[float]:
        found: list[float] = []
        for start in range(0, len(sizes), at_once):
            found += measure(sizes[start : start + at_once], complement=complement)
        return found

    return batches


def mean_of(measures: Sequence[Measure]) -> Measure:
    """The mean of several orders, size by size."""

    def mean(sizes: Sequence[int], *, complement: bool = False) -> list[float]:
        found = [measure(sizes, complement=complement) for measure in measures]
        return [fmean(values) for values in zip(*found, strict=True)]

    return mean


def nodes_needed(
    faithfulness: Callable[[Sequence[int]], Sequence[float]],
    sizes: Sequence[int],
    values: Sequence[float],
) -> int | None:
    """The number of nodes at which a curve first gets to `ENOUGH`, None if it never does.

    `values` are the faithfulness at `sizes`, ascending. Between the first size that has enough and the
    one before it a crossing is sought by measuring, so that n nodes have enough and n - 1 have not.
    """
    enough = [size for size, value in zip(sizes, values, strict=True) if value >= ENOUGH]
    if not enough:
        return None
    high = enough[0]
    # none at all have a faithfulness of zero
    low = max((size for size in sizes if size < high), default=0)
    while high - low > 1:
        between = sorted({low + (high - low) * part // _PARTS for part in range(1, _PARTS)} - {low})
        for size, value in zip(between, faithfulness(between), strict=True):
            if value >= ENOUGH:
                high = size
                break
            low = size
    return high


@dataclass(frozen=True)
class Asked:
    """A column without its numbers, and how they are measured, at which sizes."""

    column: Column
    sizes: Sequence[int]
    measure: Measure


def measured(asked: Asked, whole: float) -> Column:
    """A column with its curve, or with the reason why it has none; `whole` is m(M)."""
    measure, sizes = asked.measure, asked.sizes
    (empty,) = measure([0])
    column = msgspec.structs.replace(asked.column, empty=empty)
    try:
        curve = measured_curve(measure, sizes, whole, column.nodes.removesuffix("s"))
    except InputError as error:
        return msgspec.structs.replace(column, refused=str(error))

    def faithfulness(sizes: Sequence[int]) -> tuple[float, ...]:
        return ratios(measure(sizes), empty, whole)

    needed = nodes_needed(faithfulness, sizes, curve.faithfulness)
    return msgspec.structs.replace(column, curve=curve, needed=needed)


def without(
    loaded: LoadedModel, attribution: Attribution
) -> tuple[Stand, Mapping[Site, ContrastBaseline] | Mapping[Site, Baseline]]:
    """What is left of a node of this circuit that is out, at every site; and what that is called.

    Nothing, or what the contrast prompt has: what single nodes are set to when they are ablated.
    """
    reading, sites = attribution.reading, loaded.dictionaries
    if (against := reading.against) is not None:
        return "contrast", {
            site: ContrastBaseline(dictionary.encode(against[site]), dictionary.width)
            for site, dictionary in sites.items()
        }
    return "zero", {
        site: Baseline.zero(dictionary, reading.cut.activation(site))
        for site, dictionary in sites.items()
    }


def feature_measure(
    loaded: LoadedModel,
    attribution: Attribution,
    ranked: Mapping[Site, Ranked],
    baselines: Mapping[Site, StandIn],
    *,
    errors: bool,
) -> Measure:
    """How the circuits of an order of features are measured, with the dictionaries' errors or without."""

    def measure(sizes: Sequence[int], *, complement: bool = False) -> list[float]:
        return circuit_metrics(
            *(loaded.model, attribution.reading.cut.tokens, attribution.target),
            *(loaded.dictionaries, baselines, ranked),
            sizes,
            complement=complement,
            keep_errors=errors,
        )

    return in_batches(measure, circuits_at_once(loaded.model, attribution, loaded.dictionaries))


def of_features(
    loaded: LoadedModel, attribution: Attribution, means: Mapping[Site, Baseline]
) -> Iterator[Asked]:
    """Both baselines, errors kept and removed, by |effect| and at random."""
    reading, sites = attribution.reading, loaded.dictionaries
    stands: tuple[tuple[Stand, Mapping[Site, StandIn], torch.Tensor], ...] = (
        (*without(loaded, attribution), reading.counted),
        ("mean", means, reading.positions.own),
    )
    for (stand, baselines, counted), errors in product(stands, (True, False)):
        count = counted_features(reading, counted)
        orders: dict[Order, list[dict[Site, Ranked]]] = {
            "effect": [strongest_first(attribution, sites, counted)],
            "random": [by_chance(attribution, sites, seed, counted) for seed in SEEDS],
        }
        for order, rankings in orders.items():
            yield Asked(
                Column(nodes="features", baseline=stand, errors=errors, order=order, count=count),
                sizes_up_to(count),
                mean_of(
                    [
                        feature_measure(loaded, attribution, ranking, baselines, errors=errors)
                        for ranking in rankings
                    ]
                ),
            )


def of_neurons(
    model: LanguageModel,
    attribution: Attribution,
    against: Sequence[Token],
    windows: Windows,
    beside: Sequence[int],
) -> Iterator[Asked]:
    """Both baselines, by |effect|, also at the sizes `beside`; `against` is the contrast prompt or empty.

    Raises InputError on a model whose neurons cannot be replaced.
    """
    tokens, target = attribution.reading.cut.tokens, attribution.target
    positions = attribution.reading.positions
    there = neurons_of(model, against) if against else None
    effects = neuron_effects(model, tokens, target, there)
    zeros = {layer: torch.zeros_like(effect[0]) for layer, effect in effects.items()}
    stands: tuple[tuple[Stand, Mapping[int, torch.Tensor], torch.Tensor], ...] = (
        ("zero" if there is None else "contrast", there or zeros, positions.counted),
        ("mean", mean_neurons(model, effects, windows), positions.own),
    )

    def measure_of(baselines: Mapping[int, torch.Tensor], counted: torch.Tensor) -> Measure:
        ranked = ranks(effects, counted)

        def measure(sizes: Sequence[int], *, complement: bool = False) -> list[float]:
            return neuron_metrics(
                model,
                tokens,
                target,
                baselines,
                ranked,
                sizes,
                counted=counted,
                complement=complement,
            )

        return in_batches(measure, circuits_at_once(model, attribution, {}))

    for stand, baselines, counted in stands:
        count = int(counted.sum()) * sum(effect.shape[1] for effect in effects.values())
        sizes = sorted({*sizes_up_to(count), *(size for size in beside if size < count)})
        yield Asked(
            Column(nodes="neurons", baseline=stand, errors=None, order="effect", count=count),
            sizes,
            measure_of(baselines, counted),
        )


def circuits_at_once(
    model: LanguageModel, attribution: Attribution, dictionaries: Mapping[Site, Dictionary]
) -> int:
    """How many circuits share a forward pass in which `dictionaries` stand in the stream.

    Raises NoRoom where memory is too short for one.
    """
    tokens = len(attribution.reading.cut.tokens)
    asked = asked_of(model, dictionaries, read=len(attribution.target.positions))
    most = max(1, TOKENS_AT_ONCE // tokens)
    return rows_at_once(model.device, asked.spliced(tokens), most)


def validate(
    explanation: Explanation,
    text: Text,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Validation:
    """All curves of a circuit's attribution, with means over windows of `text`.

    `on_progress(stage, done, total)` is called before each step and at the end; what it raises ends
    the work. Raises InputError on a text without tokens.
    """
    loaded, attribution = explanation.loaded, explanation.attribution
    model = loaded.model
    first = model.bos if loaded.identity.prepends_bos else None
    windows = without_sinks(
        model,
        Windows(token_windows(model, text.text, MOST_TOKENS, first=first), first),
        loaded.dictionaries.values(),
    )
    # features: by stand-in, errors and order; neurons: by stand-in
    total = 1 + 2 * 2 * 2 + 2
    on_progress("means over the text", 0, total)
    asked = list(
        of_features(loaded, attribution, mean_baselines(model, loaded.dictionaries, windows))
    )
    columns: list[Column] = []
    reading = attribution.reading
    notes = list(sink_lines(reading.positions.sinks, reading.cut.tokens))
    try:
        against = explanation.circuit.contrast_tokens
        asked += of_neurons(model, attribution, against, windows, asked[0].sizes)
    except InputError as error:
        notes.append(f"no baseline of neurons: {error}")
    for one in asked:
        on_progress(f"{one.column.nodes}, {one.column.order} order", 1 + len(columns), total)
        columns.append(measured(one, attribution.value))
    on_progress("done", total, total)
    return Validation(
        prompt=explanation.circuit.prompt,
        model=loaded.identity,
        target=attribution.target,
        metric_value=attribution.value,
        text=text.name,
        text_tokens=windows.tokens,
        seeds=SEEDS,
        columns=tuple(columns),
        notes=tuple(notes),
    )
