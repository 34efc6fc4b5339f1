"""What the feature pane says, as text: signs that need no colour, and nothing shown twice."""

import msgspec
import pytest
from tui.samples import SITES, TOKENS, Records, circuit, edges_into, site_nodes

from scd_tui.graph import NodeId, parse_node
from scd_tui.neuronpedia.records import Activation
from scd_tui.tui.detail import describe, peek, shaded, window
from scd_tui.tui.ink import plain, width_of
from scd_tui.tui.item import Item
from scd_tui.tui.records import RecordState
from scd_tui.tui.rows import Rows
from scd_tui.tui.store import CircuitStore

NODE = site_nodes(SITES[-1])[0].id
WIDTHS = (29, 59, 74)


def edge_row(store: CircuitStore, target: NodeId, source: NodeId) -> Item:
    """The row of an edge, below its target at its site."""
    rows = Rows()
    rows.reset(store)
    index = rows.reveal(target)
    assert index is not None
    rows.unfold(index)
    return next(item for item in rows.visible if (item.node, item.target) == (source, target))


def text_of(item: Item, store: CircuitStore, width: int, state: RecordState | None = None) -> str:
    lines = describe(item, store, state or RecordState(), "", width)
    assert all(width_of(line) <= width for line in lines)
    return "\n".join(plain(line).rstrip() for line in lines)


def prompt_of(text: str) -> str:
    """What the pane shows of the prompt, on one line."""
    return " ".join(text.split("on this prompt\n")[1].split("\n\n")[0].split())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("inspected", [True, False])
def test_the_prompt_shows_where_an_edge_comes_from_and_where_it_leads(
    width: int, inspected: bool
) -> None:
    store = CircuitStore.of(circuit())
    edge = next(
        e
        for e in edges_into(NODE, len(SITES) - 1)
        if parse_node(e.source).position == 1 and parse_node(e.source).kind == "feature"
    )
    if inspected:
        ref = parse_node(edge.source)
        store.activations[f"{ref.site}/{ref.index}"] = tuple(
            float(n % 4 == 1) * (n + 1) for n in range(len(TOKENS))
        )
    text = prompt_of(text_of(edge_row(store, NODE, edge.source), store, width))
    assert text.startswith("To «be» or not to be"), "from the second token"
    assert "that is →the" in text, "to the last"
    assert "«» where the edge comes from; → where it leads" in text
    assert ("be⁶" in text and "tenths of the largest, 10.00" in text) is inspected


def test_both_ends_can_be_at_one_token_and_a_node_of_its_own_has_one_sign() -> None:
    store = CircuitStore.of(circuit())
    edge = next(
        e
        for e in edges_into(NODE, len(SITES) - 1)
        if parse_node(e.source).position == parse_node(NODE).position
    )
    text = prompt_of(text_of(edge_row(store, NODE, edge.source), store, 59))
    assert "is →«the»" in text
    rows = Rows()
    rows.reset(store)
    index = rows.reveal(NODE)
    assert index is not None
    text = prompt_of(text_of(rows.visible[index], store, 59))
    assert "is «the»" in text and "→" not in text and "«» this node" in text


def test_errors_and_embeddings_show_their_place_in_the_prompt_too() -> None:
    store = CircuitStore.of(circuit())
    for node in ("mlp_out.2/error@9", "embed/token@3"):
        text = prompt_of(text_of(Item("node", node, None, NodeId(node)), store, 44))
        assert "«the»" in text or "«not»" in text


def test_a_narrow_screen_names_both_ends_of_an_edge() -> None:
    store = CircuitStore.of(circuit())
    edge = edges_into(NODE, len(SITES) - 1)[1]
    lines = peek(edge_row(store, NODE, edge.source), store, "a label", 78, 2)
    text = " ".join(plain(line).strip() for line in lines)
    ref = parse_node(edge.source)
    assert f"{ref.index}@{ref.position}" in text and f"→ {NODE} the" in text


def test_signs_stand_before_the_word_and_after_its_space() -> None:
    assert plain(shaded([" a", " b", "c"], [0, 0, 0], peak=1, target=2)) == " a «b»→c"


def with_contexts(*activations: Activation) -> RecordState:
    record = Records().record("x", 1)
    assert record is not None
    return RecordState(msgspec.structs.replace(record, activations=activations), True)


def context(word: str, value: float, before: int = 2, after: int = 2) -> Activation:
    tokens = (*(f" w{n}" for n in range(before)), f" {word}", *(f" v{n}" for n in range(after)))
    values = tuple(value if n == before else 0.0 for n in range(len(tokens)))
    return Activation(tokens, values, value, before)


def feature_text(state: RecordState, width: int = 59) -> str:
    return text_of(Item("node", NODE, None, NODE), CircuitStore.of(circuit()), width, state)


def test_contexts_that_read_the_same_are_shown_once_and_counted() -> None:
    text = feature_text(with_contexts(context("x", 4.0), context("x", 3.5), context("y", 3.0)))
    assert text.count("«x»") == 1 and text.count("«y»") == 1
    assert "top activations  left out: 1 alike" in text


def test_contexts_that_differ_only_beyond_the_fold_read_the_same() -> None:
    first = context("x", 4.0, before=400, after=400)
    second = msgspec.structs.replace(first, tokens=(" other", *first.tokens[1:]))
    text = feature_text(with_contexts(first, second))
    assert text.count("«x»") == 1 and "1 alike" in text


def test_more_contexts_than_are_shown_are_counted() -> None:
    text = feature_text(with_contexts(*(context(f"x{n}", 20.0 - n) for n in range(13))))
    assert text.count("«x") == 10 and "left out: 3 weaker" in text
    assert "left out" not in feature_text(with_contexts(context("x", 1.0)))


@pytest.mark.parametrize("word", ["word", "語語", "é"])
def test_a_context_is_folded_to_what_surrounds_its_peak(word: str) -> None:
    long = tuple(f" {word}{n}" for n in range(300))
    values = tuple(float(n == 150) for n in range(300))
    text = feature_text(with_contexts(Activation(long, values, 1.0, 150)))
    shown = text.split("top activations\n")[1].split("\n\n")[0]
    assert f"«{word}150»" in shown and len(shown.splitlines()) <= 3
    assert shown.split()[1].startswith("…") and shown.endswith("…")
    kept, _, peak, before, after = window(Activation(long, values, 1.0, 150), 100)
    assert kept[peak].strip() == f"{word}150" and before and after


def test_a_token_is_never_torn_from_its_number() -> None:
    record = Records().record("x", 1)
    assert record is not None
    logits = tuple((f" token{n}", 1.0 + n) for n in range(8))
    state = RecordState(msgspec.structs.replace(record, positive_logits=logits), True)
    for width in (24, 29, 44):
        text = feature_text(state, width)
        assert all(f" token{n} +{n + 1}.00" in text for n in range(8))


def test_the_share_of_errors_is_told_beside_that_of_features() -> None:
    text = text_of(Item("place", "resid_post.3"), CircuitStore.of(circuit()), 74)
    assert text.startswith(
        "87% of the effect at this site goes through features, 13% through errors"
    )
