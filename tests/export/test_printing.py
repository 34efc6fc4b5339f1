"""Lines with guides, held to what Rich's own tree makes of them."""

import io
import random

import pytest
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from scd_tui.export.printing import Row, printed

WORDS = ("resid_post.3/294@2", " “e.g.” ", "+1.32", "日本語", "long words of a label", "")


def random_rows(draw: random.Random, width: int) -> tuple[list[Row], Tree]:
    """The same tree twice, three levels deep, as `_tree` makes it."""

    def line() -> tuple[tuple[str, str], ...]:
        count = draw.randint(1, width)
        return tuple((draw.choice(WORDS), draw.choice(("", "bold", "dim"))) for _ in range(count))

    def text(spans: tuple[tuple[str, str], ...]) -> Text:
        return Text.assemble(*spans)

    root = line()
    rows, tree = [Row(root)], Tree(text(root), guide_style="dim")

    def grow(branch: Tree, last: tuple[bool, ...]) -> None:
        count = draw.randint(0, 3)
        for n in range(count):
            here = (*last, n == count - 1)
            spans = line()
            rows.append(Row(spans, here))
            twig = branch.add(text(spans))
            if len(here) < 3:
                grow(twig, here)

    grow(tree, ())
    return rows, tree


def by_rich(tree: Tree, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(tree)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("seed", range(20))
def test_lines_and_guides_are_those_of_richs_tree(seed: int) -> None:
    rows, tree = random_rows(random.Random(seed), 3)
    wide = Console(file=io.StringIO())
    assert [line.rstrip() for line in printed(rows, wide)] == by_rich(tree, 400)


def test_on_a_terminal_long_lines_are_wrapped_below_their_guides() -> None:
    console = Console(width=50, force_terminal=True, color_system="truecolor")
    wrapped = 0
    for seed in range(20):
        rows, tree = random_rows(random.Random(seed), 9)
        found = [Text.from_ansi(line).plain.rstrip() for line in printed(rows, console)]
        assert found == by_rich(tree, 50)
        wrapped += len(found) - len(rows)
    assert wrapped > 20


def test_in_a_pipe_a_row_is_one_line_however_long() -> None:
    row = Row((("x" * 500, "bold"),), (True,))
    assert list(printed([row], Console(file=io.StringIO(), width=80))) == ["└── " + "x" * 500]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"color_system": "truecolor"}, "\x1b[1;34mx\x1b[0m"),
        ({"color_system": "truecolor", "no_color": True}, "\x1b[1mx\x1b[0m"),
        ({"color_system": None}, "x"),
    ],
)
def test_styles_are_as_the_console_has_them(options: dict[str, object], expected: str) -> None:
    console = Console(force_terminal=True, width=80, **options)  # type: ignore[arg-type]
    assert list(printed([Row((("x", "bold blue"),))], console)) == [expected]
