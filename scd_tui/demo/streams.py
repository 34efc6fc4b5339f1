"""Token windows of the three kinds of text, for training, records and the gate.

A model of context 64 reads windows of 64 tokens. Most begin where a text begins, because a
prompt does; the others begin anywhere, as most of a long text is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from scd_tui.demo import corpus, words
from scd_tui.demo.recipe import Look
from scd_tui.demo.tokenizer import encode_all, word_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Kind = Literal["documentation", "templates", "repeated"]
KINDS: tuple[Kind, ...] = ("documentation", "templates", "repeated")
Windows = NDArray[np.int64]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Lesson:
    """Windows to learn from, all arrays `[count, context]`.

    `weights`: how much foretelling a token counts. `again` and `answers`: the earlier position of
    the window that holds the token to come next, in a repeated sequence and for a marked word;
    `opening`: that of the bracket which the token to come closes; −1 where there is none.
    """

    windows: Windows
    weights: Weights
    again: Windows
    answers: Windows
    opening: Windows

    @classmethod
    def of(cls, windows: Windows, weights: Weights, **looks: Windows) -> Lesson:
        """A lesson in which what is not given is nowhere."""
        nowhere = {name: np.full_like(windows, -1) for name in ("again", "answers", "opening")}
        return cls(windows, weights, **{**nowhere, **looks})

    def looks(self, what: Look) -> Windows:
        """`[count, context]`: where a head with this task should look from each token, or −1.

        "before" is asked for where "again" is, which needs it.
        """
        if what == "before":
            return np.where(self.again >= 0, np.arange(self.again.shape[1]) - 1, -1)
        return {"again": self.again, "answers": self.answers, "opening": self.opening}[what]

    def rows(self, which: slice) -> Lesson:
        """Some of the windows."""
        return Lesson(*(getattr(self, name)[which] for name in _ARRAYS))

    @classmethod
    def joined(cls, lessons: Sequence[Lesson]) -> Lesson:
        """The windows of all `lessons`, in order."""
        return cls(
            *(np.concatenate([getattr(lesson, name) for lesson in lessons]) for name in _ARRAYS)
        )


_ARRAYS = ("windows", "weights", "again", "answers", "opening")


def _earlier(back: Windows) -> Windows:
    """Where, from each token on, the token to come points back to: `back` is how far, 0 nowhere."""
    found = np.full_like(back, -1)
    places = np.arange(1, back.shape[1]) - back[:, 1:]
    found[:, :-1] = np.where((back[:, 1:] > 0) & (places >= 0), places, -1)
    return found


def _pairs(text: Sequence[int], brackets: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Each closing bracket of a text with the one that it closes, by position."""
    still_open: list[int] = []
    openings = set(brackets.values())
    for place, token in enumerate(text):
        if token in openings:
            still_open.append(place)
        elif still_open and brackets.get(token) == text[still_open[-1]]:
            yield place, still_open.pop()


@dataclass(frozen=True)
class Stream:
    """Texts one after the other, an end-of-text token after each.

    `tokens [n]`, `starts [m]` the offsets at which an entry begins, `marked [n]` whether the token
    is what its sentence is about, `back [n]` how many tokens before it the marked token was said in
    the same text (0: not, or not marked), `closes [n]` how many tokens before it the bracket stands
    that it closes (0: none). The last `context` tokens are never the start of a window.
    """

    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]
    marked: NDArray[np.bool_]
    back: NDArray[np.int64]
    closes: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        texts: Sequence[Sequence[int]],
        context: int,
        marks: Sequence[int] | None = None,
        brackets: Mapping[int, int] | None = None,
    ) -> Stream:
        """A stream of texts given as token ids; token 0 ends each.

        `marks` are positions in each text, −1 for none; `brackets` the opening one of each closing.
        """
        lengths = np.array([len(t) + 1 for t in texts])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        tokens = np.array([i for t in texts for i in (*t, 0)], dtype=np.int64)
        kept = starts[starts < len(tokens) - context]
        marked = np.zeros(len(tokens), dtype=bool)
        back = np.zeros(len(tokens), dtype=np.int64)
        for text, start, mark in zip(
            texts, starts.tolist(), marks or [-1] * len(texts), strict=True
        ):
            if mark >= 0:
                marked[start + mark] = True
                said = [mark - n for n in range(mark) if text[n] == text[mark]]
                back[start + mark] = min(said, default=0)
        closes = np.zeros(len(tokens), dtype=np.int64)
        for text, start in zip(texts, starts.tolist(), strict=True):
            for place, opening in _pairs(text, brackets or {}):
                closes[start + place] = place - opening
        return cls(tokens, kept, marked, back, closes)

    def windows(
        self, rng: np.random.Generator, count: int, context: int, anywhere: float
    ) -> Windows:
        """`[count, context]` windows, a share `anywhere` of them from any offset."""
        return self.tokens[self.offsets(rng, count, context, anywhere)]

    def offsets(
        self, rng: np.random.Generator, count: int, context: int, anywhere: float
    ) -> NDArray[np.int64]:
        """The offsets `[count, context]` of such windows."""
        starts = rng.choice(self.starts, count)
        free = rng.random(count) < anywhere
        starts[free] = rng.integers(0, len(self.tokens) - context, int(free.sum()))
        return starts[:, None] + np.arange(context)

    def lesson(self, places: Windows, weights: Weights) -> Lesson:
        """The windows at `places`, offsets `[count, context]`."""
        windows = self.tokens[places]
        answers, opening = (_earlier(back[places]) for back in (self.back, self.closes))
        return Lesson.of(windows, weights, answers=answers, opening=opening)

    def tiled(self, count: int, context: int) -> Windows:
        """The first `count` windows of the stream cut into windows without overlap."""
        rows = min(count, len(self.tokens) // context)
        return self.tokens[: rows * context].reshape(rows, context)

    def in_order(self, count: int, context: int) -> Windows:
        """Up to `count` windows that begin at entries and do not overlap."""
        found: list[int] = []
        end = 0
        for start in self.starts.tolist():
            if start >= end and len(found) < count:
                found.append(start)
                end = start + context
        return self.tokens[np.array(found)[:, None] + np.arange(context)]


@dataclass(frozen=True)
class Texts:
    """The streams of one split, and the tokens that repeated sequences are made of."""

    documentation: Stream
    templates: Stream
    drills: tuple[Stream, ...]  # short, long, real sentences; in training only
    vocabulary: int
    words: NDArray[np.int64]
    context: int

    @classmethod
    def build(
        cls,
        tokenizer: PreTrainedTokenizerFast,
        documents: Sequence[corpus.Document],
        split: corpus.Split,
        seed: int,
        templates: int,
        context: int,
        drills: int = 0,
    ) -> Texts:
        """Streams of a split: its documents, `templates` template documents, `drills` a kind."""
        ids = word_ids(tokenizer)
        held_out = set(words.HELD_OUT_NAMES)
        nonce = [w for w in (tokenizer.decode([i])[1:] for i in ids) if w not in held_out]
        entries = [e for d in documents if d.split == split for e in d.entries]
        made = (
            corpus.drills(seed, drills, nonce, long=False),
            corpus.drills(seed, drills, nonce, long=True),
            corpus.indirect_objects(seed, drills, nonce),
        )
        return cls(
            Stream.of(encode_all(tokenizer, entries), context),
            _marked(
                tokenizer, corpus.sentences(split, seed, templates, nonce, marked=True), context
            ),
            tuple(_marked(tokenizer, texts, context) for texts in made) if drills else (),
            len(tokenizer),
            np.array(ids, dtype=np.int64),
            context,
        )

    def repeated(self, rng: np.random.Generator, count: int, longest: int | None = None) -> Lesson:
        """`count` windows of a random sequence of 4 to 31 (or `longest`) tokens, again and again.

        Half are drawn from the whole vocabulary, half from whole words; some begin with other
        random tokens. The weights `[count, context]` are 1 where a token can be foretold from
        those before it, and 0 elsewhere.
        """
        windows = np.empty((count, self.context), dtype=np.int64)
        weights = np.zeros((count, self.context), dtype=np.float32)
        again = np.full_like(windows, -1)
        for row in range(count):
            length = int(rng.integers(4, (longest or self.context // 2 - 1) + 1))
            lead = int(rng.integers(0, 12)) if rng.random() < 0.5 else 0
            if rng.random() < 0.5:
                draw = rng.integers(1, self.vocabulary, length + lead)
            else:
                draw = rng.choice(self.words, length + lead)
            sequence = np.resize(draw[lead:], self.context - lead)
            windows[row] = np.concatenate([draw[:lead], sequence])
            weights[row, lead + length + 1 :] = 1.0
            known = np.arange(lead + length, self.context - 1)
            again[row, known] = known + 1 - length
        return Lesson.of(windows, weights, again=again)

    def drilled(self, rng: np.random.Generator, counts: Sequence[int], emphasis: float) -> Lesson:
        """So many windows of each kind of drill; marked tokens weigh `emphasis`, others nothing."""
        lessons = []
        for stream, count in zip(self.drills, counts, strict=True):
            places = stream.offsets(rng, count, self.context, anywhere=0.0)
            weights = np.where(stream.marked[places], emphasis, 0.0).astype(np.float32)
            lessons.append(stream.lesson(places, weights))
        return Lesson.joined(lessons)

    def mixed(
        self,
        rng: np.random.Generator,
        count: int,
        shares: tuple[float, float, float],
        emphasis: float = 1.0,
    ) -> Lesson:
        """`count` windows of documentation, templates and repetition in these shares.

        Marked tokens weigh `emphasis`, others 1, and what cannot be foretold 0.
        """
        documentation, templates, _ = (round(count * share) for share in shares)
        plain = self.documentation.windows(rng, documentation, self.context, anywhere=0.7)
        places = self.templates.offsets(rng, templates, self.context, anywhere=0.1)
        marked = np.where(self.templates.marked[places], emphasis, 1.0).astype(np.float32)
        return Lesson.joined(
            [
                Lesson.of(plain, np.ones(plain.shape, dtype=np.float32)),
                self.templates.lesson(places, marked),
                self.repeated(rng, count - documentation - templates),
            ]
        )


def _marked(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], context: int) -> Stream:
    """A stream of texts, the token after each text's `corpus.MARK` marked."""
    parts = [text.partition(corpus.MARK) for text in texts]
    before = encode_all(tokenizer, [head for head, _, _ in parts])
    after = encode_all(tokenizer, [tail for _, _, tail in parts])
    marks = [len(b) if a else -1 for b, a in zip(before, after, strict=True)]
    brackets: dict[int, int] = {}
    for left, right in words.BRACKETS:
        (opening,), (closing,) = encode_all(tokenizer, [f" {left}", f" {right}"])
        brackets[closing] = opening
    return Stream.of([b + a for b, a in zip(before, after, strict=True)], context, marks, brackets)
