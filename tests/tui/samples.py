"""A small circuit made up for tests of the screen, and a worker double at the message boundary."""

from collections.abc import Callable

import msgspec

from scd_tui.graph import (
    Circuit,
    Completion,
    DictionaryGate,
    Edge,
    ModelIdentity,
    Node,
    NodeId,
    Settings,
    Site,
    SiteSummary,
    Target,
    Token,
    Trust,
    TrustScores,
    error_id,
    feature_id,
)
from scd_tui.neuronpedia.records import Activation, Explanation, FeatureRecord
from scd_tui.worker.client import WorkerExit, WorkerGone
from scd_tui.worker.protocol import Event, Message, Request

PROMPT = "To be or not to be, that is the"
TOKENS = tuple(
    Token(index + 10, text)
    for index, text in enumerate(
        ["To", " be", " or", " not", " to", " be", ",", " that", " is", " the"]
    )
)
LAST = len(TOKENS) - 1
SITES = tuple(
    Site(layer, kind) for layer in range(4) for kind in ("attn_out", "mlp_out", "resid_post")
)
COMPLETIONS = tuple(
    Completion(Token(100 + index, text), p, 10 - index)
    for index, (text, p) in enumerate(
        [
            (" question", 0.612),
            (" way", 0.052),
            (" only", 0.049),
            (" nature", 0.031),
            ("ing", 0.0002),
        ]
    )
)
MODEL = ModelIdentity(
    name="demo",
    revision="0123456789ab",
    dictionaries="topk",
    dictionaries_revision="ba9876543210",
    device="cpu",
    layers=4,
    context=64,
    vocabulary=3072,
    sites=SITES,
    sources={str(site): f"{site.layer}-{site.kind}-demo" for site in SITES},
    gate=tuple(DictionaryGate(site, 16.0, 0.95, 0.1, 0.97, True) for site in SITES),
)


def _number(*parts: int) -> float:
    """A fixed number in [-1, 1) that looks random."""
    seed = 7
    for part in parts:
        seed = (seed * 1103515245 + part * 12345 + 1013904223) % (1 << 31)
    return seed / (1 << 30) - 1


def site_nodes(site: Site, top: int = 10) -> tuple[Node, ...]:
    """Nine features and an error, strongest first."""
    base = SITES.index(site)
    nodes = [
        Node(
            feature_id(site, (base * 97 + n * 131) % 1024, (LAST - n * base) % len(TOKENS)),
            effect=2.4 * _number(base, n) / (n + 1),
            activation=abs(_number(base, n, 1)) * 10 + 0.1,
            top=True,
        )
        for n in range(top - 1)
    ]
    nodes.append(Node(error_id(site, LAST), -0.11 * (base + 1) / 5, 3.0, top=True))
    return tuple(sorted(nodes, key=lambda node: -abs(node.effect)))


def summary(site: Site) -> SiteSummary:
    base = SITES.index(site)
    return SiteSummary(site, 2.5 - base / 4, -0.2, 0.05, 0.5 + base / 30, 0.9, 140 + base)


LEAVES = tuple(
    Node(NodeId(f"embed/{kind}@{position}"), _number(position, len(kind)) / 3, 1.0)
    for position in range(len(TOKENS))
    for kind in ("token", "pos")
)


def edges_into(target: NodeId, before: int, count: int = 3) -> tuple[Edge, ...]:
    """Edges into `target` from the last `count` sites below number `before`, or from the leaves."""
    if before <= 0:
        return tuple(Edge(leaf.id, target, leaf.effect / 2) for leaf in LEAVES[-4:])
    return tuple(
        Edge(node.id, target, node.effect * (0.3 + 0.1 * n))
        for site in SITES[max(0, before - count) : before]
        for n, node in enumerate(site_nodes(site)[:5])
    )


def circuit(
    target: Completion = COMPLETIONS[0],
    contrast: Completion | None = COMPLETIONS[1],
    metric: str = "diff",
    default: bool = True,
    prompt: str = PROMPT,
    tokens: tuple[Token, ...] = TOKENS,
) -> Circuit:
    """Every site with its top nodes; the root and the nodes of the last three sites expanded."""
    wanted = Target(metric, LAST, target, contrast if metric == "diff" else None, default)  # type: ignore[arg-type]
    root = wanted.root
    edges = list(edges_into(root, len(SITES)))
    expanded = [root]
    for number, site in enumerate(SITES[-3:], len(SITES) - 3):
        for node in site_nodes(site):
            expanded.append(node.id)
            edges += edges_into(node.id, number)
    nodes = [Node(root, 3.21, 0.0)]
    nodes += [node for site in reversed(SITES) for node in site_nodes(site)]
    nodes += LEAVES
    return Circuit(
        prompt=prompt,
        tokens=tokens,
        model=MODEL,
        settings=Settings(),
        target=wanted,
        metric_value=3.21,
        share_explained=0.78,
        completions=COMPLETIONS,
        sites=tuple(summary(site) for site in reversed(SITES)),
        nodes=tuple(nodes),
        edges=tuple(edges),
        expanded=tuple(expanded),
        seconds={"reading": 0.02, "attribution": 0.11},
    )


def other_circuit() -> Circuit:
    """Another target: some effects are twice as large, the last three nodes are missing, one is new."""
    made = circuit(COMPLETIONS[1], COMPLETIONS[2], default=False)
    nodes = [
        msgspec.structs.replace(node, effect=node.effect * 2) if index % 3 == 1 else node
        for index, node in enumerate(made.nodes[:-3])
    ]
    new = Node(NodeId("mlp_out.0/1023@4"), 0.77, 1.0, top=True)
    return msgspec.structs.replace(made, nodes=(*nodes, new))


TRUST = Trust(TrustScores(100, 0.81, 0.94, 0.96, 0.21))


class Records:
    """Feature records made up from their ids."""

    name = "made up"

    def __init__(self, text: str = "words about {index} and what follows them") -> None:
        self.text = text
        self.asked: list[tuple[str, int]] = []

    def record(self, source: str, index: int) -> FeatureRecord | None:
        self.asked.append((source, index))
        tokens = (" the", " store", ",", " Mary", " gave", " a", " drink", " to", " John", ".") * 3
        values = tuple(float(n % 7) if n in (4, 8, 18) else 0.0 for n in range(len(tokens)))
        return FeatureRecord(
            model_id="demo",
            source=source,
            index=index,
            max_activation=12.25,
            density=0.0112,
            positive_logits=((" John", 1.42), (" Mary", 1.17)),
            negative_logits=((" nearly", -0.61), (" striking", -0.52)),
            explanations=(Explanation(self.text.format(index=index), "scd_auto", "automatic"),),
            activations=tuple(Activation(tokens, values, 4.0, 4) for _ in range(3)),
        )

    def label(self, source: str, index: int) -> str | None:
        return self.text.format(index=index)


class FakeWorker:
    """Takes requests and keeps them; tests say what it answers. `answer` runs at once if given."""

    def __init__(
        self,
        on_event: Callable[[Event], None],
        on_exit: Callable[[WorkerExit], None],
        answer: Callable[["FakeWorker", Request], None] | None = None,
    ) -> None:
        self.emit = on_event
        self.on_exit = on_exit
        self.answer = answer
        self.sent: list[Request] = []
        self.running = False
        self.closed = False
        self._last = 0

    async def start(self) -> None:
        self.running = True

    def send(self, kind: type[Message], **fields: object) -> int:
        if not self.running:
            raise WorkerGone("the worker is not running")
        number = fields.pop("request", None)
        if not isinstance(number, int):
            self._last += 1
            number = self._last
        request = kind(request=number, **fields)
        self.sent.append(request)  # type: ignore[arg-type]
        if self.answer is not None:
            self.answer(self, request)  # type: ignore[arg-type]
        return number

    async def close(self) -> None:
        self.running, self.closed = False, True

    def die(self, signal: str = "SIGKILL", tail: tuple[str, ...] = ()) -> None:
        self.running = False
        self.on_exit(WorkerExit(None, signal, tail))

    def of(self, kind: type[Message]) -> list[Message]:
        """Requests of one kind that were sent, in order."""
        return [request for request in self.sent if isinstance(request, kind)]
