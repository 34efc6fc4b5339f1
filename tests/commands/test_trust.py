"""`scd-tui trust` as a user calls it, on a set of one prompt."""

import json
from pathlib import Path

import pytest

from scd_tui.cli import main
from scd_tui.export.trust_table import HEADINGS

SET = """
name = "Mine"
description = "One prompt"
[[prompt]]
text = "When Mary and John went to the store, John gave a drink to"
target = " Mary"
contrast = " John"
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(SET)
    return str(path)


def test_the_table_has_a_row_for_every_metric_and_method(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trust", mine]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    assert tuple(table[0]) == HEADINGS
    rows = table[2:]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("Mine", metric, method)
        for metric in ("diff", "logp", "logit")
        for method in ("gradient", "integrated")
    ]
    by_metric = {(row[1], row[2]): row for row in rows}
    for metric in ("diff", "logp", "logit"):
        plain, integrated = (by_metric[metric, m] for m in ("gradient", "integrated"))
        assert plain[4] != integrated[4]
        assert plain[-1] == integrated[-1] != "n/a"
    lowest = min(rows, key=lambda row: float(row[4].split()[0]))
    assert last == f"Lowest median ρ of sizes: Mine, {lowest[1]} by {lowest[2]}."


def test_methods_can_be_chosen_and_json_has_every_prompt_s_scores(
    mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trust", mine, "--method", "integrated", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["metric"], one["method"]) for one in found] == [
        (metric, "integrated") for metric in ("diff", "logp", "logit")
    ]
    for one in found:
        assert (one["prompt_set"], one["scores"]["n"], one["edges"]["n"]) == ("Mine", 100, 100)
        assert 0 < one["edges"]["abs_spearman"] <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "gradient", "--method", "exact"], "leave out exact"),
        (["--method", "exakt"], "no method 'exakt': use gradient, integrated, all"),
        (["/nonexistent.toml"], "cannot be read: No such file"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trust", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


def test_a_prompt_that_cannot_be_asked_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(SET.replace('" John"', '" John and"'))
    assert main(["trust", str(path), "--method", "gradient"]) == 2
    out, err = capfd.readouterr()
    (said,) = (line for line in err.splitlines() if line.startswith("scd-tui trust: "))
    assert out == "" and "drink to' of 'Mine': the contrast has 2 tokens" in said
