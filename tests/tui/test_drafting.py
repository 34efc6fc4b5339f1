"""What was typed when a sitting broke off is offered at the next start, and is no one else's."""

import os
import stat
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input
from tui.samples import PROMPT, SITES, site_nodes
from tui.screen import dump
from tui.test_app import run, settle

from scd_tui.drafts import LONGEST, MOST, Drafts
from scd_tui.history import History
from scd_tui.tui.app import ScdApp
from scd_tui.tui.ask import AskScreen


def broken_off(folder: Path) -> Drafts:
    """The texts of a sitting. `killed` ends it."""
    return Drafts(folder)


def killed(drafts: Drafts) -> None:
    """What the system does for a process that is gone: its locks are free."""
    drafts.save()
    drafts._alive.close()


def test_one_that_lives_keeps_its_texts_and_one_that_is_gone_leaves_them(tmp_path: Path) -> None:
    one, other = Drafts(tmp_path), Drafts(tmp_path)
    one.put("prompt", "a\x1b[2J\n half")
    one.put("note", "words", "key", "node")
    one.save()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    other.take_over()
    assert not other.left("prompt"), "it is being typed elsewhere"
    killed(one)
    other.take_over()
    assert other.left("prompt") == ["a\x1b[2J\n half"]
    assert other.left("note", "key", "node") == ["words"] and not other.left("note", "key", "x")
    killed(other)  # before any was used
    third = Drafts(tmp_path)
    third.take_over()
    assert third.left("prompt") == ["a\x1b[2J\n half"] and third.count("note") == 1
    third.done("prompt", text="a\x1b[2J\n half")
    third.done("note", "key", "node")
    third.close(in_order=True)
    assert not list(tmp_path.iterdir()), "nothing is left of what was used"


def test_their_number_size_and_age_are_bounded_and_damaged_files_are_nothing(
    tmp_path: Path,
) -> None:
    now = [1e9]
    for number in range(MOST + 5):
        one = Drafts(tmp_path, lambda: now[0])
        one.put("prompt", f"prompt {number}")
        one.put("note", "x" * (LONGEST + 1), "key", str(number))
        killed(one)
        now[0] += 1
    (tmp_path / "bad.json").write_bytes(b"\xff[")
    (tmp_path / "deep.json").write_bytes(b"[" * 100_000)
    os.mkfifo(tmp_path / "pipe.json")
    heir = Drafts(tmp_path, lambda: now[0])
    heir.take_over()
    killed(heir)
    heir = Drafts(tmp_path, lambda: now[0])
    heir.take_over()
    assert heir.left("prompt") == [f"prompt {n}" for n in range(MOST + 4, 4, -1)]
    assert not heir.count("note") and len(list(tmp_path.glob("*.json"))) == 1
    killed(heir)
    now[0] += 40 * 86400
    later = Drafts(tmp_path, lambda: now[0])
    later.take_over()
    assert not later.left("prompt")


def test_without_a_history_nothing_is_kept(tmp_path: Path) -> None:
    from scd_tui.drafts import drafts_in

    none = drafts_in(tmp_path, kept=False)
    none.put("prompt", "secret")
    none.save()
    none.take_over()
    none.close(in_order=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("typed", [PROMPT, "half a prom"])
def test_an_unfinished_prompt_is_offered_and_goes_when_it_was_answered(
    tmp_path: Path, typed: str
) -> None:
    drafts = tmp_path / "drafts"

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press(*typed)
        await settle(pilot)
        await app.drafting.write()

    one = broken_off(drafts)
    one.close = lambda in_order: None  # type: ignore[method-assign]
    run(first, prompt=None, drafts=one)
    killed(one)

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        await settle(pilot)
        assert "goes on with an unfinished prompt" in dump(app) and typed[-9:] in dump(app)
        assert not app.main.prompt_line.value, "it is not typed for anyone"
        await pilot.press("up")
        assert app.main.prompt_line.value == typed
        await pilot.press("enter")
        await settle(pilot)
        assert app.session.store.circuit is not None

    history = History(tmp_path / "circuits")
    run(second, prompt=None, drafts=Drafts(drafts), history=history)
    assert not list(drafts.iterdir())

    async def third(app: ScdApp, pilot: Pilot[int]) -> None:
        await settle(pilot)
        assert "unfinished" not in dump(app)

    run(third, prompt=None, drafts=Drafts(drafts), history=history)


@pytest.mark.parametrize("end", ["enter", "escape"])
def test_a_half_typed_note_is_there_when_its_node_is_noted_on_again(
    tmp_path: Path, end: str
) -> None:
    history, drafts = History(tmp_path / "circuits"), tmp_path / "drafts"
    node, other = (one.id for one in site_nodes(SITES[-1])[:2])

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        assert app.main.circuit_tree.jump_to_node(node)
        await pilot.press("n", *"half a no")
        await settle(pilot)
        await app.drafting.write()

    one = broken_off(drafts)
    one.close = lambda in_order: None  # type: ignore[method-assign]
    run(first, history=history, drafts=one)
    killed(one)

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        await settle(pilot)
        tree = app.main.circuit_tree
        assert tree.jump_to_node(other)
        await pilot.press("n")
        assert app.screen.query_one(Input).value == ""
        await pilot.press("escape")
        assert tree.jump_to_node(node)
        await pilot.press("n")
        assert app.screen.query_one(Input).value == "half a no"
        assert "unfinished, from before" in dump(app)
        await pilot.press(end)
        await settle(pilot)
        wanted = {node: "half a no"} if end == "enter" else {}
        assert app.session.store.marks.notes == wanted
        await pilot.press("n")
        assert "unfinished" not in dump(app)
        assert app.screen.query_one(Input).value == wanted.get(node, "")

    run(second, history=history, drafts=Drafts(drafts))
    assert not list(drafts.iterdir())


def test_a_half_filled_question_is_there_when_its_prompt_is_asked_again(tmp_path: Path) -> None:
    drafts = tmp_path / "drafts"

    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("t")
        await settle(pilot)
        app.screen.query_one("#contrast_prompt", Input).value = "a contrast prom"
        await settle(pilot)
        await app.drafting.write()

    one = broken_off(drafts)
    one.close = lambda in_order: None  # type: ignore[method-assign]
    run(first, drafts=one)
    killed(one)

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        await settle(pilot)
        for expected in ("a contrast prom", ""):
            await pilot.press("t")
            await settle(pilot)
            assert isinstance(app.screen, AskScreen)
            assert app.screen.texts().contrast_prompt == expected
            assert ("esc discards it" in dump(app)) == bool(expected)
            await pilot.press("escape")
            await settle(pilot)

    run(second, drafts=Drafts(drafts))
    assert not list(drafts.iterdir())
