"""A share or a variance of nothing is shown as n/a, wherever it stands."""

import io

import msgspec
from rich.console import Console
from textual.pilot import Pilot
from tui.driving import press, run
from tui.samples import MODEL, circuit
from tui.screen import dump

from scd_tui.comparison import compare
from scd_tui.export.comparison import comparison_lines
from scd_tui.export.tree import render
from scd_tui.graph import Circuit, decode_circuit, encode_circuit
from scd_tui.tui.app import ScdApp


def of_nothing() -> Circuit:
    made = circuit()
    sites = tuple(
        msgspec.structs.replace(site, share_explained=None, explained_variance=None)
        for site in made.sites
    )
    return msgspec.structs.replace(made, share_explained=None, sites=sites, model=MODEL)


def test_a_file_without_shares_is_read_compared_and_printed() -> None:
    made = decode_circuit(encode_circuit(of_nothing()))
    assert made == of_nothing()
    text = "\n".join(render(made, Console(file=io.StringIO())))
    assert "share  n/a explained over all sites" in text
    assert text.count("n/a explained, features") == len(made.sites)
    assert text.count("variance explained n/a") == len(made.sites)
    assert comparison_lines(compare(made, circuit()), ("a", "b"), 5)


def test_the_screen_says_that_there_is_none() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        text = " ".join(dump(app).split())
        assert "explained n/a" in text
        await press(pilot, "g", "j")
        text = " ".join(dump(app).split())
        assert "n/a of the effect at this site" in text and "EV n/a" in text

    run(test, circuit=of_nothing(), prompt=None, size=(200, 60))
