"""What the session tells the screen: what is new, what runs, and how it is to be said."""

import enum
from dataclasses import dataclass
from typing import Literal

import msgspec

from scd_tui.graph import NodeId

Level = Literal["info", "good", "warn", "bad"]


class Change(enum.Enum):
    """What of the session is new."""

    STATUS = enum.auto()
    COMPLETIONS = enum.auto()
    CIRCUIT = enum.auto()
    """Another store is shown."""
    GREW = enum.auto()
    """The same store has more nodes or sites."""
    UPSTREAM = enum.auto()
    """`Notice.node` has another upstream state."""
    VALUES = enum.auto()
    """Numbers of nodes changed, the rows did not."""
    DETAIL = enum.auto()
    """More is known of `Notice.node`, or of any where it is None."""


class Notice(msgspec.Struct, frozen=True):
    change: Change
    node: NodeId | None = None


class Busy(msgspec.Struct, frozen=True):
    """The request that the progress line shows."""

    request: int
    stage: str
    done: int = 0
    total: int = 0


@dataclass
class Fetching:
    """A download, which a thread does: `done` of `total` bytes, or files while it looks."""

    reference: str
    stage: str = "looking"
    done: int = 0
    total: int = 0
    unwanted: bool = False
    """Set to give up on it."""
