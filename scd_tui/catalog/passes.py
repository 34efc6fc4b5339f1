"""Bytes that a model's passes over a prompt take beside its weights, in float32.

The coefficients are counts of tensors of three kinds that are alive at a time, as torch's own profile of
allocations shows them on GPT-2, Pythia, Llama and Gemma 2: attention patterns `[heads, pos, pos]`, neurons
`[pos, mlp]` and streams `[pos, width]`. Attention and the MLP run one after the other, so that of what
comes and goes the larger counts; what a graph keeps adds up over the layers.
"""

from collections.abc import Callable
from dataclasses import dataclass

FLOAT = 4
"""Bytes of a number."""
SLACK = 1.2
"""What allocators take more than is asked of them; measured on GPT-2's size, on a CPU."""
_ENTRY = 60
"""Numbers that an entry in Python's table of active features takes the place of."""
ACTIVE = 100
"""Active features at a position, where neither k nor L0 is known."""


@dataclass(frozen=True)
class Sizes:
    """What decides how much memory a pass takes.

    `attention` is the width of all heads side by side. `capped`: attention scores go through a soft cap,
    whose result a graph keeps too.
    """

    layers: int
    heads: int
    width: int
    attention: int
    mlp: int
    vocabulary: int
    capped: bool = False

    def forward(self, tokens: int, read: int = 1) -> int:
        """Bytes of a pass without a graph, per row of a batch, with logits at `read` positions."""
        attention = 2.5 * self._pattern(tokens) + 6 * self._stream(tokens)
        mlp = 7.5 * self._neurons(tokens)
        return self._bytes(
            max(attention, mlp) + 2 * self._stream(tokens) + 3 * read * self.vocabulary
        )

    def graph(self, tokens: int, read: int = 1) -> int:
        """Bytes that the graph of a pass keeps, per row of a batch."""
        layer = (
            (1 + self.capped) * self._pattern(tokens)
            + 6.5 * self._neurons(tokens)
            + 12 * self._stream(tokens)
        )
        return self._bytes(self.layers * layer + 2 * read * self.vocabulary)

    def product(self, tokens: int, sources: int, active: int = ACTIVE) -> int:
        """Bytes of a vector-Jacobian product along direct paths, per row, shared out among the nodes of
        `sources` places with `active` features at a position."""
        attention = 3.3 * self._pattern(tokens) + 4 * self._stream(tokens)
        mlp = 3 * self._neurons(tokens)
        results = (4 + sources) * self._stream(tokens) + 2 * sources * tokens * active
        return self._bytes(max(attention, mlp) + results)

    def _pattern(self, tokens: int) -> float:
        # the mask is one head more
        return (self.heads + 1) * tokens * tokens

    def _neurons(self, tokens: int) -> float:
        return tokens * self.mlp

    def _stream(self, tokens: int) -> float:
        return tokens * max(self.width, self.attention)

    @staticmethod
    def _bytes(numbers: float) -> int:
        return int(SLACK * FLOAT * numbers)


@dataclass(frozen=True)
class DictionarySize:
    """`d_in` × `width` weights, `active` features at a position.

    `mapped`: its file holds just the float32 numbers that are computed with, so that it can stay there.
    `copied`: a file that does is made of it when it is streamed.
    """

    d_in: int
    width: int
    active: int = ACTIVE
    mapped: bool = False
    copied: bool = False

    @property
    def bytes(self) -> int:
        """Encoder, decoder, both biases, and the bounds or thresholds by which features are chosen."""
        return FLOAT * (2 * self.d_in * self.width + self.d_in + 4 * self.width)

    def kept(self, tokens: int) -> int:
        """Bytes of a reading that is kept: error and constant twice, active rows of encoder and decoder,
        and Python's table of them."""
        vectors = self.d_in * (2 * self.active + 5)
        return int(SLACK * FLOAT * tokens * (vectors + _ENTRY * self.active))

    def reading(self, tokens: int) -> int:
        """Bytes that come and go while it reads: what it would encode, and what its features write.

        The first are two large blocks, which allocators take as they are.
        """
        return int(FLOAT * tokens * (2 * self.width + SLACK * self.active * self.d_in))


@dataclass(frozen=True)
class Asked:
    """A prompt of so many tokens, to be attributed by a model of some sizes with some dictionaries.

    `read`: positions whose logits are looked at. `sources`: places directly upstream of a site, at most.
    `prompts`: 2 where there is a contrast prompt. `averaged`: gradients are averaged on the way from
    nothing (`integrated`).
    """

    sizes: Sizes
    dictionaries: tuple[DictionarySize, ...]
    read: int = 1
    sources: int = 4
    prompts: int = 1
    averaged: bool = False

    def held(self, tokens: int) -> int:
        """Bytes that a circuit holds as long as it can be asked about: its graph, and its readings."""
        readings = sum(one.kept(tokens) for one in self.dictionaries)
        # with a contrast prompt: the prompt's readings, and their differences, in which both have a part
        return self.sizes.graph(tokens, self.read) + (1 if self.prompts == 1 else 3) * readings

    def product(self, tokens: int) -> int:
        """Bytes of a vector-Jacobian product of one row, and of what nodes get of it."""
        active = max((one.active for one in self.dictionaries), default=0)
        return self.sizes.product(tokens, self.sources, active)

    def averaging(self, tokens: int) -> int:
        """Bytes of one row of a pass that is differentiated as a whole."""
        return self.sizes.graph(tokens, self.read) + self.sizes.product(tokens, 1, 0)

    def spliced(self, tokens: int) -> int:
        """Bytes of one row of a pass in which every dictionary stands in the stream."""
        readings = (one.kept(tokens) + one.reading(tokens) for one in self.dictionaries)
        return self.sizes.forward(tokens, self.read) + max(readings, default=0)

    def needed(self, tokens: int, targets: int = 1, ablations: int = 1) -> int:
        """Bytes that attributing and ablating take, with so many targets of a site and so many ablations
        in a pass: by default as few as can be."""
        passing = [
            (1 + targets) * self.product(tokens),  # the gradient is a row too
            ablations * self.sizes.forward(tokens, self.read),
            *(one.reading(tokens) for one in self.dictionaries),
        ]
        if self.averaged:
            passing.append(self.averaging(tokens))
        return self.held(tokens) + max(passing)


def longest(cost: Callable[[int], int], free: int, below: int) -> int:
    """The most tokens, fewer than `below`, whose cost in bytes is at most `free`; 0 where none are."""
    low, high = 0, below
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= free else (low, middle)
    return low
