"""The verdict on what was measured of a dictionary."""

import re
from math import nan

import msgspec
import pytest

from scd_tui.graph import Site
from scd_tui.judge import Chance, Measured, Plain, Published, judge

GOOD = Measured(
    site=Site(3, "mlp_out"),
    width=1000,
    k=32,
    tokens=4096,
    l0_mean=31.9,
    l0_max=32,
    explained_variance=0.8,
    ce=4.0,
    ce_spliced=4.1,
    ce_zeroed=5.0,
    silent=0.1,
    share_explained=0.7,
    plain=Plain(l0=40.0, explained_variance=-2.0, ce_spliced=6.0),
    chance=Chance(l0=32.0, explained_variance=0.5, share_explained=0.4),
)
NO_K = {"k": None, "plain": None}
PUBLISHED = Published(l0=40.0, explained_variance=0.5, ce_recovered=0.9)


def changed(**values) -> Measured:
    return msgspec.structs.replace(GOOD, **values)


def test_what_follows_from_the_numbers() -> None:
    assert GOOD.delta_ce == pytest.approx(0.1)
    assert GOOD.plain_delta_ce == pytest.approx(2.0)
    assert changed(plain=None).plain_delta_ce is None
    assert GOOD.ce_recovered == pytest.approx(0.9)
    assert changed(ce_zeroed=4.19).ce_recovered is None
    assert changed(ce_zeroed=4.21).ce_recovered == pytest.approx(0.11 / 0.21)


def test_a_sound_dictionary_passes() -> None:
    verdict = judge(GOOD)
    assert (verdict.site, verdict.reasons, verdict.passed) == (Site(3, "mlp_out"), (), True)
    assert judge(changed(**NO_K)).passed


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"l0_max": 33}, "33 features are active at one token, where k is 32"),
        ({"l0_mean": 31.3}, "31.3 features are active at a token, where k is 32"),
        ({**NO_K, "l0_mean": 250.0}, "250.0 features .* a sparse dictionary of 1,000 has 0 to 250"),
        ({**NO_K, "l0_mean": 0.0}, "0.0 features are active"),
        ({**NO_K, "l0_mean": nan}, "nan features are active"),
        ({"explained_variance": 0.59}, "explains 0.590 of the variance, where 0.6 is the least"),
        ({"explained_variance": nan}, "where 0.6 is the least"),
        ({"ce_spliced": 4.51}, "costs 0.51 nats a token, where 0.5 is the most"),
        ({"ce_spliced": nan}, "costs nan nats"),
        (
            {"plain": Plain(l0=1.0, explained_variance=0.8, ce_spliced=4.0)},
            "explains 0.800 of the variance, and the same weights as plain ReLU explain 0.800",
        ),
        ({"chance": Chance(l0=32.0, explained_variance=0.81)}, "random directions explain 0.810"),
    ],
)
def test_each_bar_fails_by_itself_and_says_why(values: dict, said: str) -> None:
    (reason,) = judge(changed(**values)).reasons
    assert re.search(said, reason)


@pytest.mark.parametrize(
    "values",
    [
        {"l0_mean": 31.4},
        {**NO_K, "l0_mean": 249.0, "l0_max": 999},
        {"explained_variance": 0.6},
        {"ce_spliced": 4.5},
        {"plain": Plain(l0=1.0, explained_variance=0.79, ce_spliced=4.0)},
        {"chance": Chance(l0=32.0, explained_variance=0.79)},
        {"silent": 0.99, "share_explained": None},
    ],
)
def test_what_just_reaches_its_bar_passes(values: dict) -> None:
    assert judge(changed(**values)).reasons == ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"l0_mean": 49.0}, "49.0 features are active at a token, where 40.0 were published"),
        ({"l0_mean": 31.0}, "where 40.0 were published"),
        ({"explained_variance": 0.44}, "explains 0.440 of the variance, where 0.500 was published"),
        ({"ce_spliced": 4.16}, "recovers 0.840 of the cross-entropy, where 0.900 was published"),
    ],
)
def test_published_values_are_bars(values: dict, said: str) -> None:
    (reason,) = judge(changed(**{"l0_mean": 40.0, "l0_max": 99, **values}), PUBLISHED).reasons
    assert said in reason


def test_a_published_value_that_is_reached_stands_for_the_bars_of_unpublished_ones() -> None:
    weak = changed(
        l0_mean=47.0,
        l0_max=99,
        explained_variance=0.46,
        ce_spliced=4.6,
        plain=Plain(l0=1.0, explained_variance=0.5, ce_spliced=4.0),
    )
    assert judge(weak, Published(l0=40.0, explained_variance=0.5)).passed
    assert len(judge(weak).reasons) == 5
    # one number published leaves the bars of the others
    assert len(judge(weak, Published(l0=40.0)).reasons) == 4
    assert len(judge(weak, Published(explained_variance=0.5)).reasons) == 1


def test_cross_entropy_recovered_counts_only_where_it_was_measured() -> None:
    cheap = changed(ce_zeroed=4.1, ce_spliced=4.05)
    known = Published(ce_recovered=0.99)
    assert cheap.ce_recovered is None and judge(cheap, known).passed
    assert not judge(changed(ce_zeroed=4.1, ce_spliced=4.6), known).passed


@pytest.mark.parametrize(
    ("l0", "explained", "known"),
    [
        (0.0, 1.0, Published()),
        (32.0, 0.9, Published(l0=32.0, explained_variance=0.9)),
        (32.0, 1.0, Published(l0=32.0)),
        (0.0, 0.9, Published(explained_variance=0.9)),
        (19.0, -7.55, Published(l0=19.0)),
    ],
)
def test_the_registry_s_ones_and_zeros_are_unpublished(
    l0: float, explained: float, known: Published
) -> None:
    assert Published.from_registry(l0, explained) == known
