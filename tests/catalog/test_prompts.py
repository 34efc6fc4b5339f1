from pathlib import Path

import pytest

from scd_tui.catalog.prompts import Prompt, load_prompt_sets, prompts_dir, read_prompt_set
from scd_tui.errors import InputError


def test_a_set_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'name = "a"\ndescription = "b"\n[[prompt]]\ntext = "x "\ntarget = " y"\nnote = "n"\n'
    )
    found = read_prompt_set(path)
    assert (found.name, found.description) == ("a", "b")
    assert found.prompts == (Prompt(text="x ", target=" y", note="n"),)


@pytest.mark.parametrize("text", ["name = ", "name = 1", 'name = "a"', '[[prompt]]\ntext = "x"'])
def test_what_is_no_set_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.toml is not a prompt set") as caught:
        read_prompt_set(path)
    assert "\n" not in str(caught.value)


def test_the_bundled_sets_are_those_of_the_post_and_four_of_twenty_or_more() -> None:
    sizes = {path.stem: len(read_prompt_set(path).prompts) for path in prompts_dir().glob("*.toml")}
    assert sizes.pop("post") == 5
    assert sizes.keys() == {"indirect_objects", "agreement", "brackets", "repeated"}
    assert min(sizes.values()) >= 20
    assert len(load_prompt_sets()) == 5
