import json
from pathlib import Path

import msgspec
import pytest
from tui.samples import COMPLETIONS, circuit

from scd_tui.cli import main
from scd_tui.comparison import Comparison, compare
from scd_tui.graph import Circuit, encode_circuit


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    paths = []
    for name, made in (("a", circuit()), ("b", other())):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_bytes(encode_circuit(made))
    return str(paths[0]), str(paths[1])


def other() -> Circuit:
    made = circuit(COMPLETIONS[1], COMPLETIONS[0])
    return msgspec.structs.replace(made, metric_value=-3.21, nodes=made.nodes[:-3])


def test_a_file_is_the_same_as_itself(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", files[0], files[0]]) == 0
    assert "The two are the same" in capsys.readouterr().out


def test_lists_are_cut_and_say_so(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *files, "--top", "2"]) == 0
    text = capsys.readouterr().out
    assert f"A  {files[0]}" in text and "target: A ' question', B ' way'" in text
    assert "metric +3.210 in A, −3.210 in B, −6.420 more" in text
    assert "listed in A alone" in text and "… and 1 more (--top 3 shows all)" in text
    alone = text.split("listed in A alone  ")[1].split("\n\n")[0].splitlines()[1:3]
    names = [line.split()[0] for line in alone]
    assert names == [pair.name for pair in compare(circuit(), other()).listed("a")[:2]]


def test_a_change_that_is_not_known_is_no_number_and_counted(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *files]) == 0
    text = capsys.readouterr().out
    assert "3 in A alone, 0 in B alone" in text
    assert "?: B − A is not known, of 3 of these and " in text
    alone = text.split("\nlisted in A alone  ")[1].split("\n\n")[0].splitlines()[1:]
    assert [line.split()[2:] for line in alone] == [["·", "?"]] * 3


def test_the_prompt_that_both_are_held_against_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = msgspec.structs.replace(circuit(), contrast_prompt="the\nother")
    (tmp_path / "held.json").write_bytes(encode_circuit(held))
    (tmp_path / "plain.json").write_bytes(encode_circuit(circuit()))
    names = [str(tmp_path / name) for name in ("held.json", "plain.json")]
    assert main(["diff", names[0], names[0]]) == 0
    assert "contrast prompt: the⏎other in both\n" in capsys.readouterr().out
    assert main(["diff", *names]) == 0
    assert "contrast prompt: A the⏎other, B none\n" in capsys.readouterr().out
    assert main(["diff", names[1], names[1]]) == 0
    assert "contrast prompt" not in capsys.readouterr().out


def test_json_has_everything(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *files, "--json", "--by", "feature"]) == 0
    text = capsys.readouterr().out
    assert msgspec.json.decode(text, type=Comparison) == compare(circuit(), other(), "feature")
    assert json.loads(text)["same"] is False
