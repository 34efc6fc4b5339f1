"""A circuit as a tree of text, for a terminal that only prints."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from rich.console import Console

from scd_tui.console import CleanConsole
from scd_tui.contrasts import contrast_in_prompt
from scd_tui.export.printing import Line, Row, printed
from scd_tui.graph import Circuit, Flow, NodeId, NodeRef, Pruned, Site, Target, parse_node
from scd_tui.grouped import NodeGroup, grouped
from scd_tui.numbers import percent, probability
from scd_tui.pruning import without_position
from scd_tui.streams import AsItIs
from scd_tui.text import shorten, visible
from scd_tui.weak_edges import WEAK_WORDS, parted
from scd_tui.wording import (
    contrast_text,
    contrast_value_words,
    contrast_words,
    ids_of_alike,
    joined,
    likeliest_words,
    settings_words,
    sink_lines,
    wanted_words,
)

_LABEL_WIDTH = 48
_BAR_WIDTH = 8
TOWARDS, AWAY = "blue", "red"


def bar(value: float, largest: float, width: int = _BAR_WIDTH) -> str:
    """A bar of at most `width` cells for |value| against the largest."""
    eighths = round(8 * width * min(1.0, abs(value) / largest)) if largest > 0 else 0
    return "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")


def signed(value: float) -> str:
    """`+1.32` or `−0.11`: the sign is always there, so that colour is never needed."""
    return f"{value:+.2f}".replace("-", "−")


def token_at(circuit: Circuit, position: int) -> str:
    """The text of a token, safe to print."""
    return visible(circuit.tokens[position].text)


def label(circuit: Circuit, node: NodeId) -> str:
    """What a node is: a feature's explanation, empty where the circuit has none, or what it stands for."""
    return _label(circuit, parse_node(node))


def _label(circuit: Circuit, ref: NodeRef) -> str:
    if ref.kind == "feature":
        source = circuit.model.sources.get(str(ref.site), str(ref.site))
        return visible(circuit.explanations.get(f"{source}/{ref.index}", ""))
    return {
        "error": "what the dictionary leaves unexplained",
        "token": "token embedding",
        "pos": "positional embedding",
        "root": "",
    }[ref.kind]


def _said(words: str, style: str = "") -> Line:
    return ((words, style),)


class _Parsed(NamedTuple):
    """A group of nodes, its effect, and the name of its first node taken apart: each is needed often."""

    group: NodeGroup
    effect: float
    ref: NodeRef

    @classmethod
    def of(cls, group: NodeGroup) -> "_Parsed":
        return cls(group, group.effect, parse_node(group.id))


class _Drawing:
    """Lines of one circuit's nodes. What many nodes share, such as a token's text, is made once."""

    def __init__(self, circuit: Circuit, largest: float) -> None:
        self._circuit = circuit
        self._largest = largest
        count = range(len(circuit.tokens))
        self._tokens = [f" {token_at(circuit, position)!r:<12} " for position in count]

    def node(self, one: _Parsed, value: float, exact: float | None = None) -> Line:
        """One line for a group of nodes, with `value` as number and bar."""
        circuit, group, ref = self._circuit, one.group, one.ref
        colour = TOWARDS if value >= 0 else AWAY
        if len(group.nodes) == 1:
            spans = [(group.id, "bold"), (self._tokens[ref.position], "dim")]
        else:
            places = sorted(parse_node(node.id).position for node in group.nodes)
            spans = [
                (without_position(group.id), "bold"),
                (f" at {', '.join(map(str, places))} ", "dim"),
            ]
        spans.append(
            (f"{signed(value)} {bar(value, self._largest):<{_BAR_WIDTH}} ", colour),
        )
        if exact is not None:
            spans.append((f"exact {signed(exact)} ", "dim"))
        if circuit.pruned is not None and group.influence is not None:
            spans.append((f"influence {group.influence:.1%} ", "dim"))
        spans.append((shorten(_label(circuit, ref), _LABEL_WIDTH), ""))
        return tuple(spans)


def _header(circuit: Circuit) -> list[Line]:
    target, model = circuit.target, circuit.model
    shown = circuit.completions[:5]
    ids = ids_of_alike([c.token for c in shown])
    lines: list[Line] = [
        _said(visible(f"{model.name} · {model.dictionaries} · {model.device}"), "dim"),
        (("prompt ", "dim"), (visible(circuit.prompt), "")),
        *([_said(f"then   {forced_text(circuit)!r} was put after it")] if circuit.forced else []),
        _said(
            f"next   {_after(circuit)}"
            + "  ".join(
                f"{visible(c.token.text)!r}{number} {probability(c.probability)}"
                for c, number in zip(shown, ids, strict=True)
            )
        ),
        _said(f"metric {metric_words(target)} = {signed(circuit.metric_value)}"),
    ]
    if target.contrast_is_default and target.contrast is not None:
        words = f"       the contrast is {likeliest_words(target)}"
        lines.append(_said(words, "dim"))
    if words := contrast_hint(circuit):
        lines.append(_said(f"       {words}"))
    if against := contrast_text(circuit):
        there = contrast_value_words(circuit, digits=2)
        lines.append(_said(f"less   what it is in {against!r}" + f": {there}" * bool(there)))
    if words := settings_words(circuit.settings):
        lines.append(_said(f"set    {words}", "dim"))
    if words := trust_words(circuit):
        lines.append(_said(f"trust  {words}"))
    lines.append(_said(f"share  {percent(circuit.share_explained)} explained over all sites"))
    lines += [_said(f"sinks  {line}") for line in sink_lines(circuit.sinks, circuit.tokens)]
    if circuit.flow is not None:
        lines.append(_said(f"flow   {flow_words(circuit.flow)}"))
    if circuit.pruned is not None:
        lines.append(_said(f"pruned {pruned_words(circuit, circuit.pruned)}"))
    lines += [_said(f"note   {visible(note)}", "yellow") for note in circuit.notes]
    return lines


def contrast_hint(circuit: Circuit) -> str:
    """The option that takes a contrast from the prompt, in place of the likeliest; "" without one."""
    offered = contrast_in_prompt(circuit)
    if offered is None:
        return ""
    text = offered.token.text
    words = f"{visible(text)!r} ({probability(offered.probability)}) is in the prompt too"
    if visible(text) != text:
        text = f"#{offered.token.id}"  # what the command line cannot spell is named by its id
    return f"{words}: --contrast {shlex.quote(text)}"


def forced_text(circuit: Circuit) -> str:
    """What stands between the prompt and the last token that is explained, safe to print."""
    end = len(circuit.tokens) - circuit.forced
    return joined(circuit.tokens[end:])


def _after(circuit: Circuit) -> str:
    """After which text the completions come, where that is not just the prompt."""
    count, read = len(circuit.tokens), circuit.target.position + 1
    if read == count:
        return f"after the prompt and {forced_text(circuit)!r}: " if circuit.forced else ""
    if read == count - circuit.forced:
        return "after the prompt: "
    return f"after token {read - 1}, {token_at(circuit, read - 1)!r}: "


def trust_words(circuit: Circuit) -> str:
    """How far effects and edges can be believed; "" where that is not known.

    Exact effects are what estimates are held to: their agreement with themselves says nothing.
    """
    if circuit.trust is None:
        return ""
    said, scores, edges = [], circuit.trust.overall, circuit.trust.edges
    if circuit.settings.method == "exact":
        said.append("effects are exact")
    elif scores.abs_spearman is not None:
        signs = "n/a" if scores.sign_agreement is None else f"{scores.sign_agreement:.0%}"
        said.append(f"{scores.abs_spearman:.2f} over {scores.n} features, signs {signs}")
    if edges is not None and edges.abs_spearman is not None:
        said.append(f"{edges.abs_spearman:.2f} over {edges.n} edges")
    return "; ".join(said)


def flow_words(flow: Flow) -> str:
    """The completeness of a circuit, and where the influence on its root ends."""
    # what is nothing but for rounding may lie below it
    embeddings, errors, features = (
        f"{max(0.0, share):.1%}" for share in (flow.embeddings, flow.errors, flow.features)
    )
    return (
        f"completeness {flow.completeness:.2f}; it ends in embeddings {embeddings}, "
        f"errors {errors}, features that were not followed {features}"
    )


def pruned_words(circuit: Circuit, pruned: Pruned) -> str:
    """What was left of what by which shares of influence."""
    taken = ", each feature at all its positions together" if pruned.summed else ""
    return (
        f"to {circuit.size:,} of {pruned.nodes - 1:,} nodes and {len(circuit.edges):,} of "
        f"{pruned.edges:,} edges, by {pruned.node_share:.0%} and {pruned.edge_share:.0%} of "
        f"influence{taken}"
    )


def metric_words(target: Target) -> str:
    """The metric in words, with the tokens and their probabilities."""
    wanted = f"{wanted_words(target)} ({probability(target.probability)})"
    if target.contrast is not None:
        against = contrast_words(target)
        if not target.later:  # of several tokens each is held against its own, after the same words
            against += f" ({probability(target.contrast.probability)})"
        return f"logit of {wanted} − {against}"
    words = {"logp": "log-probability of", "logit": "mean-centred logit of"}
    return f"{words[target.metric]} {wanted}"


def render(circuit: Circuit, console: Console, upstream: int = 3) -> Iterator[str]:
    """Lines of text with the escapes of `console`, and as wide as it is if it is a terminal.

    Sites from the last to the first, each with its top nodes and their `upstream` strongest edges.
    A pruned circuit is shown with all of its nodes and edges, the embeddings last, and features at all
    positions together if that is how it was pruned. Edges that are weak beside the strongest into the
    same node are in one line.
    """
    yield from printed((Row(line) for line in _header(circuit)), console)
    yield from printed(_tree(circuit, upstream), console)


def _tree(circuit: Circuit, upstream: int) -> Iterator[Row]:
    pruned = circuit.pruned
    found = grouped(circuit, without_position if pruned is not None and pruned.summed else str)
    at: dict[Site | None, list[_Parsed]] = {}
    largest = 0.0
    for one in map(_Parsed.of, found.groups):
        shown = pruned is not None or any(node.top for node in one.group.nodes)
        if shown and one.ref.kind != "root":
            at.setdefault(one.ref.site, []).append(one)
            largest = max(largest, abs(one.effect))
    drawing = _Drawing(circuit, largest)

    def edges_into(group: NodeGroup) -> Iterator[Line]:
        strong, weak = parted(found.into.get(group.name, ()))
        for edge in strong if pruned is not None else strong[:upstream]:
            yield (("← ", "dim"), *drawing.node(_Parsed.of(edge.source), edge.weight))
        if weak and (pruned is not None or len(strong) < upstream):
            total = signed(sum(edge.weight for edge in weak))
            yield _said(f"← {len(weak)} {WEAK_WORDS}, together {total}", "dim")

    branches: list[tuple[Line, Sequence[_Parsed]]] = []
    for summary in circuit.sites:
        if pruned is not None and summary.site not in at:
            continue
        words = (
            f"  {percent(summary.share_explained)} explained, features {signed(summary.features)}, "
            f"error {signed(summary.error)}; "
            f"variance explained {percent(summary.explained_variance)}"
        )
        head = (str(summary.site), "bold cyan"), (words, "")
        branches.append((head, at.get(summary.site, [])))
    if leaves := at.get(None):
        branches.append((_said("embeddings", "bold cyan"), leaves))
    yield Row(_said(metric_words(circuit.target), "bold"))
    for nth, (line, here) in enumerate(branches, 1):
        last_branch = nth == len(branches)
        yield Row(line, (last_branch,))
        here = sorted(here, key=lambda one: -abs(one.effect))
        for number, one in enumerate(here, 1):
            last_node = number == len(here)
            yield Row(drawing.node(one, one.effect, one.group.exact), (last_branch, last_node))
            edges = list(edges_into(one.group))
            for count, edge in enumerate(edges, 1):
                yield Row(edge, (last_branch, last_node, count == len(edges)))


def print_tree(circuit: Circuit) -> None:
    """Print a circuit to stdout."""
    lines = render(circuit, CleanConsole())
    write = AsItIs(sys.stdout).write
    # many at once: a write for each line costs as much as making it
    while some := list(islice(lines, 1000)):
        write("\n".join(some) + "\n")
