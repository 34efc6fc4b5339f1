"""The terminal: what the app would make of it, by the app's own rules, and what could be better."""

from collections.abc import Iterator, Mapping

from scd_tui.config import Config
from scd_tui.doctor.findings import Fact, Finding, State
from scd_tui.doctor.tmux import Tmux
from scd_tui.text import visible
from scd_tui.tui.clipboard import MAXIMUM_OSC52, inside_tmux, route
from scd_tui.tui.terminal import (
    colour_system,
    light_background,
    no_colour,
    over_ssh,
    refuse_reason,
    switched,
    unicode_reason,
)
from scd_tui.tui.theme import theme_name

SMALLEST = (80, 24)
"""Columns and rows that the app is laid out for."""
SLOW_ESCAPE = 100
"""Milliseconds that tmux may hold esc back before one notices."""
_COLOURS = {"standard": "16 colours", "256": "256 colours", "truecolor": "24-bit colours"}
_CONF = "in ~/.tmux.conf"


def terminal(
    env: Mapping[str, str],
    isatty: bool,
    size: tuple[int, int] | None,
    config: Config,
    tmux: Tmux | None,
) -> list[Finding]:
    """All that can be told of it. `size` is columns and rows, None where there is no terminal."""
    return [
        _kind(env, isatty, tmux),
        *_size(size),
        _colours(env, isatty, config, tmux),
        _unicode(env, config, tmux),
        _clipboard(env, tmux),
        _links(env, tmux),
        _mouse(env, config),
        *_escape(tmux),
    ]


def _kind(env: Mapping[str, str], isatty: bool, tmux: Tmux | None) -> Finding:
    term = visible(env.get("TERM", ""))
    words = [f"TERM={term}"]
    if (program := env.get("TERM_PROGRAM", "")) and not inside_tmux(env):
        words.append(visible(f"{program} {env.get('TERM_PROGRAM_VERSION', '')}".rstrip()))
    if inside_tmux(env):
        where = "no terminal attached" if tmux and not tmux.client else "does not answer"
        if tmux and tmux.client:
            where = f"shown on {visible(tmux.client)}"
        words.append(f"inside tmux {visible(tmux.version)}, {where}" if tmux else f"tmux {where}")
    if env.get("STY"):
        words.append("inside GNU screen")
    if over_ssh(env):
        words.append("over SSH")
    state: State = "ok"
    todo = ""
    if not isatty:
        words.append("not asked from a terminal")
        state, todo = (
            "warn",
            "the app needs a terminal (ssh -t gives one); other commands need none",
        )
    elif reason := refuse_reason(env, isatty):
        state, todo = "problem", reason
    elif inside_tmux(env) and not term.startswith(("tmux", "screen")):
        state = "warn"
        todo = (
            f"inside tmux TERM is to be tmux-256color: leave it to tmux's default-terminal {_CONF}"
        )
    facts: dict[str, Fact] = {
        "term": env.get("TERM", ""),
        "terminal": isatty,
        "tmux": inside_tmux(env),
        "screen": bool(env.get("STY")),
        "ssh": over_ssh(env),
    }
    return Finding(
        name="terminal",
        state=state,
        says=", ".join(words),
        todo=todo,
        facts={**facts, "tmux_version": None if tmux is None else tmux.version},
    )


def _size(size: tuple[int, int] | None) -> Iterator[Finding]:
    if size is None:
        return
    columns, rows = size
    small = columns < SMALLEST[0] or rows < SMALLEST[1]
    least = "×".join(map(str, SMALLEST))
    yield Finding(
        name="size",
        state="warn" if small else "ok",
        says=f"{columns}×{rows}",
        todo=f"lines are cut: make it {least} or larger" if small else "",
        facts={"columns": columns, "rows": rows},
    )


def _colours(env: Mapping[str, str], isatty: bool, config: Config, tmux: Tmux | None) -> Finding:
    system = colour_system(env)
    few = system == "standard"
    if no_colour(env):
        return Finding(
            name="colours",
            says="none, as NO_COLOR is set; every sign is also written",
            facts={"colours": None, "theme": "ansi-dark"},
        )
    theme = theme_name(config.theme, light_background(env), few)
    said = f"COLORTERM={visible(env['COLORTERM'])}" if env.get("COLORTERM") else "no COLORTERM"
    words = f"{_COLOURS.get(system or '', 'none')} ({said}), theme {visible(theme)}"
    state: State = "ok"
    todo = ""
    if few and isatty and not env.get("TERM", "").startswith("linux"):
        state = "warn"
        todo = (
            f'set -g default-terminal "tmux-256color" {_CONF}, and start tmux anew'
            if inside_tmux(env)
            else "where the terminal has more, TERM=xterm-256color or COLORTERM=truecolor says so"
        )
    elif system == "truecolor" and tmux and tmux.client and not {"RGB", "Tc"} & tmux.capabilities:
        words += "; tmux rounds them to 256"
        todo = f"set -as terminal-features ',{visible(tmux.client)}:RGB' {_CONF} hands on all"
    return Finding(
        name="colours",
        state=state,
        says=words,
        todo=todo,
        facts={"colours": system, "theme": theme},
    )


def _unicode(env: Mapping[str, str], config: Config, tmux: Tmux | None) -> Finding:
    able, reason = unicode_reason(env)
    used = switched(config.unicode, able)
    if config.unicode != "auto":
        reason = f"the configuration says {config.unicode}"
    says = f"{'Unicode' if used else 'ASCII alone'}: {visible(reason)}"
    broken = used and tmux is not None and not tmux.utf8
    if broken:
        says += "; but tmux draws every other sign than ASCII as _"
    return Finding(
        name="signs",
        state="warn" if broken else "ok",
        says=says,
        todo="attach with `tmux -u attach`, or set a UTF-8 locale before that" if broken else "",
        facts={"unicode": used},
    )


def _clipboard(env: Mapping[str, str], tmux: Tmux | None) -> Finding:
    """By the route that `tui.clipboard` takes: through tmux where there is one, and by OSC 52 always."""
    through = inside_tmux(env)
    says = f"by {route(through)}, at most {MAXIMUM_OSC52 // 1000} KB"
    takes, todo = True, ""
    if through and tmux is None:
        takes = False
        todo = "TMUX is set, but tmux does not answer: start a new pane, or unset TMUX"
    elif tmux is not None and not tmux.at_least(3, 2):
        takes = tmux.set_clipboard == "on"
        todo = f"set -s set-clipboard on {_CONF}: tmux before 3.2 hands nothing else on"
    elif tmux is not None and tmux.client and "Ms" not in tmux.capabilities:
        takes = False
        todo = (
            f"set -as terminal-features ',{visible(tmux.client)}:clipboard' {_CONF}, if it has one"
        )
        says += (
            "; tmux keeps it in its buffer (prefix ] pastes), and takes the terminal to have none"
        )
    elif tmux is not None:
        says += f"; tmux hands it on (set-clipboard {visible(tmux.set_clipboard)})"
    elif env.get("STY"):
        takes = False
        todo = "GNU screen passes nothing on: use tmux, or select with the mouse"
    elif env.get("TERM_PROGRAM") == "Apple_Terminal" or env.get("TERM", "").startswith("linux"):
        takes = False
        todo = "this terminal takes no OSC 52: use another, tmux, or select with the mouse"
    elif env.get("VTE_VERSION"):
        takes = False
        todo = (
            "many VTE terminals (GNOME's and others) take no OSC 52: if nothing arrives, use tmux"
        )
    else:
        says += "; if nothing arrives, allow OSC 52 (clipboard access) in the terminal's settings"
    return Finding(
        name="clipboard",
        state="ok" if takes else "warn",
        says=says,
        todo="" if takes else todo,
        facts={
            "route": "tmux+osc52" if through else "osc52",
            "set_clipboard": None if tmux is None else tmux.set_clipboard,
        },
    )


def _links(env: Mapping[str, str], tmux: Tmux | None) -> Finding:
    says = "OSC 8, and their addresses as text"
    passed = True
    if tmux is not None and not tmux.at_least(3, 4):
        passed = False
        says = f"addresses as text: tmux {visible(tmux.version)} strips OSC 8 (3.4 can pass it on)"
    elif tmux is not None and tmux.client and "Hls" not in tmux.capabilities:
        passed = False
        feature = f"set -as terminal-features ',{visible(tmux.client)}:hyperlinks'"
        says = f"addresses as text: tmux strips OSC 8 ({feature} {_CONF} passes it on)"
    elif env.get("STY"):
        passed = False
        says = "addresses as text: GNU screen strips OSC 8"
    return Finding(name="links", says=says, facts={"osc8": passed})


def _mouse(env: Mapping[str, str], config: Config) -> Finding:
    used = switched(config.mouse, not over_ssh(env))
    why = (
        f"the configuration says {config.mouse}"
        if config.mouse != "auto"
        else 'over SSH its reports cost too much (mouse = "on" in the configuration)'
        if over_ssh(env)
        else "not over SSH; hold shift to select text"
    )
    return Finding(name="mouse", says=f"{'on' if used else 'off'}: {why}", facts={"mouse": used})


def _escape(tmux: Tmux | None) -> Iterator[Finding]:
    if tmux is None:
        return
    slow = tmux.escape_time >= SLOW_ESCAPE
    yield Finding(
        name="esc key",
        state="warn" if slow else "ok",
        says=f"tmux holds it back for {tmux.escape_time} ms",
        todo=f"set -sg escape-time 10 {_CONF}" if slow else "",
        facts={"escape_time_ms": tmux.escape_time},
    )
