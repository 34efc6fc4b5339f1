"""What a mistake is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patch:
    """One mistake: in `module`, `old` (which stands there just once) becomes `new`.

    `tests` names the file of tests that should notice it, `tests/attribution/test_{tests}.py`.
    """

    name: str
    module: str
    tests: str
    old: str
    new: str
