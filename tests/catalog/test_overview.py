from pathlib import Path

import pytest
from huggingface_hub import constants
from tiny import write_dictionaries, write_model

from scd_tui.catalog import models
from scd_tui.catalog.overview import overview
from scd_tui.catalog.plan import Machine
from scd_tui.errors import InputError

MACHINE = Machine(16 * 10**9)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def keep(cache: Path, repo: str, names: list[str]) -> None:
    """Files in the layout of huggingface_hub's cache."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("c0ffee")
    for name in names:
        path = folder / "snapshots" / "c0ffee" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10)


def test_every_set_is_there_with_what_it_takes(cache: Path) -> None:
    found = {one.reference: one for one in overview(MACHINE)}
    demo = found["demo:topk"]
    assert (demo.state, demo.runs, demo.fits) == ("bundled", "resident on cpu", True)
    assert demo.size is not None and 8e6 < demo.size < 10e6
    v5 = found["gpt2-small:v5-32k"]
    assert (v5.state, v5.fits, v5.labels) == ("absent", True, True)
    assert v5.sites == {"attn_out": 12, "mlp_out": 12, "resid_post": 12}
    assert v5.repositories[0] == "gpt2" and len(v5.repositories) == 4
    gemma = found["gemma-2-2b:gemmascope-16k"]
    assert (gemma.fits, gemma.runs, gemma.gated) == (False, "does not fit", True)
    assert "in main memory, where 16.0 GB are free" in gemma.why
    qwen = found["qwen3-8b-base:qwenscope-w64k-l50"]
    assert (qwen.fits, qwen.memory, qwen.size) == (None, None, None)


def test_what_is_downloaded_is_seen_without_a_network(cache: Path) -> None:
    def state() -> tuple[str, int | None]:
        (one,) = (
            c for c in overview(MACHINE, model="gpt2-small") if c.reference.endswith("hook-z-kk")
        )
        return one.state, one.size

    assert state()[0] == "absent"
    spec = models.find("gpt2-small:hook-z-kk")
    keep(cache, "gpt2", ["config.json", "tokenizer.json"])
    assert state()[0] == "partly"
    weights = [d.path for d in spec.dictionaries.values()]  # type: ignore[union-attr]
    keep(cache, "ckkissane/attn-saes-gpt2-small-all-layers", weights)
    configs = [path.split(".pt")[0] + "_cfg.json" for path in weights]
    keep(cache, "ckkissane/attn-saes-gpt2-small-all-layers", configs)
    assert state()[0] == "partly"
    header = b'{"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}'
    keep(cache, "gpt2", ["model.safetensors"])
    snapshot = cache / "models--gpt2" / "snapshots" / "c0ffee"
    file = len(header).to_bytes(8, "little") + header + b"\0" * 16
    (snapshot / "model.safetensors").write_bytes(file)
    assert state() == ("downloaded", 10 * (2 + 12 + 12) + len(file))


def test_a_file_of_the_user_s_that_is_broken_is_listed_with_the_reason(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(models, "user_dir", lambda: own)
    (own / "bad.toml").write_text("[model]\nfolder = 'nowhere'\n[[set]]\nname='a'\nfolder='x'\n")
    model, sets = write_model(tmp_path / "m"), write_dictionaries(tmp_path / "d", 3, 32)
    (own / "good.toml").write_text(
        f"[model]\nfolder = {str(model)!r}\n[[set]]\nname='a'\nfolder={str(sets)!r}\n"
    )
    found = {one.reference: one for one in overview(MACHINE)}
    assert found["bad:a"].state == "broken" and "is not a model" in found["bad:a"].why
    assert found["good:a"].state == "local" and found["good:a"].fits
    # weights that are damaged are said to be, and the others are still listed
    next(model.glob("*.safetensors")).write_bytes(b"\0")
    (damaged,) = overview(MACHINE, model="good")
    assert damaged.state == "broken" and "is no safetensors file" in damaged.why


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="no model 'gemma-2-b': use gemma-2-"):
        overview(MACHINE, model="gemma-2-b")
