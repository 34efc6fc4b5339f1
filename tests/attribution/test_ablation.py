import pytest
import torch

from scd_tui.attribution.ablation import ablated_logits, exact_effects
from scd_tui.attribution.attribute import Reading, attribute, strongest
from scd_tui.attribution.metric import metric_value, resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError
from scd_tui.graph import NodeRef, parse_node


def nodes_of(model: LanguageModel, reading: Reading) -> list[NodeRef]:
    target = resolve_target(model, reading.cut.tokens, reading.cut.logits.detach(), target=7)
    found = attribute(reading, target, strongest(3)).selected
    return [parse_node(node) for nodes in found.values() for node in nodes]


def test_many_nodes_at_once_are_each_removed_alone(
    tiny_model: LanguageModel, reading: Reading
) -> None:
    """Against one forward pass a node, in which the site's activation is put together without it."""
    nodes = nodes_of(tiny_model, reading)
    together = ablated_logits(tiny_model, reading, nodes, -1)
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
        logits = ablated_logits(tiny_model, reading, [node], target.position)[0]
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
        ablated_logits(tiny_model, reading, [parse_node(name)], 0)
