"""A circuit as a tree of text, for a terminal that only prints."""

import sys

from rich.console import Console, Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from scd_tui.graph import Circuit, Edge, Node, NodeId, Settings, Target, parse_node
from scd_tui.numbers import probability
from scd_tui.text import shorten, visible

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


def _token(circuit: Circuit, position: int) -> str:
    return visible(circuit.tokens[position].text)


def _label(circuit: Circuit, node: NodeId) -> str:
    ref = parse_node(node)
    if ref.kind == "feature":
        source = circuit.model.sources.get(str(ref.site), "")
        return visible(circuit.explanations.get(f"{source}/{ref.index}", ""))
    return {
        "error": "what the dictionary leaves unexplained",
        "token": "token embedding",
        "pos": "positional embedding",
        "root": "",
    }[ref.kind]


def _line(
    circuit: Circuit, node: NodeId, value: float, largest: float, exact: float | None
) -> Text:
    ref = parse_node(node)
    colour = TOWARDS if value >= 0 else AWAY
    line = Text()
    line.append(str(ref), style="bold")
    line.append(f" {_token(circuit, ref.position)!r:<12} ", style="dim")
    line.append(f"{signed(value)} ", style=colour)
    line.append(f"{bar(value, largest):<{_BAR_WIDTH}} ", style=colour)
    if exact is not None:
        line.append(f"exact {signed(exact)} ", style="dim")
    line.append(shorten(_label(circuit, node), _LABEL_WIDTH))
    return line


def _header(circuit: Circuit) -> list[RenderableType]:
    target, model = circuit.target, circuit.model
    end = len(circuit.tokens) - circuit.forced
    lines = [
        Text(f"{model.name} · {model.dictionaries} · {model.device}", style="dim"),
        Text.assemble(
            ("prompt ", "dim"),
            *(visible(token.text) for token in circuit.tokens[:end]),
            *((visible(token.text), "italic") for token in circuit.tokens[end:]),
            (" (and what was put after it)" if circuit.forced else "", "dim"),
        ),
        Text(
            "next   "
            + "  ".join(
                f"{visible(c.token.text)!r} {probability(c.probability)}"
                for c in circuit.completions[:5]
            )
        ),
        Text(f"metric {metric_words(target)} = {signed(circuit.metric_value)}"),
    ]
    if target.contrast_is_default and target.contrast is not None:
        lines.append(Text("       the contrast is the likeliest other token", style="dim"))
    if circuit.contrast_prompt is not None:
        against = "".join(visible(token.text) for token in circuit.contrast_tokens)
        lines.append(Text(f"less   what it is in {against!r}"))
    if words := settings_words(circuit.settings):
        lines.append(Text(f"set    {words}", style="dim"))
    if circuit.trust is not None and circuit.trust.overall.abs_spearman is not None:
        scores = circuit.trust.overall
        signs = "n/a" if scores.sign_agreement is None else f"{scores.sign_agreement:.0%}"
        line = f"trust  {scores.abs_spearman:.2f} over {scores.n} features, signs {signs}"
        edges = circuit.trust.edges
        if edges is not None and edges.abs_spearman is not None:
            line += f"; {edges.abs_spearman:.2f} over {edges.n} edges"
        lines.append(Text(line))
    lines += [Text(f"note   {note}", style="yellow") for note in circuit.notes]
    return list(lines)


def settings_words(settings: Settings) -> str:
    """What was set other than it is by default, as far as it changes numbers."""
    words = {"integrated": "integrated gradients", "exact": "ablation of every node"}
    said = [f"effects by {words[settings.method]}"] if settings.method in words else []
    if settings.skip_first:
        said.append("the first position does not count")
    if settings.freeze_patterns:
        said.append("attention patterns held")
    return ", ".join(said)


def metric_words(target: Target) -> str:
    """The metric in words, with the tokens and their probabilities."""
    wanted = f"{visible(target.text)!r} ({probability(target.probability)})"
    if target.contrast is not None:
        against = f"{visible(target.contrast_text)!r}"
        if not target.later:  # of several tokens each is held against its own, after the same words
            against += f" ({probability(target.contrast.probability)})"
        return f"logit of {wanted} − {against}"
    words = {"logp": "log-probability of", "logit": "mean-centred logit of"}
    return f"{words[target.metric]} {wanted}"


def render(circuit: Circuit, upstream: int = 3) -> RenderableType:
    """Sites from the last to the first, each with its top nodes and their `upstream` strongest edges."""
    nodes = {node.id: node for node in circuit.nodes}
    into: dict[NodeId, list[Edge]] = {}
    for edge in circuit.edges:
        into.setdefault(edge.target, []).append(edge)
    tops = [node for node in circuit.nodes if node.top and parse_node(node.id).kind != "root"]
    largest = max((abs(node.effect) for node in tops), default=0.0)
    tree = Tree(Text(metric_words(circuit.target), style="bold"), guide_style="dim")
    for summary in circuit.sites:
        here = [node for node in tops if parse_node(node.id).site == summary.site]
        branch = tree.add(
            Text.assemble(
                (str(summary.site), "bold cyan"),
                f"  {summary.share_explained:.0%} explained, features {signed(summary.features)}, "
                f"error {signed(summary.error)}",
            )
        )
        for node in here:
            twig = branch.add(_line(circuit, node.id, node.effect, largest, node.exact))
            edges = sorted(into.get(node.id, []), key=lambda edge: -abs(edge.weight))
            for edge in edges[:upstream]:
                source: Node = nodes[edge.source]
                line = _line(circuit, source.id, edge.weight, largest, None)
                twig.add(Text.assemble(("← ", "dim"), line))
    return Group(*_header(circuit), tree)


def print_tree(circuit: Circuit) -> None:
    """Print a circuit to stdout."""
    # A pipe has no width of its own, and lines cut at 80 columns would lose their labels.
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(render(circuit))
