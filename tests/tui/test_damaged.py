"""The app beside damaged and special files: it starts, says so once, and keeps its keyboard."""

from pathlib import Path

import pytest
from special_files import SPECIAL
from textual.pilot import Pilot
from tui.samples import circuit
from tui.screen import dump
from tui.test_app import run, settle

from scd_tui.config import state_path
from scd_tui.history import History, View
from scd_tui.tui.app import ScdApp


@pytest.mark.parametrize("first", [b"\xff\xfe", b"[" * 100_000, b'{"when": ' + b"9" * 5000 + b"}"])
def test_a_damaged_past_circuit_is_told_at_one_start_and_not_at_the_next(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(ScdApp, "notify", lambda self, message, **how: told.append(message))
    history = History(state_path() / "circuits")
    history.save(circuit(prompt="the good one"), View())
    (history._folder / "x.jsonl").write_bytes(first + b"\n{}\n{}\n")

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await settle(pilot)
        assert app.keeper.history.prompts()[-1] == "the good one"

    run(test, history=history)
    aside = state_path() / "aside" / "circuits-x.jsonl"
    assert aside.read_bytes().startswith(first)
    assert [words for words in told if str(aside) in words] == told and len(told) == 1
    run(test, history=History(state_path() / "circuits"))
    assert len(told) == 1


@pytest.mark.parametrize("kind", ["fifo", "zero", "loop"])
def test_opening_what_is_no_circuit_is_one_sentence_and_the_keys_go_on(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    SPECIAL[kind](tmp_path / "it")

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("O", *"./it", "enter")
        await settle(pilot)
        assert "cannot be" in dump(app)
        await pilot.press("O", *"~no/x", "enter")
        await settle(pilot)
        assert "cannot be read" in dump(app)
        await pilot.press("?")
        await settle(pilot)
        assert len(app.screen_stack) == 2, "keys arrive"

    run(test, save_to=tmp_path)
