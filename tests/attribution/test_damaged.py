"""Models whose files are damaged: one sentence that names the file, and no room made for what they say."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import HOSTILE, unclean
from tiny import PROMPT, write_dictionaries, write_model

from scd_tui.attribution.foreign import is_foreign, said_by
from scd_tui.cli import main
from scd_tui.errors import RunError

DICTIONARY = "dictionaries/blocks.0.hook_mlp_out"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_model(folder / "model", layers=1)
    write_dictionaries(folder / "dictionaries", 1, 32)
    return folder


def setting(file: str, *keys: str | int, to: Any) -> Callable[[Path], None]:
    """A value in a JSON file is another one."""

    def damage(folder: Path) -> None:
        whole = json.loads((folder / file).read_text())
        value = whole
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = to
        (folder / file).write_text(json.dumps(whole))

    return damage


def instead(file: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else lies where a file was."""

    def damage(folder: Path) -> None:
        (folder / file).unlink()
        make(folder / file)

    return damage


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


DAMAGE = {
    "layers": setting("model/config.json", "n_layer", to=10**9),
    "width": setting("model/config.json", "n_embd", to=10**400),
    "vocabulary": setting("model/config.json", "vocab_size", to=10**19),
    "no width": setting("model/config.json", "n_embd", to=0),
    "a text for a number": setting("model/config.json", "n_head", to=HOSTILE[0]),
    "a huge epsilon": setting("model/config.json", "layer_norm_epsilon", to=10**400),
    "merges": setting("model/tokenizer.json", "model", "merges", 3, to=None),
    "vocabulary's ids": setting("model/tokenizer.json", "model", "vocab", "a", to=HOSTILE[2]),
    "added tokens": setting("model/tokenizer.json", "added_tokens", 0, to=7),
    "special tokens": setting("model/tokenizer_config.json", "bos_token", to={"a": 1}),
    "dictionary's kind of number": setting(f"{DICTIONARY}/cfg.json", "dtype", to=[]),
    "a terabyte": instead("model/tokenizer_config.json", sparse),
    "a pipe": instead("model/tokenizer.json", os.mkfifo),
    "a cut": instead("model/model.safetensors", lambda path: path.write_bytes(b"\x10" + b"\0" * 7)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_model_is_told_by_its_file(
    sound: Path,
    damage: Callable[[Path], None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(sound, folder)
    damage(folder)
    words = ["attribute", PROMPT, "--model", str(folder / "model"), "--no-gate", "--device", "cpu"]
    assert main([*words, "--dictionaries", str(folder / "dictionaries")]) in (1, 2)
    out, err = capfd.readouterr()
    said = [line for line in err.splitlines() if line.startswith("scd-tui attribute: ")]
    assert out == "" and len(said) == 1 and str(folder) in said[0]
    assert not unclean(said[0]) and "Error" not in said[0] and "SCD_TUI" not in said[0]


def test_what_is_foreign_is_told_by_kind() -> None:
    class Panic(BaseException):
        """As Rust's are."""

    assert is_foreign(Panic()) and is_foreign(ZeroDivisionError())
    for passed in (KeyboardInterrupt(), MemoryError(), RunError("x"), torch.OutOfMemoryError("x")):
        assert not is_foreign(passed)
    assert said_by(TypeError("TypeError: the field is a list.")) == "the field is a list"
    assert (
        said_by(ValueError("Validation failed:\n    a text is no number")) == "a text is no number"
    )
    assert said_by(KeyError("x")) == "no reason given"
