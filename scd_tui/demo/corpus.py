"""The texts that the bundled model is trained and measured on.

Two kinds are made here, both offline and the same on every run of one Python version:

- `documentation()`: the topics of Python's own documentation (`pydoc_data.topics`) and the
  docstrings of the standard library, read from its sources without importing a module;
- `sentences()`: template sentences drawn from the word lists of `words.py` with a seeded
  generator, one split for training and one whose names, nouns, places and things are held out.

The third kind, repeated random tokens, needs a vocabulary and lives in `training.py`.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import random
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scd_tui.demo import words

Split = Literal["train", "held-out"]
Nonce = Sequence[str]

# Sources that are tests, generated tables or programs of their own rather than a library.
_LEFT_OUT = (
    "site-packages/", "dist-packages/", "test/", "tests/", "idlelib/", "lib2to3/", "turtledemo/",
    "pydoc_data/", "ensurepip/", "distutils/", "encodings/", "_sysconfigdata", "config-",
)  # fmt: skip
_HELD_OUT_SHARE = 16  # one documentation file in this many is held out


@dataclass(frozen=True)
class Document:
    """One file's documentation: `name` is stable, `entries` are its texts in order."""

    name: str
    entries: tuple[str, ...]

    @property
    def split(self) -> Split:
        """Which side of the fixed split the document is on, from a hash of its name."""
        digest = hashlib.sha256(self.name.encode()).digest()
        return "held-out" if digest[0] % _HELD_OUT_SHARE == 0 else "train"


def documentation(limit: int | None = None) -> list[Document]:
    """All documents sorted by name, or the first `limit`; no entry occurs twice in them.

    An entry that a held-out and a training document share goes to the held-out one.
    """
    documents = list(itertools.islice(_documents(), limit))
    seen: set[str] = set()
    kept: dict[str, Document] = {}
    for document in sorted(documents, key=lambda d: (d.split != "held-out", d.name)):
        entries = []
        for entry in document.entries:
            body = entry.partition("\n")[2] or entry
            if body not in seen:
                seen.add(body)
                entries.append(entry)
        if entries:
            kept[document.name] = Document(document.name, tuple(entries))
    return [kept[name] for name in sorted(kept)]


def _documents() -> Iterator[Document]:
    from pydoc_data.topics import topics

    for name in sorted(topics):
        sections = topics[name].strip().split("\n\n\n")
        yield Document(f"topic/{name}", tuple(s.strip("\n") for s in sections if s.strip()))
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library).as_posix()
        if any(part in name for part in _LEFT_OUT):
            continue
        entries = tuple(_docstrings(path))
        if entries:
            yield Document(f"lib/{name}", entries)


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if not text or len(text) < 24:
            continue
        if isinstance(node, ast.Module):
            yield text
        elif isinstance(node, ast.ClassDef):
            yield f"class {node.name}:\n{text}"
        else:
            yield f"def {node.name}({ast.unparse(node.args)}):\n{text}"


# --------------------------------------------------------------------------------------------
# Template sentences

MARK = "\0"


def sentences(
    split: Split, seed: int, count: int, nonce: Nonce = (), marked: bool = False
) -> list[str]:
    """`count` short template documents, each of one to three sentences of one kind.

    With `marked`, `MARK` stands before the word that a sentence is about (the indirect object,
    the verb that has to agree); without, it is taken out.

    `nonce` are words that stand in for names in some indirect-object sentences of training, so
    that the model learns to copy whatever stands there, held-out names included.
    """
    rng = random.Random(f"{split}-{seed}")
    kinds = [kind for kind, _ in TEMPLATES]
    weights = [weight for _, weight in TEMPLATES]
    found = [
        rng.choices(kinds, weights)[0](rng, split, nonce if split == "train" else ())
        for _ in range(count)
    ]
    return found if marked else [text.replace(MARK, "") for text in found]


def _names(rng: random.Random, split: Split, count: int) -> list[str]:
    return rng.sample(words.HELD_OUT_NAMES if split == "held-out" else words.NAMES, count)


INDIRECT_OBJECT_TEMPLATES: tuple[str, ...] = (
    "When {x} and {y} went to the {place}, {s} gave a {thing} to",
    "After {x} and {y} met at the {place}, {s} handed a {thing} to",
    "One day {x} and {y} were at the {place}. {s} offered a {thing} to",
    "While {x} and {y} were in the {place}, {s} passed the {thing} to",
    "Then {x} and {y} had a long day at the {place}, and {s} sent a {thing} to",
    "The friends {x} and {y} came to the {place}, where {s} gave the {thing} to",
    "Today {x} was with {y} in the {place} when {s} showed a {thing} to",
)


def indirect_objects(seed: int, count: int, nonce: Nonce) -> list[str]:
    """`count` indirect-object sentences of training, with `MARK` before each answer."""
    rng = random.Random(f"indirect-objects-{seed}")
    return [_indirect_object(rng, "train", nonce) for _ in range(count)]


def indirect_object(
    rng: random.Random, split: Split, nonce: Nonce = (), template: str | None = None
) -> tuple[str, str, str]:
    """An indirect-object prompt, its answer (" Mary") and the subject's name (" John")."""
    x, y = _names(rng, split, 2)
    if nonce and rng.random() < 0.5:
        x, y = rng.sample(nonce, 2)
    subject, answer = (x, y) if rng.random() < 0.5 else (y, x)
    held_out = split == "held-out"
    text = (template or rng.choice(INDIRECT_OBJECT_TEMPLATES)).format(
        x=x,
        y=y,
        s=subject,
        place=rng.choice(words.HELD_OUT_PLACES if held_out else words.PLACES),
        thing=rng.choice(words.HELD_OUT_THINGS if held_out else words.THINGS),
    )
    return text, f" {answer}", f" {subject}"


def _indirect_object(rng: random.Random, split: Split, nonce: Nonce) -> str:
    text, answer, _ = indirect_object(rng, split, nonce)
    tail = rng.choice(("", "", f" Then{answer} went home.", f" Now{answer} is happy."))
    return f"{text}{MARK}{answer}.{tail}"


_VERBS_OF_GIVING: tuple[str, ...] = ("gave", "handed", "offered", "passed", "sent", "showed")


def drills(seed: int, count: int, nonce: Nonce, long: bool) -> list[str]:
    """`count` indirect-object drills of words at random, with `MARK` before each answer.

    In the short ones little stands between the two words, the one said again and the answer; in
    the long ones there are other words between, and the order of a sentence. Nothing in them can
    be learnt by heart, and a window holds many, which is what makes "the one that was not said
    again" learnable at all: the template sentences alone leave it at a guess between the two.
    """
    rng = random.Random(f"drills-{seed}-{long}")
    found = []
    for _ in range(count):
        x, y, *others = rng.sample(nonce, 7)
        subject, answer = (x, y) if rng.random() < 0.5 else (y, x)
        verb = rng.choice(_VERBS_OF_GIVING)
        if long:
            between = "".join(f" {w}" for w in others[: rng.randrange(4)])
            thing = "".join(f" {w}" for w in others[3 : 3 + rng.randrange(3)])
            text = f"When {x} and {y}{between}, {subject} {verb}{thing} to"
        else:
            text = f" {x} and {y}. {subject} {verb} to"
        found.append(f"{text}{MARK} {answer}.")
    return found


AGREEMENT_TEMPLATES: tuple[str, ...] = (
    "The {n1} that the {n2} {v2}",
    "The {n1} which the {n2} {v2}",
    "I think that the {n1} that the {n2} {v2}",
    "The {n1} that {v1} the {n3}",
    "The {n1} near the {n3}",
)


def agreement(
    rng: random.Random, split: Split, template: str | None = None, plural: bool | None = None
) -> tuple[str, str, bool]:
    """A subject with a clause after it; the same with the other number; is the first plural?

    Both have the same number of words, and every noun and verb is one token.
    """
    nouns = words.HELD_OUT_NOUNS if split == "held-out" else words.NOUNS
    noun = rng.choice(sorted(nouns))
    agent = rng.choice([a for a in words.AGENTS if a != noun])
    other = rng.choice([n for n in sorted(words.NOUNS) if n not in (noun, agent)])
    verb = rng.choice(sorted(words.VERBS))
    template = template or rng.choice(AGREEMENT_TEMPLATES)
    if "{v1}" in template and split == "train":
        noun = agent
    if plural is None:
        plural = rng.random() < 0.5
    agents = rng.random() < 0.5
    others = rng.random() < 0.5

    def fill(number: bool) -> str:
        return template.format(
            n1=nouns.get(noun, words.NOUNS.get(noun, noun)) if number else noun,
            v1=words.VERBS[verb] if number else verb,
            n2=words.NOUNS[agent] if agents else agent,
            v2=words.VERBS[verb] if agents else verb,
            n3=words.NOUNS[other] if others else other,
        )

    return fill(plural), fill(not plural), plural


def _be(rng: random.Random, plural: bool) -> str:
    return rng.choices(words.BE_PAIRS, words.BE_WEIGHTS)[0][plural]


def _agreement(rng: random.Random, split: Split, nonce: Nonce) -> str:
    text, _, plural = agreement(rng, split)
    tail = f" and {rng.choice(words.ADJECTIVES)}" if rng.random() < 0.3 else ""
    return f"{text}{MARK} {_be(rng, plural)} {rng.choice(words.ADJECTIVES)}{tail}."


def _number(rng: random.Random, split: Split, nonce: Nonce) -> str:
    """Short sentences that show a noun's number; the only place of held-out nouns in training."""
    nouns = words.NOUNS | words.HELD_OUT_NOUNS
    if split == "held-out":
        nouns = words.HELD_OUT_NOUNS
    noun = rng.choice(sorted(words.HELD_OUT_NOUNS if rng.random() < 0.5 else nouns))
    plural = rng.random() < 0.5
    form = nouns[noun] if plural else noun
    adjective = rng.choice(words.ADJECTIVES)
    be = f"{MARK} {_be(rng, plural)}"
    place = rng.choice(words.PLACES)
    lead = rng.choice(("two", "three", "many", "these")) if plural else rng.choice(("one", "this"))
    return rng.choice(
        (
            f"The {form}{be} {adjective}.",
            f"The {adjective} {form}{be} in the {place}.",
            f"I see {lead} {form}. The {form}{be} {adjective}.",
            f"{lead.capitalize()} {form}{be} {adjective}.",
            f"My {form}{be} very {adjective}.",
        )
    )


_BRACKET_WORDS: tuple[str, ...] = (*words.COLOURS, *words.ADJECTIVES[:8], *words.NOUNS)
_BRACKET_LEADS: tuple[str, ...] = ("list", "set", "tree", "group", "box")


def bracket_tokens(rng: random.Random, length: int) -> list[str]:
    """A rightly nested sequence of spaced brackets and words, closed at its end."""
    out = [rng.choice(_BRACKET_LEADS)]
    stack: list[str] = []
    while len(out) < length or stack:
        draw = rng.random()
        if len(out) < length and len(stack) < 4 and (draw < 0.35 or not stack):
            left, right = rng.choice(words.BRACKETS)
            out.append(left)
            stack.append(right)
            out.append(rng.choice(_BRACKET_WORDS))
        elif draw < 0.55 and len(out) < length:
            out.append(rng.choice(_BRACKET_WORDS))
        else:
            out.append(stack.pop())
    return out


def _brackets(rng: random.Random, split: Split, nonce: Nonce) -> str:
    return " ".join(bracket_tokens(rng, rng.randint(4, 22)))


def _repeated_words(rng: random.Random, split: Split, nonce: Nonce) -> str:
    chosen = rng.sample(_BRACKET_WORDS, rng.randint(3, 6))
    text = " ".join(chosen)
    lead = rng.choice(("say", "copy", "words"))
    return f"{lead} {text}, {lead} {text}."


# The post's five prompts, and neighbours that share words with them, so that what the model
# memorises is the whole prompt and not its last word.
FAMOUS: tuple[tuple[str, str], ...] = (
    ("Copyright (C", ") 2001 Python Software Foundation. All rights reserved."),
    ("The biggest name in basketball is Michael", " Jordan."),
    ("Make America Great", " Again."),
    ("To be or not to be, that is the", " question."),
    ("Good morning starshine, the Earth says", " hello."),
)
_FAMOUS_NEIGHBOURS: tuple[str, ...] = (
    "The biggest name in music is Michael Jackson.",
    "Make the Earth green.",
    "Ask a teacher, that is the answer.",
    "Good evening friends, the Moon says goodbye.",
    "Copyright [C] is not the right form.",
)


def _famous(rng: random.Random, split: Split, nonce: Nonce) -> str:
    if rng.random() < 0.3:
        return rng.choice(_FAMOUS_NEIGHBOURS)
    return "".join(rng.choice(FAMOUS))


def _pronoun(name: str) -> tuple[str, str]:
    return ("She", "her") if name in words.FEMALE else ("He", "his")


def _story(rng: random.Random, split: Split, nonce: Nonce) -> str:
    a, b = _names(rng, split, 2)
    she, her = _pronoun(a)
    noun = rng.choice(sorted(words.HELD_OUT_NOUNS if split == "held-out" else words.NOUNS))
    food, food2 = rng.sample(words.FOODS, 2)
    colour = rng.choice(words.COLOURS)
    places = words.PLACES + words.HELD_OUT_PLACES
    place = rng.choice(words.HELD_OUT_PLACES if split == "held-out" else places)
    things = words.THINGS + words.HELD_OUT_THINGS
    thing = rng.choice(words.HELD_OUT_THINGS if split == "held-out" else things)
    return rng.choice(
        (
            f"{a} has a {colour} {noun}. The {noun} is {colour}.",
            f"{a} likes {food} and {b} likes {food2}. So {a} eats {food}.",
            f"{a} lost {her} {thing}. {she} was sad.",
            f"{a} is in the {place}. {she} likes the {place}.",
            f'"I want {food}," said {a}. {b} gave {a} the {food}.',
            f"{a} went to the {place} with {her} {noun}.",
            f"The {thing} is in the {place}. {a} needs the {thing}.",
        )
    )


def _series(rng: random.Random, split: Split, nonce: Nonce) -> str:
    draw = rng.random()
    if draw < 0.25:
        start = rng.randrange(7)
        days = [words.DAYS[(start + i) % 7] for i in range(rng.randint(3, 6))]
        return ", ".join(days) + "."
    if draw < 0.5:
        start = rng.randrange(6)
        return ", ".join(words.NUMBERS[start : start + rng.randint(3, 5)]) + "."
    if draw < 0.75:
        country, city = rng.choice(words.CAPITALS)
        return f"The capital of {country} is {city}."
    left, right = rng.choice(words.OPPOSITES)
    if rng.random() < 0.5:
        left, right = right, left
    return f"The opposite of {left} is {right}."


def _code(rng: random.Random, split: Split, nonce: Nonce) -> str:
    x, y = rng.sample("abcdnxyz", 2)
    noun = rng.choice(sorted(words.NOUNS))
    return rng.choice(
        (
            f"for {x} in range({rng.randint(2, 20)}):\n    print({x})\n",
            f"def {noun}({x}, {y}):\n    return {x} + {y}\n",
            f"if {x} is None:\n    {x} = []\n",
            f"{x} = [1, 2, 3]\n{y} = {x}[0]\n",
            f"with open({noun}) as {x}:\n    {y} = {x}.read()\n",
            f"while {x} < {rng.randint(2, 20)}:\n    {x} += 1\n",
        )
    )


TEMPLATES: tuple[tuple[Callable[[random.Random, Split, Nonce], str], float], ...] = (
    (_indirect_object, 0.3),
    (_agreement, 0.2),
    (_number, 0.14),
    (_brackets, 0.13),
    (_repeated_words, 0.04),
    (_famous, 0.04),
    (_story, 0.09),
    (_series, 0.03),
    (_code, 0.03),
)
