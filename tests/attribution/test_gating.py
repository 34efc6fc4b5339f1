import stat
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from scd_tui.attribution.gating import Gating, begin
from scd_tui.attribution.load import LoadedModel
from scd_tui.catalog.models import find
from scd_tui.catalog.verdicts import kept_gate, verdicts_dir
from scd_tui.graph import Site


def ungated(loaded: LoadedModel, **changes: object) -> LoadedModel:
    identity = msgspec.structs.replace(loaded.identity, gate=(), **changes)
    return replace(loaded, identity=identity)


def finish(gating: Gating) -> LoadedModel:
    while not gating.finished:
        gating.step()
    return gating.with_gate()


@pytest.fixture
def two(demo: LoadedModel) -> LoadedModel:
    """The bundled model with two of its dictionaries, of which nothing is known."""
    sites = (Site(0, "mlp_out"), Site(2, "attn_out"))
    some = replace(demo, dictionaries={site: demo.dictionaries[site] for site in sites})
    return ungated(some, sites=sites)


def test_dictionaries_are_measured_once_for_their_revision(two: LoadedModel) -> None:
    loaded, gating = begin(two, find("demo").published)
    assert gating is not None and loaded.identity.gate == ()
    gating.step()
    assert not gating.finished and kept_gate(two.identity) == ()
    measured = finish(gating)
    first, second = measured.identity.gate
    assert (first.site, first.passed, second.passed) == (Site(0, "mlp_out"), True, True)
    assert first.l0 is not None and 31 < first.l0 <= 32
    again, nothing = begin(two, {})
    assert nothing is None and again.identity.gate == measured.identity.gate
    # other weights, other dictionaries, or other sites have not been measured
    for change in (
        {"revision": "x"},
        {"dictionaries_revision": "x"},
        {"sites": two.identity.sites[:1]},
    ):
        assert begin(ungated(two, **change), {})[1] is not None


def test_the_post_s_way_of_running_them_fails_loudly(two: LoadedModel) -> None:
    as_the_post = replace(
        two,
        dictionaries={s: d.as_plain_relu() for s, d in two.dictionaries.items()},
    )
    _, gating = begin(as_the_post, find("demo").published)
    assert gating is not None
    assert [one.passed for one in finish(gating).identity.gate] == [False, False]


def test_a_step_that_is_interrupted_is_tried_again(two: LoadedModel) -> None:
    _, gating = begin(two, {})
    assert gating is not None

    def busy(done: int, total: int) -> None:
        raise KeyError("a request")

    with pytest.raises(KeyError):
        gating.step(busy)
    assert gating.found == []
    assert len(finish(gating).identity.gate) == 2


def test_verdicts_are_their_owner_s_alone_and_damaged_ones_are_passed_over(
    two: LoadedModel, home: Path
) -> None:
    _, gating = begin(two, {})
    assert gating is not None
    finish(gating)
    folder = verdicts_dir()
    (path,) = folder.iterdir()
    assert folder.is_relative_to(home)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b'[{"site": 1}]')
    assert begin(two, {})[1] is not None


def test_a_model_that_says_what_it_is_worth_is_not_measured(demo: LoadedModel) -> None:
    assert begin(demo, {}) == (demo, None)
