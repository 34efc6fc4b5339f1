"""Text from outside is data, wherever it comes from: it is shown, and does nothing else."""

import asyncio
import contextlib
import io
import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len, get_character_cell_size
from rich.console import Console
from textual.pilot import Pilot
from tui.driving import press, run, settle
from tui.samples import COMPLETIONS, LAST, MODEL, PROMPT, TOKENS, FakeWorker, Records, circuit
from tui.screen import dump, make_app
from tui.scripted import answer

from scd_tui.catalog.choice import Choice
from scd_tui.catalog.models import find
from scd_tui.errors import InputError
from scd_tui.export.tree import render
from scd_tui.graph import Circuit, Outcome, Removal, Token, TokenShift
from scd_tui.history import History, View
from scd_tui.text import visible
from scd_tui.tui import models
from scd_tui.tui.app import ScdApp
from scd_tui.tui.compare import CompareScreen
from scd_tui.tui.data_input import DataInput, glyphs
from scd_tui.tui.detail import describe, peek, title
from scd_tui.tui.ink import plain
from scd_tui.tui.paint import Columns, row
from scd_tui.tui.quick_list import LinkScreen
from scd_tui.tui.records import RecordState
from scd_tui.tui.rows import Rows
from scd_tui.tui.run import records_of
from scd_tui.tui.store import CircuitStore
from scd_tui.worker import protocol as p

MARKUP = "[red]a[/] [@click=app.quit]b [/INST]"
ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\x00\x7f‮rtl​\u2028"
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def unsafe(text: str) -> set[str]:
    return {c for c in text if c != "\n" and unicodedata.category(c) in UNSAFE}


def evil_circuit(text: str) -> Circuit:
    tokens = tuple(Token(token.id, text) for token in TOKENS)
    completion = msgspec.structs.replace(COMPLETIONS[0], token=Token(100, text))
    made = circuit(completion, COMPLETIONS[1], tokens=tokens, prompt=text)
    model = msgspec.structs.replace(MODEL, name=text, device=text, dictionaries=text)
    return msgspec.structs.replace(
        made, model=model, notes=(text,), completions=(completion, *COMPLETIONS[1:])
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=30))
def test_no_unsafe_character_is_in_any_line(text: str) -> None:
    store = CircuitStore.of(evil_circuit(text))
    rows = Rows()
    rows.reset(store)
    rows.unfold(2)
    state = RecordState(Records(text.replace("{", "").replace("}", "")).record(text, 1), True)
    node = rows.visible[2].node
    assert node is not None
    outcome = Outcome(
        predicted=1.0,
        exact=1.0,
        promoted=(TokenShift(Token(1, text), 1.0),),
        suppressed=(),
        completions=COMPLETIONS,
    )
    store.add_removal(Removal((node,), outcome))
    for item in rows.visible:
        assert not unsafe(plain(row(item, store, lambda node: "", Columns.of(60))))
        assert not unsafe(title(item, store))
        for line in (*describe(item, store, state, "", 44), *peek(item, store, "", 60, 2)):
            assert not unsafe(plain(line))
    assert not unsafe(glyphs(text))
    assert len(glyphs(text)) == len(text)


def shown(text: str, size: tuple[int, int] = (140, 40)) -> str:
    """The whole screen when every outside string is `text`."""

    def answering(worker: Any, request: p.Request) -> None:
        n = request.request
        match request:
            case p.Load():
                model = msgspec.structs.replace(MODEL, name=text)
                worker.emit(p.Progress(request=n, stage=text, done=1, total=2))
                worker.emit(p.Loaded(request=n, model=model))
            case p.Complete():
                made = evil_circuit(text)
                worker.emit(
                    p.Completed(request=n, tokens=made.tokens, completions=made.completions)
                )
            case p.Attribute():
                worker.emit(p.Attributed(request=n, circuit=evil_circuit(text)))
            case p.Ablate():
                worker.emit(p.Failed(request=n, kind="internal", message=text))
            case _:
                pass

    async def main() -> str:
        app = make_app(text, answering=answering, records=Records(text))
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            await pilot.press("j", "j", "enter", "x")
            await settle(pilot)
            screen = dump(app)
            app.session.ended(_exit(text))
            await settle(pilot)
            assert app.is_running
            return screen + dump(app)

    return asyncio.run(main())


def _exit(text: str) -> Any:
    from scd_tui.text import visible
    from scd_tui.worker.client import WorkerExit

    return WorkerExit(None, "SIGKILL", (visible(text),))


def test_markup_appears_as_typed() -> None:
    screen = shown(MARKUP)
    assert f"Prompt {MARKUP}" in screen
    assert screen.count("[red]a[/]") > 10
    assert "[@click=app.quit]b" in screen


def test_escape_sequences_are_spelled_out() -> None:
    screen = shown(ESCAPES)
    assert not unsafe(screen)
    assert "\\x1b[31mred" in screen
    assert "␛[31mred" in screen, "the prompt line shows one sign for one character"


def test_what_is_pasted_reaches_the_model_byte_for_byte() -> None:
    from textual import events

    workers: list[Any] = []

    async def main() -> None:
        app = make_app(None, workers=workers)
        async with app.run_test(size=(100, 30)) as pilot:
            await settle(pilot)
            app.main.prompt_line.post_message(events.Paste("one\r\ntwo\x1b[31m"))
            await pilot.pause()
            assert "one" in dump(app) and not unsafe(dump(app))
            await pilot.press("enter")
            await settle(pilot)
            (request,) = workers[0].of(p.Complete)
            assert request.prompt == "one\ntwo\x1b[31m"

    asyncio.run(main())


CLUSTERS = "é e\u0301 \u0301x 日本語 👨\u200d👩\u200d👧 🇫🇷 👍🏽 ❤\ufe0f 1\ufe0f\u20e3 "
CLUSTERS += "אבג \u202eabc\u202c \t\n"
LONG = "日本語e\u0301🙂ab " * 50


def spoilt(value: Any, text: str) -> Any:
    """A message of the worker with `text` for every token."""
    if isinstance(value, Token):
        return msgspec.structs.replace(value, text=text)
    if isinstance(value, msgspec.Struct):
        fields = {name: spoilt(getattr(value, name), text) for name in value.__struct_fields__}
        return type(value)(**fields)
    return tuple(spoilt(one, text) for one in value) if isinstance(value, tuple) else value


def sound(app: Any, width: int) -> str:
    """The screen, whose every line is as wide as the screen and safe to draw."""
    screen = dump(app)
    assert not unsafe(screen)
    for line in screen.splitlines():
        assert cell_len(line) == sum(map(get_character_cell_size, line)) == width, line
    return screen


@pytest.mark.parametrize(
    ("text", "size"),
    [(CLUSTERS + MARKUP + ESCAPES, (120, 35)), (LONG, (80, 24))],
    ids=["mixed", "long"],
)
def test_every_screen_keeps_its_lines_whatever_the_text(
    text: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = size[0]
    start = visible(text)[:3]

    def answering(worker: FakeWorker, request: p.Request) -> None:
        spoiling = SimpleNamespace(
            sent=worker.sent, emit=lambda event: worker.emit(spoilt(event, text))
        )
        answer(spoiling, request)  # type: ignore[arg-type]

    def choices(device: str) -> list[Choice]:
        return [
            Choice(reference=text, state="absent", about=text, why=text, repositories=(text,)),
            Choice(reference=f"{text}2", state="broken", why=text),
        ]

    monkeypatch.setattr(models, "_all", choices)
    history = History(tmp_path / "past")
    history.save(evil_circuit(text), View())
    clean = msgspec.structs.replace(evil_circuit(text), prompt=f"{text} other")
    history.save(clean, View())

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        assert start in sound(app, width), "the prompt line and the tree"
        await press(pilot, "g", "j", "j", "d")
        sound(app, width)  # an edge with its heads
        await press(pilot, "a", "n")
        app.screen.query_one(DataInput).value = text
        await press(pilot, "enter")
        sound(app, width)
        await press(pilot, "U")
        app.screen.query_one(DataInput).value = text
        await press(pilot, "enter")
        supers = [line for line in sound(app, width).splitlines() if "◆ " in line]
        assert supers and "…" in supers[0], "what is cut off is marked"
        for pane in ("3", "1", "2"):
            await press(pilot, pane)
            sound(app, width)
        await press(pilot, "G", "g", "j", "h", "j", "j", "j", "a")
        for keys in (("asterisk",), ("V",), ("v",), ("t",), ("colon",), ("o",), ("m",)):
            await press(pilot, *keys)
            sound(app, width)
            if keys == ("t",):
                app.screen.query_one("#target", DataInput).value = text[:40]
                await settle(pilot)
                sound(app, width)
            if keys == ("m",):
                await press(pilot, "enter")
                sound(app, width)
            if len(app.screen_stack) > 1:
                await press(pilot, "escape")
        await press(pilot, "D", "enter")
        assert isinstance(app.screen, CompareScreen)
        sides = sound(app, width).splitlines()[:2]
        assert all(name in side for name, side in zip([" A ", " B "], sides, strict=True))
        assert all("+3.210" in side for side in sides), "the values stay, whatever is cut"
        await press(pilot, "escape")
        app.push_screen(LinkScreen(f"https://example.org/{text}", text, lambda link: None))
        await settle(pilot)
        sound(app, width)

    run(
        test,
        size,
        prompt=text,
        answering=answering,
        records=Records(text.replace("{", "").replace("}", "")),
        history=history,
    )


@pytest.mark.parametrize("text", [CLUSTERS + MARKUP + ESCAPES, LONG], ids=["mixed", "long"])
def test_a_file_with_any_names_in_it_is_printed_safely_and_opened(text: str) -> None:
    made = evil_circuit(text)
    # a line that is wrapped has no escapes of its own either
    for console in (Console(file=io.StringIO()), Console(width=40, force_terminal=True)):
        for line in render(made, console):
            assert not unsafe(re.sub(r"\x1b\[[0-9;]*m", "", line))
    printed = "\n".join(render(made, Console(file=io.StringIO())))
    assert not unsafe(printed) and visible(text)[:20] in printed
    with contextlib.suppress(InputError):
        find(made.model.reference)
    assert records_of(made.model.reference).label("a", 1) is None


def test_the_sample_is_what_the_other_tests_take_it_for() -> None:
    assert "".join(token.text for token in TOKENS) == PROMPT and LAST == 9
