import msgspec
import pytest
from rich.console import Console
from tiny import PROMPT

from scd_tui.attribution.explain import explain, measured_circuit
from scd_tui.attribution.load import LoadedModel
from scd_tui.export.tree import bar, render, signed
from scd_tui.graph import Circuit, Settings, Token, parse_node


@pytest.fixture(scope="module")
def circuit(tiny_loaded: LoadedModel) -> Circuit:
    return measured_circuit(explain(tiny_loaded, PROMPT, target=7, settings=Settings(top=3)))


def printed(circuit: Circuit, **options) -> str:
    console = Console(width=160, record=True, file=None, force_terminal=True, **options)
    with console.capture() as capture:
        console.print(render(circuit))
    return capture.get()


def test_every_top_node_is_printed_with_its_estimate_and_its_measurement(circuit: Circuit) -> None:
    text = printed(circuit, no_color=True)
    for node in circuit.nodes:
        if node.top and parse_node(node.id).kind != "root":
            assert node.id in text
            assert f"{signed(node.effect)} " in text
            assert f"exact {signed(node.exact)}" in text
    assert "trust" in text and "over 100 features" in text


def test_text_from_outside_is_not_markup_and_moves_no_cursor(circuit: Circuit) -> None:
    hostile = msgspec.structs.replace(
        circuit,
        tokens=tuple(Token(t.id, "[/red]\x1b[2J\x9b") for t in circuit.tokens),
        explanations={
            f"1-mlp/{parse_node(n.id).index}": "[bold]\x1b]0;x\x07" for n in circuit.nodes
        },
    )
    text = printed(hostile)
    assert "\x1b[2J" not in text and "\x9b" not in text and "\x07" not in text
    assert "[/red]\\x1b[2J" in text and "[bold]\\x1b]0;x" in text


@pytest.mark.parametrize(
    ("value", "drawn"), [(0.0, ""), (8.0, "████"), (-8.0, "████"), (4.0, "██"), (1.0, "▌")]
)
def test_a_bar_is_as_long_as_its_share_of_the_largest(value: float, drawn: str) -> None:
    assert bar(value, 8.0, 4) == drawn


def test_signs_are_always_written() -> None:
    assert (signed(1.317), signed(-0.111), signed(0.0)) == ("+1.32", "−0.11", "+0.00")
