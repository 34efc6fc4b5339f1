"""What the tmux around this process says of itself and of the terminal that it is shown on."""

import re
import subprocess
from collections.abc import Mapping

import msgspec

from scd_tui.tui.clipboard import inside_tmux

_SECONDS = 2.0
_VERSION = re.compile(r"(\d+)\.(\d+)")


class Tmux(msgspec.Struct, frozen=True, kw_only=True):
    """`client` is the terminal's own TERM, "" where no terminal is attached now.

    `utf8` and `capabilities` are that terminal's, as tmux takes it to be: names of terminfo, of those that
    it has.
    """

    version: str
    set_clipboard: str
    escape_time: int
    client: str = ""
    utf8: bool = True
    capabilities: frozenset[str] = frozenset()

    def at_least(self, major: int, minor: int) -> bool:
        """Whether it is of this version or later; what has no number is taken to be the newest."""
        found = _VERSION.search(self.version)
        return found is None or (int(found[1]), int(found[2])) >= (major, minor)


def ask_tmux(env: Mapping[str, str]) -> Tmux | None:
    """The tmux that this process runs in; None outside of one, or where it does not answer."""
    if not inside_tmux(env):
        return None
    try:
        version, tty, utf8, client = _said(
            env,
            "display-message",
            "-p",
            "#{version}\n#{client_tty}\n#{client_utf8}\n#{client_termname}",
        ).split("\n")[:4]
        clipboard = _said(env, "show-options", "-sv", "set-clipboard").strip()
        escape_time = _said(env, "show-options", "-sv", "escape-time").strip()
        terminals = _said(env, "show-messages", "-T") if tty else ""
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Tmux(
        version=version,
        set_clipboard=clipboard,
        escape_time=int(escape_time) if escape_time.isdigit() else 0,
        client=client if tty else "",
        utf8=not tty or utf8 == "1",
        capabilities=capabilities_of(terminals, tty),
    )


def _said(env: Mapping[str, str], *words: str) -> str:
    done = subprocess.run(
        ["tmux", *words], env=dict(env), capture_output=True, timeout=_SECONDS, check=True
    )
    return done.stdout.decode("utf-8", "replace")


def capabilities_of(listed: str, tty: str) -> frozenset[str]:
    """What the terminal at `tty` has, from tmux's list of all its terminals (`show-messages -T`).

    Such a list has a heading a terminal, `Terminal 0: xterm-256color for /dev/pts/5, flags=0x20:`, and
    under it a line a capability, such as ` 192: Ms: (string) \\033]52;...` or ` 223: Tc: [missing]`.
    """
    found: set[str] = set()
    here = False
    for line in listed.splitlines():
        if line.startswith("Terminal "):
            here = f" for {tty}," in line
        elif here and not line.endswith(": [missing]") and not line.endswith("(flag) false"):
            parts = line.split(":")
            if len(parts) > 2:
                found.add(parts[1].strip())
    return frozenset(found)
