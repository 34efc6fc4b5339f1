"""Where the app gets feature records and labels from."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from scd_tui.neuronpedia.records import FeatureRecord


class FeatureRecords(Protocol):
    """A store of feature records on this machine. It reads files; the app calls it in a thread."""

    def record(self, source: str, index: int) -> FeatureRecord | None:
        """The record of a feature; None where there is none."""

    def label(self, source: str, index: int) -> str | None:
        """The feature's explanation alone."""


class NoRecords:
    """For models whose features nobody has described."""

    def record(self, source: str, index: int) -> FeatureRecord | None:
        return None

    def label(self, source: str, index: int) -> str | None:
        return None


class RecordState(msgspec.Struct, frozen=True):
    """What is known about a feature's record: still looked up, found, or that there is none."""

    record: FeatureRecord | None = None
    looked_up: bool = False
    problem: str = ""


def label_key(source: str, index: int) -> str:
    """The key of a feature in `Circuit.explanations`."""
    return f"{source}/{index}"


def find_labels(records: FeatureRecords, wanted: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Labels by `source/index`, "" where there is none. Runs in a thread."""
    return {
        label_key(source, index): records.label(source, index) or "" for source, index in wanted
    }
