"""What in the configuration file is not what it should be."""

from collections.abc import Iterator

from scd_tui.config import Config
from scd_tui.doctor.findings import Finding
from scd_tui.errors import InputError
from scd_tui.text import visible

_CURE = "`scd-tui config` prints what is in force, as such a file"


def configuration(config: Config, problem: str) -> Iterator[Finding]:
    """One finding for each fault; none where there is none. `problem` is that of reading the file."""
    for fault in _faults(config, problem):
        yield Finding(name="its contents", state="warn", says=visible(fault), todo=_CURE)


def _faults(config: Config, problem: str) -> Iterator[str]:
    if problem:
        yield problem
    if config.theme != "auto":
        from textual.theme import BUILTIN_THEMES

        from scd_tui.tui.theme import THEMES

        if config.theme not in {*BUILTIN_THEMES, *(theme.name for theme in THEMES)}:
            yield f"there is no theme {config.theme!r}"
    if config.keys:
        from scd_tui.tui.bindings import checked_keymap

        if why := checked_keymap(config.keys)[1]:
            yield f"keys that are not used: {why}"
    if config.model:
        from scd_tui.catalog.models import find

        try:
            find(config.model)
        except InputError as error:
            yield str(error)
