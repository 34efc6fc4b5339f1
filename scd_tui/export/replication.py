"""A replication as Markdown: every table of the post, for each of its prompts."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from scd_tui.curves import Column, Validation
from scd_tui.export.curves import heading, number
from scd_tui.export.gate_table import HEADINGS, gate_row
from scd_tui.export.tree import flow_words, label, metric_words, signed, token_at
from scd_tui.export.trust_table import markdown
from scd_tui.graph import Circuit, Edge, ModelIdentity, NodeId, parse_node
from scd_tui.numbers import MINUS, percent, probability
from scd_tui.replication import (
    THE_POST,
    Answer,
    AsPublished,
    Gated,
    PromptReplication,
    Replication,
    Shift,
)
from scd_tui.text import shorten, visible
from scd_tui.wording import ids_of_alike, sink_lines

_LABEL_WIDTH = 60
_NAMES = {"logp": "the post's loss (`logp`: it, negated)", "diff": "logit difference (`diff`)"}


def code(text: str) -> str:
    """Text from outside as a code span that stays one, in a table too."""
    text = visible(text).replace("|", "\\|")
    longest = max((len(list(run)) for mark, run in groupby(text) if mark == "`"), default=0)
    fence = "`" * (longest + 1)
    padding = " " if longest or not text.strip() else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def prose(text: str) -> str:
    """Text from outside as text: nothing in it is markup."""
    return "".join(f"\\{mark}" if mark in "\\`*_{}[]<>()#+!|~&" else mark for mark in visible(text))


def small(value: float) -> str:
    """`+0.0021`: two digits that say something, for weights that may be of any size."""
    return f"{value:+.2g}".replace("-", MINUS)


def circuit_name(index: int, answer: Answer) -> str:
    """The file of an answer's circuit, beside the report; prompts are counted from 1."""
    return f"circuits/{index}-{answer.circuit.target.metric}.json"


def render(found: Replication, model: ModelIdentity) -> str:
    """The whole report."""
    return "\n".join(_report(found, model))


def _report(found: Replication, model: ModelIdentity) -> Iterator[str]:
    count = len(found.gate.verdicts)
    yield "# The post's five prompts, asked anew\n"
    yield (
        f"{prose(model.name)} (revision {code(model.revision)}) with the dictionaries "
        f"{prose(model.dictionaries)} (revision {code(model.dictionaries_revision)}) on "
        f"{prose(model.device)}, in {model.dtype}.\n"
    )
    yield (
        'The post is "sparse circuit discovery in GPT-2-small" (DavidUdell/sparse_circuit_discovery). '
        "Its code runs TopK dictionaries as plain ReLU on activations that were never normalised, keeps "
        "the last position alone, and differentiates the completion's loss. Here the dictionaries are run "
        "as they were trained, every node has a position, and each prompt is asked by the post's loss and "
        "by the logit difference to the likeliest other token.\n"
    )
    yield (
        f"**As they were trained, {found.gate.passed} of {count} dictionaries pass the load gate; run as "
        f"the post's code runs them, {found.gate_as_published.passed} of {count} do.**\n"
    )
    yield (
        "An *effect* is what the metric is estimated to lose without the node, *exact* the same measured "
        "by removing it; both in nats for `logp`, in logits for `diff`. `node@p` is at token p of the "
        "prompt.\n"
    )
    yield "## The dictionaries as they were trained\n"
    yield from _gate(found.gate, found.text)
    for index, prompt in enumerate(found.prompts, start=1):
        yield from _prompt(index, prompt)
    yield "## Appendix: the dictionaries as the post's code runs them\n"
    yield (
        "Plain ReLU on raw activations: no normalisation before, no selection, none undone after. The "
        "model's own output stays right all the same, for what a dictionary misses is added back.\n"
    )
    yield from _gate(found.gate_as_published, found.text)
    for index, prompt in enumerate(found.prompts, start=1):
        if prompt.as_published is not None:
            yield f"### {index}. {code(prompt.text)}\n"
            yield from _as_published(prompt, prompt.as_published)


def _gate(gate: Gated, text: str) -> Iterator[str]:
    yield f"Over {gate.measured[0].tokens:,} tokens of {prose(text)}.\n"
    yield markdown([HEADINGS, *map(gate_row, gate.measured, gate.verdicts)])
    reasons = [f"- {v.site}: {'; '.join(v.reasons)}." for v in gate.verdicts if not v.passed]
    if reasons:
        yield "\n".join(reasons) + "\n"


def _prompt(index: int, prompt: PromptReplication) -> Iterator[str]:
    yield f"## {index}. {code(prompt.text)} → {code(prompt.target)}\n"
    if prompt.refused:
        yield f"This model could not be asked: {prose(prompt.refused)}.\n"
        return
    if prompt.text in THE_POST:
        yield f"The post, of GPT-2 small: {THE_POST[prompt.text]:.0%} {code(prompt.target)}.\n"
    rows: list[Sequence[str]] = [("completion", "probability")]
    ids = ids_of_alike([c.token for c in prompt.completions])
    rows += [
        (f"{code(c.token.text)}{number}", probability(c.probability))
        for c, number in zip(prompt.completions, ids, strict=True)
    ]
    yield markdown(rows)
    for answer in prompt.answers:
        yield f"### {index}. By {_NAMES.get(answer.circuit.target.metric, '')}\n"
        yield from _answer(answer, circuit_name(index, answer))


def _answer(answer: Answer, file: str) -> Iterator[str]:
    circuit = answer.circuit
    lines = [
        f"{prose(metric_words(circuit.target))} = {signed(circuit.metric_value)}",
        f"share explained by features: {percent(circuit.share_explained)}",
        *map(prose, sink_lines(circuit.sinks, circuit.tokens)),
    ]
    if circuit.flow is not None:
        lines.append(f"influence: {flow_words(circuit.flow)}")
    trust = circuit.trust
    if trust is not None and trust.overall.abs_spearman is not None:
        line = f"trust: ρ of sizes {trust.overall.abs_spearman:.2f} over {trust.overall.n} features"
        if trust.overall.sign_agreement is not None:
            line += f", signs agree for {trust.overall.sign_agreement:.0%}"
        if trust.edges is not None and trust.edges.abs_spearman is not None:
            line += f"; ρ of edges {trust.edges.abs_spearman:.2f}"
        lines.append(line)
    elif trust is not None:
        lines.append(f"trust: only {trust.overall.n} features are active, too few to rank")
    lines += [f"note: {prose(note)}" for note in circuit.notes]
    lines.append(f"the circuit: [{file}]({file}), which `scd-tui open` walks")
    yield "".join(f"- {line}\n" for line in lines)
    yield from _top(answer)
    yield from _way(answer)
    yield "**Faithfulness and completeness**\n"
    yield _curves(answer.validation)
    for note in answer.validation.notes:
        yield f"{prose(note)}.\n"


def _named(circuit: Circuit, node: NodeId) -> str:
    return f"`{node}` {code(token_at(circuit, parse_node(node).position))}"


def _said(circuit: Circuit, node: NodeId) -> str:
    return prose(shorten(label(circuit, node), _LABEL_WIDTH)) or "(no explanation)"


def _top(answer: Answer) -> Iterator[str]:
    circuit = answer.circuit
    yield (
        f"**The top feature of the last site**: {_named(circuit, answer.top)}, "
        f"{_said(circuit, answer.top)}. Effect {small(answer.effect)}, exact {small(answer.exact)}. "
        "Removing it takes from, and gives to, in nats:\n"
    )

    def cell(shifts: Sequence[Shift], row: int) -> tuple[str, str]:
        if row >= len(shifts):
            return "", ""
        return code(shifts[row].token.text), small(shifts[row].nats)

    longest = max(len(answer.promoted), len(answer.suppressed))
    rows: list[Sequence[str]] = [("promoted here", "nats", "suppressed here", "nats")]
    rows += [(*cell(answer.promoted, n), *cell(answer.suppressed, n)) for n in range(longest)]
    yield markdown(rows)


def _way(answer: Answer) -> Iterator[str]:
    circuit = answer.circuit
    yield (
        "**Where it comes from**, up to the embeddings: at each sublayer the feature through which most of "
        "the above comes (*share*, along the edges listed), and the strongest edges into it.\n"
    )

    def edge_words(edge: Edge) -> str:
        return f"{_named(circuit, edge.source)} {small(edge.weight)}"

    rows: list[Sequence[str]] = [("node", "share", "explanation", "strongest edges into it")]
    rows += [
        (
            _named(circuit, step.node),
            f"{100 * step.share:.2g}%",
            _said(circuit, step.node),
            ", ".join(edge_words(edge) for edge in step.edges),
        )
        for step in answer.way
    ]
    yield markdown(rows)


def _curves(validation: Validation) -> str:
    shown = [column for column in validation.columns if column.curve is not None]
    refused = [f"{_heading(c)}: {c.refused}" for c in validation.columns if c.curve is None]
    if not shown:
        return "".join(f"- {prose(words)}\n" for words in refused)
    sizes = sorted({size for c in shown if c.curve is not None for size in c.curve.sizes})
    rows: list[Sequence[str]] = [("nodes", *map(_heading, shown))]
    rows += [(str(size), *(_both(column, size) for column in shown)) for size in sizes]
    rows.append(("for 0.8", *(str(c.needed) if c.needed is not None else "–" for c in shown)))
    table = markdown(rows)
    return table + "".join(f"\n{prose(words)}.\n" for words in refused)


def _heading(column: Column) -> str:
    return " ".join(heading(column).split())


def _both(column: Column, size: int) -> str:
    """`faithfulness / completeness` of so many nodes."""
    curve = column.curve
    if curve is None or size not in curve.sizes:
        return ""
    place = curve.sizes.index(size)
    return f"{number(curve.faithfulness[place])} / {number(curve.completeness[place])}"


def _as_published(prompt: PromptReplication, found: AsPublished) -> Iterator[str]:
    rows: list[Sequence[str]] = [("site", "active", "so run", "share explained", "so run")]
    rows += [
        (
            str(site.site),
            f"{site.active:,.1f}",
            f"{site.active_as_published:,.1f}",
            percent(site.share),
            percent(site.share_as_published),
        )
        for site in found.sites
    ]
    yield "Active features a token, and the share of the loss's node effects that features explain:\n"
    yield markdown(rows)
    circuit = prompt.answers[0].circuit
    tops = [("feature", "effect, nats"), *((f"`{n}`", small(e)) for n, e in found.tops)]
    yield (
        "What would be shown as the top features of the last site, at the last position; as they were "
        f"trained it is {_named(circuit, prompt.answers[0].top)}:\n"
    )
    yield markdown(tops)
