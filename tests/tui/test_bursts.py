"""Keys that arrive in one burst, as a slow line or a busy app joins them, in every dialog there is."""

import asyncio
import importlib
import pkgutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen
from tui.driving import press, run
from tui.samples import FakeWorker, circuit, other_circuit

import scd_tui.tui
from scd_tui.catalog.choice import Choice as ModelChoice
from scd_tui.catalog.prompts import load_prompt_sets
from scd_tui.comparison import compare
from scd_tui.curves import Column, Curve
from scd_tui.graph import METHODS
from scd_tui.history import History, View
from scd_tui.tui import in_turn
from scd_tui.tui.app import ScdApp
from scd_tui.tui.ask import AskScreen
from scd_tui.tui.ask_text import AskText
from scd_tui.tui.choice import Choice
from scd_tui.tui.chooser import Chooser, Option
from scd_tui.tui.compare import CompareScreen
from scd_tui.tui.curve_screen import CurveScreen
from scd_tui.tui.dialogs import Dialog, LeftOnce
from scd_tui.tui.main_screen import MainScreen
from scd_tui.tui.modals import HelpScreen, PromptPicker
from scd_tui.tui.models import DownloadPanel
from scd_tui.tui.palette import Palette
from scd_tui.tui.quick_list import LinkScreen
from scd_tui.tui.scaling import FACTORS, ScaleScreen
from scd_tui.tui.text_screen import TextScreen
from scd_tui.worker import protocol as p


def burst(app: ScdApp, *keys: str) -> None:
    """Keys as the driver posts them when they come in one read."""
    for key in keys:
        character = {"enter": "\r", "tab": "\t", "escape": None}.get(
            key, key if len(key) == 1 else None
        )
        name = _character_to_key(key) if len(key) == 1 else key
        app.post_message(events.Key(name, character))


def screens() -> dict[str, type[Screen[Any]]]:
    """Every screen that the app brings along, but for the main one and what others are made of."""
    found: dict[str, type[Screen[Any]]] = {}
    for module in pkgutil.iter_modules(scd_tui.tui.__path__):
        names = vars(importlib.import_module(f"scd_tui.tui.{module.name}"))
        for value in names.values():
            if (
                isinstance(value, type)
                and issubclass(value, Screen)
                and value.__module__.startswith("scd_tui.")
                and value not in (MainScreen, Dialog, TextScreen)
            ):
                found[value.__name__] = value
    return found


def curves() -> list[Column]:
    curve = Curve(sizes=(0, 1), faithfulness=(0, 1), completeness=(1, 0))
    column = Column(
        nodes="features",
        baseline="zero",
        errors=True,
        order="chosen",
        count=1,
        empty=0.5,
        curve=curve,
        needed=1,
    )
    return [column]


def absent() -> ModelChoice:
    return ModelChoice(reference="far", state="absent")


MAKE: dict[type[Screen[Any]], Callable[[ScdApp], Screen[Any]]] = {
    HelpScreen: lambda app: HelpScreen([("keys", [("x", "ablates")])]),
    PromptPicker: lambda app: PromptPicker(tuple(load_prompt_sets())),
    AskScreen: lambda app: AskScreen(
        Choice(), circuit(), 5, lambda text, then: None, lambda then: None
    ),
    AskText: lambda app: AskText("Note", "a note", "a hint"),
    Chooser: lambda app: Chooser("List", [Option("one", (("one", "text"),))], hint="", typed=True),
    DownloadPanel: lambda app: DownloadPanel(absent(), app.session, lambda choice: None),
    LinkScreen: lambda app: LinkScreen("https://example.org", "A link.", lambda text: None),
    ScaleScreen: lambda app: ScaleScreen(
        p.Scaled(
            request=1,
            node="resid_post.0/1@2",
            factors=FACTORS,
            values=tuple(FACTORS),
            slope=1.0,
            completions=tuple(() for _ in FACTORS),
        )
    ),
    CurveScreen: lambda app: CurveScreen(curves()),
    CompareScreen: lambda app: CompareScreen(
        circuit(), other_circuit(), compare(circuit(), other_circuit())
    ),
    Palette: lambda app: Palette(id="--command-palette"),
}

BURSTS = (
    ("enter", "enter", "enter"),
    ("escape", "escape"),
    ("enter", "escape", "enter"),
    ("q", "q", "q", "escape", "escape"),
)
OWN_BURSTS: dict[type[Screen[Any]], tuple[tuple[str, ...], ...]] = {
    LinkScreen: (("y", "y", "enter"),),
    CompareScreen: (("left", "left", "h", "h"),),
    HelpScreen: (("question_mark", "question_mark", "escape"),),
    AskScreen: (("tab", "enter", "enter", "escape"),),
}


def test_every_screen_is_tried_here_and_left_once() -> None:
    assert set(MAKE) == set(screens().values())
    assert all(issubclass(one, LeftOnce) for one in MAKE)


@pytest.mark.parametrize("kind", MAKE, ids=lambda kind: kind.__name__)
def test_joined_keys_answer_a_dialog_once_and_reach_nothing_below(kind: type[Screen[Any]]) -> None:
    """All bursts in one app, each on a new dialog, as it is pressed and as it is pressed early."""
    below: list[str] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        watch(app, below)
        for keys in (*BURSTS, *OWN_BURSTS.get(kind, ())):
            answers: list[object] = []
            app.push_screen(MAKE[kind](app), answers.append)
            burst(app, *keys)
            await idle(app)
            assert len(answers) <= 1 and below == [], keys
            while app.screen is not app.main:
                assert isinstance(app.screen, LeftOnce), keys
                burst(app, "escape")
                await idle(app)
            assert len(answers) == 1, keys

    run(test, (80, 24))


def watch(app: ScdApp, below: list[str]) -> None:
    """Note what reaches the main screen, in place of doing it."""

    async def leave() -> None:
        below.append("quit")

    app.main.circuit_tree.action_open = lambda: below.append("open")  # type: ignore[method-assign]
    app.main.action_step_back = lambda: below.append("back")  # type: ignore[method-assign]
    app.action_quit = leave  # type: ignore[method-assign]
    app.action_copy = lambda: below.append("copy")  # type: ignore[method-assign]
    app.main.circuit_tree.action_fold = lambda: below.append("fold")  # type: ignore[method-assign]


async def idle(app: ScdApp) -> None:
    """Wait until no key waits any more, nothing runs, and all that was set off is done."""
    ends, quiet = time.monotonic() + 20, 0
    while quiet < 3:
        assert time.monotonic() < ends
        await asyncio.sleep(0.002)
        waits = app._settling is not None or app._arrived or app.message_queue_size
        runs = any(not one.is_finished for one in app.workers)
        quiet = 0 if waits or runs or not app._still() else quiet + 1


@pytest.mark.parametrize("opens", ["t", "p", "m", "n", "o", "O", "colon"])
def test_joined_enters_after_the_key_that_opens_ask_once(opens: str, tmp_path: Path) -> None:
    """The whole way from a burst on the main screen: one dialog, one answer, nothing more."""
    workers: list[FakeWorker] = []
    history = History(tmp_path / "circuits")
    history.save(other_circuit(), View())

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "j", "j")
        opened: list[Screen[Any]] = []
        push = app.push_screen

        def pushed(screen: Any, *rest: Any, **more: Any) -> Any:
            opened.append(screen)
            return push(screen, *rest, **more)

        app.push_screen = pushed  # type: ignore[method-assign,assignment]
        burst(app, opens, opens, *["backspace"] * (opens not in "pm"), "enter", "enter", "enter")
        await idle(app)
        assert len(opened) == 1 and app.is_running
        if opens == "t":
            # one for the prompt, one for the panel
            assert sum(isinstance(one, p.Attribute) for one in workers[-1].sent) == 2

    run(test, history=history, save_to=tmp_path, workers=workers)


def test_text_after_tab_in_a_burst_lands_in_the_next_field() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        burst(app, "t", *"one", "tab", *"two", "tab", *"three", "tab", "tab", "2")
        burst(app, *["tab"] * 2, "right", "shift+tab", "shift+tab", "7")
        await idle(app)
        assert isinstance(app.screen, AskScreen)
        texts = app.screen.texts()
        assert (texts.target, texts.contrast, texts.contrast_prompt) == ("one", "two", "three")
        assert (texts.position, texts.continuation) == ("", "7")
        assert (texts.metric, texts.method) == ("diff", METHODS[1])

    run(test)


def test_a_paste_after_tab_in_a_burst_lands_in_the_next_field() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        burst(app, "t", "tab")
        app.post_message(events.Paste("pasted"))
        burst(app, "tab", "x")
        await idle(app)
        assert isinstance(app.screen, AskScreen)
        texts = app.screen.texts()
        assert (texts.contrast, texts.contrast_prompt) == ("pasted", "x")

    run(test)


def test_keys_after_a_change_of_pane_in_a_burst_act_in_that_pane() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        before = app.main.circuit_tree.rows.cursor
        burst(app, "1", "j", "j", "2", "j", "i", *"ab", "tab", "j", "3", "j")
        await idle(app)
        assert app.main.completions.cursor == 3
        assert app.main.circuit_tree.rows.cursor == before + 1
        assert app.main.prompt_line.value == "ab"

    run(test)


def test_the_palette_runs_what_was_typed_and_not_what_it_listed_before() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        burst(app, "colon", *"show every key", "enter", "enter", "enter")
        await idle(app)
        assert isinstance(app.screen, HelpScreen)
        assert len(app.screen_stack) == 2

    run(test)


def test_a_theme_is_chosen_once() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        app.action_change_theme()
        burst(app, *"nord", "enter", "enter", "escape")
        await idle(app)
        assert app.theme == "nord" and app.screen is app.main

    run(test)


def test_an_experiment_that_runs_is_not_asked_again() -> None:
    """Until it is answered, the same question is the same; afterwards it can be asked again."""
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "E", *"jjj", "a")
        waiting: list[p.Request] = []
        answering = workers[-1].answer
        workers[-1].answer = lambda worker, one: waiting.append(one)
        burst(app, *"**AAxxVV")
        await idle(app)
        kinds = [type(one) for one in waiting]
        assert [kinds.count(one) for one in (p.Scale, p.Remove, p.Ablate, p.Curves)] == [1] * 4
        assert answering is not None
        for one in waiting:
            answering(workers[-1], one)
        await idle(app)
        # both have screens: the second waits until the first is closed
        assert isinstance(app.screen, ScaleScreen) and len(app.screen_stack) == 2
        burst(app, "escape")
        await idle(app)
        assert isinstance(app.screen, CurveScreen) and len(app.screen_stack) == 2
        burst(app, "escape", "asterisk")
        await idle(app)
        assert sum(isinstance(one, p.Scale) for one in workers[-1].sent) == 2

    run(test, workers=workers)


def test_a_key_does_not_wait_for_ever() -> None:
    """A list that never comes keeps keys back for a while, and each later key not at all."""

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        app._choose(asyncio.sleep(60))
        started = time.monotonic()
        burst(app, "j", "j", "j", "j")
        await asyncio.sleep(0.02)
        while app._arrived or app._settling is not None:
            await asyncio.sleep(0.01)
        assert 0.2 < time.monotonic() - started < 2
        app.workers.cancel_all()

    before, in_turn.OPENING_SECONDS = in_turn.OPENING_SECONDS, 0.3
    try:
        run(test)
    finally:
        in_turn.OPENING_SECONDS = before
