from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scd_tui.catalog.models import from_file
from scd_tui.catalog.spec import HubDictionary, HubModel
from scd_tui.catalog.toml import read_model_file
from scd_tui.errors import InputError
from scd_tui.graph import Site

GROUP = """
release = "someone/their-dictionaries"
repo = "someone/their-dictionaries"
layers = [0, 1]
hook = "blocks.{layer}.hook_mlp_out"
id = "mlp-{layer}"
path = ["a/mlp-0", "b/mlp-1"]
width = [512, 1024]
neuronpedia = ["gpt2-small/0-mlp", ""]
l0 = [12.5, 0]
"""
GOOD = f"""
[model]
repo = "openai-community/gpt2"

[[set]]
name = "first"
context = 64

[[set.group]]
{GROUP}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_set_of_anyone_s_dictionaries_on_the_hub_can_be_described(tmp_path: Path) -> None:
    spec = from_file(written(tmp_path, GOOD))
    assert spec.name == "own" and spec.dictionaries_name == "first"
    assert isinstance(spec.model, HubModel) and spec.model.repo == "openai-community/gpt2"
    assert (spec.training_context, spec.prepends_bos, spec.remote) == (64, False, True)
    first, second = spec.dictionaries.values()
    assert isinstance(first, HubDictionary) and isinstance(second, HubDictionary)
    assert (first.id, first.path, first.hook) == ("mlp-0", "a/mlp-0", "blocks.0.hook_mlp_out")
    assert (second.id, second.path, second.width) == ("mlp-1", "b/mlp-1", 1024)
    # empty labels and zeros say that there is none
    assert spec.sources == {"mlp_out.0": "0-mlp"} and spec.neuronpedia == "gpt2-small"
    assert {site: known.l0 for site, known in spec.published.items()} == {Site(0, "mlp_out"): 12.5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[model]", "[model"), "is no model: Expected"),
        (("repo = ", "# repo = "), r"\[model\] has a repo, a folder or a package"),
        (("openai-community/gpt2", "../../etc"), "is not a repository"),
        (("openai-community/gpt2", "a/b/c"), "is not a repository"),
        (("openai-community/gpt2", "http://x"), "is not a repository"),
        (("context = 64", "contex = 64"), "unknown field `contex`"),
        (("context = 64", "context = 0"), "`int` >= 1"),
        (("context = 64", 'context = "64"'), "Expected `int"),
        (("context = 64", 'folder = "x"'), "has a folder or groups, one of the two"),
        (('name = "first"', 'name = "../x"'), r"matching regex .* `\$\.set\[0\]\.name`"),
        (('name = "first"', 'name = "a b"'), "matching regex"),
        (("blocks.{layer}.hook_mlp_out", "blocks.{layer}.hook_up"), "'blocks.0.hook_up' is not a"),
        (("blocks.{layer}.hook_mlp_out", "blocks.0.hook_mlp_out"), "two dictionaries at one place"),
        (("a/mlp-0", "/etc/passwd"), "'/etc/passwd' leads out of its repository"),
        (("a/mlp-0", "../../x"), r"'\.\./\.\./x' leads out of its repository"),
        (("[512, 1024]", "[512]"), "has 2 layers and 1 values of 'width'"),
        (("[512, 1024]", "[512, -1]"), ">= 1"),
        (("[512, 1024]", f"[512, {10**30}]"), "a number that is too long"),
        (("layers = [0, 1]", "layers = []"), "length >= 1"),
        (("layers = [0, 1]", "layers = [0, 100000]"), "<= 9999"),
        (("[12.5, 0]", "[12.5, inf]"), "<= 1000000000"),
        (("[12.5, 0]", "[12.5, nan]"), "Expected"),
        (("[12.5, 0]", "-1"), ">= 0"),
        (("[model]", 'default = "second"\n[model]'), "no set 'second', which it calls its default"),
        (("[[set]]", "[set]"), "is no model"),
        (("[model]", "[model]\nshape = {layers = 1}"), "missing required field"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(
    change: tuple[str, str], said: str, tmp_path: Path
) -> None:
    assert change[0] in GOOD
    with pytest.raises(InputError, match=said) as caught:
        from_file(written(tmp_path, GOOD.replace(*change, 1)))
    assert "\n" not in str(caught.value)


def test_two_sets_or_two_groups_do_not_share_a_name_or_a_site(tmp_path: Path) -> None:
    twice = GOOD + "[[set.group]]\n" + GROUP
    with pytest.raises(InputError, match=r"'first' has two dictionaries at mlp_out\.0"):
        from_file(written(tmp_path, twice))
    again = GOOD + GOOD[GOOD.index("[[set]]") :]
    with pytest.raises(InputError, match="two of its sets have one name"):
        from_file(written(tmp_path, again))


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: it is a folder"):
        read_model_file(tmp_path)
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_model_file(path)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(InputError, match="it is larger than 1 MiB"):
        read_model_file(path)
    path.write_text("x = " + "[" * 100_000)
    with pytest.raises(InputError, match=r"nested too deeply|is no model"):
        read_model_file(path)
    path.write_text('name = "\\u001b[31m"\n')
    with pytest.raises(InputError) as caught:
        read_model_file(path)
    assert "\x1b" not in str(caught.value)


@given(st.text(max_size=80), st.integers(0, len(GOOD)), st.integers(0, 40))
def test_no_text_gets_more_than_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, text: str, at: int, instead: int
) -> None:
    path = tmp_path_factory.mktemp("toml") / "x.toml"
    path.write_text(GOOD[:at] + text + GOOD[at + instead :], "utf-8", "replace")
    try:
        from_file(path)
    except InputError as error:
        assert "\n" not in str(error).replace(text, "")
