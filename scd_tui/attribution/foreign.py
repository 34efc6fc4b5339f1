"""What libraries raise over files, made into sentences that name the file.

A damaged file ends in whichever line of a library stumbles over it, with any exception: of Python, of a
library's own, or a panic of Rust, which is no `Exception` at all. They are told by kind and not one by one.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from scd_tui.attribution.memory import ran_out
from scd_tui.errors import InputError, RunError
from scd_tui.text import shorten

_OURS_TO_PASS_ON = (InputError, KeyboardInterrupt, SystemExit, GeneratorExit)
_LONGEST = 160
_NAME = re.compile(r"^(?:[A-Za-z_.]*(?:Error|Exception|Warning): *)+")
"""An exception's own name before what it says."""


def is_foreign(error: BaseException) -> bool:
    """Whether an exception tells of a file that a library cannot use.

    Not so the user's wish to end, memory that ran out, and what has its sentence already.
    """
    return not isinstance(error, _OURS_TO_PASS_ON) and not ran_out(error)


def said_by(error: BaseException) -> str:
    """The gist of an exception, in a clause: its first line that is more than a word."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines()]
    whole = next((line for line in lines if " " in line and not line.endswith(":")), "")
    told = whole or next((line for line in reversed(lines) if " " in line), "")
    return shorten(_NAME.sub("", told), _LONGEST).rstrip(".") or "no reason given"


@contextmanager
def used(what: str, cure: str) -> Iterator[None]:
    """Raise RunError where a library fails over `what`, which names a file: `the model in FOLDER`."""
    try:
        yield
    except BaseException as error:
        if not is_foreign(error):
            raise
        raise RunError(f"{what} cannot be loaded ({said_by(error)}): {cure}") from error
