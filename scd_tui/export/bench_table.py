"""A benchmark as Markdown tables, which are readable in a terminal as they stand, and as JSON."""

from collections.abc import Sequence
from textwrap import fill

import msgspec

from scd_tui.export.trust_table import markdown
from scd_tui.text import visible
from scd_tui.timings import Timings

WIDTH = 98
HEADINGS = ("what", "time or memory", "relative to the rest")
LENGTH_HEADINGS = ("tokens", "top", "targets", "a circuit", "encoder products", "ratio", "best of")


def three(value: float) -> str:
    """About three digits: `0.012`, `1.52`, `15.2`, `1,520`."""
    places = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{places}f}"


def duration(seconds: float) -> str:
    """`1.52 s`, `15.2 ms`."""
    return f"{three(seconds)} s" if seconds >= 1 else f"{three(1000 * seconds)} ms"


def gigabytes(value: float | None) -> str:
    """`1.52 GB`, `15.2 MB`; `n/a` where it is not known."""
    if value is None:
        return "n/a"
    return f"{three(value)} GB" if value >= 1 else f"{three(1000 * value)} MB"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def rows(timings: Timings) -> list[tuple[str, str, str]]:
    """One line a measurement, under `HEADINGS`."""
    parts = timings.parts
    found = [
        ("one forward pass", duration(timings.forward_s), ""),
        (
            "encoder products alone",
            duration(timings.encoders_s),
            f"as `{timings.encoders_product}`, the fastest form",
        ),
        (
            "a circuit, from tokens to records",
            duration(timings.ours_s),
            f"{three(timings.ours_over_encoders)} × the encoder products",
        ),
        ("· reading", duration(parts.reading_s), ""),
        ("· effects and edges", duration(parts.attribution_s), ""),
        ("· records", duration(parts.records_s), ""),
        (
            "upstream edges of one more node",
            duration(timings.upstream_ms / 1000),
            f"median of {timings.upstream_nodes}, at worst "
            f"{duration(timings.upstream_worst_ms / 1000)}",
        ),
        (
            f"exact effects of {_plural(timings.exact_nodes, 'node')}",
            duration(timings.exact_s),
            f"{three(timings.exact_forwards)} forward passes",
        ),
    ]
    procedures = (
        ("active features", timings.reference_sparse_s),
        ("dense", timings.reference_dense_s),
    )
    found += [
        (
            f"the published procedure, {form}",
            duration(seconds),
            f"{three(seconds / timings.ours_s)} × a circuit",
        )
        for form, seconds in procedures
        if seconds is not None
    ]
    found.append(
        (
            "memory beyond the weights, peak",
            gigabytes(timings.peak_over_weights_gb),
            f"{gigabytes(timings.rest_over_weights_gb)} before the circuit",
        )
    )
    if timings.kernels is not None and timings.launches is not None:
        found.append(
            ("kernels for a circuit", f"{timings.kernels:,}", f"{timings.launches:,} launches")
        )
    return found


def length_rows(timings: Timings) -> list[tuple[str, ...]]:
    """One line a prompt length and top, under `LENGTH_HEADINGS`."""
    return [
        (
            f"{length.tokens:,}",
            f"{length.top:,}",
            f"{length.targets:,}",
            duration(length.ours_s),
            duration(length.encoders_s),
            three(length.ours_over_encoders),
            str(length.runs),
        )
        for length in timings.lengths
    ]


def _legend(timings: Timings) -> Sequence[str]:
    said = [
        f"Times are the best of {timings.runs} runs, of exact effects and the dense procedure of "
        f"{timings.few_runs}, all on the same threads. Encoder products: one float32 product of the "
        "prompt's activations with each dictionary's encoder, no selection, distinct weights. A circuit: "
        f"effects of all nodes, and the edges into {_plural(timings.targets, 'target')} (the "
        f"{timings.top:,} strongest features and an error node a site, and the metric)."
    ]
    if timings.reference_over_ours is not None:
        said.append(
            "The published procedure: a backward pass a target and one more for each site that confounds "
            f"it, timed on {timings.reference_targets} targets of early, middle and late sites and scaled "
            f"to {timings.targets:,}."
        )
    if timings.peak_gb is not None:
        kind = "anonymous memory of the process" if timings.device == "cpu" else "memory allocated"
        said.append(
            f"Memory: {kind}, less {gigabytes(timings.weights_gb)} of weights in float32"
            + (
                "; what the libraries take for themselves is in it." * (timings.device == "cpu")
                or "."
            )
        )
    return said


def render(timings: Timings) -> str:
    """What was measured, both tables, and what their rows mean."""
    lines = [
        f"{visible(timings.model)} · {timings.device} · {_plural(timings.threads, 'thread')} · "
        f"{timings.dictionaries} dictionaries of {timings.width:,} · {timings.tokens:,} tokens, "
        f"top {timings.top:,}\n",
        markdown([HEADINGS, *rows(timings)]),
        markdown([LENGTH_HEADINGS, *length_rows(timings)]),
        *(fill(text, WIDTH) + "\n" for text in _legend(timings)),
    ]
    return "\n".join(lines)


def encode(timings: Timings) -> bytes:
    """The record as indented JSON, with the ratios that follow from it, ending in a newline.

    Keys are those of `Timings`, and `ours_over_encoders`, `reference_over_ours`, `exact_forwards`,
    `peak_over_weights_gb` and `rest_over_weights_gb`; what was not measured is null.
    """
    lengths = [
        {**msgspec.to_builtins(length), "ours_over_encoders": length.ours_over_encoders}
        for length in timings.lengths
    ]
    whole = {
        "reference_over_ours": timings.reference_over_ours,
        "ours_over_encoders": timings.ours_over_encoders,
        "peak_over_weights_gb": timings.peak_over_weights_gb,
        "rest_over_weights_gb": timings.rest_over_weights_gb,
        "exact_forwards": timings.exact_forwards,
        **msgspec.to_builtins(timings),
        "lengths": lengths,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"
