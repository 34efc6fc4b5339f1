import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scd_tui.catalog.models import data_dir
from scd_tui.catalog.plan import Gpu, Machine
from scd_tui.cli import main


def test_the_table_has_a_row_a_set_and_says_what_is_free(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("This machine: ") and "main memory free" in lines[0]
    rows = {line.split()[0]: line for line in lines if ":" in line.split(" ")[0]}
    assert "resident on cpu" in rows["demo:topk"] or "resident on cuda" in rows["demo:topk"]
    assert {"gpt2-small:v5-32k", "gpt2-small:res-jb", "gemma-3-4b:gemmascope2-16k-small"} <= set(
        rows
    )


def test_one_model_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "gemma-2-2b"]) == 0
    out = capsys.readouterr().out
    assert "licence gemma, gated: ask for access on its page, then set HF_TOKEN" in out
    assert "texts of 1,024 tokens, read behind BOS" in out
    assert "google/gemma-scope-2b-pt-att" in out and "gpt2" not in out


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json", "--device", "cpu"]) == 0
    found = {one["reference"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["gpt2-small:v5-128k"]["sites"]["mlp_out"] == 12
    assert isinstance(found["gpt2-small:v5-128k"]["memory"], int)


def test_a_gpu_is_planned_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Machine(100 * 10**9, (Gpu("cuda:0", 20 * 10**9, 24 * 10**9, "A10"),))
    monkeypatch.setattr("scd_tui.catalog.machine.this_machine", lambda: here)
    assert main(["models", "gpt2-small"]) == 0
    said = capsys.readouterr().out
    assert "streamed on cuda:0: all of it takes 30.9 GB on cuda:0, where 20.0 GB are free" in said
    assert main(["models", "gpt2-small", "--device", "cuda:1"]) == 2
    assert "there is no device cuda:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpt3"], "no model 'gpt3'"),
        (["--device", "tpu"], "'tpu' is not a device"),
        (["--device", "cuda:99"], "there is no device cuda:99"),
    ],
)
def test_a_wrong_call_gets_a_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *words]) == 2
    assert said in capsys.readouterr().err


def test_nothing_that_computes_is_imported_and_it_does_not_take_long() -> None:
    code = (
        "import sys; from scd_tui.cli import main; main(['models']); "
        "assert not {'torch', 'numpy', 'transformers', 'sae_lens'} & set(sys.modules)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.perf_counter() - start < 5


def test_a_file_of_one_s_own_is_told_like_a_built_in_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.toml"
    path.write_text((data_dir() / "pythia-70m-deduped.toml").read_text())
    assert main(["models", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{path}:sm\n") and "1 × resid_pre, 6 × attn_out" in out
