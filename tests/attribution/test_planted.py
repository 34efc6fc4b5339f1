"""Invariant (f): a circuit set into a model by hand is found, exactly, and nothing besides.

Eight orthonormal directions of mean zero, one feature each. At positions 0 to 3 stand filler, key,
filler, query. The layer norms have an epsilon of 1e12 and a weight of 1e6, which makes them the
identity on such vectors to 1e-10, so that all of this is arithmetic on paper:

    embeddings  key token: 3 KEY; filler: 1 FILL; query: 2 DISTRACT; positions 2, 3: 1 AT2, 1 AT3
    attention 0 position 2 looks at the key (saturated), others evenly at all before them;
                it reads KEY and writes twice that as MOVED: 6 at position 2
    MLP 0       reads MOVED and writes half of it as LINK: 3 at position 2
    attention 1 position 3 looks at AT2, i.e. position 2; it reads 4 LINK + 0.5 MOVED and
                writes it as ANSWER: 12 + 3 = 15 at position 3
    MLP 1       reads ANSWER and writes half of it again: 7.5
    unembedding the target token reads 1 ANSWER, the contrast 0.5 DISTRACT: 22.5 - 1

GELU is the identity where it is used (above 10) and 0 at 0, so ablations are exact as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from pathlib import Path

import pytest
import torch
from sae_lens import SAE
from saes import RELU, TOPK, random_sae
from tiny import KINDS, write_tokenizer
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import GPT2Config, GPT2LMHeadModel

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import Attribution, attribute, read, strongest
from scd_tui.attribution.circuit import circuit_graph
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.bench.reference import Reference
from scd_tui.graph import Settings, Site, parse_node


class Direction(IntEnum):
    """A direction of the residual stream, and the index of its feature in every dictionary."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count

    KEY = auto()
    FILL = auto()
    DISTRACT = auto()
    MOVED = auto()
    LINK = auto()
    ANSWER = auto()
    AT2 = auto()
    AT3 = auto()


KEY, FILL, DISTRACT, MOVED, LINK, ANSWER, AT2, AT3 = Direction
WIDTH = 2 * len(Direction)
KEY_TOKEN, FILLER, QUERY, TARGET, CONTRAST = range(5)
PROMPT = (FILLER, KEY_TOKEN, FILLER, QUERY)
SATURATING = 200.0
CLOSE = 1e-8

ROOT = f"diff/{TARGET}-{CONTRAST}@3"
EFFECTS = {
    f"resid_post.1/{ANSWER:d}@3": 22.5,
    f"resid_post.1/{DISTRACT:d}@3": -1.0,
    f"mlp_out.1/{ANSWER:d}@3": 7.5,
    f"attn_out.1/{ANSWER:d}@3": 15 * 1.5,
    f"resid_post.0/{LINK:d}@2": 3 * 4 * 1.5,
    f"resid_post.0/{MOVED:d}@2": 6 * 0.5 * 1.5,
    f"resid_post.0/{DISTRACT:d}@3": -1.0,
    f"mlp_out.0/{LINK:d}@2": 3 * 4 * 1.5,
    f"attn_out.0/{MOVED:d}@2": 6 * (0.5 * 4 + 0.5) * 1.5,
    "embed/token@1": 3 * 2 * (0.5 * 4 + 0.5) * 1.5,
    "embed/token@3": -1.0,
}
EDGES = {
    (f"resid_post.1/{ANSWER:d}@3", ROOT): 22.5,
    (f"resid_post.1/{DISTRACT:d}@3", ROOT): -1.0,
    (f"mlp_out.1/{ANSWER:d}@3", f"resid_post.1/{ANSWER:d}@3"): 7.5,
    (f"attn_out.1/{ANSWER:d}@3", f"resid_post.1/{ANSWER:d}@3"): 15.0,
    (f"attn_out.1/{ANSWER:d}@3", f"mlp_out.1/{ANSWER:d}@3"): 7.5,
    (f"resid_post.0/{DISTRACT:d}@3", f"resid_post.1/{DISTRACT:d}@3"): -1.0,
    # From position 2 to position 3:
    (f"resid_post.0/{LINK:d}@2", f"attn_out.1/{ANSWER:d}@3"): 12 * 1.5,
    (f"resid_post.0/{MOVED:d}@2", f"attn_out.1/{ANSWER:d}@3"): 3 * 1.5,
    (f"mlp_out.0/{LINK:d}@2", f"resid_post.0/{LINK:d}@2"): 12 * 1.5,
    (f"attn_out.0/{MOVED:d}@2", f"resid_post.0/{MOVED:d}@2"): 3 * 1.5,
    (f"attn_out.0/{MOVED:d}@2", f"mlp_out.0/{LINK:d}@2"): 12 * 1.5,
    ("embed/token@3", f"resid_post.0/{DISTRACT:d}@3"): -1.0,
    # From position 1 to position 2:
    ("embed/token@1", f"attn_out.0/{MOVED:d}@2"): 22.5,
}


def directions() -> Tensor:
    """`[8, 16]`: row i is (e_2i - e_2i+1) / √2."""
    rows = torch.zeros(len(Direction), WIDTH, dtype=torch.float64)
    for i in range(len(Direction)):
        rows[i, 2 * i], rows[i, 2 * i + 1] = 0.5**0.5, -(0.5**0.5)
    return rows


@torch.no_grad()
def write_planted_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    u = directions()
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=write_tokenizer(folder),
            n_positions=8,
            n_embd=WIDTH,
            n_layer=2,
            n_head=2,
            layer_norm_epsilon=1e12,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).double()
    for name, parameter in model.named_parameters():
        parameter.fill_(1e6 if ".ln_" in name and name.endswith("weight") else 0.0)
    words, places = model.transformer.wte.weight, model.transformer.wpe.weight
    words[KEY_TOKEN], words[FILLER], words[QUERY] = 3 * u[KEY], u[FILL], 2 * u[DISTRACT]
    words[TARGET], words[CONTRAST] = u[ANSWER], 0.5 * u[DISTRACT]
    places[2], places[3] = u[AT2], u[AT3]

    def attend(layer: int, seeks: Tensor, offers: Tensor, reads: Tensor, writes: Tensor) -> None:
        attention = model.transformer.h[layer].attn
        for block, column in enumerate((SATURATING * seeks, offers, reads)):
            attention.c_attn.weight[:, block * WIDTH] = column
        attention.c_proj.weight[0] = writes

    def transform(layer: int, reads: Tensor, writes: Tensor) -> None:
        mlp = model.transformer.h[layer].mlp
        mlp.c_fc.weight[:, 0], mlp.c_proj.weight[0] = 10 * reads, writes / 10

    attend(0, seeks=u[AT2], offers=u[KEY], reads=u[KEY], writes=2 * u[MOVED])
    transform(0, reads=u[MOVED], writes=0.5 * u[LINK])
    attend(1, seeks=u[AT3], offers=u[AT2], reads=4 * u[LINK] + 0.5 * u[MOVED], writes=u[ANSWER])
    transform(1, reads=u[ANSWER], writes=0.5 * u[ANSWER])
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def hand_built_sae(*, without: Direction | None = None, normalised: bool = False) -> SAE:
    """Feature i is direction i: W_dec's rows, and W_enc's columns, are the directions themselves."""
    sae = random_sae(WIDTH, len(Direction), seed=0, kind=TOPK if normalised else RELU).to(
        torch.float64
    )
    for parameter in sae.parameters():
        parameter.zero_()
    sae.W_dec.copy_(directions())
    if without is not None:
        sae.W_dec[without] = 0
    sae.W_enc.copy_(sae.W_dec.T)
    return sae


@dataclass(frozen=True)
class Planted:
    model: LanguageModel
    bridge: TransformerBridge

    def attribution(self, saes: Mapping[Site, SAE]) -> Attribution:
        tokens = tuple(self.model.token(i) for i in PROMPT)
        reading = read(self.model, tokens, {s: Dictionary(s, sae) for s, sae in saes.items()})
        target = resolve_target(
            self.model, tokens, reading.cut.logits.detach(), target=TARGET, contrast=CONTRAST
        )
        return attribute(reading, target, strongest(100))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = write_planted_model(tmp_path_factory.mktemp("planted"))
    bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float64)
    return Planted(LanguageModel(bridge), bridge)


def saes_everywhere(*, normalised: bool = False) -> dict[Site, SAE]:
    sites = [Site(layer, kind) for layer in range(2) for kind in KINDS]
    return {site: hand_built_sae(normalised=normalised) for site in sites}


@pytest.fixture(scope="module")
def attribution(planted: Planted) -> Attribution:
    return planted.attribution(saes_everywhere())


def all_effects(attribution: Attribution, above: float = CLOSE) -> dict[str, float]:
    """Every node of every place whose |effect| exceeds `above`."""
    reading, found = attribution.reading, dict[str, float]()
    for place, scores in attribution.effects.items():
        for p in range(len(PROMPT)):
            if isinstance(place, Site):
                found[f"{place}/error@{p}"] = float(scores.errors[p])
            else:
                found[f"embed/{place}@{p}"] = float(scores.leaves[p])
        if isinstance(place, Site):
            encoded = reading.encoded[place]
            for row, effect in enumerate(scores.features.tolist()):
                name = f"{place}/{int(encoded.indices[row])}@{int(encoded.positions[row])}"
                found[name] = effect
    return {name: effect for name, effect in found.items() if abs(effect) > above}


def all_edges(attribution: Attribution, above: float = CLOSE) -> dict[tuple[str, str], float]:
    """Every edge, of the circuit as it is shown, whose |weight| exceeds `above`."""
    edges = circuit_graph(attribution, Settings(top=100, edges=100)).edges
    return {(e.source, e.target): e.weight for e in edges if abs(e.weight) > above}


def test_the_model_computes_what_is_on_paper(attribution: Attribution) -> None:
    assert attribution.target.root == ROOT
    assert attribution.value == pytest.approx(22.5 - 1, abs=CLOSE)
    u = directions()
    expected = {
        Site(0, "attn_out"): 6 * u[MOVED],
        Site(0, "mlp_out"): 3 * u[LINK],
        Site(0, "resid_post"): u[FILL] + u[AT2] + 6 * u[MOVED] + 3 * u[LINK],
    }
    for site, vector in expected.items():
        torch.testing.assert_close(
            attribution.reading.cut.activation(site)[2], vector, atol=CLOSE, rtol=0
        )


def test_exactly_the_planted_nodes_have_effects_and_the_known_ones(
    attribution: Attribution,
) -> None:
    active = sum(len(encoded.values) for encoded in attribution.reading.encoded.values())
    assert active > 3 * len(EFFECTS)  # there was something to be misled by
    assert all_effects(attribution) == pytest.approx(EFFECTS, abs=CLOSE)


def test_exactly_the_planted_edges_are_found_with_the_positions_they_cross(
    attribution: Attribution,
) -> None:
    assert all_edges(attribution) == pytest.approx(EDGES, abs=CLOSE)


def test_ablation_measures_the_planted_effects(planted: Planted, attribution: Attribution) -> None:
    nodes = [parse_node(name) for name in EFFECTS if not name.startswith("embed")]
    measured: dict[str, float] = {}
    for batch in exact_effects(planted.model, attribution.reading, attribution.target, nodes):
        measured.update({str(node): effect for node, effect in batch.items()})
    expected = {str(node): EFFECTS[str(node)] for node in nodes}
    assert measured == pytest.approx(expected, abs=CLOSE)


def test_a_feature_missing_from_a_dictionary_passes_its_part_to_the_error_node(
    planted: Planted,
) -> None:
    saes = saes_everywhere()
    saes[Site(0, "resid_post")] = hand_built_sae(without=LINK)
    found = planted.attribution(saes)
    link, error = f"resid_post.0/{LINK:d}@2", "resid_post.0/error@2"
    effects = {error if name == link else name: effect for name, effect in EFFECTS.items()}
    edges = {
        (error if source == link else source, error if target == link else target): weight
        for (source, target), weight in EDGES.items()
    }
    assert all_effects(found) == pytest.approx(effects, abs=CLOSE)
    assert all_edges(found) == pytest.approx(edges, abs=CLOSE)


def test_dictionaries_that_normalise_find_the_same_circuit(planted: Planted) -> None:
    """TopK on layer-normed input: the 1e-5 that is added going in leaves a trace in the errors."""
    found = planted.attribution(saes_everywhere(normalised=True))
    trace = 1e-3
    assert all_effects(found, above=trace) == pytest.approx(EFFECTS, abs=trace)
    assert all_edges(found, above=trace) == pytest.approx(EDGES, abs=trace)
    assert 1e-6 < abs(all_effects(found, above=0)["resid_post.1/error@3"]) < trace


def test_what_steers_a_saturated_attention_has_no_gradient_effect_and_a_large_exact_one(
    planted: Planted, attribution: Attribution
) -> None:
    """Without AT3 position 3 looks evenly at positions that offer 0, 7.5, 15 and 3.75."""
    node = parse_node(f"resid_post.0/{AT3:d}@3")
    assert attribution.effect(node.id) == pytest.approx(0, abs=CLOSE)
    (measured,) = exact_effects(planted.model, attribution.reading, attribution.target, [node])
    assert measured[node] == pytest.approx(1.5 * (15 - (0 + 7.5 + 15 + 3.75) / 4), abs=CLOSE)


def test_the_slow_reference_finds_the_planted_circuit_too(planted: Planted) -> None:
    reference = Reference(planted.bridge, dict(saes_everywhere()), PROMPT)
    found: dict[tuple[str, str], float] = {}
    for target in {target for _, target in EDGES}:
        into = reference.edges_into(target, ROOT)
        for site, weights in into.features.items():
            for p, i in weights.nonzero().tolist():
                found[f"{site}/{i}@{p}", target] = float(weights[p, i])
        for name, leaves in into.embeddings.items():
            for p, weight in enumerate(leaves.tolist()):
                found[f"embed/{name}@{p}", target] = weight
    strong = {edge: weight for edge, weight in found.items() if abs(weight) > CLOSE}
    assert strong == pytest.approx(EDGES, abs=CLOSE)
