import tomllib
from pathlib import Path

import pytest

from scd_tui.cli import main
from scd_tui.config import Config, config_path, read_config
from scd_tui.tui.bindings import all_keys


def test_what_is_printed_can_be_saved_as_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    text = capsys.readouterr().out
    path = config_path()
    assert str(path) in text.splitlines()[0] and "if it were there" in text
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert read_config() == (Config(), "")
    # With the comments' signs taken away, it says every key.
    keys = "\n".join(line.removeprefix("# ") for line in text.split("[keys]\n")[1].splitlines())
    said = tomllib.loads("\n".join(line for line in keys.splitlines() if line.startswith('"')))
    assert said == {one.id: one.key for _, section in all_keys() for one in section}


def test_what_was_changed_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    path = config_path()
    path.parent.mkdir(parents=True)
    path.write_text('theme = "nord"\n[keys]\n"node.ablate" = "X"\n"no.such" = "y"\n')
    assert main(["config"]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)["theme"] == "nord"
    assert tomllib.loads(text)["keys"] == {"node.ablate": "X", "no.such": "y"}
    assert "there is no action of this name" in text
    assert main(["config", "--path"]) == 0
    assert capsys.readouterr().out == f"{path}\n"


def test_a_file_that_cannot_be_used_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_path()
    path.parent.mkdir(parents=True)
    path.write_text("theme = 3")
    assert main(["config"]) == 1
    text = capsys.readouterr().out
    assert "cannot be used" in text.splitlines()[0]
    assert tomllib.loads(text)["theme"] == "auto"
