"""What the terminal around the app can do, read from its environment."""

from collections.abc import Mapping


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
    if env.get("TERM", "").startswith(("linux", "vt1", "vt2", "vt52")):
        return False
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if locale := env.get(name, ""):
            charset = locale.partition(".")[2].partition("@")[0].lower().replace("-", "")
            return charset in ("", "utf8")
    return True


def light_background(env: Mapping[str, str]) -> bool:
    """Whether the terminal says that its background is light (`COLORFGBG`, which not all set)."""
    background = env.get("COLORFGBG", "").rpartition(";")[2]
    return background in ("7", "15")
