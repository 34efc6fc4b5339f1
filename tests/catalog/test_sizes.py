import json
from pathlib import Path

import pytest
import torch
from tiny import write_dictionaries, write_model
from transformers import AutoModelForCausalLM

from scd_tui.catalog.models import find, from_folders
from scd_tui.catalog.plan import TOKENS
from scd_tui.catalog.sizes import (
    dictionary_bytes,
    needs_of,
    parameters_in,
    shape_in,
    stored_dtypes,
)
from scd_tui.catalog.spec import HubDictionary
from scd_tui.errors import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("sizes") / "model")


def test_parameters_are_counted_in_the_headers_of_files_as_torch_counts_them(model: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(model)
    assert parameters_in(model) == sum(p.numel() for p in loaded.parameters())
    assert stored_dtypes(model) == {"F32"}


def test_the_bundled_model_s_shape_is_read_from_its_files() -> None:
    folder = find("demo").model
    assert isinstance(folder, Path)
    shape = shape_in(folder)
    assert shape is not None
    assert (shape.layers, shape.width, shape.heads, shape.head_width) == (4, 128, 4, 32)


def test_local_dictionaries_are_as_large_as_their_files(model: Path, tmp_path: Path) -> None:
    spec = from_folders("x", model, write_dictionaries(tmp_path / "d", 3, 32))
    need = needs_of(spec)
    assert need is not None and need.tokens == TOKENS
    files = sum(p.stat().st_size for p in (tmp_path / "d").rglob("*.safetensors"))
    # a plan counts bounds besides, of which the files have none
    assert files < need.dictionaries < 1.2 * files
    assert need.mapped == need.dictionaries and need.model_mapped == need.model


def test_what_is_stored_in_another_precision_cannot_stay_in_its_file(
    model: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float16)
    loaded.save_pretrained(half)
    dictionaries = write_dictionaries(tmp_path / "d", 3, 32)
    for path in dictionaries.glob("*/cfg.json"):
        config = json.loads(path.read_text()) | {"dtype": "torch.bfloat16"}
        path.write_text(json.dumps(config))
    need, as_float = (
        needs_of(from_folders("x", half, dictionaries)),
        needs_of(from_folders("x", model, dictionaries)),
    )
    assert need is not None and (need.model_mapped, need.mapped) == (0, 0)
    assert as_float is not None and as_float.model_mapped == as_float.model > 0
    # what is computed with is float32 whatever is stored
    assert need.model == 4 * (parameters_in(half) or 0)


def test_built_in_sets_are_known_before_they_are_downloaded() -> None:
    v5 = needs_of(find("gpt2-small"))
    assert v5 is not None and v5.mapped == v5.dictionaries
    gemma = needs_of(find("gemma-2-2b"))
    assert gemma is not None and gemma.mapped == 0 and gemma.copied == gemma.dictionaries
    folded = needs_of(find("gpt2-small:mlp-tm"))
    assert folded is not None and folded.mapped == 0
    assert needs_of(find("qwen3-8b-base")) is None


def test_file_sizes_are_those_that_the_hub_shows() -> None:
    """201 MB and 806 MB for a dictionary of OpenAI's, 537 MB for one of Llama Scope's."""

    def one(reference: str) -> float:
        spec = find(reference)
        first = next(iter(spec.dictionaries.values()))
        assert isinstance(first, HubDictionary)
        return (dictionary_bytes([first]) or 0) / 1e6

    assert one("gpt2-small:v5-32k") == pytest.approx(201, abs=1)
    assert one("gpt2-small:v5-128k") == pytest.approx(806, abs=1)
    assert one("llama-3.1-8b:llamascope-8x") == pytest.approx(537, abs=1)
    assert one("pythia-70m-deduped:sm") == pytest.approx(134, abs=1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (5).to_bytes(8, "little") + b"[1,2]",
        (9).to_bytes(8, "little") + b'{"a": {}}',
        (30).to_bytes(8, "little") + b'{"a": {"shape": [-1], "dtype"',
    ],
)
def test_a_file_that_is_not_safetensors_is_said_to_be_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="is no safetensors file") as caught:
        parameters_in(tmp_path)
    assert "\n" not in str(caught.value)
