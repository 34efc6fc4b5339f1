"""`scd-tui replicate-post`, from a model's folder to a report."""

import json
from pathlib import Path

import pytest
from tiny import write_dictionaries, write_model

from scd_tui.catalog import prompts
from scd_tui.cli import main
from scd_tui.graph import decode_circuit

LONG = "word " * 40 + "end"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("post")
    model = write_model(folder / "a|b")
    dictionaries = write_dictionaries(folder / "dictionaries", 3, 32)
    text = folder / "text"
    text.write_text("the cat sat on the mat. " * 30, "utf-8")
    made, two = folder / "made", folder / "post.toml"
    two.write_text(
        "name = 'two'\ndescription = 'one fits the context, one does not'\n"
        f"[[prompt]]\ntext = 'Copyright (C'\ntarget = ')'\n[[prompt]]\ntext = '{LONG}'\ntarget = ' x'\n",
        "utf-8",
    )
    words = ["--model", str(model), "--dictionaries", str(dictionaries), "--text", str(text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "prompts_dir", lambda: folder)
        assert main(["replicate-post", "--out", str(made), *words, "--tokens", "64"]) == 0
    return made


def test_every_prompt_is_in_the_report_with_its_tables(out: Path) -> None:
    report = (out / "report.md").read_text("utf-8")
    found = json.loads((out / "replication.json").read_text("utf-8"))
    assert [prompt["text"] for prompt in found["prompts"]] == ["Copyright (C", LONG]
    assert "\n## 1. `Copyright (C` → `)`\n\nThe post, of GPT-2 small: 82% `)`." in report
    for heading in ("By the post's loss", "By logit difference", "`Copyright (C`"):
        assert f"\n### 1. {heading}" in report
    for heading in ("The top feature of the last site", "Where it comes from", "Faithfulness and"):
        assert report.count(f"\n**{heading}") == 2
    for site in ("resid_post.2", "attn_out.1", "mlp_out.0"):
        assert f"\n| `{site}/" in report
    assert "`embed/token@" in report and "a\\|b" in report


def test_what_the_model_cannot_be_asked_says_why(out: Path) -> None:
    report = (out / "report.md").read_text("utf-8")
    assert f"## 2. `{LONG}` → ` x`\n\nThis model could not be asked: " in report


def test_the_way_of_loading_that_the_post_used_fails_the_gate(out: Path) -> None:
    report = (out / "report.md").read_text("utf-8")
    appendix = report[report.index("## Appendix") :]
    assert "run as the post's code runs them, 0 of 9 do" in report
    assert appendix.count("| FAILED") == 9 and "passed" not in appendix


def test_the_circuits_open_and_are_their_owner_s_alone(out: Path) -> None:
    files = sorted((out / "circuits").iterdir())
    assert files and {path.name.split("-")[1] for path in files} == {"logp.json", "diff.json"}
    for path in (*files, out / "report.md", out / "replication.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    report = (out / "report.md").read_text("utf-8")
    for path in files:
        circuit = decode_circuit(path.read_bytes())
        assert circuit.trust is not None
        assert f"(circuits/{path.name})" in report


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["replicate-post", "--out", str(tmp_path / "file" / "x")]) == 2
    assert "cannot be made" in capsys.readouterr().err
