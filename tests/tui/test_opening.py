"""What lists of past circuits say of each."""

from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from tui.samples import circuit, other_circuit
from tui.screen import dump
from tui.test_app import run, settle

from scd_tui.history import Entry, History, View
from scd_tui.tui.app import ScdApp
from scd_tui.tui.ink import cut, plain
from scd_tui.tui.opening import offer, past_line

PLAIN = Entry("k", 0.0, "The keys that the man holds", "' are' − ' is'", "diff", "demo", "topk", 9)
HELD = msgspec.structs.replace(PLAIN, key="h", contrast_prompt="The key that the man holds")


def test_a_line_says_against_which_prompt_the_circuit_is() -> None:
    text = plain(past_line(HELD, 60.0))
    assert 'The keys that the man holds  against "The key that the man holds"' in text
    assert plain(past_line(HELD, 60.0, 160)) == text
    assert "against" not in plain(past_line(PLAIN, 60.0))


def test_circuits_of_one_prompt_that_are_read_elsewhere_are_told_apart(tmp_path: Path) -> None:
    made = circuit()
    target = msgspec.structs.replace(made.target, position=len(made.tokens) + 1)
    continued = msgspec.structs.replace(
        made, tokens=(*made.tokens, *made.tokens[:2]), forced=2, target=target
    )
    inside = msgspec.structs.replace(made, target=msgspec.structs.replace(target, position=5))
    history = History(tmp_path / "circuits")
    places = []
    for one in (made, inside, continued):
        history.save(one, View())
        entry = history.entries()[0]
        places.append(entry.place)
        assert (f"{entry.place}: " if entry.place else "") + made.prompt in plain(
            past_line(entry, entry.when)
        )
        assert entry.place in plain(offer([entry], entry.when)[1])
    assert places == ["", "at position 5", "after 2 more tokens"]


def cut_quoted(held: str) -> str:
    """What is said of the contrast prompt where it is cut to the width of `held`."""
    return f'"{cut("…key that the man holds", cell_len(held) - 2)}"'


@pytest.mark.parametrize("width", range(60, 130, 7))
def test_where_there_is_little_room_it_begins_where_the_prompts_part(width: int) -> None:
    long = msgspec.structs.replace(HELD, prompt=f"{HELD.prompt} {'so' * 60}")
    for entry in (HELD, long):
        text = plain(past_line(entry, 60.0, width)[:-1])
        held = text.partition("  against ")[2]
        assert held in (f'"{HELD.contrast_prompt}"', cut_quoted(held))
        assert "The keys"[: (width - 41) // 2 - 1] in text and cell_len(text) < width


def test_the_filter_finds_a_circuit_by_words_of_its_contrast_prompt_that_are_cut_off(
    tmp_path: Path,
) -> None:
    history = History(tmp_path / "circuits")
    other = f"{'To be or not to be, ' * 5} unlike"
    history.save(msgspec.structs.replace(other_circuit(), contrast_prompt=other), View())
    history.save(circuit(), View())

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("o")
        await settle(pilot)
        assert "unlike" not in dump(app) and 'against "' in dump(app)
        await pilot.press(*"against unlike")
        await settle(pilot)
        assert "1 of 2" in dump(app) and "' way' − ' only'" in dump(app)

    run(test, (80, 24), history=history)


def test_the_start_offers_it_with_the_prompt_that_it_is_against() -> None:
    lines = [plain(line) for line in offer([PLAIN, HELD], 60.0)]
    assert len(lines) == 4 and all(cell_len(line) <= 80 for line in lines)
    assert lines[3].strip() == 'against "The key that the man holds"'
