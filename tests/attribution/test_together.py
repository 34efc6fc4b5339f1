"""Several nodes at once, against faithfulness's own splicing and against plain autograd."""

import pytest
import torch

from scd_tui.attribution.ablation import ablated_logits
from scd_tui.attribution.attribute import Attribution, attribute, read, strongest
from scd_tui.attribution.baseline import Baseline
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.faithfulness import chosen_first, circuit_metrics
from scd_tui.attribution.metric import resolve_target, value_at
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.together import estimate_without, logits_without
from scd_tui.errors import InputError
from scd_tui.graph import NodeRef, Site, parse_node

from tiny import PROMPT  # isort: skip


@pytest.fixture(scope="module")
def attribution(tiny_model: LanguageModel, dictionaries: dict[Site, Dictionary]) -> Attribution:
    reading = read(tiny_model, tiny_model.prompt(PROMPT), dictionaries)
    target = resolve_target(
        tiny_model, reading.cut.tokens, reading.cut.logits.detach(), target=7, contrast=11
    )
    return attribute(reading, target, strongest(3))


def chain(attribution: Attribution, kind: str = "feature") -> list[NodeRef]:
    """The strongest nodes of a kind at each site of the stream and at some between, most on one path."""
    sites = [Site(0, "resid_post"), Site(1, "attn_out"), Site(1, "resid_post"), Site(2, "mlp_out")]
    return [
        next(ref for node in attribution.selected[site] if (ref := parse_node(node)).kind == kind)
        for site in sites
    ]


def test_one_node_is_removed_as_ever(tiny_model: LanguageModel, attribution: Attribution) -> None:
    reading = attribution.reading
    nodes = [*chain(attribution), *chain(attribution, "error")]
    where = attribution.target.positions
    together = logits_without(tiny_model, reading, {}, [[node] for node in nodes], where)
    torch.testing.assert_close(together, ablated_logits(tiny_model, reading, nodes, where))
    for node in nodes:
        assert estimate_without(attribution, [node, node]) == pytest.approx(
            attribution.effect(node.id), abs=1e-5
        )


def test_features_that_lie_on_one_path_are_set_to_nothing_each(
    tiny_model: LanguageModel, attribution: Attribution, dictionaries: dict[Site, Dictionary]
) -> None:
    """As completeness does it, with a dictionary spliced in at every site and every error kept."""
    reading, nodes = attribution.reading, chain(attribution)
    sets = [nodes[:n] for n in range(1, len(nodes) + 1)]
    logits = logits_without(tiny_model, reading, dictionaries, sets, attribution.target.positions)
    zeros = {
        site: Baseline.zero(one, reading.cut.activation(site)) for site, one in dictionaries.items()
    }
    for chosen, row in zip(sets, logits, strict=True):
        (expected,) = circuit_metrics(
            *(tiny_model, reading.cut.tokens, attribution.target, dictionaries, zeros),
            chosen_first(attribution, dictionaries, chosen),
            [len(chosen)],
            complement=True,
        )
        assert float(value_at(attribution.target, row)) == pytest.approx(expected, abs=2e-4)
    apart = sum(
        attribution.value - float(value_at(attribution.target, row))
        for row in logits_without(
            tiny_model, reading, {}, [[node] for node in nodes], attribution.target.positions
        )
    )
    joint = attribution.value - float(value_at(attribution.target, logits[-1]))
    assert abs(joint - apart) > 1e-3, "the nodes are on one path, or this test sees nothing"


def test_an_error_is_removed_as_it_is_by_then(
    tiny_model: LanguageModel, attribution: Attribution, dictionaries: dict[Site, Dictionary]
) -> None:
    """By hand: the second site's dictionary is asked for what it leaves out of what has arrived."""
    reading = attribution.reading
    first, later = chain(attribution)[0], chain(attribution, "error")[2]
    assert first.site is not None and later.site is not None
    site = later.site

    def drop_first(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[0, first.position] -= reading.written(first)
        return x

    def drop_later(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[0] -= (
            torch.eye(len(x[0]))[later.position][:, None] * dictionaries[site].encode(x[0]).error
        )
        return x

    with torch.no_grad():
        expected = tiny_model.forward(
            tiny_model.ids(reading.cut.tokens), [(first.site, drop_first), (site, drop_later)]
        )[0, attribution.target.position]
    (found,) = logits_without(
        tiny_model, reading, dictionaries, [[later, first]], attribution.target.positions
    )
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)


def test_the_estimate_counts_no_path_twice(
    tiny_model: LanguageModel, attribution: Attribution
) -> None:
    """One backward pass through the whole model, in which each node that goes lets nothing through."""
    reading = attribution.reading
    nodes = [*chain(attribution), chain(attribution, "error")[1], chain(attribution, "error")[2]]
    strength = torch.zeros(len(nodes), requires_grad=True)

    def through(site: Site, x: torch.Tensor) -> torch.Tensor:
        clean, encoded = reading.cut.activation(site), reading.clean[site]
        change = x[0] - clean
        added = torch.zeros_like(change)
        for n, node in enumerate(nodes):
            if node.site != site:
                continue
            q = node.position
            here = encoded.positions == q
            lines = change[q] @ encoded.encoder[here].T / encoded.s_in[q] * encoded.s_out[q]
            written = lines[:, None] * encoded.decoder[here]
            if node.kind == "error":
                blocked = change[q] - written.sum(dim=0)
            else:
                blocked = written[encoded.indices[here] == node.index][0]
            row = torch.eye(len(change))[q][:, None]
            added = added + row * (strength[n] * reading.written(node) - blocked)
        return x + added

    with torch.enable_grad():
        logits = tiny_model.forward(
            tiny_model.ids(reading.cut.tokens),
            [(site, lambda x, site=site: through(site, x)) for site in reading.sites],
            attribution.target.positions,
        )
        (slopes,) = torch.autograd.grad(value_at(attribution.target, logits[0]), strength)
    found = estimate_without(attribution, nodes)
    assert found == pytest.approx(float(slopes.sum()), abs=1e-4)
    added_up = sum(attribution.effect(node.id) for node in nodes)
    assert abs(found - added_up) > 1e-3, "the nodes are on one path, or this test sees nothing"


def test_with_a_contrast_prompt_they_are_all_left_as_they_are_there(
    tiny_model: LanguageModel, dictionaries: dict[Site, Dictionary]
) -> None:
    """All nodes of a place together: what stays is the contrast prompt's, and what nobody took out."""
    tokens = tiny_model.prompt(PROMPT)
    other = tiny_model.prompt("the cat sat on the mat. To or")
    reading = read(tiny_model, tokens, dictionaries, contrast=other)
    site, p = Site(1, "resid_post"), len(tokens) - 1
    taken = {index for position, index in reading.encoded[site].pairs if position == p}
    nodes = [NodeRef("feature", p, site, index) for index in taken]
    nodes.append(NodeRef("error", p, site))
    before = NodeRef("error", p, Site(0, "resid_post"))
    (found,) = logits_without(tiny_model, reading, dictionaries, [[before, *nodes]], [p])
    patch = read(tiny_model, other, dictionaries)

    def first(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[0, p] -= reading.written(before)
        return x

    def patched(x: torch.Tensor) -> torch.Tensor:
        now = dictionaries[site].encode(x[0, p : p + 1])
        new = torch.tensor([index not in taken for _, index in now.pairs])
        x = x.clone()
        x[0, p] = patch.cut.activation(site)[p] - patch.clean[site].constant[p]
        x[0, p] += now.constant[0] + now.contributions[new].sum(dim=0)
        return x

    with torch.no_grad():
        edits = [(Site(0, "resid_post"), first), (site, patched)]
        expected = tiny_model.forward(tiny_model.ids(tokens), edits)[0, p]
    torch.testing.assert_close(found[0], expected, atol=2e-4, rtol=2e-4)


def test_what_cannot_be_removed_is_refused(
    tiny_model: LanguageModel, attribution: Attribution
) -> None:
    nodes = [*chain(attribution), parse_node("embed/token@0")]
    with pytest.raises(InputError, match="only features and errors"):
        logits_without(tiny_model, attribution.reading, {}, [nodes], [0])
    with pytest.raises(InputError, match="only features and errors"):
        estimate_without(attribution, nodes)
    with pytest.raises(InputError, match="no node to take out"):
        estimate_without(attribution, [])
