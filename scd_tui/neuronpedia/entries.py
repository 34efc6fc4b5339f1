"""What is known of one feature, with where it is from and when: three states, and three depths."""

from typing import Literal

import msgspec

from scd_tui.neuronpedia.records import FeatureRecord

DAY = 86_400.0

State = Literal["explained", "unexplained", "unknown"]
Depth = Literal["label", "brief", "full"]
"""How much of a record there is: explanations alone, with logits and one activation, or all."""
DEPTHS: tuple[Depth, ...] = ("label", "brief", "full")

LIFETIMES: dict[State, float] = {"explained": 30 * DAY, "unexplained": 7 * DAY, "unknown": DAY}
BULK_LIFETIME = 180 * DAY
"""Whoever fetched a whole source ahead wants no requests for a good while."""


class Entry(msgspec.Struct, frozen=True):
    """What is known of a feature. `fetched` is in Unix seconds, `origin` the host it is from.

    `record` is None for a feature that the service does not know. `bulk`: out of its bulk files.
    """

    state: State
    depth: Depth
    fetched: float
    origin: str
    record: FeatureRecord | None = None
    bulk: bool = False

    def stale(self, now: float) -> bool:
        """Whether it is past its lifetime; such an entry is shown, and asked for again."""
        life = BULK_LIFETIME if self.bulk else LIFETIMES[self.state]
        return not 0 <= now - self.fetched < life

    @property
    def rank(self) -> int:
        return DEPTHS.index(self.depth)


def entry_of(record: FeatureRecord | None, depth: Depth, now: float, origin: str) -> Entry:
    """What an answer of the service says of a feature."""
    if record is None:
        return Entry("unknown", depth, now, origin)
    return Entry("explained" if record.explanations else "unexplained", depth, now, origin, record)
