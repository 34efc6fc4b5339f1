"""What the terminal around the app can do, read from its environment."""

from collections.abc import Mapping
from typing import Literal


def refuse_reason(env: Mapping[str, str], isatty: bool) -> str | None:
    """One sentence on why the app cannot run here, with the way that does work; None if it can."""
    if not isatty:
        return "the app needs a terminal; `scd-tui attribute PROMPT --target T` does without one"
    if env.get("TERM", "") in ("", "dumb"):
        return (
            f"the terminal (TERM={env.get('TERM', '')}) cannot move its cursor; "
            "`scd-tui attribute PROMPT --target T` prints instead"
        )
    return None


def over_ssh(env: Mapping[str, str]) -> bool:
    """Whether the screen is at the other end of a network, where mouse reports cost too much."""
    return bool(env.get("SSH_CONNECTION"))


def no_colour(env: Mapping[str, str]) -> bool:
    """Whether the user asked for no colours (https://no-color.org: set, and not empty)."""
    return bool(env.get("NO_COLOR"))


def speaks_unicode(env: Mapping[str, str]) -> bool:
    """Whether the terminal can be taken to show UTF-8.

    A locale that names another encoding says no, and so do consoles with fonts of a few hundred signs.
    No locale at all, as in many containers, says nothing about the terminal at the other end.
    """
    return unicode_reason(env)[0]


def unicode_reason(env: Mapping[str, str]) -> tuple[bool, str]:
    """What `speaks_unicode` says, and what in the environment says so."""
    term = env.get("TERM", "")
    if term.startswith(("linux", "vt1", "vt2", "vt52")):
        return False, f"TERM={term} is a console of few signs"
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if locale := env.get(name, ""):
            charset = locale.partition(".")[2].partition("@")[0].lower().replace("-", "")
            named = charset != ""
            words = "says so" if named else "names no encoding, so UTF-8 is taken"
            return charset in ("", "utf8"), f"{name}={locale} {words}"
    return True, "no locale is set, so UTF-8 is taken"


def colour_system(env: Mapping[str, str]) -> str | None:
    """`standard`, `256` or `truecolor`, as the app's library makes it out; None where it has none."""
    from rich.console import Console

    # Textual leaves NO_COLOR to its own filters, and takes every output for a terminal.
    environ = {name: value for name, value in env.items() if name != "NO_COLOR"}
    console = Console(
        color_system=env.get("TEXTUAL_COLOR_SYSTEM", "auto"),  # type: ignore[arg-type]
        force_terminal=True,
        legacy_windows=False,
        _environ=environ,
    )
    return console.color_system


def switched(wanted: Literal["auto", "on", "off"], otherwise: bool) -> bool:
    """A switch of the configuration; `otherwise` is what `auto` comes to here."""
    return otherwise if wanted == "auto" else wanted == "on"


def light_background(env: Mapping[str, str]) -> bool:
    """Whether the terminal says that its background is light (`COLORFGBG`, which not all set)."""
    background = env.get("COLORFGBG", "").rpartition(";")[2]
    return background in ("7", "15")
