"""What is said about a feature, by whom, and from where: pure functions for the feature pane."""

from collections.abc import Sequence

import msgspec

from scd_tui.neuronpedia.entries import Entry
from scd_tui.neuronpedia.records import Explanation, FeatureRecord
from scd_tui.text import visible
from scd_tui.tui.ink import Line, Span, wrap
from scd_tui.tui.records import RecordState

DAY = 86_400.0


class Said(msgspec.Struct, frozen=True):
    """One explanation, or that there is none, with the record that it belongs to and its origin."""

    explanation: Explanation | None
    record: FeatureRecord | None
    origin: str


def all_said(
    entry: Entry | None, local: FeatureRecord | None, local_name: str, now: float
) -> tuple[Said, ...]:
    """Everything that is said about a feature, what is explained first, Neuronpedia before this machine.

    `now` is in Unix seconds.
    """
    sources: list[tuple[FeatureRecord | None, str]] = []
    if entry is not None:
        sources.append((entry.record, provenance(entry, now)))
    if local is not None:
        sources.append((local, local_name))
    said = [
        Said(explanation, record, origin)
        for record, origin in sources
        if record is not None
        for explanation in record.explanations
    ]
    bare = [
        Said(None, record, origin)
        for record, origin in sources
        if record is not None and not record.explanations
    ]
    return (*said, *bare)


def provenance(entry: Entry, now: float) -> str:
    """Where an entry is from and how old it is: `neuronpedia.org, 3 days ago`."""
    days = max(0, int((now - entry.fetched) // DAY))
    age = "today" if not days else "yesterday" if days == 1 else f"{days} days ago"
    how = " (bulk file)" if entry.bulk else ""
    return f"{visible(entry.origin)}{how}, {age}{', stale' if entry.stale(now) else ''}"


def with_activations(said: Said, others: Sequence[Said]) -> Said:
    """The record to show beside an explanation: its own, unless another alone has activations."""
    if said.record is not None and said.record.activations:
        return said
    for other in others:
        if other.record is not None and other.record.activations:
            return other
    return said


def explanation_lines(state: RecordState, label: str, width: int) -> list[Line]:
    """The explanation that is shown of a feature, who wrote it, and how many there are."""
    lines: list[Line] = []
    explanation = state.explanation
    if explanation is not None:
        lines += wrap([(f"“{visible(explanation.description)}”", "label")], width)
        author = " · ".join(
            visible(part) for part in (explanation.explainer, explanation.type_name) if part
        )
        spans: list[Span] = [(f"  {author or 'author unknown'}", "dim")]
        if state.count > 1:
            spans += [
                (f" · {state.number} of {state.count}, ", "dim"),
                ("w", "key"),
                (" next", "dim"),
            ]
        lines += wrap(spans, width, indent=2)
    elif label:
        lines += wrap([(f"“{label}”", "label")], width)
    if state.problem:
        lines += wrap([(state.problem, "warn")], width)
    if state.note:
        lines += wrap([(state.note, "dim")], width)
    if not lines:
        words = "nobody has explained this feature" if state.looked_up else "looking it up…"
        lines += wrap([(words, "dim")], width)
    return lines


def origin_lines(state: RecordState, width: int) -> list[Line]:
    """The feature's names, where what is shown of it is from, and the address of its page."""
    record = state.record
    if record is None:
        return []
    name = f"{visible(record.model_id)} {visible(record.source)}/{record.index}"
    spans: list[Span] = [(name, "dim")]
    if state.origin:
        spans.append((f" · {state.origin}", "dim"))
    lines = wrap(spans, width)
    if state.link:
        lines += wrap([(visible(state.link), "dim")], width)
    return lines
