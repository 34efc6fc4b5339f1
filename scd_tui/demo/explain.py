"""Explanations of dictionary features, composed from where they fire and what they promote.

An explanation is short enough to stand in one line of a tree, and says only what was counted:

    " to" after " drink" in templates → names " Mary"
    peaks: plural nouns after "The" at text start → " are", " were"
    e.g. "…a long day at the «store»", "…went to the «bank»"

It is read off the feature's *peaks*: the strongest token of each of the windows in which it fires
most strongly, weighted by value. A claim needs `_MOST` of that weight, and has to be rarer among
all tokens; "mostly" marks a description that covers at least `_SOME`. "peaks:" is said when the
description covers less than `_OVERALL` of everything on which the feature fires, weak firing
included. Where no description of the token holds, a snippet of the strongest peak stands in its
place, the token between « and ». After the arrow are the tokens whose logits the decoder
direction raises most, if one or a few stand out or most are of one kind, else nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scd_tui.demo import words

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LONGEST = 64  # characters of an explanation
_PEAKS = 24  # windows looked at, at most
_FEWEST = 8  # and at least, however weak
_CONSIDERED = 2048  # strongest tokens from which windows are taken
_HALF = 0.5  # a peak is at least this share of the largest value
_MOST = 0.8  # share of the peaks' weight that a description has to cover
_SOME = 0.5  # and one that says "mostly"
_OVERALL = 0.5  # share of all activation below which a description is one of peaks only
_BEFORE = 8  # how many tokens "with … before" looks back
_LIFT = 4.0  # how much more frequent than elsewhere a token before has to be
_TOKENS = 4  # tokens in a set, at most
_TOKEN = 16  # characters of one token shown
_SNIPPET = 22  # characters kept free for a snippet
_STANDS_OUT = 1.35  # ratio of neighbouring logit effects that sets the first few apart
_END = "<|endoftext|>"

_DETERMINERS = "the a an this that these those each every any some no all its their his her my your"
_PREPOSITIONS = (
    "of in to for on at by with from into near as over under after before between about against "
    "through during without within while when if unless until"
)
_PRONOUNS = "he she it they we you i him them us who which self"
_AUXILIARIES = (
    "is are was were be been has have had do does did can could may might must should will would"
)


@dataclass(frozen=True)
class Surroundings:
    """The record stream, and for each of its tokens what explanations speak of.

    `tokens [n]`, `positions [n]` in the window, `before [n, 8]` the tokens that precede, nearest
    first (−1 outside), `following [n]` the next token (−1 at a window's end), `kinds [n]` the kind
    of text (the last is random sequences). `classes` are masks over the vocabulary, `flags [n]`
    what holds of a place in the stream; `usual` is how often a flag holds for each token of the
    vocabulary. `members` has a row for each of `classes`, and one column more than there are
    tokens, for token −1. `base…` are shares of the stream, `sizes` the classes' shares of the
    vocabulary.
    """

    tokens: Ints
    positions: Ints
    before: Ints
    following: Ints
    kinds: Ints
    kind_names: tuple[str, ...]
    base: Floats
    base_before: Floats
    base_kinds: Floats
    classes: dict[str, Mask]
    flags: dict[str, Mask]
    usual: dict[str, Floats]
    names: Sequence[str]
    context: int
    class_names: tuple[str, ...]
    members: NDArray[np.float64]
    base_classes: Floats
    sizes: Floats
    base_flags: dict[str, float]

    @classmethod
    def of(
        cls, windows: Ints, kinds: Ints, kind_names: tuple[str, ...], vocabulary: Sequence[str]
    ) -> Surroundings:
        """From windows `[rows, context]`, each row's kind, and the text of every token."""
        rows, context = windows.shape
        size = len(vocabulary)
        before = np.full((rows, context, _BEFORE), -1, dtype=np.int64)
        for back in range(1, min(_BEFORE, context - 1) + 1):
            before[:, back:, back - 1] = windows[:, :-back]
        following = np.full((rows, context), -1, dtype=np.int64)
        following[:, :-1] = windows[:, 1:]
        flat = before.reshape(-1, _BEFORE)
        tokens = windows.reshape(-1)
        each = np.repeat(kinds, context)
        counts = np.bincount(tokens, minlength=size)
        flags = {name: flag.reshape(-1) for name, flag in _flags(windows, vocabulary).items()}
        classes = token_classes(vocabulary)
        members = np.zeros((len(classes), size + 1))
        members[:, :size] = np.array(list(classes.values()))
        base = counts / len(tokens)
        return cls(
            tokens=tokens,
            positions=np.tile(np.arange(context), rows),
            before=flat,
            following=following.reshape(-1),
            kinds=each,
            kind_names=kind_names,
            base=base,
            base_before=np.bincount(flat[flat >= 0], minlength=size) / len(flat),
            base_kinds=np.bincount(each, minlength=len(kind_names)) / len(each),
            classes=classes,
            flags=flags,
            usual={
                name: np.bincount(tokens, flag, minlength=size) / np.maximum(counts, 1)
                for name, flag in flags.items()
            },
            names=vocabulary,
            context=context,
            class_names=tuple(classes),
            members=members,
            base_classes=members[:, :size] @ base,
            sizes=members[:, :size].mean(-1),
            base_flags={name: float(flag.mean()) for name, flag in flags.items()},
        )

    def class_of(self, tokens: Ints, weights: Floats, most: float, lift: float) -> str | None:
        """The narrowest class with `most` of the weight, `lift` times its share of all tokens."""
        shares = self.members[:, tokens] @ weights
        held = np.flatnonzero(shares >= np.maximum(most, lift * self.base_classes))
        return self.class_names[held[0]] if len(held) else None


def token_classes(vocabulary: Sequence[str]) -> dict[str, Mask]:
    """Kinds of token, from the narrowest to the widest, as masks over the vocabulary."""
    nouns = words.NOUNS | words.HELD_OUT_NOUNS
    lists: dict[str, set[str]] = {
        "women's names": {n for n in (*words.NAMES, *words.HELD_OUT_NAMES) if n in words.FEMALE},
        "names": {*words.NAMES, *words.HELD_OUT_NAMES},
        "days": set(words.DAYS),
        "number words": set(words.NUMBERS),
        "colours": set(words.COLOURS),
        "foods": set(words.FOODS),
        "places": {*words.PLACES, *words.HELD_OUT_PLACES},
        "singular verbs": {*words.VERBS, *words.SINGULAR_VERBS},
        "plural verbs": {*words.VERBS.values(), *words.PLURAL_VERBS},
        "plural nouns": set(nouns.values()),
        "singular nouns": set(nouns),
        "nouns": {*nouns, *nouns.values(), *words.PLACES, *words.HELD_OUT_PLACES, *words.THINGS}
        | set(words.HELD_OUT_THINGS),
        "adjectives": {*words.ADJECTIVES, *words.COLOURS},
        "auxiliary verbs": set(_AUXILIARIES.split()),
        "determiners": set(_DETERMINERS.split()),
        "pronouns": set(_PRONOUNS.split()),
        "prepositions": set(_PREPOSITIONS.split()),
    }
    lists["determiners"] |= {w.capitalize() for w in lists["determiners"]}
    lists["pronouns"] |= {w.capitalize() for w in lists["pronouns"]}
    lists["prepositions"] |= {w.capitalize() for w in lists["prepositions"]}
    stripped = [text.strip() for text in vocabulary]
    masks = {
        name: np.array([s in members for s in stripped], dtype=bool)
        for name, members in lists.items()
    }
    rules: dict[str, Callable[[str], bool]] = {
        "opening brackets": lambda t: t.endswith(("(", "[", "{")) and not _wordy(t),
        "closing brackets": lambda t: t.startswith((")", "]", "}")) and not _wordy(t),
        "digits": str.isdigit,
        "single letters": lambda t: len(t) == 1 and t.isalpha(),
        "all-capitals": lambda t: len(t) > 1 and t.isalpha() and t.isupper(),
        "identifiers": lambda t: "_" in t and _wordy(t),
        "punctuation": lambda t: bool(t) and not _wordy(t) and "�" not in t and t != _END,
        "capitalised words": lambda t: t[:1].isupper() and t.isalpha(),
    }
    for name, rule in rules.items():
        masks[name] = np.array([rule(s) for s in stripped], dtype=bool)
    line_breaks = [not s and "\n" in t for s, t in zip(stripped, vocabulary, strict=True)]
    masks["line breaks"] = np.array(line_breaks, dtype=bool)
    masks["spaces and line breaks"] = np.array([not s for s in stripped], dtype=bool)
    return masks


def explain(
    around: Surroundings, at: Ints, values: Floats, promoted: Sequence[tuple[int, float]]
) -> str:
    """One line for a feature that fires at stream offsets `at` with `values`.

    `promoted` are the tokens its direction raises most, strongest first.
    """
    peaks, weights = _peaks(around, at, values)
    overall = values / values.sum()
    described = _what(around, peaks, weights)
    where = _where(around, peaks, weights, described)
    arrow = _promotes(around, promoted)
    typical = _typical(around, peaks, weights)
    if described is None:
        return _fit("", where, arrow, around, typical)
    share = overall[described.holds(at)].sum()
    text = described.text if share >= _OVERALL else f"peaks: {described.text}"
    vague = not described.exact and not any(
        p.startswith(("after", "before", "with")) for p in where
    )
    return _fit(text, where, arrow, around, typical if vague else [])


@dataclass(frozen=True)
class _Description:
    """What the tokens are, where in the stream it holds, and whether it names the tokens."""

    text: str
    holds: Callable[[Ints], Mask]
    exact: bool = False


def _peaks(around: Surroundings, at: Ints, values: Floats) -> tuple[Ints, Floats]:
    """Offsets of the strongest token of the strongest windows, and their weights, summing to 1.

    Of windows that agree in the peak and the four tokens before it only the strongest counts,
    unless too few are left.
    """
    order = np.arange(len(values))
    if len(values) > _CONSIDERED:
        floor = np.partition(values, len(values) - _CONSIDERED)[len(values) - _CONSIDERED]
        order = np.flatnonzero(values >= floor)
    order = order[np.argsort(-values[order], kind="stable")]
    _, first = np.unique(at[order] // around.context, return_index=True)
    order = order[np.sort(first)]
    enough = values[order] >= _HALF * values[order[0]]
    order = order[: max(_FEWEST, int(enough.sum()))]
    seen: set[tuple[int, ...]] = set()
    kept = []
    for i in order.tolist():
        key = (int(around.tokens[at[i]]), *around.before[at[i], :4].tolist())
        if key not in seen:
            seen.add(key)
            kept.append(i)
        if len(kept) == _PEAKS:
            break
    chosen = np.array(kept) if len(kept) >= _FEWEST else order[:_PEAKS]
    weights = values[chosen]
    return at[chosen], weights / weights.sum()


def _what(around: Surroundings, peaks: Ints, weights: Floats) -> _Description | None:
    tokens = around.tokens[peaks]
    start = around.positions[peaks] == 0
    if weights[start].sum() >= _MOST:
        return _Description("first token of the context", lambda at: around.positions[at] == 0)
    shares = _summed(tokens, weights, len(around.names))
    found = _token_set(around, shares, _MOST, 0.06)
    if found is not None:
        return _these(around, found, "")
    for most, prefix in ((_MOST, ""), (_SOME, "mostly ")):
        # a class says something only if it is rarer among all tokens than in this feature
        name = around.class_of(tokens, weights, most, 2.0)
        if name is not None:
            mask = around.classes[name]
            return _Description(prefix + name, partial(_in_class, around.tokens, mask))
        for name in ("word continuations", "starts of split words", "line starts"):
            flag = around.flags[name]
            if weights[flag[peaks]].sum() >= max(most, 2 * around.base_flags[name]):
                return _Description(prefix + name, flag.__getitem__)
        if prefix == "":
            found = _token_set(around, shares, _SOME, 0.12)
            if found is not None:
                return _these(around, found, "mostly ")
    return None


def _these(around: Surroundings, found: tuple[int, ...], prefix: str) -> _Description:
    text = prefix + ", ".join(_quote(around, t) for t in found)
    mask = np.zeros(len(around.names), dtype=bool)
    mask[list(found)] = True
    return _Description(text, partial(_in_class, around.tokens, mask), exact=not prefix)


def _summed(tokens: Ints, weights: Floats, size: int) -> Floats:
    return np.bincount(tokens, weights, minlength=size).astype(np.float64)


def _in_class(tokens: Ints, mask: Mask, at: Ints) -> Mask:
    held: Mask = mask[tokens[at]]
    return held


def _token_set(
    around: Surroundings, shares: Floats, most: float, least: float
) -> tuple[int, ...] | None:
    """The fewest tokens that cover `most`, each with `least` of the weight, or None."""
    order = np.argsort(-shares, kind="stable")[:_TOKENS]
    running = 0.0
    for count, token in enumerate(order, 1):
        running += float(shares[token])
        if shares[token] < least:
            return None
        if running >= most:
            return tuple(int(t) for t in order[:count])
    return None


def _where(
    around: Surroundings, peaks: Ints, weights: Floats, described: _Description | None
) -> list[str]:
    """What holds of the place, the most telling first."""
    size = len(around.names)
    found: list[str] = []
    only = around.tokens[peaks]
    previous = around.before[peaks]
    phrase: list[int] = []
    for back in range(3):
        known = previous[:, back] >= 0
        shares = _summed(previous[known, back], weights[known], size)
        best = int(shares.argmax())
        if shares[best] < _MOST or around.base[best] > 0.4:
            break
        phrase.insert(0, best)
        if around.names[best] == _END:
            break
    if phrase:
        joined = "".join(around.names[t] for t in phrase)
        if around.names[phrase[0]] == _END:
            rest = joined.removeprefix(_END)
            found.append(f"after {_shown(rest)} at text start" if rest else "at text start")
        else:
            found.append(f"after {_shown(joined)}")
    else:
        known = previous[:, 0] >= 0
        shares = _summed(previous[known, 0], weights[known], size)
        pair = _token_set(around, shares, _MOST, 0.15)
        if pair is not None and len(pair) <= 3:
            found.append("after " + ", ".join(_quote(around, t) for t in pair))
        else:
            name = around.class_of(previous[:, 0], weights, _MOST, 2.5)
            if name is not None:
                found.append(f"after {name}")
    for flagged, text in (
        ("pair again", "in a repeated sequence"),
        ("again", "repeated"),
        ("in brackets", "inside brackets"),
    ):
        flag = around.flags[flagged]
        usual = float((around.usual[flagged][only] * weights).sum())
        if weights[flag[peaks]].sum() >= _MOST and max(usual, around.base_flags[flagged]) <= 0.5:
            found.append(text)
            break
    if not found:
        counted = np.bincount(previous[previous >= 0], minlength=size) / len(peaks)
        lifted = np.where(counted >= _LIFT * around.base_before, np.minimum(counted, 1.0), 0.0)
        best = int(lifted.argmax())
        if lifted[best] >= _MOST:
            found.append(f"with earlier {_quote(around, best)}")
    known = around.following[peaks] >= 0
    shares = _summed(around.following[peaks][known], weights[known], size)
    best = int(shares.argmax())
    if shares[best] >= _MOST and around.base[best] <= 0.2 and around.names[best] != _END:
        found.append(f"before {_quote(around, best)}")
    elif not found:
        name = around.class_of(around.following[peaks], weights, _MOST, 2.5)
        if name is not None:
            found.append(f"before {name}")
    kinds = np.bincount(around.kinds[peaks], weights, minlength=len(around.kind_names))
    best = int(kinds.argmax())
    if kinds[best] >= 0.9 and around.base_kinds[best] < 0.6:
        found.append(f"in {around.kind_names[best]}")
    return found


def _promotes(around: Surroundings, promoted: Sequence[tuple[int, float]]) -> str:
    """The tokens that stand out among the promoted ones, the kind that most are of, or nothing."""
    if not promoted or promoted[0][1] <= 0:
        return ""
    ids = np.array([token for token, _ in promoted])
    if len(ids) >= 8:
        for row, name in enumerate(around.class_names):
            counted = int(around.members[row, ids].sum())
            if (
                counted >= 0.7 * len(ids)
                and around.sizes[row] <= 0.2
                and around.members[row, ids[0]]
            ):
                return f" → {name} {_quote(around, int(ids[0]))}"
    effects = [max(value, 0.0) for _, value in promoted]
    ratios = [a / b if b > 0 else np.inf for a, b in pairwise(effects[:4])]
    if ratios and max(ratios) >= _STANDS_OUT:
        kept = int(np.argmax(ratios)) + 1
        return " → " + ", ".join(_quote(around, int(t)) for t in ids[:kept])
    return ""


def _typical(around: Surroundings, peaks: Ints, weights: Floats) -> list[int]:
    """Peaks to show, strongest first: in the kind of text that has most weight, each token once."""
    kinds = around.kinds[peaks]
    counted = np.bincount(kinds, weights, minlength=len(around.kind_names))
    # the last kind, random sequences, reads badly: only if there is little else
    usual = int(counted[:-1].argmax())
    if counted[usual] < 0.25:
        usual = int(counted.argmax())
    # a peak with text before it shows more than one at the start of a window
    led = (around.before[peaks, 0] >= 0) & (around.before[peaks, 1] >= 0)
    order = np.lexsort((np.arange(len(peaks)), ~led, kinds != usual))
    seen: set[int] = set()
    chosen = []
    for peak in peaks[order].tolist():
        token = int(around.tokens[peak])
        if token not in seen:
            seen.add(token)
            chosen.append(peak)
    return chosen


def _fit(
    what: str, where: list[str], arrow: str, around: Surroundings, typical: Sequence[int]
) -> str:
    """The parts that have room, the first ones first; snippets of `typical`, if there are any."""
    reserved = _SNIPPET if typical else 0
    if not what and "repeated" in where:
        what, where = "repeated tokens", [part for part in where if part != "repeated"]
    text = what or ("tokens" if where else "")
    for part in where:
        if len(text) + 1 + len(part) + reserved <= LONGEST:
            text += f" {part}"
    if len(text) + reserved > LONGEST:
        typical, reserved = [], 0
    tail = arrow if len(text) + len(arrow) + reserved <= LONGEST else ""
    if typical:
        lead = f"{text}, e.g. " if text not in ("", "tokens") else "e.g. "
        room = LONGEST - len(lead) - len(tail)
        two = len(typical) > 1 and room >= 2 * _SNIPPET
        second = f", {_snippet(around, typical[1], room // 2 - 2)}" if two else ""
        text = lead + _snippet(around, typical[0], room - len(second)) + second
    text += tail
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _snippet(around: Surroundings, peak: int, room: int) -> str:
    """The peak between « and », with as much of the text before it as there is room for."""
    token = _visible(around.names[int(around.tokens[peak])])
    space = " " if token.startswith(" ") and token.strip() else ""
    shown = f"{space}«{token[len(space) :][: min(_TOKEN, room - 6)]}»"
    following = int(around.following[peak])
    rest = _visible(around.names[following]) if following >= 0 else ""
    if rest[:1].isalpha() and token[-1:].isalpha() and len(shown) + len(rest) + 4 <= min(room, 18):
        shown += rest
    for back in around.before[peak]:
        name = around.names[int(back)] if back >= 0 else _END
        if name == _END:
            break
        longer = _visible(name) + shown
        if len(longer) + 3 > room:
            shown = "…" + shown.lstrip()
            break
        shown = longer
    else:
        shown = "…" + shown.lstrip()
    return f'"{shown.strip()}"'


def _flags(windows: Ints, vocabulary: Sequence[str]) -> dict[str, Mask]:
    rows, context = windows.shape
    size = len(vocabulary)
    again = np.zeros((rows, context), dtype=bool)
    pair_again = np.zeros((rows, context), dtype=bool)
    pairs = windows[:, :-1] * size + windows[:, 1:]
    for gap in range(1, context):
        again[:, gap:] |= windows[:, gap:] == windows[:, :-gap]
        if gap < context - 1:
            pair_again[:, gap + 1 :] |= pairs[:, gap:] == pairs[:, :-gap]
    change = np.array([sum(t.count(c) for c in "([{") for t in vocabulary]) - np.array(
        [sum(t.count(c) for c in ")]}") for t in vocabulary]
    )
    depth = np.zeros(rows, dtype=np.int64)
    inside = np.zeros((rows, context), dtype=bool)
    ends = np.array([t == _END for t in vocabulary])
    for position in range(context):
        inside[:, position] = depth > 0
        column = windows[:, position]
        depth = np.where(ends[column], 0, np.maximum(depth + change[column], 0))
    continues = np.array([t[:1].isalpha() for t in vocabulary])
    open_ended = np.array([t[-1:].isalpha() for t in vocabulary])
    breaks = np.array(["\n" in t for t in vocabulary])
    wordy = np.array([_wordy(t) for t in vocabulary])
    inner = np.zeros((rows, context), dtype=bool)
    inner[:, 1:] = continues[windows[:, 1:]] & open_ended[windows[:, :-1]]
    split = np.zeros((rows, context), dtype=bool)
    split[:, :-1] = inner[:, 1:] & ~inner[:, :-1]
    line = np.zeros((rows, context), dtype=bool)
    line[:, 1:] = breaks[windows[:, :-1]] & wordy[windows[:, 1:]]
    return {
        "again": again,
        "pair again": pair_again,
        "in brackets": inside & (change[windows] == 0),
        "word continuations": inner,
        "starts of split words": split,
        "line starts": line,
    }


def _wordy(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _visible(text: str) -> str:
    """Text in one line; runs of spaces as one, double quotes as single ones."""
    text = _marked(text).replace('"', "'")
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def _marked(text: str) -> str:
    for old, new in (("\r", ""), ("\n", "⏎"), ("\t", "⇥")):
        text = text.replace(old, new)
    return text


def _shown(text: str, keep_end: bool = True) -> str:
    """A token or phrase in quotes, its spaces kept; of a long one the end, or the beginning."""
    text = _marked(text)
    if len(text) > _TOKEN:
        text = f"…{text[-_TOKEN + 1 :]}" if keep_end else f"{text[: _TOKEN - 1]}…"
    return f"'{text}'" if '"' in text else f'"{text}"'


def _quote(around: Surroundings, token: int) -> str:
    text = around.names[token]
    if text == _END:
        return "end of text"
    if not text.strip(" ") and len(text) > 1:
        return f"{len(text)} spaces"
    return _shown(text, keep_end=False)
