import pytest
import torch
from attributing import metric_value

from scd_tui.attribution.ablation import (
    ablated_logits,
    exact_edges,
    exact_effects,
    measured_edges,
)
from scd_tui.attribution.attribute import Attribution, Reading, attribute, strongest
from scd_tui.attribution.baseline import mean_baselines
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.windows import Windows
from scd_tui.errors import InputError
from scd_tui.graph import NodeRef, Site, parse_node


def nodes_of(model: LanguageModel, reading: Reading) -> list[NodeRef]:
    target = resolve_target(model, reading.cut.tokens, reading.cut.logits.detach(), target=7)
    found = attribute(reading, target, strongest(3)).selected
    return [parse_node(node) for nodes in found.values() for node in nodes]


def test_many_nodes_at_once_are_each_removed_alone(
    tiny_model: LanguageModel, reading: Reading
) -> None:
    """Against one forward pass a node, in which the site's activation is put together without it."""
    nodes = nodes_of(tiny_model, reading)
    together = ablated_logits(tiny_model, reading, nodes, [-1])[:, 0]
    ids = tiny_model.ids(reading.cut.tokens)
    assert {node.kind for node in nodes} == {"feature", "error"}
    for node, row in zip(nodes, together, strict=True):
        assert node.site is not None
        encoded = reading.encoded[node.site]
        kept = torch.ones(len(encoded.values))
        error = encoded.error.clone()
        if node.kind == "error":
            error[node.position] = 0
        else:
            kept[(encoded.indices == node.index) & (encoded.positions == node.position)] = 0
        without = (encoded.constant + error).index_add(
            0, encoded.positions, encoded.contributions * kept[:, None]
        )
        alone = tiny_model.forward(ids, [(node.site, lambda x, w=without: w.reshape(x.shape))])
        torch.testing.assert_close(row, alone[0, -1], atol=2e-5, rtol=2e-5)


def test_batches_of_any_size_give_the_same_effects(
    tiny_model: LanguageModel, reading: Reading
) -> None:
    target = resolve_target(tiny_model, reading.cut.tokens, reading.cut.logits.detach(), target=7)
    nodes = nodes_of(tiny_model, reading)[:10]
    clean = metric_value(target, reading.cut.logits.detach())
    effects: dict[int, dict[NodeRef, float]] = {}
    for batch in (3, 100):
        effects[batch] = {}
        for part in exact_effects(tiny_model, reading, target, nodes, batch):
            effects[batch].update(part)
    assert list(effects[3]) == nodes
    for node in nodes:
        assert effects[3][node] == pytest.approx(effects[100][node], abs=1e-5)
        logits = ablated_logits(tiny_model, reading, [node], [target.position])[0, 0]
        value = logits[7] - logits[target.contrast.token.id]
        assert effects[3][node] == pytest.approx(float(clean - value), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("embed/token@0", "only features and errors"),
        ("diff/7-8@0", "only features and errors"),
        ("resid_post.9/1@0", "no dictionary at resid_post.9"),
        ("resid_post.0/error@40", "beyond the prompt's 9 tokens"),
        ("resid_post.0/9999@0", "is not active"),
    ],
)
def test_what_cannot_be_removed_is_refused(
    tiny_model: LanguageModel, reading: Reading, name: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        ablated_logits(tiny_model, reading, [parse_node(name)], [0])


def test_a_node_can_be_set_to_its_mean_over_a_text(
    tiny_model: LanguageModel, reading: Reading, dictionaries: dict[Site, Dictionary]
) -> None:
    """Of which there is nothing to see in a text of which the prompt is all."""
    target = resolve_target(tiny_model, reading.cut.tokens, reading.cut.logits.detach(), target=7)
    nodes = nodes_of(tiny_model, reading)
    ids = [token.id for token in reading.cut.tokens]
    baselines = mean_baselines(tiny_model, dictionaries, Windows(torch.tensor([ids])))
    logits = ablated_logits(tiny_model, reading, nodes, target.positions, baselines)[:, 0]
    for node, row in zip(nodes, logits, strict=True):
        assert node.site is not None
        encoded = reading.encoded[node.site]
        if node.kind == "error":
            change = encoded.error.mean(dim=0) - encoded.error[node.position]
        else:
            mine = encoded.indices == node.index
            here = mine & (encoded.positions == node.position)
            mean = encoded.strengths[mine].sum() / len(ids)
            change = (mean - encoded.strengths[here][0]) * encoded.decoder[here][0]
        moved = reading.cut.activation(node.site).clone()
        moved[node.position] += change
        alone = tiny_model.forward(
            torch.tensor([ids]), [(node.site, lambda x, moved=moved: moved.reshape(x.shape))]
        )
        torch.testing.assert_close(row, alone[0, target.position], atol=5e-5, rtol=5e-5)


# --- along one edge ------------------------------------------------------------------------------


def sources_of(attribution: Attribution, node: str, place: Site, count: int) -> list[NodeRef]:
    """The features and the error of a place with the largest edges into a node."""
    scores, encoded = attribution.upstream(node)[place], attribution.reading.encoded[place]
    best = scores.features.abs().argsort(descending=True)[:count].tolist()
    found = [
        NodeRef("feature", int(encoded.positions[row]), place, int(encoded.indices[row]))
        for row in best
    ]
    return [*found, NodeRef("error", int(scores.errors.abs().argmax()), place)]


def weight_of(attribution: Attribution, node: str, source: NodeRef) -> float:
    assert source.site is not None
    scores = attribution.upstream(node)[source.site]
    if source.kind == "error":
        return float(scores.errors[source.position])
    return float(scores.features[attribution.reading.row(source)])


@pytest.fixture
def attribution(tiny_model: LanguageModel, reading: Reading) -> Attribution:
    target = resolve_target(tiny_model, reading.cut.tokens, reading.cut.logits.detach(), target=7)
    return attribute(reading, target, strongest(2))


def test_where_the_path_only_adds_the_measured_edge_is_the_estimate(
    tiny_model: LanguageModel, attribution: Attribution
) -> None:
    """From what a layer writes into the stream right behind it, nothing lies in between."""
    for node in attribution.selected[Site(1, "resid_post")]:
        for place in (Site(1, "attn_out"), Site(1, "mlp_out"), Site(0, "resid_post")):
            sources = sources_of(attribution, node, place, 3)
            measured = exact_edges(tiny_model, attribution, node, sources)
            for source, weight in zip(sources, measured, strict=True):
                expected = weight_of(attribution, node, source)
                assert weight == pytest.approx(expected, abs=2e-4, rel=1e-3)


def test_what_a_source_sends_past_another_site_is_not_in_the_edge(
    tiny_model: LanguageModel, attribution: Attribution
) -> None:
    """Into the root only the last stream site leads, whatever earlier nodes do to the metric."""
    early = sources_of(
        attribution, attribution.selected[Site(1, "mlp_out")][0], Site(0, "resid_post"), 2
    )
    late = [parse_node(node) for node in attribution.selected[Site(2, "resid_post")]]
    measured = exact_edges(tiny_model, attribution, attribution.target.root, [*early, *late])
    assert measured[: len(early)] == pytest.approx([0.0] * len(early), abs=1e-4)
    effects: dict[NodeRef, float] = {}
    for part in exact_effects(tiny_model, attribution.reading, attribution.target, late):
        effects.update(part)
    assert measured[len(early) :] == pytest.approx([effects[n] for n in late], abs=1e-4)
    assert any(abs(effects[node]) > 0.01 for node in late)


def test_measured_edges_do_not_depend_on_what_shares_their_batch(
    tiny_model: LanguageModel, attribution: Attribution
) -> None:
    node = attribution.selected[Site(2, "attn_out")][0]
    sources = [
        source
        for place in (Site(1, "resid_post"), Site(2, "attn_out"))
        if place in attribution.upstream(node)
        for source in sources_of(attribution, node, place, 4)
    ]
    together = exact_edges(tiny_model, attribution, node, sources)
    alone = [exact_edges(tiny_model, attribution, node, [s])[0] for s in sources]
    assert together == pytest.approx(alone, abs=1e-5)
    assert exact_edges(tiny_model, attribution, node, sources, batch=2) == pytest.approx(
        alone, abs=1e-5
    )


def test_through_attention_the_measured_edge_is_what_a_run_by_hand_shows(
    tiny_model: LanguageModel, attribution: Attribution
) -> None:
    """One source taken out where it stands and nowhere else, all other places as in the clean run."""
    reading, place = attribution.reading, Site(1, "resid_post")
    for node in attribution.selected[Site(2, "attn_out")]:
        target, sources = parse_node(node), sources_of(attribution, node, place, 3)
        for source, weight in zip(
            sources, exact_edges(tiny_model, attribution, node, sources), strict=True
        ):
            changed = reading.cut.activation(place).clone()
            changed[source.position] -= reading.written(source)
            arrived: list[torch.Tensor] = []

            def look(x: torch.Tensor, arrived: list = arrived) -> torch.Tensor:
                arrived.append(x[0])
                return x

            held = {p: reading.cut.activation(p) for p in reading.cut.order if p != target.site}
            held[place] = changed
            edits = [
                (p, lambda x, value=value: value.reshape(x.shape)) for p, value in held.items()
            ]
            with torch.no_grad():
                tiny_model.forward(
                    tiny_model.ids(reading.cut.tokens), [*edits, (target.site, look)]
                )
            missing = reading.cut.activation(target.site) - arrived[0]
            expected = float((missing * attribution.pull(target)).sum())
            assert weight == pytest.approx(expected, abs=1e-5)
            assert abs(weight) > 1e-4


def test_edges_into_different_targets_share_a_pass_as_if_each_were_alone(
    tiny_model: LanguageModel, attribution: Attribution
) -> None:
    """The root and nodes of several sites, among them one whose site is another one's source."""
    edges = [
        (source, node)
        for node, place in (
            (attribution.target.root, Site(2, "resid_post")),
            (attribution.selected[Site(2, "mlp_out")][-1], Site(2, "attn_out")),
            (attribution.selected[Site(2, "attn_out")][0], Site(1, "resid_post")),
            (attribution.selected[Site(2, "attn_out")][1], Site(1, "resid_post")),
            (attribution.selected[Site(1, "resid_post")][0], Site(1, "mlp_out")),
        )
        for source in sources_of(attribution, node, place, 2)
    ]
    (together,) = measured_edges(tiny_model, attribution, edges)
    alone = [exact_edges(tiny_model, attribution, node, [source])[0] for source, node in edges]
    assert together == pytest.approx(alone, abs=1e-5)
    assert all(value != 0 for value in together)


def test_embeddings_are_neither_removed_nor_led_into(
    tiny_model: LanguageModel, attribution: Attribution
) -> None:
    node = attribution.selected[Site(1, "mlp_out")][0]
    with pytest.raises(InputError, match="only features and errors can be removed"):
        exact_edges(tiny_model, attribution, node, [NodeRef("token", 0)])
    with pytest.raises(InputError, match="no edge leads into it"):
        exact_edges(tiny_model, attribution, "embed/token@1", [parse_node(node)])
