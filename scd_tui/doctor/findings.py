"""The records of a check-up."""

from collections.abc import Iterable
from typing import Literal

import msgspec

State = Literal["ok", "warn", "problem"]
"""`warn`: something is worse than it could be; `problem`: it stops the app."""
Fact = str | int | float | bool | None | tuple[str, ...]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at: what it is, in words, and what to do about it where that is not ok.

    `facts` are the same for programs: sizes in bytes, times in seconds.
    """

    name: str
    state: State = "ok"
    says: str
    todo: str = ""
    facts: dict[str, Fact] = {}


class Section(msgspec.Struct, frozen=True):
    """What was looked at in one place."""

    name: str
    findings: tuple[Finding, ...]


class Report(msgspec.Struct, frozen=True):
    """A whole check-up."""

    version: str
    sections: tuple[Section, ...]

    def count(self, state: State) -> int:
        return sum(one.state == state for one in _all(self.sections))


def _all(sections: Iterable[Section]) -> Iterable[Finding]:
    return (finding for section in sections for finding in section.findings)
