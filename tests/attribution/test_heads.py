"""Edges through attention, split exactly by head, and attention held where it looks."""

import pytest
import torch
from attributing import nothing, strongest_at, target_of
from families import FAMILIES, HEADS, LAYERS, SITE_SETS, width_at, write_family
from saes import TOPK, random_sae
from tiny import PROMPT

from scd_tui.attribution.attribute import Attribution, attribute, read
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import Attention, LanguageModel
from scd_tui.graph import NodeId, Site, error_id, feature_id, parse_node

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("heads") / family
    return LanguageModel.boot(write_family(folder, family), torch.device("cpu"))


def attribution_of(
    model: LanguageModel, family: str, sites: tuple[Site, ...], *, freeze_patterns: bool = False
) -> Attribution:
    dictionaries = {
        site: Dictionary(site, random_sae(width_at(site, family), 40, seed=n, kind=TOPK))
        for n, site in enumerate(sites)
    }
    tokens = model.prompt(PROMPT)
    reading = read(model, tokens, dictionaries, freeze_patterns=freeze_patterns)
    return attribute(reading, target_of(model, reading), nothing)


def strongest(attribution: Attribution, site: Site) -> NodeId:
    return strongest_at(attribution.effects[site], attribution.reading.encoded[site], site)


@pytest.mark.parametrize("name", ["sublayers", "heads"])
def test_the_heads_parts_add_up_to_the_edges_into_attention(
    model: LanguageModel, family: str, name: str
) -> None:
    attribution = attribution_of(model, family, SITE_SETS[name])
    kind = "attn_out" if name == "sublayers" else "hook_z"
    for node in (strongest(attribution, Site(2, kind)), error_id(Site(1, kind), 4)):
        layer = int(node.partition(".")[2].partition("/")[0])
        whole, parts = attribution.upstream(node), attribution.upstream_by_head(node)
        assert set(parts) <= {(layer, head) for head in range(HEADS)}
        assert len(parts) == HEADS
        for place, scores in whole.items():
            for part in ("features", "errors", "leaves"):
                expected = getattr(scores, part)
                found = sum(
                    (getattr(edges[place], part) for edges in parts.values()),
                    torch.zeros_like(expected),
                )
                torch.testing.assert_close(found, expected, **CLOSE)


def test_into_a_stream_target_heads_carry_what_does_not_go_round_them(
    model: LanguageModel, family: str
) -> None:
    """Residual-only sets: edge = through the heads + with this layer's heads held still."""
    sites = SITE_SETS["residual only"]
    attribution = attribution_of(model, family, sites)
    target, source = Site(2, "resid_pre"), Site(1, "resid_pre")
    node = strongest(attribution, target)
    whole = attribution.upstream(node)[source]
    parts = attribution.upstream_by_head(node)
    assert {layer for layer, _ in parts} == {1}
    through = sum((edges[source].features for edges in parts.values()), 0 * whole.features)

    # the same vector-Jacobian product with what the heads read made a constant
    tokens = attribution.reading.cut.tokens
    copy = attribution.reading.cut.copies[source].detach().clone().requires_grad_()
    seen: list[torch.Tensor] = []
    with torch.enable_grad():
        model.forward(
            model.ids(tokens),
            [
                (source, lambda x: copy),
                (Attention(1, "z"), torch.Tensor.detach),
                (target, lambda x: (seen.append(x), x)[1]),
            ],
        )
        pull = attribution.pull(parse_node(node))
        (round_them,) = torch.autograd.grad(seen[0], copy, pull[None])
    rest = attribution.reading.encoded[source].along(round_them)[0]
    torch.testing.assert_close(through + rest, whole.features, **CLOSE)


def test_one_head_s_part_is_what_changes_when_only_that_head_reads_the_change(
    model: LanguageModel, family: str
) -> None:
    """By finite differences: every other head is given what it read in the clean run."""
    attribution = attribution_of(model, family, SITE_SETS["sublayers"])
    reading = attribution.reading
    source, target = Site(0, "resid_post"), Site(1, "attn_out")
    node = strongest(attribution, target)
    encoded, origin = reading.encoded[target], reading.encoded[source]
    row = int(attribution.effects[target].features.abs().argmax())
    q = int(encoded.positions[row])
    slope = float(encoded.s_out[q] * (encoded.decoder[row] @ attribution.gradients[target][q]))
    clean_z = reading.cut.heads[1].detach()
    for head, edges in attribution.upstream_by_head(node).items():
        weights = edges[source].features
        one = int(weights.abs().argmax())
        push = torch.zeros_like(reading.cut.activation(source))
        push[int(origin.positions[one])] = origin.contributions[one]

        def moved(size: float, head: int = head[1], push: torch.Tensor = push) -> float:
            seen: list[torch.Tensor] = []

            def only(z: torch.Tensor) -> torch.Tensor:
                mixed = clean_z.clone()
                mixed[:, :, head] = z[:, :, head]
                return mixed

            with torch.no_grad():
                model.forward(
                    model.ids(reading.cut.tokens),
                    [
                        (source, lambda x: x + size * push),
                        (Attention(1, "z"), only),
                        (target, lambda x: (seen.append(x[0, q]), x)[1]),
                    ],
                )
            return float(seen[0].double() @ encoded.encoder[row].double() / encoded.s_in[q])

        h = 0.02
        found = slope * (moved(h) - moved(-h)) / (2 * h)
        assert found == pytest.approx(float(weights[one]), rel=2e-2, abs=1e-3)


def test_held_patterns_leave_only_what_is_read(model: LanguageModel, family: str) -> None:
    """The numbers of the run are the same; the gradients are those of a model of constant patterns."""
    sites = SITE_SETS["sublayers"]
    free = attribution_of(model, family, sites)
    held = attribution_of(model, family, sites, freeze_patterns=True)
    assert torch.equal(free.reading.cut.logits, held.reading.cut.logits)
    tokens = held.reading.cut.tokens
    patterns: dict[int, torch.Tensor] = {}

    def take(layer: int, pattern: torch.Tensor) -> torch.Tensor:
        patterns[layer] = pattern.detach().clone()
        return pattern

    model.forward(
        model.ids(tokens),
        [
            (Attention(layer, "pattern"), lambda x, layer=layer: take(layer, x))
            for layer in range(LAYERS)
        ],
    )
    start = held.reading.cut.copies["token"].detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = model.forward(
            model.ids(tokens),
            [
                ("token", lambda x: start),
                *(
                    (Attention(layer, "pattern"), lambda x, layer=layer: patterns[layer])
                    for layer in range(LAYERS)
                ),
            ],
        )[0, -1]
        (expected,) = torch.autograd.grad(logits[7] - logits[11], start)
    torch.testing.assert_close(held.gradients["token"], expected[0], **CLOSE)
    assert not torch.allclose(free.gradients["token"], expected[0], **CLOSE)


@pytest.mark.parametrize("name", ["sublayers", "heads", "residual only"])
def test_edges_out_of_a_node_are_those_into_the_others_read_the_other_way_round(
    model: LanguageModel, family: str, name: str
) -> None:
    attribution = attribution_of(model, family, SITE_SETS[name])
    reading = attribution.reading
    source = parse_node(strongest(attribution, reading.sites[0]))
    out = attribution.downstream(source)
    assert out, "the first site leads somewhere"
    for site in reading.sites[1:]:
        encoded = reading.encoded[site]
        for row in range(0, len(encoded.pairs), max(1, len(encoded.pairs) // 5)):
            position, index = encoded.pairs[row]
            into = attribution.upstream(feature_id(site, index, position)).get(reading.sites[0])
            assert (into is None) == (site not in out)
            if into is not None:
                expected = into.features[reading.row(source)]
                torch.testing.assert_close(out[site][row], expected, **CLOSE)
