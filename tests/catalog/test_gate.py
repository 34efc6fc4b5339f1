import copy
import json
from pathlib import Path

import pytest

from scd_tui.catalog.gate import read_gate
from scd_tui.errors import InputError
from scd_tui.graph import Site

SITES = {"blocks.0.hook_mlp_out": Site(0, "mlp_out")}
GOOD = {
    "dictionaries": [
        {
            "id": "blocks.0.hook_mlp_out",
            "active": 16,
            "dead": 0.01,
            "splices": [
                {
                    "kind": "templates",
                    "tokens": 100,
                    "l0_mean": 15.9,
                    "l0_max": 16,
                    "explained_variance": 0.96,
                    "loss_rise": 0.1,
                    "recovered": 0.97,
                },
                {
                    "kind": "repeated",
                    "tokens": 100,
                    "l0_mean": 16.0,
                    "l0_max": 16,
                    "explained_variance": 0.5,
                    "loss_rise": 0.2,
                    "recovered": None,
                },
            ],
        }
    ],
    "bars": {
        "l0_share": 0.98,
        "dead": 0.05,
        "explained_variance": {"templates": 0.95},
        "loss_rise": 0.3,
        "recovered": 0.95,
    },
}


def written(tmp_path: Path, gate: object) -> Path:
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(gate))
    return path


def test_a_dictionary_s_worst_values_are_told_with_the_verdict(tmp_path: Path) -> None:
    (gate,) = read_gate(written(tmp_path, GOOD), SITES)
    assert (gate.site, gate.passed) == (Site(0, "mlp_out"), True)
    assert (gate.l0, gate.explained_variance) == (15.9, 0.5)
    assert (gate.delta_ce, gate.ce_recovered) == (0.2, 0.97)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("l0_mean", 15.0),
        ("l0_max", 17),
        ("explained_variance", 0.94),
        ("loss_rise", 0.31),
        ("recovered", 0.9),
    ],
)
def test_one_value_below_its_bar_fails_the_dictionary(
    tmp_path: Path, where: str, value: float
) -> None:
    gate = copy.deepcopy(GOOD)
    gate["dictionaries"][0]["splices"][0][where] = value
    assert read_gate(written(tmp_path, gate), SITES)[0].passed is False
    gate = copy.deepcopy(GOOD)
    gate["dictionaries"][0]["dead"] = 0.06
    assert read_gate(written(tmp_path, gate), SITES)[0].passed is False


def test_an_absent_file_is_no_gate_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    assert read_gate(tmp_path / "none.json", SITES) == ()
    with pytest.raises(InputError, match="is not a gate file"):
        read_gate(written(tmp_path, {"bars": 1}), SITES)
