"""A circuit as a tree of text, for a terminal that only prints."""

import shlex
import sys

from rich.console import Console, Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from scd_tui.contrasts import contrast_in_prompt
from scd_tui.graph import Circuit, Flow, NodeId, Pruned, Target, parse_node
from scd_tui.grouped import NodeGroup, grouped
from scd_tui.numbers import percent, probability
from scd_tui.pruning import without_position
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
    ref = parse_node(node)
    if ref.kind == "feature":
        source = circuit.model.sources.get(str(ref.site), str(ref.site))
        return visible(circuit.explanations.get(f"{source}/{ref.index}", ""))
    return {
        "error": "what the dictionary leaves unexplained",
        "token": "token embedding",
        "pos": "positional embedding",
        "root": "",
    }[ref.kind]


def _line(
    circuit: Circuit, group: NodeGroup, value: float, largest: float, exact: float | None = None
) -> Text:
    colour = TOWARDS if value >= 0 else AWAY
    line = Text()
    if len(group.nodes) == 1:
        position = parse_node(group.id).position
        line.append(group.id, style="bold")
        line.append(f" {token_at(circuit, position)!r:<12} ", style="dim")
    else:
        places = sorted(parse_node(node.id).position for node in group.nodes)
        line.append(without_position(group.id), style="bold")
        line.append(f" at {', '.join(map(str, places))} ", style="dim")
    line.append(f"{signed(value)} ", style=colour)
    line.append(f"{bar(value, largest):<{_BAR_WIDTH}} ", style=colour)
    if exact is not None:
        line.append(f"exact {signed(exact)} ", style="dim")
    if circuit.pruned is not None and group.influence is not None:
        line.append(f"influence {group.influence:.1%} ", style="dim")
    line.append(shorten(label(circuit, group.id), _LABEL_WIDTH))
    return line


def _header(circuit: Circuit) -> list[RenderableType]:
    target, model = circuit.target, circuit.model
    shown = circuit.completions[:5]
    ids = ids_of_alike([c.token for c in shown])
    lines = [
        Text(visible(f"{model.name} · {model.dictionaries} · {model.device}"), style="dim"),
        Text.assemble(("prompt ", "dim"), visible(circuit.prompt)),
        *([Text(f"then   {forced_text(circuit)!r} was put after it")] if circuit.forced else []),
        Text(
            f"next   {_after(circuit)}"
            + "  ".join(
                f"{visible(c.token.text)!r}{number} {probability(c.probability)}"
                for c, number in zip(shown, ids, strict=True)
            )
        ),
        Text(f"metric {metric_words(target)} = {signed(circuit.metric_value)}"),
    ]
    if target.contrast_is_default and target.contrast is not None:
        words = f"       the contrast is {likeliest_words(target)}"
        lines.append(Text(words, style="dim"))
    if words := contrast_hint(circuit):
        lines.append(Text(f"       {words}"))
    if against := contrast_text(circuit):
        there = contrast_value_words(circuit, digits=2)
        lines.append(Text(f"less   what it is in {against!r}" + f": {there}" * bool(there)))
    if words := settings_words(circuit.settings):
        lines.append(Text(f"set    {words}", style="dim"))
    if words := trust_words(circuit):
        lines.append(Text(f"trust  {words}"))
    lines.append(Text(f"share  {percent(circuit.share_explained)} explained over all sites"))
    lines += [Text(f"sinks  {line}") for line in sink_lines(circuit.sinks, circuit.tokens)]
    if circuit.flow is not None:
        lines.append(Text(f"flow   {flow_words(circuit.flow)}"))
    if circuit.pruned is not None:
        lines.append(Text(f"pruned {pruned_words(circuit, circuit.pruned)}"))
    lines += [Text(f"note   {visible(note)}", style="yellow") for note in circuit.notes]
    return list(lines)


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


def render(circuit: Circuit, upstream: int = 3) -> RenderableType:
    """Sites from the last to the first, each with its top nodes and their `upstream` strongest edges.

    A pruned circuit is shown with all of its nodes and edges, the embeddings last, and features at all
    positions together if that is how it was pruned. Edges that are weak beside the strongest into the
    same node are in one line.
    """
    pruned = circuit.pruned
    found = grouped(circuit, without_position if pruned is not None and pruned.summed else str)
    shown = [
        group
        for group in found.groups
        if parse_node(group.id).kind != "root"
        and (pruned is not None or any(node.top for node in group.nodes))
    ]
    shown.sort(key=lambda group: -abs(group.effect))
    largest = max((abs(group.effect) for group in shown), default=0.0)
    tree = Tree(Text(metric_words(circuit.target), style="bold"), guide_style="dim")

    def add(branch: Tree, groups: list[NodeGroup]) -> None:
        for group in groups:
            twig = branch.add(_line(circuit, group, group.effect, largest, group.exact))
            strong, weak = parted(found.into.get(group.name, ()))
            for edge in strong if pruned is not None else strong[:upstream]:
                line = _line(circuit, edge.source, edge.weight, largest)
                twig.add(Text.assemble(("← ", "dim"), line))
            if weak and (pruned is not None or len(strong) < upstream):
                total = signed(sum(edge.weight for edge in weak))
                words = f"← {len(weak)} {WEAK_WORDS}, together {total}"
                twig.add(Text(words, style="dim"))

    for summary in circuit.sites:
        here = [group for group in shown if parse_node(group.id).site == summary.site]
        if pruned is not None and not here:
            continue
        words = (
            f"  {percent(summary.share_explained)} explained, features {signed(summary.features)}, "
            f"error {signed(summary.error)}; "
            f"variance explained {percent(summary.explained_variance)}"
        )
        branch = tree.add(Text.assemble((str(summary.site), "bold cyan"), words))
        add(branch, here)
    if leaves := [group for group in shown if parse_node(group.id).site is None]:
        add(tree.add(Text("embeddings", style="bold cyan")), leaves)
    return Group(*_header(circuit), tree)


def print_tree(circuit: Circuit) -> None:
    """Print a circuit to stdout."""
    # A pipe has no width of its own, and lines cut at 80 columns would lose their labels.
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(render(circuit))
