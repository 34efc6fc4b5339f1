"""Dictionaries whose weights stay in their files: the same numbers, in no memory of their own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attributing import strongest_at, target_of
from sae_lens import SAE
from saes import EVERY_KIND, SaeKind, random_sae
from tiny import KINDS

from scd_tui.attribution.attribute import attribute, read, strongest
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.model import LanguageModel
from scd_tui.graph import Site

PROMPT = "the cat sat on the mat. To be"


def sets(
    folder: Path, model: LanguageModel, kind: SaeKind
) -> tuple[dict[Site, Dictionary], dict[Site, Dictionary]]:
    """The same dictionaries, laid out for speed and left in place."""
    resident, streamed = {}, {}
    for n, site in enumerate(Site(layer, k) for layer in range(model.layers) for k in KINDS):
        path = folder / str(n)
        random_sae(model.width, 64, seed=n, kind=kind).save_model(path)
        resident[site] = Dictionary(site, SAE.load_from_disk(path, dtype="float32"))
        streamed[site] = Dictionary(site, SAE.load_from_disk(path, dtype="float32"), in_place=True)
    return resident, streamed


@pytest.mark.parametrize("kind", EVERY_KIND, ids=str)
def test_a_streamed_set_gives_the_same_circuit(
    tiny_model: LanguageModel, tmp_path: Path, kind: SaeKind
) -> None:
    tokens = tiny_model.prompt(PROMPT)
    found = []
    for dictionaries in sets(tmp_path, tiny_model, kind):
        reading = read(tiny_model, tokens, dictionaries)
        found.append(attribute(reading, target_of(tiny_model, reading), strongest(5)))
    resident, streamed = found
    assert resident.selected == streamed.selected
    for site, scores in resident.effects.items():
        torch.testing.assert_close(scores.features, streamed.effects[site].features)
        torch.testing.assert_close(
            scores.errors, streamed.effects[site].errors, atol=1e-5, rtol=1e-4
        )
    last = resident.reading.sites[-1]
    node = strongest_at(resident.effects[last], resident.reading.encoded[last], last)
    for place, weights in resident.upstream(node).items():
        torch.testing.assert_close(
            weights.features, streamed.upstream(node)[place].features, atol=1e-5, rtol=1e-4
        )


MEASURE = """
import sys, torch
from sae_lens import SAE
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.graph import Site

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

x = torch.randn(8, 256)
torch.randn(64, 256) @ torch.randn(256, 64)
before = anonymous()
held = []
for n in range(4):
    sae = SAE.load_from_disk(sys.argv[1], dtype="float32")
    held.append(Dictionary(Site(n, "mlp_out"), sae, in_place=sys.argv[2] == "stream"))
    held.append(held[-1].encode(x))
print((anonymous() - before) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_weights_that_stay_in_their_files_take_no_memory(tmp_path: Path) -> None:
    """Four dictionaries of 32 MB each: laid out for speed their encoders alone take 64 MB."""
    kind = SaeKind("topk", "layer_norm")
    random_sae(256, 16_384, seed=0, kind=kind).save_model(tmp_path / "sae")
    grown = {}
    for way in ("stream", "resident"):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path / "sae"), way],
            capture_output=True,
            text=True,
            check=True,
        )
        grown[way] = float(done.stdout)
    assert grown["resident"] > 60
    assert grown["stream"] < 30


def test_a_dictionary_elsewhere_is_sent_to_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The meta device stands in for a second one: nothing can be computed there but shapes."""
    sae = random_sae(32, 64, seed=1, kind=SaeKind("standard", "none"))
    here = Dictionary(Site(0, "mlp_out"), sae, in_place=True)
    assert here.on(torch.device("cpu")) is here
    there = here.on(torch.device("meta"))
    assert there.b_dec.device.type == "meta"
    assert there.activation.plain().w_enc.device.type == "meta"
    assert there.activation.plain().w_enc.shape == (32, 64)
    asked = []
    monkeypatch.setattr(Dictionary, "on", lambda self, device: asked.append(device) or here)
    x = torch.randn(3, 32)
    found, _ = there.reconstruct(x), there.encode(x)
    assert asked == [x.device, x.device]
    assert torch.equal(found[0].indices, here.encode(x).indices)
