from pathlib import Path

import pytest

from scd_tui.config import MEANINGS, Config, Defaults, config_path, read_config, state_path


def test_what_is_missing_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert read_config(path) == (Config(), "")
    path.write_text('theme = "scd-light"\n[defaults]\ntop = 25\n[keys]\n"node.ablate" = "X"\n')
    config, problem = read_config(path)
    assert problem == ""
    assert (config.theme, config.defaults, config.keys) == (
        "scd-light",
        Defaults(top=25),
        {"node.ablate": "X"},
    )
    assert config.history == Config().history


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theme = \nmouse", "line 1"),
        ('colour = "red"', "colour"),
        ('mouse = "of"', "mouse"),
        ("history = -1", "history is a number from 0 on"),
        ("[defaults]\ntop = 0", "top is a number from 1 on"),
        ('[defaults]\nmetric = "dif"', "metric"),
        ("keys = 3", "keys"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_and_the_defaults(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    config, problem = read_config(path)
    assert config == Config()
    assert str(path) in problem and said in problem and "defaults" in problem
    assert "\n" not in problem


def test_bytes_that_are_no_text_and_a_folder_are_told_too(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"theme = '\xff'")
    assert "not UTF-8" in read_config(path)[1]
    assert "cannot be read" in read_config(tmp_path)[1]


def test_the_folders_are_the_user_s_own(home: Path) -> None:
    assert config_path() == home / "home-config" / "scd-tui" / "config.toml"
    assert state_path() == home / "home-state" / "scd-tui"


def test_every_setting_has_its_meaning() -> None:
    names = {*Config.__struct_fields__, *Defaults.__struct_fields__} - {"keys", "defaults"}
    assert names == set(MEANINGS)
