"""What a mistake is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patch:
    """One mistake: in `module`, `old` (which stands there just once) becomes `new`.

    `tests` names the file of tests that should notice it as if it were a module: `attribution.cut` is
    `scd_tui/attribution/cut.py` for the one and `tests/attribution/test_cut.py` for the other.
    """

    name: str
    module: str
    tests: str
    old: str
    new: str
