"""Where the app gets feature records and labels from, on this machine."""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from scd_tui.neuronpedia.records import Explanation, FeatureRecord


class FeatureRecords(Protocol):
    """A store of feature records on this machine. It reads files; the app calls it in a thread.

    `name` says what it is, as the feature pane shows it.
    """

    @property
    def name(self) -> str: ...

    def record(self, source: str, index: int) -> FeatureRecord | None:
        """The record of a feature; None where there is none."""

    def label(self, source: str, index: int) -> str | None:
        """The feature's explanation alone."""


RecordsOf = Callable[[str], FeatureRecords]
"""The records that lie here for a model, by its reference (`demo:topk`)."""


class NoRecords:
    """For models whose features nobody has described."""

    name = ""

    def record(self, source: str, index: int) -> FeatureRecord | None:
        return None

    def label(self, source: str, index: int) -> str | None:
        return None


class RecordState(msgspec.Struct, frozen=True):
    """What is known about a feature: still looked up, found, or that there is none.

    `explanation` is the one that is shown, the `number`th of `count`; `record` what is shown below
    it, of `origin`. `problem` says what went wrong, `note` what is going on; `link` is its page.
    """

    record: FeatureRecord | None = None
    looked_up: bool = False
    problem: str = ""
    explanation: Explanation | None = None
    number: int = 0
    count: int = 0
    origin: str = ""
    note: str = ""
    link: str = ""


def label_key(source: str, index: int) -> str:
    """The key of a feature in `Circuit.explanations`."""
    return f"{source}/{index}"


def find_labels(records: FeatureRecords, wanted: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Labels by `source/index`, "" where there is none. Runs in a thread."""
    return {
        label_key(source, index): records.label(source, index) or "" for source, index in wanted
    }
