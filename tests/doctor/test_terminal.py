from collections.abc import Iterator

import pytest
from textual import constants
from textual.app import App

from scd_tui.config import Config
from scd_tui.doctor.findings import Finding
from scd_tui.doctor.terminal import terminal
from scd_tui.doctor.tmux import Tmux
from scd_tui.tui.terminal import colour_system

XTERM = {"TERM": "xterm-256color", "LANG": "en_GB.UTF-8"}
INSIDE = {**XTERM, "TERM": "tmux-256color", "TMUX": "/tmp/tmux-1/default,1,0"}
NEW = Tmux(version="3.5a", set_clipboard="external", escape_time=10)
ATTACHED = Tmux(
    version="3.5a",
    set_clipboard="external",
    escape_time=10,
    client="foot",
    capabilities=frozenset({"Ms", "RGB", "Hls"}),
)


def found(
    env: dict[str, str],
    tmux: Tmux | None = None,
    config: Config | None = None,
    size: tuple[int, int] | None = (120, 35),
    isatty: bool = True,
) -> dict[str, Finding]:
    return {one.name: one for one in terminal(env, isatty, size, config or Config(), tmux)}


@pytest.mark.parametrize(
    "env",
    [
        {"TERM": "xterm"},
        {"TERM": "xterm-256color"},
        {"TERM": "screen"},
        {"TERM": "linux"},
        {"TERM": "tmux-256color", "COLORTERM": "truecolor"},
        {"TERM": "xterm-kitty", "COLORTERM": "24bit"},
        {"TERM": "xterm-256color", "NO_COLOR": "1"},
    ],
    ids=str,
)
def test_colours_are_those_that_an_app_gets(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLORTERM", "NO_COLOR", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "COLOR_SYSTEM", "auto")  # which was read at the import
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert colour_system(env) == App().console.color_system


def test_a_good_terminal_has_nothing_to_mend() -> None:
    assert {one.state for one in found({**XTERM, "COLORTERM": "truecolor"}).values()} == {"ok"}
    assert {one.state for one in found(INSIDE, ATTACHED).values()} == {"ok"}


def test_a_terminal_that_cannot_move_its_cursor_stops_the_app() -> None:
    one = found({"TERM": "dumb"})["terminal"]
    assert one.state == "problem" and "TERM=dumb" in one.todo
    assert found({**XTERM}, isatty=False, size=None)["terminal"].state == "warn"
    assert "size" not in found(XTERM, size=None)
    assert found(XTERM, size=(79, 24))["size"].state == "warn"


def clipboards() -> Iterator[tuple[dict[str, str], Tmux | None, str, str]]:
    yield XTERM, None, "ok", "osc52"
    yield {**XTERM, "STY": "1.x"}, None, "warn", "osc52"
    yield {**XTERM, "TERM_PROGRAM": "Apple_Terminal"}, None, "warn", "osc52"
    yield {**XTERM, "VTE_VERSION": "6800"}, None, "warn", "osc52"
    yield INSIDE, NEW, "ok", "tmux+osc52"
    yield INSIDE, ATTACHED, "ok", "tmux+osc52"
    yield INSIDE, None, "warn", "tmux+osc52"
    old = Tmux(version="3.1c", set_clipboard="external", escape_time=10)
    yield INSIDE, old, "warn", "tmux+osc52"
    on = Tmux(version="3.1c", set_clipboard="on", escape_time=10)
    yield INSIDE, on, "ok", "tmux+osc52"
    none = Tmux(version="3.4", set_clipboard="external", escape_time=10, client="vt220")
    yield INSIDE, none, "warn", "tmux+osc52"


@pytest.mark.parametrize(("env", "tmux", "state", "route"), clipboards())
def test_the_clipboard_s_route_and_where_it_ends(
    env: dict[str, str], tmux: Tmux | None, state: str, route: str
) -> None:
    one = found(env, tmux)["clipboard"]
    assert (one.state, one.facts["route"]) == (state, route)
    assert bool(one.todo) == (state == "warn")


def test_what_tmux_takes_away_is_told_with_its_cure() -> None:
    slow = Tmux(
        version="3.3a", set_clipboard="external", escape_time=500, client="xterm", utf8=False
    )
    env = {**INSIDE, "COLORTERM": "truecolor"}
    of = found(env, slow)
    assert of["esc key"].todo == "set -sg escape-time 10 in ~/.tmux.conf"
    assert of["signs"].state == "warn" and "tmux -u" in of["signs"].todo
    assert "rounds them to 256" in of["colours"].says and ",xterm:RGB" in of["colours"].todo
    assert "strips OSC 8" in of["links"].says and of["links"].facts == {"osc8": False}
    ascii_alone = found(env, slow, Config(unicode="off"))["signs"]
    assert ascii_alone.state == "ok" and ascii_alone.facts == {"unicode": False}
    few = found({**INSIDE, "TERM": "screen"}, NEW)["colours"]
    assert few.state == "warn" and "default-terminal" in few.todo
    assert found({**INSIDE, "TERM": "xterm-256color"}, NEW)["terminal"].state == "warn"


def test_mouse_signs_and_colours_follow_environment_and_configuration() -> None:
    ssh = {**XTERM, "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}
    assert found(ssh)["mouse"].facts == {"mouse": False}
    assert found(ssh, config=Config(mouse="on"))["mouse"].facts == {"mouse": True}
    assert found(XTERM)["mouse"].facts == {"mouse": True}
    assert "10.0.0.1" not in str(found(ssh))
    assert found({**XTERM, "NO_COLOR": "1"})["colours"].facts["colours"] is None
    assert found({**XTERM, "COLORFGBG": "0;15"})["colours"].facts["theme"] == "scd-light"
    latin = found({**XTERM, "LC_ALL": "de_DE.ISO-8859-1"})["signs"]
    assert latin.facts == {"unicode": False} and "LC_ALL=de_DE.ISO-8859-1" in latin.says
    assert "LANG=C names no encoding" in found({**XTERM, "LANG": "C"})["signs"].says


def test_what_the_environment_says_is_shown_as_text() -> None:
    one = found({**XTERM, "TERM": "xterm\x1b[31m"})["terminal"]
    assert "\x1b" not in one.says and "\\x1b[31m" in one.says
