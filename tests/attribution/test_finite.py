"""NaN and infinity are named by where they are, and nothing is made of them."""

from pathlib import Path

import msgspec
import pytest
import torch
from circuits import ROOT, circuit_of
from saes import RELU, random_sae
from tiny import PROMPT, write_model
from transformers import GPT2LMHeadModel

from scd_tui.attribution import ablation
from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import Reading, read
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.explain import explain
from scd_tui.attribution.finite import require_finite
from scd_tui.attribution.load import LoadedModel, load
from scd_tui.attribution.model import LanguageModel
from scd_tui.catalog.models import from_folders
from scd_tui.cli import main
from scd_tui.errors import RunError
from scd_tui.graph import Edge, Node, NodeRef, Site, decode_circuit, encode_circuit, feature_id

CPU = torch.device("cpu")
SITE = Site(1, "mlp_out")


def write_spoiled(folder: Path, name: str, value: float, row: int = 0) -> Path:
    """A model with one number of one weight replaced."""
    write_model(folder)
    model = GPT2LMHeadModel.from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[row] = value
    model.save_pretrained(folder)
    return folder


def sets(folder: Path) -> Path:
    random_sae(32, 64, seed=0, kind=RELU, hook="blocks.1.hook_mlp_out").save_model(folder / "one")
    return folder


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "name", ["transformer.wte.weight", "transformer.h.1.mlp.c_fc.bias", "transformer.ln_f.weight"]
)
def test_a_weight_that_is_not_finite_is_named_at_load(
    tmp_path: Path, name: str, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_spoiled(tmp_path / "model", name, value)
    with pytest.raises(RunError, match=r"damaged: .*NaN or infinity"):
        load(from_folders("spoiled", folder, sets(tmp_path / "sets")), CPU)


def test_the_command_line_writes_nothing_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_spoiled(tmp_path / "model", "transformer.h.2.attn.c_proj.weight", float("nan"))
    out = tmp_path / "circuit.json"
    code = main(
        [
            *("attribute", PROMPT, "--target", "a", "--contrast", "b", "--out", str(out)),
            *("--model", str(folder), "--dictionaries", str(sets(tmp_path / "sets"))),
            *("--device", "cpu"),
        ]
    )
    said = capsys.readouterr()
    assert code == 1 and not out.exists() and said.out == ""
    assert said.err.count("\n") == 1 and "h.2.attn" in said.err


def overflowing(folder: Path) -> LanguageModel:
    """A model of finite weights in which the stream of layer 1 overflows."""
    return LanguageModel.boot(write_spoiled(folder, "transformer.h.1.mlp.c_proj.bias", 3e38), CPU)


def test_an_activation_that_overflows_is_named_by_site_and_position(tmp_path: Path) -> None:
    model = overflowing(tmp_path)
    with torch.no_grad():
        model.bridge.blocks[1].mlp.original_component.c_proj.weight[:, 0] = 3e38
    site = Site(1, "resid_post")
    dictionary = Dictionary(site, random_sae(32, 64, seed=0, kind=RELU))
    with pytest.raises(RunError, match=r"activation at resid_post\.1, position 0 'the'"):
        read(model, model.prompt(PROMPT), {site: dictionary})


def test_it_is_named_where_no_dictionary_is_too(tmp_path: Path) -> None:
    """The only dictionary is before the layer that overflows: another pass finds the layer."""
    model = overflowing(tmp_path)
    with torch.no_grad():
        model.bridge.blocks[1].mlp.original_component.c_proj.weight[:, 0] = 3e38
    tokens, site = model.prompt(PROMPT), Site(0, "attn_out")
    dictionary = Dictionary(site, random_sae(32, 64, seed=0, kind=RELU))
    named = r"the activation at mlp_out\.1, position 0 'the', is NaN or infinite"
    with pytest.raises(RunError, match=named):
        read(model, tokens, {site: dictionary})
    with pytest.raises(RunError, match=named):
        model.next_token_logits(tokens)


@pytest.mark.parametrize("name", ["W_enc", "W_dec", "b_dec"])
def test_a_dictionary_that_is_not_finite_is_named_where_it_is_read(
    tiny_model: LanguageModel, name: str
) -> None:
    """A published one stays in its file: its weights are looked at where a prompt needs them."""
    sae = random_sae(32, 64, seed=0, kind=RELU)
    with torch.no_grad():
        sae.get_parameter(name).view(-1)[::7] = float("nan")
    spoiled = Dictionary(SITE, sae)
    with pytest.raises(
        RunError, match=r"dictionary's error at mlp_out\.1, position 0 'the', is NaN"
    ):
        read(tiny_model, tiny_model.prompt(PROMPT), {SITE: spoiled})


def test_a_contrast_prompt_that_overflows_is_named_by_its_own_token(
    tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tiny_model.prompt(PROMPT)
    other = (*tokens[:-1], tiny_model.token(tokens[-1].id + 1))
    plain = LanguageModel.forward

    def forward(self: LanguageModel, ids: torch.Tensor, *given: object) -> torch.Tensor:
        logits = plain(self, ids, *given)
        return logits if ids[0, -1] == tokens[-1].id else logits * float("nan")

    monkeypatch.setattr(LanguageModel, "forward", forward)
    dictionary = Dictionary(SITE, random_sae(32, 64, seed=0, kind=RELU))
    read(tiny_model, tokens, {SITE: dictionary})
    with pytest.raises(RunError, match="the logits are NaN or infinite"):
        read(tiny_model, tokens, {SITE: dictionary}, contrast=other)


def test_the_first_place_and_position_are_named(reading: Reading) -> None:
    good, bad = torch.zeros(3, 4), torch.zeros(3, 4)
    bad[2, 1] = float("inf")
    tokens = reading.cut.tokens
    require_finite({SITE: good, "token": good}, "activation", tokens)
    with pytest.raises(RunError, match=r"gradient at mlp_out\.1, position 2 ' sat'"):
        require_finite({"token": good, SITE: bad, "pos": bad}, "gradient", tokens)
    with pytest.raises(RunError, match="token embedding"):
        require_finite({"token": bad}, "activation", tokens)


def test_completions_of_logits_that_are_not_finite_are_refused(tiny_model: LanguageModel) -> None:
    tokens = tiny_model.prompt(PROMPT)

    class Spoiled(LanguageModel):
        def forward(self, *given: object, **named: object) -> torch.Tensor:  # type: ignore[override]
            return super().forward(*given, **named) * float("nan")  # type: ignore[arg-type]

    with pytest.raises(RunError, match="logits are NaN"):
        Spoiled(tiny_model.bridge).next_token_logits(tokens)


def test_a_gradient_that_is_not_finite_ends_the_attribution(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(self: object, metric: torch.Tensor) -> dict[object, torch.Tensor]:
        found = plain(self, metric)
        return {place: product * float("nan") for place, product in found.items()}

    from scd_tui.attribution.cut import Cut

    plain = Cut.pull_back_root
    monkeypatch.setattr(Cut, "pull_back_root", spoiled)
    with pytest.raises(RunError, match="gradient at"):
        explain(tiny_loaded, PROMPT, target=7, contrast=11)


def test_an_ablation_whose_answer_is_not_finite_is_no_effect(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    attribution = explain(tiny_loaded, PROMPT, target=7, contrast=11).attribution
    whole = ablation.ablated_logits
    monkeypatch.setattr(
        ablation, "ablated_logits", lambda *given: whole(*given) / torch.tensor(0.0)
    )
    nodes = [NodeRef("error", 2, attribution.reading.sites[0])]
    with pytest.raises(RunError, match="NaN or infinite without"):
        next(exact_effects(tiny_loaded.model, attribution.reading, attribution.target, nodes))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_circuit_with_such_a_number_is_not_written(value: float) -> None:
    node = feature_id(SITE, 5, 3)
    root = Node(ROOT, 0.25, 0.0)
    with pytest.raises(ValueError, match=r"mlp_out\.1/5@3 is NaN"):
        encode_circuit(circuit_of(root, Node(node, value, 1.0), edges=()))
    with pytest.raises(ValueError, match="the edge from"):
        edges = (Edge(node, ROOT, value),)
        encode_circuit(circuit_of(root, Node(node, 1.0, 1.0), edges=edges))


@pytest.mark.parametrize("word", [b"null", b"NaN", b"Infinity", b"-Infinity"])
def test_a_file_that_holds_one_says_so(word: bytes) -> None:
    """As msgspec wrote it in files of earlier versions, and as Python's own json does."""
    root = Node(ROOT, 0.25, 0.0)
    circuit = circuit_of(root, Node(feature_id(SITE, 5, 3), float("nan"), 1.0), edges=())
    data = msgspec.json.encode(circuit)
    assert data.count(b'"effect":null') == 1
    with pytest.raises(ValueError, match=r"no number .*effect.*: it was NaN or infinite"):
        decode_circuit(data.replace(b'"effect":null', b'"effect": ' + word))


def test_a_file_that_is_damaged_in_another_way_says_something_else() -> None:
    data = encode_circuit(circuit_of(Node(ROOT, 0.25, 0.0), edges=()))
    for old, new in (
        (b'"prompt": "', b'"prompt": nan"'),
        (b'"prompt": "', b'"prompt": null, "x": "'),
    ):
        assert old in data
        with pytest.raises(ValueError, match="not a circuit file") as refused:
            decode_circuit(data.replace(old, new, 1))
        assert "infinite" not in str(refused.value)
