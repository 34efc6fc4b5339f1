"""Where a reader learns which positions are left out: header, pane of the metric, print, comparison."""

import io

import msgspec
import pytest
from rich.console import Console
from tui.samples import circuit
from tui.test_lines import session

from scd_tui.comparison import compare
from scd_tui.export.tree import render
from scd_tui.graph import Circuit, Settings, Sink, Token
from scd_tui.tui.detail import describe
from scd_tui.tui.ink import plain, width_of
from scd_tui.tui.lines import header
from scd_tui.tui.records import RecordState
from scd_tui.tui.rows import Rows
from scd_tui.tui.store import CircuitStore
from scd_tui.wording import settings_words, sink_lines

TOKENS = tuple(Token(n, text) for n, text in enumerate(["When", " Mary", "\x1b[2J", " to", "\n"]))
LARGE = Sink(0, "norm", 150.2)


def with_sinks(*sinks: Sink) -> Circuit:
    return msgspec.structs.replace(circuit(), sinks=sinks)


@pytest.mark.parametrize(
    ("sinks", "lines"),
    [
        (
            [LARGE],
            ["position 0 'When' left out: 150 times the others' norm; --sinks puts it back"],
        ),
        (
            [LARGE, Sink(1, "norm", 40.0)],
            [
                "positions 0 'When' and 1 ' Mary' left out: at least 40 times the others' norm; "
                "--sinks puts them back"
            ],
        ),
        (
            [Sink(0, "prepended", 99.0)],
            [
                "position 0 'When' left out: the prepended BOS, 99 times the others' norm; "
                "--sinks puts it back"
            ],
        ),
        (
            [Sink(0, "prepended")],
            ["position 0 'When' left out: the prepended BOS; --sinks puts it back"],
        ),
        (
            [Sink(0, "trained"), Sink(1, "trained")],
            [
                "positions 0 'When' and 1 ' Mary' left out: the dictionaries were trained without "
                "them; --sinks puts them back"
            ],
        ),
        ([Sink(0, "asked", 150.0)], ["position 0 'When' left out: skipped as asked"]),
        (
            [Sink(0, "norm", 150.0, "asked")],
            ["position 0 'When' put back as asked: 150 times the others' norm"],
        ),
        (
            [Sink(0, "norm", 150.0, "only")],
            [
                "position 0 'When' counts, as the two prompts differ at no other token: "
                "150 times the others' norm"
            ],
        ),
        (
            [LARGE, Sink(3, "norm", 12.0, "alike")],
            [
                "position 0 'When' left out: 150 times the others' norm; --sinks puts it back",
                "position 3 ' to' counts, as its difference from the contrast prompt is of ordinary "
                "size: 12 times the others' norm",
            ],
        ),
    ],
)
def test_each_kind_of_sink_has_its_sentence(sinks: list[Sink], lines: list[str]) -> None:
    assert list(sink_lines(sinks, TOKENS)) == lines


def test_many_are_counted_and_tokens_are_data() -> None:
    (line,) = sink_lines([Sink(n, "norm", 20.0 + n) for n in range(5)], TOKENS)
    assert line.startswith("positions 0 'When', 1 ' Mary', 2 ") and "and 2 more left out" in line
    assert "\x1b" not in line and "at least 20 times" in line


def test_the_header_says_it_where_there_is_room() -> None:
    made = session()
    assert "left out" not in plain(header(made, 160))
    made.store.circuit = with_sinks(LARGE)
    assert "position 0 left out, 150× the norm" in plain(header(made, 160))
    made.store.circuit = with_sinks(LARGE, Sink(1, "norm", 40.0))
    assert "2 positions left out, 40× the norm" in plain(header(made, 160))
    made.store.circuit = with_sinks(Sink(0, "norm", 150.0, "asked"))
    assert "left out" not in plain(header(made, 160))
    made.store.circuit = with_sinks(LARGE)
    assert all(width_of(header(made, width)) == width for width in range(1, 170))
    narrow = plain(header(made, 80))
    assert "@0 left out" in narrow and "gate" in narrow and "trust" in narrow


@pytest.mark.parametrize("width", [29, 74])
def test_the_pane_of_the_metric_says_it_and_how_to_put_it_back(width: int) -> None:
    store = CircuitStore.of(with_sinks(LARGE))
    rows = Rows()
    rows.reset(store)
    lines = describe(rows.visible[0], store, RecordState(), "", width)
    text = " ".join(" ".join(plain(line) for line in lines).split())
    assert "left out: 150 times the others' norm" in text and "sinks count" in text


def test_what_is_printed_says_it() -> None:
    text = "\n".join(render(with_sinks(LARGE), Console(file=io.StringIO())))
    assert "150 times the others' norm; --sinks puts it back" in text


def test_two_circuits_that_leave_out_other_positions_differ_in_that() -> None:
    found = compare(with_sinks(LARGE), with_sinks(), "node")
    assert [(d.what, d.a, d.b) for d in found.differs if d.what == "left out"] == [
        ("left out", "0", "")
    ]


def test_the_setting_is_named() -> None:
    assert settings_words(Settings(sinks=True)) == "sinks count"
