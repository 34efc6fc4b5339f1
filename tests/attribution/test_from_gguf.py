"""A GGUF file becomes a Hugging Face directory with the same weights, logits and tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf_files import tiny_llama, tokenizer_before, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from scd_tui.attribution.from_gguf import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("gguf")
    expected = write_gguf(folder / "model.gguf", tiny_llama())
    (folder / "made").mkdir()
    assert main([str(folder / "model.gguf"), str(folder / "made")]) == 0
    return folder / "made", expected


def test_the_weights_and_the_logits_are_those_that_went_in(
    made: tuple[Path, dict[str, np.ndarray]],
) -> None:
    folder, expected = made
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32 and type(model).__name__ == "LlamaForCausalLM"
    found = dict(model.named_parameters())
    assert set(found) == set(expected)
    for name, weights in expected.items():
        assert np.array_equal(found[name].detach().numpy(), weights), name
    before = tiny_llama()
    with torch.no_grad():
        for name, parameter in before.named_parameters():
            parameter.copy_(torch.from_numpy(expected[name]))
        ids = torch.tensor([[5, 60, 7, 200, 31]])
        torch.testing.assert_close(model(ids).logits, before(ids).logits)


def test_the_pre_tokenizer_that_splits_digits_is_put_back(
    made: tuple[Path, dict[str, np.ndarray]],
) -> None:
    text, before = "In 2024 a cat at 20, 24.", tokenizer_before()
    after = AutoTokenizer.from_pretrained(made[0])
    assert after(text)["input_ids"] == before.encode(text).ids
    assert "2024" not in after.tokenize(text) and after.decode(after(text)["input_ids"]) == text
    assert (after.bos_token_id, after.eos_token_id) == (1, 2)


def test_what_cannot_be_converted_gets_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gguf(tmp_path / "other.gguf", tiny_llama(), pre="llama-bpe")
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + bytes(40))
    for name, said in (
        ("other.gguf", "the pre-tokenizer 'llama-bpe', and only smollm, gpt-2 are known"),
        ("damaged.gguf", "the GGUF file is damaged"),
        ("absent.gguf", "the GGUF file is damaged"),
    ):
        assert main([str(tmp_path / name), str(tmp_path)]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "config.json").exists()
