"""Lists of completions: rows that would show the same can be told apart."""

import pytest
from rich.cells import cell_len

from scd_tui.graph import Completion, Token, TokenShift
from scd_tui.tui.completions import CompletionList
from scd_tui.tui.detail_trials import completion_lines, shift_lines
from scd_tui.tui.ink import plain
from scd_tui.tui.scaling import scale_lines
from scd_tui.worker.protocol import Scaled

TEXTS = ("\n", " way", "\n    ", "way", "a" * 30 + "b", "a" * 30 + "c")
ALIKE = {"#100", "#102", "#104", "#105"}
FOUND = tuple(Completion(Token(100 + n, text), 0.1, 1.0) for n, text in enumerate(TEXTS))


def rows(found: tuple[Completion, ...], width: int) -> list[str]:
    shown = CompletionList(name="completions")
    shown._completions = found
    return [plain(shown.draw(y, width)[0]) for y in range(len(found))]


@pytest.mark.parametrize("width", [16, 18, 24, 40, 78])
def test_rows_of_the_pane_that_look_alike_have_their_ids(width: int) -> None:
    drawn = rows(FOUND, width)
    assert {word for row in drawn for word in row.split() if word.startswith("#")} == ALIKE
    assert drawn[0].split()[:2] == ["⏎", "#100"] and drawn[1].startswith("  way  ")
    assert all("10.0%" in row and cell_len(row) <= width for row in drawn)


def test_without_a_double_no_row_has_an_id() -> None:
    assert not any("#" in row for row in rows(FOUND[1:5], 24))


def test_completions_and_tokens_of_an_ablation_that_look_alike_have_their_ids() -> None:
    text = "\n".join(map(plain, completion_lines(FOUND[:5], 80)))
    assert "⏎ #100 10.0%" in text and "#102 10.0%" in text and " way 10.0%" in text
    shifts = [TokenShift(found.token, 0.5) for found in FOUND[:3]]
    up, *_, down = map(plain, shift_lines(shifts, shifts[1:2], 80))
    assert "⏎ #100 +0.50" in up and "#102 +0.50" in up and " way +0.50" in up
    assert "#" not in down


def test_completions_at_another_strength_that_look_alike_have_their_ids() -> None:
    scaled = Scaled(
        request=1, node="x", factors=(1.0,), values=(1.0,), slope=1.0, completions=(FOUND,)
    )
    lines = [plain(line) for line in scale_lines(scaled, 0, 80)][-len(FOUND) :]
    assert {word for line in lines for word in line.split() if word.startswith("#")} == ALIKE
    assert len({line.index("10.0%") for line in lines}) == 1
