"""The load gate, drawn and as JSON."""

import json

import msgspec
import pytest

from scd_tui.export.gate_table import HEADINGS, Report, encode, gate_row, number, render
from scd_tui.graph import ModelIdentity, Site
from scd_tui.judge import Chance, Measured, Plain, judge

GOOD = Measured(
    site=Site(3, "mlp_out"),
    width=1024,
    k=32,
    tokens=4096,
    l0_mean=31.96,
    l0_max=32,
    explained_variance=0.8123,
    ce=4.0,
    ce_spliced=4.0621,
    ce_zeroed=5.0,
    silent=0.1,
    share_explained=0.7111,
    plain=Plain(l0=512.0, explained_variance=-9.0177, ce_spliced=6.0),
    chance=Chance(l0=32.0, explained_variance=0.5432, share_explained=0.4321),
)
BAD = msgspec.structs.replace(
    GOOD,
    site=Site(31, "resid_post"),
    k=None,
    width=131072,
    l0_mean=65536.4,
    l0_max=70000,
    explained_variance=-123456.0,
    ce_zeroed=4.1,
    ce_spliced=12345.0,
    share_explained=None,
    plain=None,
)


def report(*measured: Measured, name: str = "tiny") -> Report:
    identity = ModelIdentity(
        name=name,
        revision="1",
        dictionaries="topk",
        dictionaries_revision="2",
        device="cpu",
        layers=4,
        context=64,
        vocabulary=100,
    )
    return Report(
        model=identity,
        text="Python documentation",
        window=64,
        prompts=20,
        measured=measured,
        verdicts=tuple(judge(found) for found in measured),
    )


def test_a_row_has_each_number_in_its_column() -> None:
    assert dict(zip(HEADINGS[:4], gate_row(GOOD, judge(GOOD)), strict=False)) == {
        "site": "mlp_out.3",
        "L0": "32.0",
        "EV": "0.812",
        "plain": "−9.018",
    }
    rest = ("0.543", "0.711", "0.432", "0.062", "0.938", "passed")
    assert gate_row(GOOD, judge(GOOD))[4:] == rest
    bad = gate_row(BAD, judge(BAD))
    assert bad == (
        *("resid_post.31", "65536", "−123456", "n/a", "0.543", "n/a", "0.432", "12341"),
        *("n/a", "FAILED"),
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.9524, "0.952"), (-0.0013, "−0.001"), (-45.312, "−45.31"), (1e6, "1000000"), (None, "n/a")],
)
def test_numbers_keep_their_columns(value: float | None, said: str) -> None:
    assert number(value) == said


def test_what_failed_is_said_in_sentences_and_the_verdict_comes_last() -> None:
    out = render(report(GOOD, BAD))
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100 and out.endswith("\n")
    assert lines[0] == "tiny · topk · cpu · 4,096 tokens of Python documentation, 64 at a time"
    sentences = " ".join(out.split())
    for reason in judge(BAD).reasons:
        assert f"resid_post.31: {reason}." in sentences
    assert "mlp_out.3:" not in out
    assert lines[-1] == "FAILED: 1 of 2 dictionaries are not as they should be."


def test_the_bars_are_stated_and_nothing_else_when_all_pass() -> None:
    out = " ".join(render(report(GOOD)).split())
    for bar in ("98% of k", "under 25%", "EV at least 0.6", "ΔCE at most 0.5", "L0 within 20%"):
        assert bar in out
    assert out.endswith("Passed: 1 of 1 dictionaries.")


def test_names_from_outside_move_no_cursor() -> None:
    assert "\x1b" not in render(report(GOOD, name="x\x1b[2J"))


def test_json_has_the_numbers_and_what_follows_from_them() -> None:
    found = json.loads(encode(report(GOOD, BAD)))
    assert found["passed"] is False and found["bars"]["explained_variance"] == 0.6
    good, bad = found["sites"]
    assert good["site"] == {"layer": 3, "kind": "mlp_out"}
    assert good["delta_ce"] == pytest.approx(0.0621)
    assert good["ce_recovered"] == pytest.approx(0.9379)
    assert good["plain_delta_ce"] == pytest.approx(2.0)
    assert (good["passed"], good["reasons"]) == (True, [])
    assert bad["plain"] is None and bad["ce_recovered"] is None and bad["passed"] is False
    assert bad["reasons"] == list(judge(BAD).reasons)
