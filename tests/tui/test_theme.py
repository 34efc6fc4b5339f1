"""What is told apart by colour stays apart in 256 colours and in 16, on dark and on light."""

import asyncio

import pytest
from rich.color import Color, ColorSystem
from rich.style import Style
from textual import constants
from tui.screen import make_app
from tui.test_app import settle

from scd_tui.config import Config
from scd_tui.tui.ink import INKS
from scd_tui.tui.theme import theme_name

SYSTEMS = {"scd": ColorSystem.EIGHT_BIT, "scd-light": ColorSystem.EIGHT_BIT}


def styles(theme: str) -> dict[str, Style]:
    async def main() -> dict[str, Style]:
        app = make_app(config=Config(theme=theme))
        async with app.run_test(size=(140, 40)) as pilot:
            await settle(pilot)
            assert app.theme == theme or theme == "auto"
            tree = app.main.circuit_tree
            names = [f"ink--{ink}" for ink in INKS] + ["pane--cursor", "pane--blurred"]
            return {name.split("--")[1]: tree.get_component_rich_style(name) for name in names}

    return asyncio.run(main())


def shown(color: Color | None, system: ColorSystem) -> int | None:
    return None if color is None else color.downgrade(system).number


def luminance(color: Color | None) -> float:
    assert color is not None
    triplet = color.get_truecolor()

    def linear(part: int) -> float:
        share = part / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(part) for part in triplet)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(style: Style) -> float:
    """The ratio of WCAG 2, from 1 to 21."""
    one, other = sorted((luminance(style.color), luminance(style.bgcolor)))
    return (other + 0.05) / (one + 0.05)


@pytest.mark.parametrize("theme", ["scd", "scd-light"])
def test_every_ink_is_legible_and_signs_have_colours_of_their_own(theme: str) -> None:
    found = styles(theme)
    for name, style in found.items():
        # 4.5 is what WCAG 2 asks of running text
        assert contrast(style) >= 4.5, (name, contrast(style))
    colours = {
        name: shown(found[name].color, SYSTEMS[theme]) for name in ("towards", "away", "text")
    }
    assert len(set(colours.values())) == 3
    grounds = [
        shown(found[name].bgcolor, SYSTEMS[theme])
        for name in ("text", "shade1", "shade2", "shade3", "peak", "cursor")
    ]
    assert len(set(grounds[:5])) == 5 and grounds[5] != grounds[0]


def test_sixteen_colours_have_a_theme_of_their_own_in_which_none_is_rounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "COLOR_SYSTEM", "standard")
    found = styles("auto")
    system = ColorSystem.STANDARD
    apart = ("text", "dim", "token", "label", "towards", "away", "good", "key")
    assert len({shown(found[name].color, system) for name in apart}) == len(apart)
    assert all(shown(s.color, system) != shown(s.bgcolor, system) for s in found.values())
    grounds = ("text", "shade1", "shade2", "shade3", "peak")
    assert len({shown(found[name].bgcolor, system) for name in grounds}) == len(grounds)
    assert found["cursor"].reverse and found["blurred"].underline


def test_what_is_wanted_goes_before_what_would_fit() -> None:
    assert theme_name("nord", True, True) == "nord"
    names = [theme_name("auto", light, few) for light in (False, True) for few in (False, True)]
    assert names == ["scd", "scd-16", "scd-light", "scd-16"]
