import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor

from scd_tui.attribution.explain import explain
from scd_tui.attribution.gate import Tally, reconstruct
from scd_tui.attribution.gating import LITTLE, MORE, Gating, begin
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.windows import WINDOW, Windows, read_activations, token_windows
from scd_tui.catalog.models import find
from scd_tui.catalog.texts import bundled_text
from scd_tui.catalog.verdicts import kept_gate, verdicts_dir
from scd_tui.graph import Settings, Site
from scd_tui.judge import ROOM_EXPLAINED, Published


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
    assert first.explained_variance_error is not None and first.explained_variance_error < 0.05
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


def test_what_is_done_in_between_neither_restarts_nor_changes_anything(two: LoadedModel) -> None:
    _, alone = begin(two, {})
    _, disturbed = begin(two, {})
    assert alone is not None and disturbed is not None
    passes: list[str] = []
    for gating, between in ((alone, lambda: None), (disturbed, lambda: other(two))):
        calls = 0

        def count(between: Callable[[], None] = between) -> None:
            nonlocal calls
            calls += 1
            between()

        while not gating.finished:
            gating.step(count)
        passes.append(str(calls))
    assert alone.with_gate().identity.gate == disturbed.with_gate().identity.gate
    windows = LITTLE["cpu"] // WINDOW
    # sinks and all sites once; then each: spliced, zeroed, as plain ReLU
    assert passes == [str((2 + 2 * 3) * windows)] * 2
    assert 0 < alone.seconds < 60


def other(loaded: LoadedModel) -> None:
    """Use the model for something else, with a gradient."""
    with torch.enable_grad():
        explain(loaded, "The keys", settings=Settings(top=1, edges=1))


def test_the_model_is_free_in_between(two: LoadedModel) -> None:
    _, gating = begin(two, {})
    assert gating is not None
    expected = two.model.next_token_logits(two.model.prompt("The keys"))
    seen: list[bool] = []

    def between() -> None:
        logits = two.model.next_token_logits(two.model.prompt("The keys"))
        seen.append(torch.equal(logits, expected))

    gating.step(between)
    assert seen and all(seen), "no activation is still replaced"


def test_wanted_dictionaries_are_measured_first_and_else_the_last(two: LoadedModel) -> None:
    first, last = two.identity.sites
    for wanted, expected in (((first,), first), ((), last), ((Site(3, "mlp_out"),), last)):
        _, gating = begin(two, {})
        assert gating is not None
        gating.prefer(wanted)
        gating.step()
        assert list(gating.found) == [expected]
    assert [one.site for one in finish(gating).identity.gate] == [first, last], "in their own order"


def test_a_verdict_near_a_bar_is_made_on_more_text(two: LoadedModel) -> None:
    site = two.identity.sites[0]
    some = replace(two, dictionaries={site: two.dictionaries[site]})
    some = ungated(some, sites=(site,))
    _, gating = begin(some, {})
    assert gating is not None
    (clear,) = finish(gating).identity.gate
    assert clear.tokens is not None and clear.tokens <= LITTLE["cpu"]
    assert clear.explained_variance is not None
    # published just so that what it explains is at the bar
    at_the_bar = Published(explained_variance=clear.explained_variance + ROOM_EXPLAINED)
    some = ungated(some, revision="another")
    _, gating = begin(some, {site: at_the_bar})
    assert gating is not None
    gating.step()
    assert gating.unclear == [site] and not gating.finished and site in gating.found
    gating.step()
    assert gating.finished and gating.unclear == []
    (found,) = gating.with_gate().identity.gate
    assert LITTLE["cpu"] < (found.tokens or 0) <= MORE["cpu"]
    (kept,) = kept_gate(some.identity)
    assert kept == found


def test_the_interval_is_that_of_a_jackknife_over_windows(two: LoadedModel) -> None:
    """Leaving out one window at a time, an independent way to the same standard error."""
    site = two.identity.sites[0]
    dictionary = two.dictionaries[site]
    windows = Windows(token_windows(two.model, bundled_text().text, 1024), batch=1)
    tally = Tally()
    rows: list[tuple[Tensor, Tensor]] = []
    for _, activations in read_activations(two.model, windows, {site: dictionary}):
        x = activations[site]
        made = reconstruct(dictionary, tally, x)
        rows.append((x.double(), made.double()))
    left_out = []
    for n in range(len(rows)):
        x, made = (torch.cat(part) for part in zip(*(rows[:n] + rows[n + 1 :]), strict=True))
        residual = (x - made).square().sum(dim=1).mean()
        left_out.append(1 - residual / (x - x.mean(dim=0)).square().sum(dim=1).mean())
    values = torch.stack(left_out)
    count = len(values)
    jackknife = ((count - 1) / count * (values - values.mean()).square().sum()).sqrt()
    assert tally.explained_variance_error() == pytest.approx(float(jackknife), rel=0.15)
    assert Tally().explained_variance_error() is None


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
