"""What was asked of a prompt, in words: the same in the app and in what is printed."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from scd_tui.graph import Circuit, Completion, Settings, Sink, SinkKept, SinkReason, Target, Token
from scd_tui.numbers import counted, listed, signed
from scd_tui.text import visible, whole

_NO_TEXT = re.compile(r"\\x[89a-f][0-9a-f]")
"""Of bytes that are no text, as tokens spell them."""


def without_dictionaries(model: str, what: str = "a circuit") -> str:
    """Said where something needs dictionaries and the model has none. `model` is its name."""
    return (
        f"{what} needs dictionaries, and {model} has none: bring some with --dictionaries FOLDER, or "
        "describe them in a TOML file"
    )


def settings_words(settings: Settings) -> str:
    """What was set other than it is by default, as far as it changes numbers."""
    words = {"integrated": "integrated gradients", "exact": "ablation of every node"}
    said = [f"effects by {words[settings.method]}"] if settings.method in words else []
    if settings.skip_first:
        said.append("the first position does not count")
    if settings.sinks:
        said.append("sinks count")
    if settings.freeze_patterns:
        said.append("attention patterns held")
    return ", ".join(said)


def sink_lines(
    sinks: Sequence[Sink], tokens: Sequence[Token], way_back: str = "--sinks"
) -> tuple[str, ...]:
    """Which positions are left out and why, or count all the same; safe to show.

    `way_back` puts them back: an option or a key.
    """
    groups: dict[tuple[SinkReason, SinkKept | None], list[Sink]] = {}
    for sink in sinks:
        groups.setdefault((sink.reason, sink.kept), []).append(sink)
    return tuple(
        _sink_line(reason, kept, group, tokens, way_back)
        for (reason, kept), group in groups.items()
    )


def _sink_line(
    reason: SinkReason,
    kept: SinkKept | None,
    sinks: Sequence[Sink],
    tokens: Sequence[Token],
    way_back: str,
) -> str:
    named = [f"{s.position} {visible(tokens[s.position].text)!r}" for s in sinks]
    if len(named) > 4:
        named = [*named[:3], f"{len(named) - 3} more"]
    one = len(sinks) == 1
    ratios = [sink.ratio for sink in sinks if sink.ratio is not None]
    norm = f"{'' if one else 'at least '}{min(ratios):.0f} times the others' norm" if ratios else ""
    why = {
        "norm": norm,
        "prepended": f"the prepended BOS{norm and f', {norm}'}",
        "trained": "the dictionaries were trained without " + ("it" if one else "them"),
        "asked": "skipped as asked",
    }[reason]
    where = f"position{'' if one else 's'} {listed(named)}"
    if kept is None:
        back = "" if reason == "asked" else f"; {way_back} puts {'it' if one else 'them'} back"
        return f"{where} left out: {why}{back}"
    counts = {
        "asked": "put back as asked",
        "alike": "counts, as its difference from the contrast prompt is of ordinary size"
        if one
        else "count, as their differences from the contrast prompt are of ordinary size",
        "only": "counts, as the two prompts differ at no other token"
        if one
        else "count, as the two prompts differ at no other token",
    }[kept]
    return f"{where} {counts}: {why}"


def contrast_words(target: Target, quote: Callable[[str], str] = repr) -> str:
    """What the target is held against, safe to show; "" where that is nothing."""
    words = " · ".join(quote(visible(whole(text))) for text in target.contrast_texts)
    return words + _ids_where_alike(target, [step.contrast for step in target.steps])


def wanted_words(target: Target, quote: Callable[[str], str] = repr) -> str:
    """The target, safe to show, with its id where it looks like the contrast."""
    words = quote(visible(whole(target.text)))
    return words + _ids_where_alike(target, [step.target for step in target.steps])


def _ids_where_alike(target: Target, tokens: Sequence[Completion | None]) -> str:
    """` #198`, the ids of some tokens, where target and contrast show as the same text; else ""."""
    seen = [_seen(visible(whole(text))) for text in (target.text, target.contrast_text)]
    if target.contrast is None or seen[0] != seen[1]:
        return ""
    return "".join(f" #{one.token.id}" for one in tokens if one is not None)


def _seen(shown: str) -> str:
    """What can be seen of a text that is shown. Blanks look alike, whichever they are."""
    return "".join(" " if character.isspace() else character for character in shown)


def likeliest_words(target: Target) -> str:
    """What the contrast is, where nobody chose it."""
    return "for each token the likeliest other" if target.later else "the likeliest other token"


def contrast_text(circuit: Circuit) -> str:
    """The contrast prompt with what was put after it; "" where there is none."""
    if circuit.contrast_prompt is None:
        return ""
    return joined(circuit.contrast_tokens)


def place_words(circuit: Circuit) -> str:
    """Where the target is read, if not right after the prompt, and else ""."""
    if circuit.said:
        return f"after {counted(len(circuit.said), 'more token')}"
    return "" if circuit.read_at is None else f"at position {circuit.read_at}"


def differing(prompt: str, other: str) -> str:
    """`other` from the first word on that is another than in `prompt`, with `…` for those before it."""
    pairs = enumerate(zip(prompt, other, strict=False))
    parted = next((at for at, (one, two) in pairs if one != two), min(len(prompt), len(other)))
    start = other.rfind(" ", 0, parted) + 1
    return f"…{other[start:]}" if start else other


def contrast_value_words(circuit: Circuit, digits: int = 3) -> str:
    """`−1.049 there, a difference of +3.130`; "" where that is not known."""
    there = circuit.contrast_value
    if there is None:
        return ""
    apart = signed(circuit.metric_value - there, digits=digits).strip()
    return f"{signed(there, digits=digits)} there, a difference of {apart}"


def ids_of_alike(tokens: Sequence[Token], shown: Callable[[str], str] = visible) -> tuple[str, ...]:
    """For each token ` #198`, its id, if another of them shows as the same text, and else "".

    `shown` is what can be seen of a text.
    """
    seen = [_seen(shown(token.text)) for token in tokens]
    count = Counter(seen)
    return tuple(
        f" #{token.id}" if count[text] > 1 else "" for token, text in zip(tokens, seen, strict=True)
    )


def names_of(tokens: Sequence[Token], typed: str) -> list[str]:
    """What each token is asked for by: its text, or its id, `#198`, where a text does not name it.

    That is so for bytes that are no text, for a token that says what another one says too, and for all
    where an id was `typed`.
    """
    count = Counter(token.text for token in tokens)
    by_id = re.fullmatch(r"#[0-9]+", typed) is not None
    return [
        f"#{token.id}"
        if by_id or count[token.text] > 1 or _NO_TEXT.search(token.text)
        else token.text
        for token in tokens
    ]


def seen_unquoted(text: str) -> str:
    """What can be seen of a text that no quotes end."""
    return visible(text).rstrip()


def joined(tokens: Iterable[Token]) -> str:
    """The text of tokens that follow one another, safe to show."""
    return visible(whole("".join(token.text for token in tokens)))
