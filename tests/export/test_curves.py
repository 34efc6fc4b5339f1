"""The table and the plots of a validation, read back from what is printed."""

import re

import msgspec
import pytest
from rich.console import Console

from scd_tui.curves import Column, Curve, Validation
from scd_tui.export.curves import number, plot, print_validation, render, words
from scd_tui.graph import Completion, ModelIdentity, Target, Token

replace = msgspec.structs.replace
WAYS = (
    *(
        ("features", baseline, errors, order)
        for baseline in ("zero", "mean")
        for errors in (True, False)
        for order in ("effect", "random")
    ),
    ("neurons", "zero", None, "effect"),
    ("neurons", "mean", None, "effect"),
)


def column(n: int) -> Column:
    """The n-th way, with numbers like those of no other."""
    nodes, baseline, errors, order = WAYS[n]
    sizes = (0, 1, 3, 30) if nodes == "features" else (0, 1, 3, 30, 100, 1234)
    return Column(
        nodes=nodes,
        baseline=baseline,
        errors=errors,
        order=order,
        count=sizes[-1],
        empty=-1.0 - n,
        curve=Curve(
            sizes=sizes,
            faithfulness=tuple(k / len(sizes) + n / 100 for k in range(len(sizes))),
            completeness=tuple(1 - k / 4 - n / 100 for k in range(len(sizes))),
        ),
        needed=None if n == 3 else 20 + n,
    )


@pytest.fixture
def validation() -> Validation:
    return Validation(
        prompt="a [b]\x1b[2J",
        model=ModelIdentity(
            name="tiny",
            revision="0",
            dictionaries="random",
            dictionaries_revision="0",
            device="cpu",
            layers=1,
            context=8,
            vocabulary=300,
        ),
        target=Target(
            "diff", 2, Completion(Token(7, " x"), 0.5, 1.0), Completion(Token(8, "y"), 0.25, 0.5)
        ),
        metric_value=2.5,
        text="[red]notes\x1b[2J.txt",
        text_tokens=96,
        seeds=(4, 5),
        columns=tuple(map(column, range(len(WAYS)))),
        notes=("a note of its own",),
    )


def printed(validation: Validation, width: int = 100, **options) -> str:
    console = Console(width=width, highlight=False, **options)
    with console.capture() as capture:
        console.print(render(validation, width))
    return capture.get()


@pytest.mark.parametrize("width", [86, 100, 160])
def test_the_table_says_what_the_records_say(validation: Validation, width: int) -> None:
    lines = printed(validation, width).splitlines()
    rows = [line.split() for line in lines]
    empty = next(row for row in rows if row[:1] == ["m(∅)"])
    assert empty[1:] == [number(c.empty) for c in validation.columns]
    needed = next(row for row in rows if row[:2] == ["for", "0.8"])
    # the first five have less than 0.8 of all 30 again, and so have the neurons
    again = ["*"] * 5 + [""] * 3 + ["*"] * 2
    assert needed[2:] == [
        "–" if c.needed is None else f"{c.needed}{star}"
        for c, star in zip(validation.columns, again, strict=True)
    ]
    said = " ".join(" ".join(lines).split())
    assert "* where more nodes have less than 0.8 again" in said
    for name in ("faithfulness", "completeness"):
        start = rows.index([name]) + 1
        for size in (0, 1, 3, 30, 100, 1234):
            expected = [
                number(getattr(c.curve, name)[c.curve.sizes.index(size)])
                if c.curve is not None and size in c.curve.sizes
                else "–"
                for c in validation.columns
            ]
            assert rows[start] == [str(size), *expected]
            start += 1


def test_a_heading_names_its_column(validation: Validation) -> None:
    lines = printed(validation).splitlines()
    top = next(n for n, line in enumerate(lines) if line.strip().startswith("others at"))
    heads = [line.removeprefix("   others at").split() for line in lines[top : top + 4]]
    assert heads[0] == [c.baseline for c in validation.columns]
    assert heads[1] == ["errors"] * 8 + ["MLP"] * 2
    assert heads[2] == ["kept", "kept", "out", "out"] * 2 + ["neurons"] * 2
    assert heads[3] == ["order"] + [c.order for c in validation.columns]


def test_what_the_numbers_are_of_is_said(validation: Validation) -> None:
    text = " ".join(printed(validation).split())
    assert "logit of ' x' (50.0%) − 'y' (25.0%), m(M) = 2.50" in text
    assert "over 96 tokens of [red]notes" in text
    assert "mean of 2 orders, seeds 4, 5" in text
    assert "30 active features, 1234 MLP neurons" in text
    for n in (2, 6):
        of = validation.columns[n]
        assert (of.nodes, of.errors, of.order) == ("features", False, "effect"), WAYS
        assert of.curve is not None
        alone, free = of.curve.faithfulness[-1], of.curve.completeness[0]
        assert f"at {of.baseline}, they come to {number(alone)} (faithfulness of 30)" in text
        assert f"and to {number(free)} (completeness at 0)" in text
    assert "left to themselves, and so is the verdict on them" in text
    assert "a note of its own" in text


def test_a_refused_column_is_empty_and_its_reason_is_given(validation: Validation) -> None:
    refused = replace(validation.columns[1], curve=None, needed=None, refused="too near for it")
    text = printed(replace(validation, columns=(validation.columns[0], refused)))
    rows = [line.split() for line in text.splitlines()]
    assert ["30", "0.75", "–"] in rows
    assert ["m(∅)", "−1.00", "−2.00"] in rows
    assert (
        "no curve of features in random order, errors kept, at zero: too near for it"
        in " ".join(text.split())
    )
    assert words(refused) not in [line.strip(" ○") for line in text.splitlines()]


def test_without_any_curve_nothing_is_drawn(validation: Validation) -> None:
    columns = tuple(replace(c, curve=None, refused="too near") for c in validation.columns)
    text = printed(replace(validation, columns=columns))
    assert "┤" not in text and "by number of nodes" not in text
    assert text.count("too near") == len(columns)


@pytest.mark.parametrize("width", [40, 80, 100])
def test_points_stand_where_their_numbers_are(validation: Validation, width: int) -> None:
    sizes, heights = (0, 1, 10, 100, 1000), (0.0, 0.0, 0.5, 7.0, 1.0)
    curve = Curve(sizes=sizes, faithfulness=heights, completeness=heights)
    drawing = plot([replace(validation.columns[0], curve=curve)], width)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", drawing).splitlines()
    assert {len(line) for line in lines} == {width}
    marks = sorted(
        (x, y) for y, line in enumerate(lines) for x, mark in enumerate(line) if mark == "●"
    )
    (left, bottom), (middle, half), (right, top) = marks
    # 100 nodes are at 7.0, far beyond what is drawn
    assert lines[top].startswith("  1┤") and lines[bottom].startswith("  0┤")
    assert half == pytest.approx((top + bottom) / 2, abs=1)
    assert left == 4 and right == width - 2
    assert middle == pytest.approx(left + (right - left) / 3, abs=1)


def test_one_point_can_be_drawn(validation: Validation) -> None:
    curve = Curve(sizes=(0, 1), faithfulness=(0.0, 1.0), completeness=(1.0, 0.0))
    assert "●" in plot([replace(validation.columns[0], curve=curve)], 60)


def test_a_circuit_without_nodes_is_not_drawn(validation: Validation) -> None:
    curve = Curve(sizes=(0,), faithfulness=(0.0,), completeness=(1.0,))
    assert plot([replace(validation.columns[0], curve=curve)], 60) == ""


def test_drawing_leaves_nothing_for_the_next_drawing(validation: Validation) -> None:
    alone = plot(validation.columns[:1], 60)
    plot(validation.columns, 80)
    assert plot(validation.columns[:1], 60) == alone


def test_colour_is_left_out_where_it_is_not_wanted(
    validation: Validation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = printed(validation, force_terminal=True, color_system="256")
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", coloured)
    assert "\x1b" not in printed(validation)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = printed(validation, force_terminal=True, color_system="256")
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", plain)


def test_names_from_outside_move_no_cursor(validation: Validation) -> None:
    text = printed(validation, force_terminal=True)
    assert "\x1b[2J" not in text
    assert "a [b]\\x1b[2J" in text and "[red]notes\\x1b[2J.txt" in text


def test_no_line_is_wider_than_asked(validation: Validation) -> None:
    for width in (86, 100):
        assert max(map(len, printed(validation, width).splitlines())) <= width


def test_a_pipe_gets_a_hundred_columns(
    validation: Validation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    print_validation(validation)
    out = capsys.readouterr().out
    assert out.splitlines() == printed(validation, 100).splitlines()
    assert max(map(len, out.splitlines())) == 100


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.831, "0.83"), (-0.111, "−0.11"), (-0.001, "0.00"), (-12.5, "−12.50"), (None, "–")],
)
def test_numbers_have_two_decimals(value: float | None, text: str) -> None:
    assert number(value) == text


def test_what_stands_in_from_a_contrast_prompt_is_explained(validation: Validation) -> None:
    columns = tuple(
        replace(c, baseline="contrast") if c.baseline == "zero" else c for c in validation.columns
    )
    against = replace(validation, columns=columns)
    lines = printed(against, 80).splitlines()
    top = next(n for n, line in enumerate(lines) if "contr." in line)
    assert lines[top].split()[-10:] == ["contr."] * 4 + ["mean"] * 4 + ["contr.", "mean"]
    text = " ".join(" ".join(lines).split())
    assert "30 features active in either prompt" in text
    assert "contr., contrast: what is out is as in the contrast prompt" in text
    assert "the others at what they are in the contrast prompt" in text
    assert "contrast" not in printed(validation, 80)
