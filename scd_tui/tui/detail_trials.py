"""What the feature pane says of sets of nodes, of edges, and of what was tried on them."""

from collections.abc import Iterable, Sequence

from scd_tui.graph import Completion, NodeId, Outcome, TokenShift, parse_node
from scd_tui.numbers import counted, probability, signed
from scd_tui.text import visible
from scd_tui.tui.ink import Ink, Line, Span, flow, wrap
from scd_tui.tui.item import Item
from scd_tui.tui.outline import members
from scd_tui.tui.paint import quoted, tone
from scd_tui.tui.store import CircuitStore, removable
from scd_tui.wording import ids_of_alike, seen_unquoted

SHOWN_COMPLETIONS = 5
SHOWN_HEADS = 4


def heading(text: str, width: int) -> list[Line]:
    return wrap([(text, "heading")], width)


def field(name: str, spans: Iterable[Span], width: int) -> list[Line]:
    return wrap([(name.ljust(7), "dim"), *spans], width, indent=7)


def completion_lines(completions: Sequence[Completion], width: int) -> list[Line]:
    """The first completions that are left, with their probabilities."""
    shown = completions[:SHOWN_COMPLETIONS]
    ids = ids_of_alike([completion.token for completion in shown], seen_unquoted)
    pieces: list[Line] = [
        (
            (visible(completion.token.text), "token"),
            (f"{number} {probability(completion.probability)}  ", "dim"),
        )
        for completion, number in zip(shown, ids, strict=True)
    ]
    return flow([("top then ", "dim")], pieces, width)


def token_lines(
    name: str,
    tokens: Sequence[tuple[str, float]],
    ink: Ink,
    width: int,
    ids: Sequence[str] | None = None,
) -> list[Line]:
    """Tokens with a number each: logits, or the log-probability that was lent to them, in nats."""
    pieces: list[Line] = [
        ((visible(token), "text"), (f"{number} {signed(value, digits=2)}  ", "dim"))
        for (token, value), number in zip(tokens, ids or [""] * len(tokens), strict=True)
    ]
    return flow([(f"{name} ", ink)], pieces or [(("nothing", "dim"),)], width)


def shift_lines(
    promoted: Sequence[TokenShift], suppressed: Sequence[TokenShift], width: int
) -> list[Line]:
    """What was lent to tokens, and taken from others."""

    def lines(name: str, shifts: Sequence[TokenShift], ink: Ink) -> list[Line]:
        ids = ids_of_alike([shift.token for shift in shifts], seen_unquoted)
        return token_lines(name, [(s.token.text, s.shift) for s in shifts], ink, width, ids)

    return [
        *lines("▲ promotes", promoted, "towards"),
        *lines("▼ holds back", suppressed, "away"),
    ]


def outcome_lines(
    title: str, outcome: Outcome, width: int, more: Iterable[Line] = ()
) -> list[Line]:
    """Predicted beside measured, then what became of the completions."""
    numbers: list[Span] = [
        (signed(outcome.predicted), tone(outcome.predicted)),
        (" predicted, ", "dim"),
        (signed(outcome.exact), "good" if outcome.predicted * outcome.exact >= 0 else "warn"),
        (" exact", "dim"),
    ]
    return [
        (),
        *heading(title, width),
        *field("effect", numbers, width),
        *more,
        *shift_lines(outcome.promoted, outcome.suppressed, width),
        *completion_lines(outcome.completions, width),
    ]


def set_lines(item: Item, store: CircuitStore, width: int) -> list[Line]:
    """Of what is pinned, of a supernode, or of all that is known at a token."""
    if item.kind == "token":
        position = int(item.key[1:])
        token = quoted(store.token(position))
        names = store.at_position(position)
        words = (
            f"{counted(len(names), 'node')} known at {token}, position {position}, of all sites. Each "
            "site is a cut through the whole model, so their effects do not add up to anything."
        )
        return wrap([(words, "text")], width)
    names = [name for name in members(item, store) if name in store.nodes]
    total = sum(store.nodes[name].effect for name in names)
    lines = field("sum", [(signed(total), tone(total)), (" of the effects", "dim")], width)
    words = "Where one of them feeds another, the sum counts that path twice; x takes them out together."
    lines += wrap([(words, "dim")], width)
    done = store.removals.get(frozenset(removable(names)))
    if done is not None:
        lines += outcome_lines("without them (exact, in this prompt)", done.outcome, width)
    lines += [()]
    for name in names:
        effect = store.nodes[name].effect
        token = quoted(store.token(parse_node(name).position))
        spans: list[Span] = [(f"{signed(effect, 7)} ", tone(effect)), (name, "name")]
        lines += wrap([*spans, (f" {token}", "token")], width, indent=9)
    keys: list[Span] = [("x", "key"), (" ablates them together · ", "dim")]
    if item.kind == "pins":
        keys += [("U", "key"), (" unites · ", "dim"), ("V", "key"), (" curve · ", "dim")]
    keys += [("a", "key"), (" takes apart" if item.kind == "super" else " unpins all", "dim")]
    return [*lines, (), *wrap(keys, width)]


def edge_lines(item: Item, store: CircuitStore, width: int) -> list[Line]:
    """The heads that carried the edge of a row, and what cutting it did."""
    if item.node is None or item.target is None or item.weight is None:
        return []
    lines: list[Line] = []
    heads = store.heads_of(item.node, item.target)
    if heads:
        spans: list[Span] = []
        for layer, head, weight in heads[:SHOWN_HEADS]:
            spans += [(f"L{layer}H{head} ", "token"), (f"{signed(weight)}  ", tone(weight))]
        rest = item.weight - sum(weight for *_, weight in heads)
        if len(heads) > SHOWN_HEADS:
            others = sum(weight for *_, weight in heads[SHOWN_HEADS:])
            spans += [(f"{counted(len(heads) - SHOWN_HEADS, 'other')} {signed(others)}  ", "dim")]
        if abs(rest) > 1e-3 * abs(item.weight):
            spans += [(f"round attention {signed(rest)}", "dim")]
        lines += field("heads", spans, width)
    cut = store.cuts.get((item.node, item.target))
    if cut is None and parse_node(item.node).site is None:
        return lines
    if cut is None:
        keys: list[Span] = [("c", "key"), (" cuts the edge", "dim")]
        return [*lines, *field("", keys, width)]
    words: list[Span] = [
        (signed(cut.along), tone(cut.along)),
        (" measured, into the target", "dim"),
    ]
    along = field("along", words, width)
    return [*lines, *outcome_lines("without this edge (exact)", cut.outcome, width, along)]


def node_trials(node: NodeId, store: CircuitStore, width: int) -> list[Line]:
    """What was tried on sets of nodes that a node is one of, and the note that is on it."""
    lines: list[Line] = []
    if note := store.marks.notes.get(node):
        lines += [(), *wrap([("✎ ", "key"), (visible(note), "text")], width, indent=2)]
    for nodes, done in store.removals.items():
        if node in nodes and len(nodes) > 1:
            others = counted(len(nodes) - 1, "other")
            title = f"without it and {others} together (exact)"
            lines += outcome_lines(title, done.outcome, width)
    return lines
