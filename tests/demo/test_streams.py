"""What training is shown beside the texts: where the next token was said before."""

import numpy as np
import pytest

from scd_tui import demo
from scd_tui.demo import corpus
from scd_tui.demo.streams import Lesson, Stream, Texts

CONTEXT = 64


@pytest.fixture(scope="module")
def texts() -> Texts:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(demo.model_dir())
    return Texts.build(
        tokenizer,
        corpus.documentation(12),
        "train",
        seed=3,
        templates=2000,
        context=CONTEXT,
        drills=300,
    )


def said_before(lesson: Lesson, places: np.ndarray) -> tuple[int, bool]:
    """How many places are named, and whether each holds the token that comes next."""
    rows, now = np.nonzero(places >= 0)
    there = places[rows, now]
    same = lesson.windows[rows, there] == lesson.windows[rows, now + 1]
    return len(rows), bool((same & (there <= now)).all())


def test_in_repetition_the_place_named_holds_the_token_to_come(texts: Texts) -> None:
    lesson = texts.repeated(np.random.default_rng(0), 50)
    count, right = said_before(lesson, lesson.again)
    assert right
    # everything that can be foretold has such a place, and nothing else has
    assert ((lesson.again[:, :-1] >= 0) == (lesson.weights[:, 1:] > 0)).all()
    assert count > 1000
    assert (lesson.answers == -1).all()


def test_a_drill_s_answer_was_said_once_before_in_its_text(texts: Texts) -> None:
    lesson = texts.drilled(np.random.default_rng(0), (20, 20, 20), emphasis=8.0)
    count, right = said_before(lesson, lesson.answers)
    assert right
    marked = int((lesson.weights[:, 1:] > 0).sum())
    # at a window's edges its text may have begun before the window
    assert 0.95 * marked <= count <= marked
    assert (lesson.again == -1).all()


def test_the_token_before_is_where_a_head_should_look_that_serves_repetition(texts: Texts) -> None:
    lesson = texts.repeated(np.random.default_rng(0), 5)
    before = lesson.looks("before")
    rows, now = np.nonzero(before >= 0)
    assert (before[rows, now] == now - 1).all()
    assert ((before >= 0) == (lesson.looks("again") >= 0)).all()


def test_mixed_windows_keep_what_belongs_to_them(texts: Texts) -> None:
    lesson = texts.mixed(np.random.default_rng(0), 40, (0.25, 0.5, 0.25), emphasis=8.0)
    assert lesson.windows.shape == (40, CONTEXT)
    assert (lesson.again[:30] == -1).all()
    assert (lesson.answers[:10] == -1).all() and (lesson.answers[30:] == -1).all()
    assert said_before(lesson, lesson.answers) == (int((lesson.answers >= 0).sum()), True)
    assert said_before(lesson, lesson.again)[1]


def test_parts_of_a_lesson_join_to_the_whole(texts: Texts) -> None:
    lesson = texts.mixed(np.random.default_rng(1), 9, (0.3, 0.4, 0.3))
    parts = Lesson.joined([lesson.rows(slice(0, 4)), lesson.rows(slice(4, None))])
    for name in ("windows", "weights", "again", "answers", "opening"):
        assert (getattr(parts, name) == getattr(lesson, name)).all()


def test_a_marked_word_is_looked_for_in_its_own_text_only(texts: Texts) -> None:
    """The nearest place where it stood, and none in the text before."""
    stream = Stream.of([[5, 6, 7, 8, 6, 9, 6], [4, 9]], context=2, marks=[6, 1])
    assert np.flatnonzero(stream.marked).tolist() == [6, 9]
    assert stream.back[[6, 9]].tolist() == [2, 0]


def test_a_closing_bracket_points_to_the_one_that_it_closes() -> None:
    """Nested pairs of two kinds; what closes nothing points nowhere."""
    text = [9, 1, 5, 2, 6, 12, 11, 7, 11]
    stream = Stream.of([text, [1, 11]], context=2, brackets={11: 1, 12: 2})
    assert stream.closes.tolist() == [0, 0, 0, 0, 0, 2, 5, 0, 0, 0, 0, 1, 0]


def test_before_a_closing_bracket_the_window_says_where_it_was_opened(texts: Texts) -> None:
    lesson = texts.mixed(np.random.default_rng(2), 200, (0.0, 1.0, 0.0))
    rows, now = np.nonzero(lesson.opening >= 0)
    assert len(rows) > 100
    pairs = {
        (int(lesson.windows[row, lesson.opening[row, at]]), int(lesson.windows[row, at + 1]))
        for row, at in zip(rows, now, strict=True)
    }
    assert len(pairs) == 3
    assert len({closing for _, closing in pairs}) == len({opening for opening, _ in pairs}) == 3
