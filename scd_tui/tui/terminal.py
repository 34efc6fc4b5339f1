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
