"""The model of a saved circuit is found again from another folder, by whatever it was named with."""

from pathlib import Path

import msgspec
import pytest
from tiny import PROMPT, write_dictionaries, write_model

from scd_tui.catalog.made_with import reference_of
from scd_tui.catalog.models import find
from scd_tui.cli import main
from scd_tui.graph import Circuit, decode_circuit
from scd_tui.whereabouts import references, remember

TOML = '[model]\nfolder = "../model"\n\n[[set]]\nname = "mine"\nfolder = "../dictionaries"\n'
TEXT = "the cat sat on the mat. To be or not to be, that is the question. " * 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and dictionaries, and a TOML file of both beside them."""
    folder = tmp_path_factory.mktemp("shared")
    write_model(folder / "model", layers=1)
    write_dictionaries(folder / "dictionaries", 1, 32)
    (folder / "files").mkdir()
    (folder / "files" / "small.toml").write_text(TOML)
    return folder


def made(call: list[str], out: Path) -> Circuit:
    attribute = ["attribute", PROMPT, "--no-gate", "--top", "2", "--out", str(out)]
    assert main([*attribute, *call]) == 0
    return decode_circuit(out.read_bytes())


@pytest.mark.parametrize(
    "call",
    [
        ["--model", "files/small.toml"],
        ["--model", "files/../files/small.toml:mine"],
        ["--model", "model", "--dictionaries", "dictionaries"],
        ["--model", "./model", "--dictionaries", "./dictionaries"],
    ],
)
def test_a_circuit_is_computed_again_from_another_folder(
    call: list[str],
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(shared)
    circuit = made(call, tmp_path / "made.json")
    assert str(shared).encode() not in (tmp_path / "made.json").read_bytes(), "no path in the file"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (tmp_path / "made.json").rename(elsewhere / "moved.json")
    (elsewhere / "text.txt").write_text(TEXT)
    capsys.readouterr()
    assert main(["validate", "moved.json", "--text", "text.txt"]) == 0
    assert "computed again, are the same" in " ".join(capsys.readouterr().out.split())
    # the app asks the same record
    named = reference_of(circuit.model)
    assert find(named).revisions() == (circuit.model.revision, circuit.model.dictionaries_revision)


def test_a_model_that_is_gone_is_named_with_where_it_was(
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "gone.toml"
    file.write_text(TOML.replace("..", str(shared)))
    saved = tmp_path / "made.json"
    circuit = made(["--model", str(file)], saved)
    file.rename(tmp_path / "kept.toml")
    capsys.readouterr()
    assert main(["validate", str(saved)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"names of `scd-tui models` and at {file}, where it was loaded before" in err
    assert "--model FILE.toml" in err
    # the app's failure to load then names the file too
    assert reference_of(circuit.model) == str(file)
    # and --model finds it, whatever it is called now
    (tmp_path / "text.txt").write_text(TEXT)
    again = ["validate", str(saved), "--model", str(tmp_path / "kept.toml")]
    assert main([*again, "--text", str(tmp_path / "text.txt")]) == 0


def test_of_several_models_of_one_name_the_one_with_the_circuit_s_revisions_comes_first(
    shared: Path, tmp_path: Path
) -> None:
    circuit = made(["--model", str(shared / "files" / "small.toml")], tmp_path / "made.json")
    other = msgspec.structs.replace(circuit.model, revision="0123456789ab")
    remember(other, "/later/small.toml")
    mine = str(shared / "files" / "small.toml")
    assert references(circuit.model) == (mine, "small:mine", "/later/small.toml")
    assert references(other) == ("/later/small.toml", "small:mine", mine)


def test_records_that_are_something_else_are_passed_over(home: Path, shared: Path) -> None:
    folder = home / "home-state" / "scd-tui" / "models"
    folder.mkdir(parents=True)
    (folder / "spoilt.json").write_bytes(b"\xff{")
    (folder / "folder.json").mkdir()
    identity = made(["--model", str(shared / "files" / "small.toml")], home / "made.json").model
    assert references(identity)[0] == str(shared / "files" / "small.toml")
    (mine,) = (path for path in folder.iterdir() if path.is_file())
    aside = folder.parent / "aside" / "models-spoilt.json"
    assert aside.read_bytes() == b"\xff{", "moved aside, as it was"
    assert mine.stat().st_mode & 0o077 == 0, "its owner's alone"
