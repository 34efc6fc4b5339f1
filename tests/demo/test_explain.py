"""Explanations: each claim is made where the data bear it out, and not below its bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from scd_tui.demo.explain import LONGEST, Surroundings, explain, token_classes

END = "<|endoftext|>"
KINDS = ("documentation", "templates", "random sequences")
FILLER = [f" w{i}" for i in range(60)]
NAMES = [" Mary", " John", " Tom", " James", " Anna", " Paul", " Lisa", " Mark"]
NOUNS = [" dogs", " cats", " keys", " boats", " trees", " birds", " cars", " kings"]
VOCABULARY = [
    END, "The", " the", " of", " store", " went", " to", "(", ")", "\n", "\t", '"', "re", "turn",
    *NAMES, *NOUNS, *FILLER,
]  # fmt: skip
ID = {text: i for i, text in enumerate(VOCABULARY)}
CONTEXT = 16
NOTHING: list[tuple[str, float]] = [(f" w{i}", 1.0 - i / 100) for i in range(10)]


def label(
    rows: Sequence[tuple[Sequence[str], int]],
    promoted: Sequence[tuple[str, float]] = NOTHING,
    values: Sequence[float] | None = None,
    extra: Sequence[tuple[int, int, float]] = (),
    kinds: Sequence[int] | None = None,
    background: int = 80,
) -> str:
    """The label of a feature that fires at one place of each row: (last tokens, how many follow).

    Rows are filled up in front with other words; after them come rows where nothing fires, and
    `extra` are (row, position, value) of further firing.
    """
    rng = np.random.default_rng(5)
    windows, at = [], []
    for number, (tail, follow) in enumerate(rows):
        lead = rng.permutation(60)[: CONTEXT - len(tail)]
        windows.append([ID[FILLER[i]] for i in lead] + [ID[t] for t in tail])
        at.append(number * CONTEXT + CONTEXT - 1 - follow)
    windows += [[ID[FILLER[i]] for i in rng.permutation(60)[:CONTEXT]] for _ in range(background)]
    each = list(kinds) if kinds is not None else [0, 1, 2]
    all_kinds = np.resize(np.array(each), len(windows))
    all_kinds[len(rows) :] = np.resize([0, 1, 2], background)
    strengths = list(values) if values is not None else [1.0] * len(rows)
    fired = dict(zip(at, strengths, strict=True))
    fired |= {row * CONTEXT + position: value for row, position, value in extra}
    offsets = np.array(sorted(fired))
    around = Surroundings.of(np.array(windows), all_kinds, KINDS, VOCABULARY)
    text = explain(
        around,
        offsets,
        np.array([fired[int(o)] for o in offsets]),
        [(ID[t], v) for t, v in promoted],
    )
    assert len(text) <= LONGEST
    assert text.isprintable()
    return text


def test_one_token_and_the_phrase_before_it() -> None:
    text = label([([" went", " to", " the", " store"], 0)] * 10)
    assert text.startswith('" store" after " went to the"')


def test_a_set_of_tokens() -> None:
    assert label([([" the"], 0)] * 6 + [([" of"], 0)] * 6).startswith('" the", " of"')


def test_below_most_of_the_weight_a_set_is_only_mostly_so() -> None:
    rows = [([" the"], 0)] * 12 + [([f" w{i}"], 0) for i in range(8)]
    text = label(rows)
    assert text.startswith('mostly " the"')
    assert "e.g." in text


def test_a_class_of_tokens() -> None:
    assert label([([n], 0) for n in NAMES] * 2).startswith("names, e.g.")
    assert label([([n], 0) for n in NOUNS] * 2).startswith("plural nouns, e.g.")


def test_a_class_below_its_bar_is_not_claimed() -> None:
    rows = [([n], 0) for n in NAMES[:4]] + [([f" w{i}"], 0) for i in range(12)]
    assert "names" not in label(rows)


def test_first_token() -> None:
    rows = [([f" w{i}"] * CONTEXT, CONTEXT - 1) for i in range(12)]
    assert label(rows).startswith("first token of the context")


def test_text_start() -> None:
    text = label([([END, "The"], 0)] * 10)
    assert text.startswith('"The" at text start')
    assert END not in text


def test_previous_token_needs_most_of_the_weight() -> None:
    after = [([" the", n], 0) for n in NAMES]
    assert 'names after " the"' in label(after)
    assert "after" not in label(after[:4] + [([n], 0) for n in NAMES[4:]])


def test_after_a_class() -> None:
    assert '" of" after names' in label([([n, " of"], 0) for n in NAMES])


def test_before_a_token() -> None:
    assert '" store" before " to"' in label([([" store", " to"], 1)] * 10)


def test_repeated_token() -> None:
    rows = [([" store", f" w{i}", " of", " store"], 0) for i in range(10)]
    once = [([" store", f" w{i}"], 1) for i in range(10)]
    assert "repeated" not in label(once)
    # the token is nearly as often new, so that repetition tells something
    others = [([t, f" w{i}", " of", t], 0) for i, t in enumerate(FILLER[20:40])]
    assert label(others).startswith("repeated tokens")
    assert "repeated" not in label(rows + once)


def test_inside_brackets() -> None:
    inside = [(["(", f" w{i}", f" w{i + 20}"], 0) for i in range(12)]
    assert "inside brackets" in label(inside)
    closed = [(["(", ")", f" w{i}", f" w{i + 20}"], 0) for i in range(12)]
    assert "inside brackets" not in label(closed)


@pytest.mark.parametrize(("kinds", "claimed"), [([0], True), ([0, 0, 0, 1], False)])
def test_kind_of_text(kinds: list[int], claimed: bool) -> None:
    text = label([([" store"], 0)] * 12, kinds=kinds, background=120)
    assert ("in documentation" in text) is claimed


def test_pieces_of_words() -> None:
    rows = [(["re", "turn"], 0)] * 3 + [([f" w{i}", "re", "turn"], 0) for i in range(9)]
    assert label(rows).startswith('"turn" after "re"')


def test_unlike_tokens_get_two_snippets() -> None:
    text = label([([f" w{i}"], 0) for i in range(20)])
    assert text.startswith("e.g. ")
    assert text.count("«") == 2
    assert "various" not in text


def test_peaks_are_called_so_when_weak_firing_is_elsewhere() -> None:
    rows = [([" store"], 0)] * 10
    assert not label(rows).startswith("peaks:")
    weak = [(10 + row, position, 0.2) for row in range(60) for position in range(4)]
    assert label(rows, extra=weak).startswith('peaks: " store"')


def test_weak_windows_do_not_count_among_many_strong_ones() -> None:
    rows = [([" store"], 0)] * 24 + [([" of"], 0)] * 24
    assert '" of"' not in label(rows, values=[1.0] * 24 + [0.3] * 24)


def test_promoted_tokens_that_stand_out() -> None:
    rows = [([" store"], 0)] * 10
    few = [(" Mary", 3.0), (" of", 2.8), *NOTHING[:8]]
    assert label(rows, few).endswith(' → " Mary", " of"')
    assert "→" not in label(rows)
    assert "→" not in label(rows, [(t, -1.0 - i) for i, (t, _) in enumerate(NOTHING)])


def test_promoted_tokens_of_one_kind() -> None:
    rows = [([" store"], 0)] * 10
    kind = [(n, 1.0) for n in NOUNS[:7]] + NOTHING[:3]
    assert label(rows, kind).endswith(' → plural nouns " dogs"')
    assert "→" not in label(rows, [(n, 1.0) for n in NOUNS[:5]] + NOTHING[:5])


def test_line_breaks_tabs_and_quotes_are_shown() -> None:
    assert '"⏎", "⇥"' in label([(["\n"], 0)] * 6 + [(["\t"], 0)] * 6)
    assert label([(['"'], 0)] * 10).startswith("""'"'""")


def test_the_same_label_every_time() -> None:
    rows = [([f" w{i}", t], 0) for i, t in enumerate([*NAMES, *NOUNS])]
    assert len({label(rows) for _ in range(3)}) == 1


def test_classes_are_masks_over_the_vocabulary() -> None:
    masks = token_classes(VOCABULARY)
    assert all(len(m) == len(VOCABULARY) for m in masks.values())
    assert masks["opening brackets"][ID["("]]
    assert not masks["punctuation"][ID[END]]
    assert masks["line breaks"][ID["\n"]]
