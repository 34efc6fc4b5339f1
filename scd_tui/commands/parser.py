"""Arguments of a command, whose faults are told as all others are: in one line."""

import argparse
from typing import Any, NoReturn

from scd_tui.errors import InputError


class Parser(argparse.ArgumentParser):
    """Options are not abbreviated, so that a later one does not change what an earlier call meant."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise InputError: the lines of usage before a fault hide it."""
        raise InputError(f"{message} ({self.prog} --help lists what there is)")
