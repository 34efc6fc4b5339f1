import msgspec
import pytest
from circuits import ROOT, circuit_of
from rich.console import Console
from rich.text import Text
from tiny import PROMPT

from scd_tui.attribution.explain import explain, measured_circuit
from scd_tui.attribution.load import LoadedModel
from scd_tui.export.tree import bar, flow_words, render, signed
from scd_tui.graph import (
    Circuit,
    Completion,
    Edge,
    Flow,
    Node,
    NodeId,
    Settings,
    Site,
    SiteSummary,
    Token,
    parse_node,
)
from scd_tui.grouped import grouped
from scd_tui.pruning import pruned, without_position
from scd_tui.text import visible


@pytest.fixture(scope="module")
def circuit(tiny_loaded: LoadedModel) -> Circuit:
    return measured_circuit(explain(tiny_loaded, PROMPT, target=7, settings=Settings(top=3)))


def printed(circuit: Circuit, **options) -> str:
    console = Console(width=160, force_terminal=True, color_system="truecolor", **options)
    return "\n".join(render(circuit, console))


def plain(circuit: Circuit) -> str:
    return Text.from_ansi(printed(circuit)).plain


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
        prompt="[/red]\x1b[2J\x9b",
        tokens=tuple(Token(t.id, "[/red]\x1b[2J\x9b") for t in circuit.tokens),
        explanations={
            f"1-mlp/{parse_node(n.id).index}": "[bold]\x1b]0;x\x07" for n in circuit.nodes
        },
    )
    text = printed(hostile)
    assert "\x1b[2J" not in text and "\x9b" not in text and "\x07" not in text
    assert "[/red]\\x1b[2J" in text and "[bold]\\x1b]0;x" in text


def test_the_metric_in_the_contrast_prompt_stands_beside_the_prompt_s(
    tiny_loaded: LoadedModel,
) -> None:
    prompts = "the cat sat on the mat. To be", "the mat sat on the cat. be To"
    held = explain(tiny_loaded, prompts[0], target=7, contrast=11, contrast_prompt=prompts[1])
    there = explain(tiny_loaded, prompts[1], target=7, contrast=11).circuit.metric_value
    assert held.circuit.contrast_value == pytest.approx(there, abs=1e-4)
    apart = held.circuit.metric_value - there
    line = next(line for line in plain(held.circuit).splitlines() if line.startswith("less "))
    assert f"{signed(there)} there, a difference of {signed(apart)}" in line


def test_completions_that_are_printed_alike_have_their_ids(circuit: Circuit) -> None:
    texts = ("\n", " way", "⏎", "\n ", "way")
    completions = tuple(Completion(Token(n, text), 0.1, 1.0) for n, text in enumerate(texts))
    text = plain(msgspec.structs.replace(circuit, completions=completions))
    assert "'⏎' #0 10.0%  ' way' 10.0%  '⏎' #2 10.0%  '⏎ ' 10.0%  'way' 10.0%" in text


def test_each_token_of_several_names_its_own_contrast(tiny_loaded: LoadedModel) -> None:
    made = explain(tiny_loaded, PROMPT, target=(7, 11), settings=Settings(top=1)).circuit
    texts = [visible(step.contrast.token.text) for step in made.target.steps]
    text = plain(made)
    assert f") − {' · '.join(map(repr, texts))} = " in text and len(texts) == 2
    assert "the contrast is for each token the likeliest other" in text


def test_two_prompts_that_are_one_as_far_as_is_read_get_a_note(tiny_loaded: LoadedModel) -> None:
    prompts = "the cat sat on the mat. To be", "the cat sat on the mat. To or"
    same = explain(tiny_loaded, prompts[0], contrast_prompt=prompts[1], position=3).circuit
    assert "nothing differs, and every effect is 0" in plain(same)
    assert all(node.effect == 0 for node in same.nodes if parse_node(node.id).kind != "root")
    assert "a difference of 0.00" in plain(same)
    last = explain(tiny_loaded, prompts[0], contrast_prompt=prompts[1]).circuit
    assert "nothing differs" not in plain(last)


def test_active_are_those_of_either_prompt(tiny_loaded: LoadedModel) -> None:
    prompts = "the cat sat on the mat. To be", "the mat sat on the cat. be To"
    held = explain(tiny_loaded, prompts[0], contrast_prompt=prompts[1])
    there = explain(tiny_loaded, prompts[1])
    here = held.attribution.reading.clean
    for summary in held.circuit.sites:
        either = {*here[summary.site].pairs, *there.attribution.reading.clean[summary.site].pairs}
        assert summary.active == len(either)


def test_the_flow_and_the_shares_are_told(circuit: Circuit) -> None:
    text = plain(circuit)
    assert f"{circuit.share_explained:.0%} explained over all sites" in text
    assert f"completeness {circuit.flow.completeness:.2f}; it ends in embeddings" in text
    for summary in circuit.sites:
        (line,) = (line for line in text.splitlines() if f" {summary.site} " in line)
        assert line.rstrip().endswith(f"variance explained {summary.explained_variance:.0%}")
    assert "pruned" not in text and "influence" not in text.replace("flow   ", "")


def test_a_share_of_nothing_has_no_sign() -> None:
    assert "not followed 0.0%" in flow_words(Flow(0.9, 0.6, 0.4, -1e-7))


def test_a_pruned_circuit_is_printed_with_all_that_is_left_and_nothing_else(
    circuit: Circuit,
) -> None:
    left = pruned(circuit, 0.9)
    text = plain(left)
    assert f"to {len(left.nodes) - 1} of {len(circuit.nodes) - 1} nodes" in text
    assert 2 < len(left.nodes) < len(circuit.nodes)
    rows = [line for line in text.splitlines() if "─ " in line and "@" in line]
    of_nodes = [row for row in rows if "← " not in row]
    roots = {node.id for node in left.nodes if parse_node(node.id).kind == "root"}
    assert len(of_nodes) == len(left.nodes) - 1
    into_root = sum(edge.target in roots for edge in left.edges)
    assert len(rows) - len(of_nodes) == len(left.edges) - into_root > 0
    for node in left.nodes:
        if node.id not in roots:
            (row,) = [row for row in of_nodes if f" {node.id} " in row]
            assert f"influence {node.influence:.1%}" in row


def test_features_pruned_at_all_positions_are_printed_once(circuit: Circuit) -> None:
    left = pruned(circuit, 1.0, 1.0, summed=True)
    text = plain(left)
    several = [group for group in grouped(left, without_position).groups if len(group.nodes) > 1]
    assert several and "each feature at all its positions together" in text
    for group in several:
        places = ", ".join(str(p) for p in sorted(parse_node(n.id).position for n in group.nodes))
        (row,) = [
            line
            for line in text.splitlines()
            if f" {group.name} at {places} " in line and "← " not in line
        ]
        assert f" {signed(sum(node.effect for node in group.nodes))} " in row and "exact" not in row


@pytest.mark.parametrize(
    ("value", "drawn"), [(0.0, ""), (8.0, "████"), (-8.0, "████"), (4.0, "██"), (1.0, "▌")]
)
def test_a_bar_is_as_long_as_its_share_of_the_largest(value: float, drawn: str) -> None:
    assert bar(value, 8.0, 4) == drawn


def test_signs_are_always_written() -> None:
    assert (signed(1.317), signed(-0.111), signed(0.0)) == ("+1.32", "−0.11", "+0.00")


def test_weak_edges_are_counted_in_one_line() -> None:
    names = [f"resid_post.0/{n}@8" for n in range(4)]
    target = NodeId("resid_post.1/3@8")
    weights = (0.5, -0.2, 0.004, -0.001)
    made = circuit_of(
        Node(ROOT, 0.25, 0.0),
        Node(target, 0.5, 1.0, top=True),
        *(Node(NodeId(name), 0.1, 1.0) for name in names),
        edges=tuple(Edge(NodeId(n), target, w) for n, w in zip(names, weights, strict=True)),
    )
    site = SiteSummary(Site(1, "resid_post"), 0.5, 0.1, 0.0, 0.8, 0.9, 3)
    text = plain(msgspec.structs.replace(made, sites=(site,)))
    rows = [line for line in text.splitlines() if "← " in line]
    assert [names[0] in rows[0], names[1] in rows[1]] == [True, True] and len(rows) == 3
    assert "← 2 below 1% of the strongest edge, together +0.00" in rows[2]
