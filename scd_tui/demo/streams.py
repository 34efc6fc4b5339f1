"""Token windows of the three kinds of text, for training, records and the gate.

A model of context 64 reads windows of 64 tokens. Most begin where a text begins, because a
prompt does; the others begin anywhere, as most of a long text is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from scd_tui.demo import corpus, words
from scd_tui.demo.tokenizer import encode_all, word_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Kind = Literal["documentation", "templates", "repeated"]
KINDS: tuple[Kind, ...] = ("documentation", "templates", "repeated")
Windows = NDArray[np.int64]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Stream:
    """Texts one after the other, an end-of-text token after each.

    `tokens [n]`, `starts [m]` the offsets at which an entry begins, `marked [n]` whether the token
    is what its sentence is about. The last `context` tokens are never the start of a window.
    """

    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]
    marked: NDArray[np.bool_]

    @classmethod
    def of(
        cls, texts: Sequence[Sequence[int]], context: int, marks: Sequence[int] | None = None
    ) -> Stream:
        """A stream of texts given as token ids; token 0 ends each.

        `marks` are positions in each text, −1 for none.
        """
        lengths = np.array([len(t) + 1 for t in texts])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        tokens = np.array([i for t in texts for i in (*t, 0)], dtype=np.int64)
        kept = starts[starts < len(tokens) - context]
        marked = np.zeros(len(tokens), dtype=bool)
        if marks is not None:
            offsets = np.array(marks)
            marked[(starts + offsets)[offsets >= 0]] = True
        return cls(tokens, kept, marked)

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

    def repeated(
        self, rng: np.random.Generator, count: int, longest: int | None = None
    ) -> tuple[Windows, Weights]:
        """`count` windows of a random sequence of 4 to 31 (or `longest`) tokens, again and again.

        Half are drawn from the whole vocabulary, half from whole words; some begin with other
        random tokens. The weights `[count, context]` are 1 where a token can be foretold from
        those before it, and 0 elsewhere.
        """
        windows = np.empty((count, self.context), dtype=np.int64)
        weights = np.zeros((count, self.context), dtype=np.float32)
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
        return windows, weights

    def drilled(
        self, rng: np.random.Generator, counts: Sequence[int], emphasis: float
    ) -> tuple[Windows, Weights]:
        """So many windows of each kind of drill; marked tokens weigh `emphasis`, others nothing."""
        places = [
            (stream, stream.offsets(rng, count, self.context, anywhere=0.0))
            for stream, count in zip(self.drills, counts, strict=True)
        ]
        windows = np.concatenate([stream.tokens[p] for stream, p in places])
        marked = np.concatenate([stream.marked[p] for stream, p in places])
        return windows, np.where(marked, emphasis, 0.0).astype(np.float32)

    def mixed(
        self,
        rng: np.random.Generator,
        count: int,
        shares: tuple[float, float, float],
        emphasis: float = 1.0,
    ) -> tuple[Windows, Weights]:
        """`count` windows of documentation, templates and repetition in these shares.

        Marked tokens weigh `emphasis`, others 1, and what cannot be foretold 0.
        """
        documentation, templates, _ = (round(count * share) for share in shares)
        places = self.templates.offsets(rng, templates, self.context, anywhere=0.1)
        again, again_weights = self.repeated(rng, count - documentation - templates)
        windows = np.concatenate(
            [
                self.documentation.windows(rng, documentation, self.context, anywhere=0.7),
                self.templates.tokens[places],
                again,
            ]
        )
        weights = np.ones((count, self.context), dtype=np.float32)
        weights[documentation : documentation + templates][self.templates.marked[places]] = emphasis
        weights[documentation + templates :] = again_weights
        return windows, weights


def _marked(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], context: int) -> Stream:
    """A stream of texts, the token after each text's `corpus.MARK` marked."""
    parts = [text.partition(corpus.MARK) for text in texts]
    before = encode_all(tokenizer, [head for head, _, _ in parts])
    after = encode_all(tokenizer, [tail for _, _, tail in parts])
    marks = [len(b) if a else -1 for b, a in zip(before, after, strict=True)]
    return Stream.of([b + a for b, a in zip(before, after, strict=True)], context, marks)
