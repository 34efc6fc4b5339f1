"""The verdict on what was measured of a dictionary."""

import re
from math import nan

import msgspec
import pytest

from scd_tui.graph import Site
from scd_tui.judge import (
    Chance,
    Elsewhere,
    Measured,
    Plain,
    Published,
    Renormalised,
    Signs,
    judge,
)

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


SIGNS = Signs(
    positions=256,
    scale=1.0,
    weaker_half=0.97,
    constant_of_error=0.05,
    constant_of_variance=0.004,
    normalisation="none",
    renormalised=Renormalised(normalisation="layer_norm", error=1.02, standard_errors=-5.0),
    elsewhere=Elsewhere(site=Site(4, "mlp_out"), explained_variance=0.7, here=0.8),
)
BETTER = Renormalised(normalisation="layer_norm", error=0.98, standard_errors=4.0)
THERE = Elsewhere(site=Site(4, "mlp_out"), explained_variance=0.82, here=0.8)


def signed(**values) -> Measured:
    return changed(signs=msgspec.structs.replace(SIGNS, **values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"weaker_half": 0.84}, "fits best at 0.84 times its size, as where more are active"),
        ({"weaker_half": nan}, "fits best at nan times"),
        ({"weaker_half": 1.16}, "fits best at 1.16 times its size, as where fewer are active"),
        ({"constant_of_error": 0.13}, "same mean at all tokens, 13% of the mean square error"),
        ({"constant_of_error": nan}, "check b_dec"),
        ({"constant_of_variance": 0.026}, "and 2.6% of the variance"),
        (
            {"renormalised": BETTER},
            "by layer_norm it leaves 98.0% of the error that it leaves by none",
        ),
        (
            {"elsewhere": THERE},
            r"mlp_out.4 better \(0.820\) than mlp_out.3 \(0.800\): check hook_name",
        ),
    ],
)
def test_each_sign_is_a_reason_beyond_its_bar(values: dict, said: str) -> None:
    (reason,) = judge(signed(**values)).reasons
    assert re.search(said, reason), reason


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"weaker_half": None, "scale": None},
        {"weaker_half": 0.86},
        {"weaker_half": 1.14},
        {"constant_of_error": 0.11, "constant_of_variance": 0.024},
        {"renormalised": msgspec.structs.replace(BETTER, error=0.993)},
        {"renormalised": msgspec.structs.replace(BETTER, standard_errors=3.4)},
        {"renormalised": BETTER, "scale": 1.06},
        {"renormalised": BETTER, "scale": None},
        {"elsewhere": msgspec.structs.replace(THERE, explained_variance=0.809)},
        {"renormalised": None, "elsewhere": None},
    ],
)
def test_within_the_bars_a_sign_is_none(values: dict) -> None:
    assert judge(signed(**values)).passed


def test_what_was_published_settles_the_signs_that_it_speaks_of() -> None:
    def spoiled(**values) -> Measured:
        return msgspec.structs.replace(signed(**values), l0_mean=31.9)

    l0, explained = Published(l0=32.0), Published(explained_variance=0.8)
    assert judge(spoiled(weaker_half=0.5), l0).passed
    assert not judge(spoiled(weaker_half=0.5), explained).passed
    assert judge(spoiled(constant_of_error=0.5), explained).passed
    assert not judge(spoiled(constant_of_error=0.5), l0).passed
    both = Published(l0=32.0, explained_variance=0.8)
    assert not judge(spoiled(renormalised=BETTER), both).passed
    assert not judge(spoiled(elsewhere=THERE), both).passed


def test_shrunk_features_are_no_sign_where_no_k_is_fixed() -> None:
    found = msgspec.structs.replace(signed(weaker_half=2.3, scale=1.2), **NO_K)
    assert judge(found).passed
    assert not judge(msgspec.structs.replace(found, signs=SIGNS, k=8)).passed
