"""The training texts are the same every time, and held-out things stay out of them."""

import random
import re

import pytest

from scd_tui.demo import corpus, words


@pytest.fixture(scope="module")
def training_sentences() -> list[str]:
    return corpus.sentences("train", seed=3, count=6000, nonce=["apple", "Path", "function"])


@pytest.fixture(scope="module")
def held_out_sentences() -> list[str]:
    return corpus.sentences("held-out", seed=3, count=3000)


def test_the_same_seed_gives_the_same_sentences_and_another_seed_others() -> None:
    assert corpus.sentences("train", 1, 50) == corpus.sentences("train", 1, 50)
    assert corpus.sentences("train", 1, 50) != corpus.sentences("train", 2, 50)


def test_documentation_is_the_same_twice_and_split_by_name_alone() -> None:
    once, again = corpus.documentation(60), corpus.documentation(60)
    assert once == again
    assert {d.split for d in once} == {"train", "held-out"}
    assert corpus.Document(once[0].name, ()).split == once[0].split


def test_no_documentation_text_is_on_both_sides_of_the_split() -> None:
    sides: dict[str, set[str]] = {"train": set(), "held-out": set()}
    for document in corpus.documentation(60):
        sides[document.split].update(document.entries)
    assert sides["train"] and sides["held-out"]
    assert not sides["train"] & sides["held-out"]


def test_held_out_names_are_in_no_training_sentence(training_sentences: list[str]) -> None:
    seen = set(re.findall(r"\w+", " ".join(training_sentences)))
    assert seen >= set(words.NAMES)
    assert not seen & set(words.HELD_OUT_NAMES)


def test_held_out_sentences_use_the_held_out_names_only(held_out_sentences: list[str]) -> None:
    seen = set(re.findall(r"\w+", " ".join(held_out_sentences)))
    assert seen >= set(words.HELD_OUT_NAMES)
    # Michael is part of a memorised prompt, and "Mark" and others are no other word here
    assert seen & set(words.NAMES) <= {"Michael"}


def test_held_out_nouns_never_stand_before_a_clause_in_training(
    training_sentences: list[str],
) -> None:
    forms = [*words.HELD_OUT_NOUNS, *words.HELD_OUT_NOUNS.values()]
    pattern = re.compile(rf"\b({'|'.join(forms)}) (that|which|near)\b")
    assert not [s for s in training_sentences if pattern.search(s)]
    assert [s for s in training_sentences if re.search(rf"\b({'|'.join(forms)})\b", s)]


def test_held_out_places_and_things_are_in_no_indirect_object_of_training() -> None:
    rng = random.Random(5)
    held_out = {*words.HELD_OUT_PLACES, *words.HELD_OUT_THINGS}
    for _ in range(500):
        text, _, _ = corpus.indirect_object(rng, "train")
        assert not held_out & set(re.findall(r"\w+", text))


def test_an_indirect_object_prompt_names_the_answer_once_and_the_subject_twice() -> None:
    rng = random.Random(6)
    for _ in range(200):
        text, answer, subject = corpus.indirect_object(rng, "held-out")
        named = re.findall(r"\w+", text)
        assert named.count(answer.strip()) == 1
        assert named.count(subject.strip()) == 2


def test_agreement_pairs_differ_in_the_subject_and_have_as_many_words() -> None:
    rng = random.Random(7)
    for _ in range(200):
        text, other, plural = corpus.agreement(rng, "held-out")
        assert text != other and len(text.split()) == len(other.split())
        first = set(text.split()) & set(words.HELD_OUT_NOUNS.values())
        assert bool(first) == plural


def test_brackets_are_closed_in_the_right_order() -> None:
    rng = random.Random(8)
    close = dict(words.BRACKETS)
    for _ in range(200):
        stack = []
        for token in corpus.bracket_tokens(rng, 16):
            if token in close:
                stack.append(close[token])
            elif token in close.values():
                assert stack.pop() == token
        assert not stack


def test_held_out_words_and_training_words_are_disjoint() -> None:
    assert not set(words.NAMES) & set(words.HELD_OUT_NAMES)
    assert not set(words.PLACES) & set(words.HELD_OUT_PLACES)
    assert not set(words.THINGS) & set(words.HELD_OUT_THINGS)
    assert not set(words.NOUNS) & set(words.HELD_OUT_NOUNS)


def test_marks_stand_before_the_word_in_question_and_are_gone_otherwise() -> None:
    marked = corpus.sentences("train", seed=4, count=400, marked=True)
    plain = corpus.sentences("train", seed=4, count=400)
    assert [text.replace(corpus.MARK, "") for text in marked] == plain
    assert not [text for text in plain if corpus.MARK in text]
    followed = {text.split(corpus.MARK)[1].split()[0] for text in marked if corpus.MARK in text}
    verbs = {*words.SINGULAR_VERBS, *words.PLURAL_VERBS}
    assert followed <= verbs | {name + "." for name in words.NAMES}
    assert followed & verbs and followed - verbs


@pytest.mark.parametrize("long", [False, True])
def test_a_drill_asks_for_the_word_that_was_not_said_again(long: bool) -> None:
    nonce = [f"word{n}" for n in range(40)]
    drills = corpus.drills(seed=9, count=200, nonce=nonce, long=long)
    assert drills == corpus.drills(seed=9, count=200, nonce=nonce, long=long)
    first = 0
    for drill in drills:
        said, _, asked = drill.partition(corpus.MARK)
        named = re.findall(r"word\d+", said)
        answer, pair = asked.strip(" ."), named[:2]
        assert answer in pair
        assert [named.count(word) for word in pair] == [2 - (w == answer) for w in pair]
        first += answer == pair[0]
    assert 60 < first < 140


def test_every_name_of_an_indirect_object_prompt_has_a_space_before_it() -> None:
    # so that it is the very token that answers
    assert all("{" not in template[0] for template in corpus.INDIRECT_OBJECT_TEMPLATES)


def test_indirect_objects_of_training_mark_the_answer() -> None:
    for text in corpus.indirect_objects(seed=9, count=100, nonce=["apple", "Path", "function"]):
        said, _, asked = text.partition(corpus.MARK)
        answer = re.findall(r"\w+", asked)[0]
        assert re.findall(r"\w+", said).count(answer) == 1
