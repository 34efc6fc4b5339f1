"""The records that every part of scd-tui speaks, and the one grammar of node names.

A node has one name, on screen, in files and between processes. It is ASCII and holds no token text:

    resid_post.11/1154@9     feature 1154 of the dictionary at resid_post of layer 11, at position 9
    mlp_out.5/error@9        what that dictionary leaves unexplained at position 9
    embed/token@3            the token embedding at position 3 (embed/pos@3: the positional one)
    diff/1808-835@9          the root: logit(1808) - logit(835) at position 9
    logp/1808@9, logit/1808@9    the other two metrics
    logp/1808+17@9           a target of two tokens: the sum over both, 17 read at position 10

Names travel as strings (`NodeId`); `parse_node` gives the parts. Effects and edge weights are in
the metric's own unit: nats for `logp`, logits (nats up to the softmax's constant) for the others.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from math import isfinite, prod
from typing import Literal, NewType, get_args

import msgspec

from scd_tui.decoding import Undecodable, decode_json

SCHEMA_VERSION = 1
"""Written into every saved circuit; a file of a later version is refused."""

SiteKind = Literal["resid_pre", "hook_z", "attn_out", "resid_mid", "mlp_out", "resid_post"]
Metric = Literal["diff", "logp", "logit"]
SinkReason = Literal["norm", "prepended", "trained", "asked"]
SinkKept = Literal["asked", "alike", "only"]
Method = Literal["gradient", "integrated", "exact"]
NodeKind = Literal["feature", "error", "token", "pos", "root"]

NodeId = NewType("NodeId", str)

SITE_KINDS: tuple[SiteKind, ...] = get_args(SiteKind)
"""In the order in which a block computes them."""
METRICS: tuple[Metric, ...] = get_args(Metric)
METHODS: tuple[Method, ...] = get_args(Method)
"""How node effects are found: gradient × activation, integrated gradients, ablation of each node."""
EMBEDDINGS = "embed"
"""The place of the token and positional embeddings in node names, as `resid_post.3` is of others."""


class Record(msgspec.Struct, frozen=True):
    """Base of all records: immutable, compared by value, unknown fields in files are ignored."""


class Site(msgspec.Struct, frozen=True, order=True):
    """A hook point that has a dictionary. `str(site)` is its name, as in `mlp_out.5`."""

    layer: int
    kind: SiteKind

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"


class NodeRef(msgspec.Struct, frozen=True):
    """A node name taken apart. `str(ref)` gives the name back.

    `site` and `index` are set for features, `site` alone for error nodes; `metric` and `token_ids`
    (token by token of the target; for `diff` each with its contrast after it) for the root.
    """

    kind: NodeKind
    position: int
    site: Site | None = None
    index: int | None = None
    metric: Metric | None = None
    token_ids: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """What stands before the slash: the site's name, `embed`, or the metric."""
        if self.site is not None:
            return str(self.site)
        return EMBEDDINGS if self.metric is None else self.metric

    def __str__(self) -> str:
        if self.kind == "feature":
            what = str(self.index)
        elif self.kind == "root":
            size = 2 if self.metric == "diff" else 1
            steps = [self.token_ids[n : n + size] for n in range(0, len(self.token_ids), size)]
            what = "+".join("-".join(map(str, step)) for step in steps)
        else:
            what = self.kind
        return f"{self.place}/{what}@{self.position}"

    @property
    def id(self) -> NodeId:
        return NodeId(str(self))


_NUMBER = r"(0|[1-9][0-9]{0,9})"
_SITE = re.compile(rf"({'|'.join(SITE_KINDS)})\.{_NUMBER}", re.ASCII)
_AT_SITE = re.compile(
    rf"({'|'.join(SITE_KINDS)})\.{_NUMBER}/(?:{_NUMBER}|(error))@{_NUMBER}", re.ASCII
)
_LEAF = re.compile(rf"{EMBEDDINGS}/(token|pos)@{_NUMBER}", re.ASCII)
_PAIRS = re.compile(rf"(diff)/({_NUMBER}-{_NUMBER}(?:\+{_NUMBER}-{_NUMBER})*)@{_NUMBER}", re.ASCII)
_SINGLES = re.compile(rf"(logp|logit)/({_NUMBER}(?:\+{_NUMBER})*)@{_NUMBER}", re.ASCII)


def parse_site(name: str) -> Site:
    """Parse a site name such as `mlp_out.5`. Raises ValueError on anything else."""
    found = _SITE.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is not a site; sites are named like mlp_out.5")
    return Site(int(found[2]), found[1])  # type: ignore[arg-type]  # the pattern admits kinds only


@lru_cache(maxsize=65_536)
def parse_node(name: str) -> NodeRef:
    """Parse a node name (the grammar is in this module's docstring). Raises ValueError."""
    if found := _AT_SITE.fullmatch(name):
        site = Site(int(found[2]), found[1])  # type: ignore[arg-type]
        if found[4]:
            return NodeRef("error", int(found[5]), site)
        return NodeRef("feature", int(found[5]), site, int(found[3]))
    if found := _LEAF.fullmatch(name):
        return NodeRef(found[1], int(found[2]))  # type: ignore[arg-type]
    if found := _PAIRS.fullmatch(name) or _SINGLES.fullmatch(name):
        ids = tuple(int(number) for number in re.split(r"[-+]", found[2]))
        return NodeRef("root", int(found[found.lastindex or 0]), metric=found[1], token_ids=ids)  # type: ignore[arg-type]
    raise ValueError(f"{name!r} is not a node name; they look like resid_post.11/1154@9")


def feature_id(site: Site, index: int, position: int) -> NodeId:
    return NodeRef("feature", position, site, index).id


def error_id(site: Site, position: int) -> NodeId:
    return NodeRef("error", position, site).id


class Token(Record, frozen=True):
    """A vocabulary entry. `text` is the decoded token, bytes that are no UTF-8 as `\\xNN`."""

    id: int
    text: str


class Completion(Record, frozen=True):
    """A possible next token with its probability and raw logit on the unmodified model."""

    token: Token
    probability: float
    logit: float


SATURATED = 0.9
"""Above this probability of its target, the gradient of `logp` says little about ablations."""


class Step(Record, frozen=True):
    """One token of a target, with what it is held against where the metric has a contrast."""

    target: Completion
    contrast: Completion | None = None


class Target(Record, frozen=True):
    """What is being explained: the metric, at a position, of a token (against another).

    `contrast` is set for `diff` only. `logit` is the target's logit minus the mean logit.
    `contrast_is_default` says that nobody chose the contrast: it was the likeliest other token.
    A target of several tokens has the others in `later`: the metric is the sum over all, each read
    one position further on, where the one before it stands in the prompt.
    """

    metric: Metric
    position: int
    target: Completion
    contrast: Completion | None = None
    contrast_is_default: bool = False
    later: tuple[Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All tokens, the first included."""
        return (Step(self.target, self.contrast), *self.later)

    @property
    def positions(self) -> tuple[int, ...]:
        """Where each step is read."""
        return tuple(range(self.position, self.position + 1 + len(self.later)))

    @property
    def probability(self) -> float:
        """Of all steps, one after the other, on the unmodified model."""
        return prod(step.target.probability for step in self.steps)

    @property
    def text(self) -> str:
        """The wanted tokens' text."""
        return "".join(step.target.token.text for step in self.steps)

    @property
    def contrast_text(self) -> str:
        """The text of the tokens that they are held against, empty without a contrast."""
        return "".join(s.contrast.token.text for s in self.steps if s.contrast is not None)

    @property
    def contrast_texts(self) -> tuple[str, ...]:
        """The texts to name the contrast by: one, as it was chosen. Where nobody chose it there is one for
        each step: every token has a likeliest other of its own, and together they are no text."""
        if self.contrast is None or not (self.contrast_is_default and self.later):
            return (self.contrast_text,) if self.contrast is not None else ()
        return tuple(s.contrast.token.text for s in self.steps if s.contrast is not None)

    @property
    def saturated(self) -> bool:
        """Whether the metric is `logp` where it is nearly flat."""
        return self.metric == "logp" and any(
            step.target.probability > SATURATED for step in self.steps
        )

    @property
    def root(self) -> NodeId:
        ids: list[int] = []
        for step in self.steps:
            ids.append(step.target.token.id)
            if step.contrast is not None:
                ids.append(step.contrast.token.id)
        return NodeRef("root", self.position, metric=self.metric, token_ids=tuple(ids)).id


class Node(Record, frozen=True):
    """A node of a circuit.

    `effect` is the gradient estimate of what the metric loses without it; `exact` the same measured
    by ablation, once it has been. `activation` is the feature's `f` (before `s_out`), or the norm
    of an error or embedding vector; 0 for the root. `top` marks the strongest nodes of their site,
    as against nodes that are there because an edge starts in them. `influence` is the share of the
    root that flows through it (`attribution.influence`), `inflow` Σ|weight| of all edges into it, the
    kept ones and the others; both where they were found, the latter where edges were.
    """

    id: NodeId
    effect: float
    activation: float
    exact: float | None = None
    top: bool = False
    influence: float | None = None
    inflow: float | None = None


class Edge(Record, frozen=True):
    """The part of the target node's effect that arrives from `source` along the direct path."""

    source: NodeId
    target: NodeId
    weight: float


class Sink(Record, frozen=True):
    """A position that dictionaries do not describe, and whether it counts all the same.

    `reason`: "norm", a residual norm of `ratio` times the median of the other positions' (the largest
    ratio over the sites); "prepended", a BOS that was put before the prompt; "trained", a position
    that the dictionaries were trained without; "asked", `--skip-first`. `ratio` is given
    wherever it reaches the bar. `kept` is None where the position is left out; else why it counts:
    "asked", by `--sinks`; "alike", its difference from the contrast prompt is of ordinary size; "only",
    the two prompts differ at no other token.
    """

    position: int
    reason: SinkReason
    ratio: float | None = None
    kept: SinkKept | None = None

    @property
    def left_out(self) -> bool:
        return self.kept is None


class SiteSummary(Record, frozen=True):
    """A site's sums over positions and active features, in the metric's unit; sinks are left out.

    `share_explained` = Σ_p |Σ_i n_i(p)| / Σ_p (|Σ_i n_i(p)| + |n_err(p)|), None where that is 0 / 0;
    `explained_variance` is of this prompt's activations, None where these do not vary; `active` the
    number of active (feature, position) pairs, with a contrast prompt of those that are active in either.
    """

    site: Site
    features: float
    error: float
    constant: float
    share_explained: float | None
    explained_variance: float | None
    active: int


class TrustScores(Record, frozen=True):
    """How far gradient effects can be believed: estimate against exact ablation of `n` features.

    `abs_spearman` ranks |estimate| against |exact| and is the headline; `signed_spearman` is inflated
    by having selected on |estimate|. `relative_error` = Σ|n - exact| / Σ|exact|. The four statistics
    are None below 20 features (and where ranks are all tied).
    """

    n: int
    abs_spearman: float | None
    signed_spearman: float | None
    sign_agreement: float | None
    relative_error: float | None


class SiteTrust(Record, frozen=True):
    site: Site
    scores: TrustScores


class Trust(Record, frozen=True):
    """Trust of a circuit, over its strongest features, and a site at a time.

    `edges` compares the strongest edges with the same measured along their direct path.
    """

    overall: TrustScores
    sites: tuple[SiteTrust, ...] = ()
    edges: TrustScores | None = None


class Flow(Record, frozen=True):
    """Where the root's influence ends: shares of the whole, which add up to 1.

    In embeddings, in errors, or in features whose own edges were not followed. `completeness`: the share
    of what flows into followed nodes that does not come out of errors (circuit-tracer's graph score).
    """

    completeness: float
    embeddings: float
    errors: float
    features: float


class Pruned(Record, frozen=True):
    """What a circuit was pruned to, and how many nodes (its root among them) and edges it had before.

    `summed`: a feature counted with all its positions together.
    """

    node_share: float
    edge_share: float
    summed: bool
    nodes: int
    edges: int


class Supernode(Record, frozen=True):
    """Nodes that a reader takes for one thing, under a name of their own. Its effect is their sum."""

    name: str
    nodes: tuple[NodeId, ...]


class Marks(Record, frozen=True):
    """What a reader has put on a circuit: nodes that are pinned, notes on nodes, supernodes."""

    pins: tuple[NodeId, ...] = ()
    notes: dict[NodeId, str] = {}
    supernodes: tuple[Supernode, ...] = ()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """All nodes that are marked in any way."""
        members = (node for group in self.supernodes for node in group.nodes)
        return tuple(dict.fromkeys((*self.pins, *self.notes, *members)))

    def after(self, earlier: "Marks") -> "Marks":
        """These with those that were put on the same circuit earlier; of two on one thing, these."""
        names = {group.name for group in self.supernodes}
        groups = (group for group in earlier.supernodes if group.name not in names)
        return Marks(
            pins=tuple(dict.fromkeys((*earlier.pins, *self.pins))),
            notes={**earlier.notes, **self.notes},
            supernodes=(*self.supernodes, *groups),
        )


class TokenShift(Record, frozen=True):
    """Log-probability that a node lends a token: clean minus ablated, in nats."""

    token: Token
    shift: float


class Outcome(Record, frozen=True, kw_only=True):
    """What a change of the model did: the metric's loss, estimated and measured, and its words.

    `promoted` and `suppressed` are what the removed part lent to tokens, of the 100 likeliest with or
    without it; `completions` are those that are left.
    """

    predicted: float
    exact: float
    promoted: tuple[TokenShift, ...]
    suppressed: tuple[TokenShift, ...]
    completions: tuple[Completion, ...]


class Removal(Record, frozen=True):
    """What it did to take nodes out of the model together, or only what one of them sends to another.

    Of such an edge `into` is where it leads, and `along` its weight measured along the direct path.
    """

    nodes: tuple[NodeId, ...]
    outcome: Outcome
    into: NodeId | None = None
    along: float = 0.0

    @property
    def names(self) -> tuple[NodeId, ...]:
        """All nodes that it is of."""
        return self.nodes if self.into is None else (*self.nodes, self.into)


class DictionaryGate(Record, frozen=True):
    """Dictionary check of one dictionary. `passed` is the verdict; None where not measured.

    `explained_variance_error` is a standard error over windows of the text, of `tokens` tokens.
    """

    site: Site
    l0: float | None = None
    explained_variance: float | None = None
    delta_ce: float | None = None
    ce_recovered: float | None = None
    passed: bool | None = None
    explained_variance_error: float | None = None
    tokens: int | None = None


def reference_to(name: str, dictionaries: str) -> str:
    """What `--model` takes for a model with these dictionaries; for one without any, its name alone."""
    return f"{name}:{dictionaries}" if dictionaries else name


class ModelIdentity(Record, frozen=True, kw_only=True):
    """What was loaded, exactly enough to load it again. Revisions are commits or content hashes.

    `sources` maps a site's name to the id under which its features are labelled, where there is one.
    `neuronpedia` is Neuronpedia's name of the model, "" where the sources are not on Neuronpedia.
    `training_context` is how many tokens the texts had that the dictionaries were trained on, if known.
    `dictionaries` and its revision are "" for a model without any.
    """

    name: str
    revision: str
    dictionaries: str
    dictionaries_revision: str
    device: str
    dtype: str = "float32"
    layers: int
    context: int
    vocabulary: int
    prepends_bos: bool = False
    training_context: int | None = None
    sites: tuple[Site, ...] = ()
    sources: dict[str, str] = {}
    neuronpedia: str = ""
    gate: tuple[DictionaryGate, ...] = ()

    @property
    def reference(self) -> str:
        """What names this model with these dictionaries, as `--model` takes it."""
        return reference_to(self.name, self.dictionaries)


class Settings(Record, frozen=True):
    """How a circuit was found and cut down from all there is.

    `top` nodes a site over all positions; `edges` strongest upstream nodes kept for each (target,
    upstream site) pair. `method` is how node effects are found; edges are gradients in every case.
    `skip_first` leaves the first position out as sinks are left out; `sinks` lets sinks count.
    `freeze_patterns` holds where attention looks fixed while it is differentiated.
    """

    top: int = 10
    edges: int = 5
    completions: int = 10
    method: Method = "gradient"
    skip_first: bool = False
    freeze_patterns: bool = False
    sinks: bool = False


class Circuit(Record, frozen=True, kw_only=True):
    """A whole attribution: self-contained, so that it can be read without the model.

    `share_explained` is that of all sites together: both sums of a site's share taken over sites.
    `expanded` lists the nodes whose upstream edges were kept: all top nodes and the root. Edges
    out of leaves do not exist. `explanations` holds labels by `source/index`.

    The last `forced` of `tokens` are not the prompt's: they are earlier tokens of a target of several,
    or of the model's own continuation. With a contrast prompt, effects are of the difference between
    the two, `contrast_tokens` are those of the other, and `contrast_value` is the metric there (None in
    files of older versions). `removals` are those that a reader tried. `sinks` are the positions with a
    massive activation and the like: those left out have no node, and are in no sum, rank or mean.
    """

    schema_version: int = SCHEMA_VERSION
    prompt: str
    tokens: tuple[Token, ...]
    forced: int = 0
    contrast_prompt: str | None = None
    contrast_tokens: tuple[Token, ...] = ()
    model: ModelIdentity
    settings: Settings
    target: Target
    metric_value: float
    contrast_value: float | None = None
    share_explained: float | None
    completions: tuple[Completion, ...]
    sites: tuple[SiteSummary, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    expanded: tuple[NodeId, ...]
    flow: Flow | None = None
    pruned: Pruned | None = None
    trust: Trust | None = None
    explanations: dict[str, str] = {}
    seconds: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    marks: Marks = Marks()
    removals: tuple[Removal, ...] = ()
    sinks: tuple[Sink, ...] = ()

    @property
    def size(self) -> int:
        """How many nodes it has; the metric itself, its root, is not counted."""
        return sum(node.id != self.target.root for node in self.nodes)

    @property
    def said(self) -> tuple[Token, ...]:
        """What the model itself went on with after the prompt, before the target."""
        count = len(self.tokens)
        return self.tokens[count - self.forced : count - len(self.target.later)]

    @property
    def read_at(self) -> int | None:
        """The position where the target is read, None if that is right after all that stands before it."""
        last = len(self.tokens) - 1 - len(self.target.later)
        return None if self.target.position == last else self.target.position

    def with_exact(self, exact: dict[NodeId, float]) -> "Circuit":
        """The same circuit with measured effects filled in for the nodes named in `exact`."""
        nodes = tuple(
            msgspec.structs.replace(node, exact=exact.get(node.id, node.exact))
            for node in self.nodes
        )
        return msgspec.structs.replace(self, nodes=nodes)


def _numbers(circuit: Circuit) -> Iterator[tuple[str, tuple[float, ...]]]:
    """The numbers that a reader would miss, with their names."""
    yield "the metric", (circuit.metric_value, circuit.contrast_value or 0.0)
    for node in circuit.nodes:
        yield node.id, (node.effect, node.activation, node.exact or 0.0, node.influence or 0.0)
    for edge in circuit.edges:
        yield f"the edge from {edge.source} to {edge.target}", (edge.weight,)
    for site in circuit.sites:
        yield str(site.site), (site.features, site.error, site.constant)
    for completion in circuit.completions:
        yield "a completion", (completion.probability, completion.logit)


def encode_circuit(circuit: Circuit) -> bytes:
    """Serialise to indented JSON that ends in a newline.

    Raises ValueError, naming the node or edge, on a number that is NaN or infinite: JSON has none, and
    the file could not be read again.
    """
    for name, numbers in _numbers(circuit):
        if not all(map(isfinite, numbers)):
            raise ValueError(f"{name} is NaN or infinite: nothing is written")
    return msgspec.json.format(msgspec.json.encode(circuit), indent=1) + b"\n"


def _not_a_number(data: bytes, error: str) -> str:
    """Where a file that msgspec refused has NaN or infinity for a number; empty if it has neither.

    msgspec writes both as null, other programs as words that are no JSON.
    """
    if found := re.search(r"Expected `float`, got `null` - at `\$\.?(.+)`", error):
        return f"at {found[1]}"
    if "malformed" in error and (word := re.search(rb'"([a-z_]+)":\s*(NaN|-?Infinity)\b', data)):
        return f"for {word[1].decode()} at byte {word.start(2)}"
    return ""


def decode_circuit(data: bytes) -> Circuit:
    """Read a saved circuit. Raises ValueError, in one sentence, on anything that is not one."""
    try:
        circuit = decode_json(data, Circuit)
    except Undecodable as error:
        if where := _not_a_number(data, str(error)):
            raise ValueError(
                f"the file has no number {where}: it was NaN or infinite when the circuit was made, which "
                "spoils every rank in the file; make the circuit again"
            ) from None
        raise ValueError(f"not a circuit file: {error}") from None
    if circuit.schema_version > SCHEMA_VERSION:
        raise ValueError(
            f"the file has schema version {circuit.schema_version}, this program reads up to "
            f"{SCHEMA_VERSION}: install a newer scd-tui"
        )
    names = {node.id for node in circuit.nodes}
    ends = {end for edge in circuit.edges for end in (edge.source, edge.target)}
    tried = {name for removal in circuit.removals for name in removal.names}
    for name in (*names, *ends, *circuit.expanded, *circuit.marks.nodes, *tried):
        if parse_node(name).position >= len(circuit.tokens):
            raise ValueError(f"{name} is beyond the file's {len(circuit.tokens)} tokens")
    if missing := sorted((ends | {circuit.target.root}) - names):
        raise ValueError(f"the file names node {missing[0]} and does not hold it")
    if any(not one.nodes or (one.into and len(one.nodes) > 1) for one in circuit.removals):
        raise ValueError("the file says what a removal did, and not of which nodes")
    return circuit
