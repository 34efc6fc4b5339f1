"""Effects by method: each is what its own module says, and selections follow it."""

from dataclasses import replace

import pytest
import torch
from attributing import nothing, target_of

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import Reading, attribute, strongest
from scd_tui.attribution.integrated import integrated_effects
from scd_tui.attribution.methods import all_nodes, effects_by
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.sinks import Positions
from scd_tui.graph import Site, error_id, parse_node


def test_by_ablation_every_node_has_what_is_lost_without_it(
    tiny_model: LanguageModel, reading: Reading
) -> None:
    target = target_of(tiny_model, reading)
    told: list[tuple[int, int]] = []
    found = attribute(
        *(reading, target, strongest(3)),
        effects_of=effects_by(
            *("exact", tiny_model, reading, target),
            on_progress=lambda done, total: told.append((done, total)),
        ),
    )
    assert told[-1][0] == told[-1][1] and len(told) > 1
    site = Site(1, "mlp_out")
    nodes = all_nodes(reading, site)
    exact: dict = {}
    for batch in exact_effects(tiny_model, reading, target, nodes, batch=1):
        exact.update(batch)
    for node in nodes:
        assert found.effect(node.id) == pytest.approx(exact[node], abs=1e-4)
    best = max((n for n in nodes if n.kind == "feature"), key=lambda n: abs(exact[n]))
    assert found.selected[site][0] == best.id


def test_integrated_effects_stand_in_for_gradients_and_edges_do_not_change(
    tiny_model: LanguageModel, reading: Reading
) -> None:
    target = target_of(tiny_model, reading)
    expected = dict(integrated_effects(tiny_model, reading, target))
    found = attribute(
        *(reading, target, strongest(3)),
        effects_of=effects_by("integrated", tiny_model, reading, target),
    )
    plain = attribute(reading, target, nothing)
    differs = False
    for site in reading.sites:
        torch.testing.assert_close(found.effects[site].features, expected[site].features)
        differs |= not torch.allclose(found.effects[site].features, plain.effects[site].features)
    assert differs
    for node, into in found.edges.items():
        for place, scores in plain.upstream(node).items():
            torch.testing.assert_close(scores.features, into[place].features)


def test_the_first_position_can_be_left_out_of_selections(
    tiny_model: LanguageModel, reading: Reading
) -> None:
    target = target_of(tiny_model, reading)
    count = 10_000
    whole = attribute(reading, target, strongest(count))
    all_of_them = whole.selected
    counted = torch.arange(len(reading.cut.tokens)) >= 1
    fewer = replace(reading, positions=Positions((), counted, counted))
    without = attribute(fewer, target, strongest(count)).selected
    for site, nodes in all_of_them.items():
        features = [n for n in nodes if parse_node(n).kind == "feature"]
        later = [n for n in features if parse_node(n).position > 0]
        largest = 1 + int(whole.effects[site].errors[1:].abs().argmax())
        assert without[site] == (*later, error_id(site, largest))
    assert any(parse_node(n).position == 0 for nodes in all_of_them.values() for n in nodes)
