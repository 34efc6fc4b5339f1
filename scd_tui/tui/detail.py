"""What the feature pane says of the row under the cursor: pure functions to lines of spans."""

from collections.abc import Sequence

from rich.cells import cell_len

from scd_tui.graph import EMBEDDINGS, Circuit, Completion, NodeId, Target, parse_node, parse_site
from scd_tui.neuronpedia.records import Activation, Histogram
from scd_tui.numbers import counted, percent, probability, signed, sparkline, tenths
from scd_tui.text import visible
from scd_tui.tui.detail_trials import (
    completion_lines,
    edge_lines,
    field,
    heading,
    node_trials,
    set_lines,
    shift_lines,
    token_lines,
)
from scd_tui.tui.explained import explanation_lines, origin_lines
from scd_tui.tui.ink import Ink, Line, Span, plain, wrap
from scd_tui.tui.item import Item
from scd_tui.tui.paint import describe_node, quoted, short_token, site_title, tone
from scd_tui.tui.records import RecordState
from scd_tui.tui.store import CircuitStore
from scd_tui.weak_edges import WEAK_WORDS
from scd_tui.wording import (
    contrast_text,
    contrast_value_words,
    contrast_words,
    joined,
    likeliest_words,
    settings_words,
    sink_lines,
)

SHOWN_CONTEXTS = 10
SHOWN_LOGITS = 8
VALUE_CELLS = 7
"""Cells for the value of a top activation."""
SPARKLINE_CELLS = 40
_END_CELLS = 6
CONTEXT_LINES = 3
"""Lines that one top activation may take before it is cut down to what surrounds its peak."""


def shade(level: int) -> Ink:
    """The ink for a token whose activation is `level` tenths of the largest."""
    return "text" if level == 0 else "shade1" if level < 4 else "shade2" if level < 7 else "shade3"


_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def shaded(
    tokens: Sequence[str],
    values: Sequence[float],
    peak: int | None = None,
    target: int | None = None,
) -> list[Span]:
    """Tokens with their activations: shaded, and numbered in tenths of the largest.

    The token at `peak` stands between `«` and `»`, and that at `target` after `→`, so that colour is
    not needed to find them.
    """
    largest = max(values, default=0.0)
    spans: list[Span] = []
    for index, (token, value) in enumerate(zip(tokens, values, strict=False)):
        level = tenths(value, largest)
        # The space stays outside of the signs, where a line can be broken.
        lead = len(token) - len(token.lstrip(" ")) if index in (peak, target) else 0
        if lead:
            spans.append((token[:lead], "text"))
        if index == target:
            spans.append(("→", "key"))
        if index == peak:
            spans.append((f"«{token[lead:]}»", "peak"))
        else:
            spans.append((token[lead:], shade(level)))
        if level and index != peak:
            spans.append((_SUPERSCRIPTS[level], shade(level)))
    return spans


def window(activation: Activation, width: int) -> tuple[list[str], list[float], int, bool, bool]:
    """Tokens and values of a context around its peak that fit in `width` cells or so.

    Returns them with the peak's new index, and whether something was cut before and after.
    """
    tokens = [visible(token) for token in activation.tokens]
    values = list(activation.values)
    peak = min(max(activation.max_index, 0), len(tokens) - 1)
    start, end = peak, peak + 1
    used = cell_len(tokens[peak]) + 3
    while start > 0 or end < len(tokens):
        # What comes before a feature fires explains it more often than what follows.
        back = start > 0 and (end >= len(tokens) or (peak - start) <= 2 * (end - peak - 1))
        token = tokens[start - 1] if back else tokens[end]
        size = cell_len(token) + 1
        if used + size > width:
            break
        used += size
        if back:
            start -= 1
        else:
            end += 1
    cut_before, cut_after = start > 0, end < len(tokens)
    return tokens[start:end], values[start:end], peak - start, cut_before, cut_after


def describe(
    item: Item, store: CircuitStore, state: RecordState, label: str, width: int
) -> list[Line]:
    """Everything about the row `item`, in lines of at most `width` cells."""
    if item.kind == "place":
        return _place(item.key, store, width)
    if item.kind == "more":
        return wrap(
            [("Nodes of this site that are not among its strongest, but that an edge into one of "
              "the circuit's nodes starts in.", "text")],
            width,
        )  # fmt: skip
    if item.kind == "group" and item.target is not None:
        return _group(item, store, width)
    if item.kind == "weak" and item.target is not None:
        words = (
            f"The edges into {_into(item.target)}, from all sites, with a |weight| {WEAK_WORDS} into "
            "it. Enter opens and folds them; the filter searches them too."
        )
        return wrap([(words, "text")], width)
    if item.kind in ("pins", "super", "token"):
        return set_lines(item, store, width)
    if item.node is None:
        return []
    kind = parse_node(item.node).kind
    if kind == "root":
        return _root(store, width)
    lines = _effect(item, store, width)
    if kind == "feature":
        return [
            *explanation_lines(state, label, width),
            *lines,
            *_prompt(item, store, width),
            *_ablation(item.node, store, width),
            *node_trials(item.node, store, width),
            *_record(state, width),
        ]
    if kind == "error":
        words = (
            "What this dictionary leaves unexplained at this token: the site's activation minus "
            "its reconstruction. effect = error · gradient of the metric. A strong error node is a "
            "part of the computation that no feature here accounts for."
        )
        return [
            *lines,
            *_prompt(item, store, width),
            (),
            *wrap([(words, "text")], width),
            *_ablation(item.node, store, width),
            *node_trials(item.node, store, width),
        ]
    what = "token" if kind == "token" else "position"
    words = (
        f"The {what} embedding that the model starts from here. A leaf: nothing is upstream. "
        "effect = embedding · gradient of the metric through the whole model. Embeddings are not "
        "ablated to zero, so there is no exact effect."
    )
    return [*lines, *_prompt(item, store, width), (), *wrap([(words, "text")], width)]


def peek(item: Item | None, store: CircuitStore, label: str, width: int, lines: int) -> list[Line]:
    """The row under the cursor in a few lines, for screens without room for the feature pane."""
    if item is None:
        return []
    if item.node is None:
        told = describe(item, store, RecordState(), label, width - 2)
        return [((" ", "text"), *line) for line in told[:lines]]
    spans: list[Span] = describe_node(item.node, store)
    if parse_node(item.node).kind != "root":
        spans.insert(0, (f"{site_title(parse_node(item.node).place)} ", "dim"))
    if item.target is not None:
        at = parse_node(item.target).position
        spans += [(f" → {item.target} ", "dim"), (short_token(store.token(at)), "token")]
    if label:
        spans.append((f"  “{label}”", "label"))
    return [((" ", "text"), *line) for line in wrap(spans, width - 2, indent=2)[:lines]]


def title(item: Item | None, store: CircuitStore) -> str:
    """The feature pane's title: the node's one name, or that of the place."""
    if item is None:
        return "Feature"
    if item.kind == "group" and item.target is not None:
        return f"{item.key} → {item.target}"
    if item.kind == "weak" and item.target is not None:
        return f"Weak edges → {item.target}"
    if item.node is not None:
        return str(item.node)
    if item.kind == "pins":
        return "What is pinned"
    if item.kind == "super":
        return visible(item.key)
    if item.kind == "token":
        return f"{quoted(store.token(int(item.key[1:])))} {item.key}"
    return site_title(item.place)


# --- parts ------------------------------------------------------------------------------------


def _effect(item: Item, store: CircuitStore, width: int) -> list[Line]:
    assert item.node is not None
    ref = parse_node(item.node)
    node = store.nodes.get(item.node)
    if node is None:
        return []
    lines: list[Line] = []
    token = quoted(store.token(ref.position))
    what = "act" if ref.kind == "feature" else "norm"
    lines += field(what, [(f"{node.activation:.3f}", "text"), (f" on {token} ", "token"),
                           (f"({ref.position})", "dim")], width)  # fmt: skip
    if ref.kind == "feature" and node.activation == 0:
        lines += wrap([("active only in the contrast prompt", "dim")], width)
    effect: list[Span] = [(signed(node.effect), tone(node.effect)), (" estimated", "dim")]
    if node.exact is not None:
        same = node.exact * node.effect >= 0
        effect += [
            (", ", "dim"),
            (signed(node.exact), "good" if same else "warn"),
            (" exact", "dim"),
        ]
        if not same:
            effect.append((" — opposite signs", "warn"))
        elif abs(node.exact) > 1e-6:
            effect.append((f" ({node.effect / node.exact:.2f}× the exact)", "dim"))
    elif ref.kind in ("feature", "error"):
        effect += [(" · ", "dim"), ("x", "key"), (" measures it", "dim")]
    lines += field("effect", effect, width)
    if item.weight is not None and item.target is not None:
        lines += field(
            "edge",
            [
                (signed(item.weight), tone(item.weight)),
                (f" into {item.target} ", "dim"),
                (short_token(store.token(parse_node(item.target).position)), "token"),
            ],
            width,
        )
        lines += edge_lines(item, store, width)
    return lines


def _prompt(item: Item, store: CircuitStore, width: int) -> list[Line]:
    """The prompt with the feature's activations, and where the row's edge comes from and leads to."""
    assert item.node is not None
    ref = parse_node(item.node)
    target = None if item.target is None else parse_node(item.target).position
    lines: list[Line] = [(), *heading("on this prompt", width)]
    values = store.activations.get(f"{ref.site}/{ref.index}")
    levels = values if values is not None else [0.0] * len(store.tokens)
    lines += wrap(shaded(store.tokens, levels, ref.position, target), width)
    said = []
    if values is not None:
        said.append(f"¹–⁹ tenths of the largest, {max(values, default=0.0):.2f}")
    if target is None:
        said.append("«» this node")
    else:
        said += ["«» where the edge comes from", "→ where it leads"]
    return [*lines, *wrap([("; ".join(said), "dim")], width)]


def _ablation(node: NodeId, store: CircuitStore, width: int) -> list[Line]:
    done = store.removals.get(frozenset([node]))
    if done is None:
        return []
    outcome = done.outcome
    return [
        (),
        *heading("without it (exact, in this prompt)", width),
        *shift_lines(outcome.promoted, outcome.suppressed, width),
        *completion_lines(outcome.completions, width),
    ]


def _record(state: RecordState, width: int) -> list[Line]:
    record = state.record
    if record is None:
        return []
    lines: list[Line] = [()]
    lines += _logits("+ logits", record.positive_logits, "towards", width)
    lines += _logits("− logits", record.negative_logits, "away", width)
    lines += wrap(
        [
            ("density ", "dim"),
            (percent(record.density, digits=2), "text"),
            ("; fires at most at ", "dim"),
            (f"{record.max_activation:.2f}", "text"),
        ],
        width,
    )
    lines += _histogram(record.activation_histogram, width)
    lines += _top_activations(record.activations, width)
    return [*lines, (), *origin_lines(state, width)]


def _histogram(found: Histogram, width: int) -> list[Line]:
    """How often the feature fires how strongly, from its weakest activations to its strongest."""
    bars = sparkline(found.heights, min(SPARKLINE_CELLS, width - 2 * (_END_CELLS + 1)))
    if not bars.strip() or not found.centres:
        return []
    weakest, strongest = map(_end, (found.centres[0], found.centres[-1]))
    return [((f"{weakest} ", "dim"), (bars, "towards"), (f" {strongest}", "dim"))]


def _end(value: float) -> str:
    """An activation in `_END_CELLS`, whatever a service says that it is."""
    text = f"{value:.1f}"
    return text if len(text) <= _END_CELLS else f"{value:.0e}".replace("e+", "e")


def _logits(name: str, logits: Sequence[tuple[str, float]], ink: Ink, width: int) -> list[Line]:
    return token_lines(name, logits[:SHOWN_LOGITS], ink, width) if logits else []


def _top_activations(found: Sequence[Activation], width: int) -> list[Line]:
    """Contexts folded to what surrounds their peak; those that then read the same are shown once."""
    contexts: dict[str, list[Line]] = {}
    for activation in found:
        if activation.tokens:
            lines = _context(activation, width)
            # Alike are those that show the same text, however strongly the feature fires in each.
            contexts.setdefault("".join(map(plain, lines))[VALUE_CELLS:], lines)
    shown = list(contexts.values())[:SHOWN_CONTEXTS]
    if not shown:
        return []
    alike, more = len(found) - len(contexts), len(contexts) - len(shown)
    left_out = [f"{alike} alike"] * (alike > 0) + [f"{more} weaker"] * (more > 0)
    title: list[Span] = [("top activations", "heading")]
    if left_out:
        title.append((f"  left out: {', '.join(left_out)}", "dim"))
    return [(), *wrap(title, width), *(line for lines in shown for line in lines)]


def _context(activation: Activation, width: int) -> list[Line]:
    room = (width - VALUE_CELLS) * CONTEXT_LINES - width // 4
    tokens, values, peak, before, after = window(activation, room)
    spans: list[Span] = [(f"{activation.max_value:{VALUE_CELLS - 1}.2f} ", "dim")]
    if before:
        spans.append(("…", "dim"))
    spans += shaded(tokens, values, peak)
    if after:
        spans.append(("…", "dim"))
    return wrap(spans, width, indent=VALUE_CELLS)


def _completion(completion: Completion) -> list[Span]:
    return [
        (quoted(visible(completion.token.text)), "token"),
        (f" {probability(completion.probability)}", "dim"),
    ]


def _wanted(target: Target) -> list[Span]:
    return [
        (quoted(visible(target.text)), "token"),
        (f" {probability(target.probability)}", "dim"),
    ]


def metric_spans(target: Target) -> list[Span]:
    """The metric in words, with the probabilities of the tokens it is about."""
    if target.metric == "diff" and target.contrast is not None:
        spans: list[Span] = [
            ("logit of ", "text"),
            *_wanted(target),
            (" − logit of ", "text"),
        ]
        if target.later:
            spans.append((contrast_words(target, quoted), "token"))
        else:
            spans += _completion(target.contrast)
        if target.contrast_is_default:
            spans.append((f" ({likeliest_words(target)})", "dim"))
        return spans
    words = {
        "diff": "logit difference of ",
        "logp": "log-probability of ",
        "logit": "logit minus the mean logit, of ",
    }[target.metric]
    return [(words, "text"), *_wanted(target)]


def question_spans(circuit: Circuit) -> list[Span]:
    """The metric, the prompt that it is held against, and what else was set."""
    spans = metric_spans(circuit.target)
    if circuit.said:
        spans += [(", after ", "text"), (quoted(joined(circuit.said)), "token")]
    if against := contrast_text(circuit):
        spans += [(", less what each node writes in ", "text"), (quoted(against), "token")]
    if words := settings_words(circuit.settings):
        spans += [("; ", "text"), (words, "warn")]
    return spans


def _root(store: CircuitStore, width: int) -> list[Line]:
    circuit = store.circuit
    if circuit is None:
        return [(("the metric is being computed…", "dim"),)]
    target = circuit.target
    lines = wrap([*question_spans(circuit), (f" at position {target.position}", "dim")], width)
    value: list[Span] = [(signed(circuit.metric_value), tone(circuit.metric_value))]
    if there := contrast_value_words(circuit):
        value.append((f"; {there}", "text"))
    lines += field("value", value, width)
    lines += [(), *wrap([("Positive effects push towards the target, negative ones away. An effect "
                          "estimates what the metric would lose without the node: activation × "
                          "gradient along its direction, with normalisation and the choice of "
                          "active features held fixed.", "dim")], width)]  # fmt: skip
    if circuit.contrast_prompt is not None:
        words = (
            "Every node counts for what it writes more here than in the contrast prompt, and is "
            "set to what it is there when it is ablated."
        )
        lines += [(), *wrap([(words, "dim")], width)]
    if circuit.contrast_prompt is None and circuit.settings.method == "gradient":
        words = (
            "At the last residual site the effects of all features and errors and of the dictionary's "
            "constant, over all positions, sum to about zero, because the final norm takes out what "
            "they share: read them against each other, not as shares of the metric."
        )
        lines += [(), *wrap([(words, "dim")], width)]
    for line in sink_lines(circuit.sinks, circuit.tokens, "“sinks count” among the settings"):
        lines += [(), *wrap([(line, "text")], width)]
    for note in circuit.notes:
        lines += [(), *wrap([(visible(note), "warn")], width)]
    if store.trust is not None:
        lines += [(), *_trust(store, width)]
    settings = circuit.settings
    lines += [
        (),
        *wrap(
            [(f"{counted(settings.top, 'node')} a site, {counted(settings.edges, 'edge')} from each "
              f"upstream site; {counted(store.known, 'node')} known", "dim")],
            width,
        ),
    ]  # fmt: skip
    if circuit.seconds:
        times = "  ".join(f"{visible(k)} {v:.2f}s" for k, v in circuit.seconds.items())
        lines += wrap([(times, "dim")], width)
    model = circuit.model
    names = f"{model.name} {model.revision} · {model.dictionaries} {model.dictionaries_revision}"
    lines += wrap([(visible(names), "dim")], width)
    return lines


def _score(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _trust(store: CircuitStore, width: int) -> list[Line]:
    assert store.trust is not None
    scores = store.trust.overall
    sign = "n/a" if scores.sign_agreement is None else percent(scores.sign_agreement)
    if store.circuit is not None and store.circuit.settings.method == "exact":
        words = "Effects are exact: each was measured by ablation. Edges are still estimates."
        return [*heading("trust", width), *wrap([(words, "text")], width)]
    lines = heading(f"trust, over {counted(scores.n, 'ablated feature')}", width)
    ranks = f"|ρ| {_score(scores.abs_spearman)}"
    other = f"  signed ρ {_score(scores.signed_spearman)}"
    error = f"Σ|n−exact|/Σ|exact| {_score(scores.relative_error)}"
    lines += field("ranks", [(ranks, "text"), (other, "dim")], width)
    lines += field("signs", [(f"{sign} agree", "text")], width)
    lines += field("error", [(error, "text")], width)
    return lines


def _place(place: str, store: CircuitStore, width: int) -> list[Line]:
    if place == EMBEDDINGS:
        words = (
            "Where the model starts: the token and the position embedding of each token. They are "
            "kept apart, because merged they can hide that they cancel. Every path that the tree "
            "unfolds ends here."
        )
        return wrap([(words, "text")], width)
    summary = store.sites.get(place)
    if summary is None:
        return []
    share = summary.share_explained
    lines = wrap(
        [
            (percent(share), "text"),
            (" of the effect at this site goes through features, ", "dim"),
            (percent(None if share is None else 1 - share), "text"),
            (" through errors: Σ|features| / Σ(|features| + |error|), sums taken at each token", "dim"),
        ],
        width,
    )  # fmt: skip
    lines.append(())
    against = store.circuit is not None and store.circuit.contrast_prompt is not None
    either = ", here or in the contrast prompt" if against else ""
    for name, value, words in (
        ("feat.", summary.features, f"sum of {counted(summary.active, 'active one')}{either}"),
        ("error", summary.error, "what the dictionary leaves out"),
        ("const.", summary.constant, "decoder bias and mean"),
    ):
        lines += field(name, [(signed(value), tone(value)), (f"  {words}", "dim")], width)
    variance = "n/a" if summary.explained_variance is None else f"{summary.explained_variance:.3f}"
    lines += field("EV", [(variance, "text"), ("  explained variance, this prompt", "dim")], width)
    exact = store.circuit is not None and store.circuit.settings.method == "exact"
    if store.trust is not None and not exact:
        for site in store.trust.sites:
            if str(site.site) == place:
                sign = site.scores.sign_agreement
                words = f"|ρ| {_score(site.scores.abs_spearman)}, signs "
                words += "n/a" if sign is None else percent(sign)
                lines += field("trust", [(words, "text"), (f"  of {site.scores.n}", "dim")], width)
    lines += _gate(place, store, width)
    return lines


def _gate(place: str, store: CircuitStore, width: int) -> list[Line]:
    gates = store.circuit.model.gate if store.circuit is not None else ()
    for gate in gates:
        if gate.site != parse_site(place):
            continue
        verdict: Span = {
            True: ("passed", "good"),
            False: ("failed", "bad"),
            None: ("not measured", "dim"),
        }[gate.passed]  # type: ignore[assignment]
        lines: list[Line] = [(), (("load gate ", "heading"), verdict)]
        for name, value in (
            ("L0", gate.l0),
            ("EV", gate.explained_variance),
            ("ΔCE", gate.delta_ce),
            ("CE rec.", gate.ce_recovered),
        ):
            if value is None:
                continue
            spans: list[Span] = [(f" {value:.3f}", "text")]
            if name == "EV" and gate.explained_variance_error is not None:
                spans.append((f" ± {gate.explained_variance_error:.3f}", "text"))
            lines += field(name, spans, width)
        if gate.tokens is not None:
            on = f"on {gate.tokens} tokens; ±: standard error over windows of the text"
            lines += wrap([(on, "dim")], width)
        return lines
    return []


def _into(target: NodeId) -> str:
    return "the metric" if parse_node(target).kind == "root" else str(target)


def _group(item: Item, store: CircuitStore, width: int) -> list[Line]:
    assert item.target is not None
    group = next((g for g in store.upstream(item.target) if g.place == item.key), None)
    if group is None:
        return []
    count = len(group.edges)
    into = _into(item.target)
    words = (
        f"{'The strongest edge' if count == 1 else f'The {count} strongest edges'} from "
        f"{site_title(item.key)} into {into}. An edge "
        "is the part of the target's effect that arrives from the source along the direct path, with "
        "every other site held fixed."
    )
    lines = wrap([(words, "text")], width)
    lines += [()]
    lines += field("sum", [(signed(group.total), tone(group.total)),
                            (" of these edges, not of all", "dim")], width)  # fmt: skip
    return lines
