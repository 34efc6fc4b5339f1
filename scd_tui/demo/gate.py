"""The gate: what the bundled model and its dictionaries are held to, measured as users load them.

Everything is loaded from the written directory (float16 on disk) through TransformerBridge and
sae_lens, and measured on documents, names and template fillings that training never saw, by kind
of text. `measure` gives plain numbers, `judge` compares them with the bars.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scd_tui.demo import corpus, words
from scd_tui.demo.recipe import Recipe
from scd_tui.demo.sites import batches, dictionary_ids, source_id
from scd_tui.demo.streams import KINDS, Kind, Texts
from scd_tui.demo.threads import one_thread_each

log = logging.getLogger(__name__)

_BATCH = 64  # windows
_FOUR_CLAUSES = corpus.AGREEMENT_TEMPLATES[:4]  # the fifth has no verb between subject and verb

# The bars.
PROMPT_PROBABILITY = 0.5
RIGHT = 0.95
L0_SHARE = 0.98
DEAD = 0.05
EXPLAINED: dict[Kind, float] = {"documentation": 0.85, "templates": 0.95}
LOSS_RISE = 0.3  # nats
RECOVERED = 0.95
RECOVERED_WHERE = 0.2  # nats that zero ablation has to cost for the line above to say anything


@dataclass(frozen=True)
class Behaviour:
    """One thing the model does: the share (or least probability) measured, and its bar if any."""

    name: str
    value: float
    bar: float | None
    cases: int
    note: str


@dataclass(frozen=True)
class Splice:
    """One dictionary on one kind of text. Cross-entropies in nats a token."""

    kind: Kind
    tokens: int
    l0_mean: float
    l0_max: int
    explained_variance: float
    loss: float
    loss_spliced: float
    loss_zeroed: float

    @property
    def loss_rise(self) -> float:
        """ΔCE with the reconstruction put in the place of the activation."""
        return self.loss_spliced - self.loss

    @property
    def recovered(self) -> float | None:
        """Share of the cost of zero ablation that the reconstruction saves; None if it is small."""
        cost = self.loss_zeroed - self.loss
        if cost < RECOVERED_WHERE:
            return None
        return (self.loss_zeroed - self.loss_spliced) / cost


@dataclass(frozen=True)
class Dictionary:
    """One dictionary: its share of features that no gate token fires, and its splices."""

    id: str
    source: str
    active: int
    features: int
    dead: float
    splices: tuple[Splice, ...]


@dataclass(frozen=True)
class Gate:
    """All that was measured, and what fell short of its bar."""

    tokens: dict[str, int]
    behaviours: tuple[Behaviour, ...]
    dictionaries: tuple[Dictionary, ...]
    shortfalls: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Plain data for `gate.json`: every number and bar, ΔCE and CE recovered included."""
        plain = asdict(self)
        for entry, dictionary in zip(plain["dictionaries"], self.dictionaries, strict=True):
            for row, splice in zip(entry["splices"], dictionary.splices, strict=True):
                row["loss_rise"] = splice.loss_rise
                row["recovered"] = splice.recovered
        plain["bars"] = {
            "l0_share": L0_SHARE,
            "dead": DEAD,
            "explained_variance": EXPLAINED,
            "loss_rise": LOSS_RISE,
            "recovered": RECOVERED,
            "recovered_where": RECOVERED_WHERE,
        }
        return plain


def load_bridge(directory: Path) -> Any:
    """The model as every user of this project loads it: float32, through TransformerBridge."""
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(str(directory), device="cpu", dtype=torch.float32)
    return bridge.eval()


def load_dictionary(directory: Path) -> Any:
    """A dictionary as sae_lens loads it, in float32."""
    from sae_lens import SAE

    return SAE.load_from_disk(directory, device="cpu", dtype="float32").eval()


def held_out_windows(texts: Texts, recipe: Recipe) -> dict[Kind, tuple[Tensor, Tensor]]:
    """Token windows and prediction weights by kind: all held-out documentation, and as much
    again of the other two."""
    import numpy as np

    rng = np.random.default_rng(recipe.seed + 3)
    count = recipe.gate_windows // 2
    again = texts.repeated(rng, count // 4)
    documentation = texts.documentation.tiled(count, recipe.context)
    templates = texts.templates.in_order(count, recipe.context)
    return {
        "documentation": _pair(documentation, np.ones_like(documentation)),
        "templates": _pair(templates, np.ones_like(templates)),
        "repeated": _pair(again.windows, again.weights),
    }


def _pair(windows: Any, weights: Any) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(windows), torch.from_numpy(weights)[:, 1:].bool()


@torch.no_grad()
def measure(directory: Path, texts: Texts, recipe: Recipe) -> Gate:
    """Load `directory/model` and `directory/dictionaries` and measure everything."""
    bridge = load_bridge(directory / "model")
    windows = held_out_windows(texts, recipe)
    behaviours = _behaviours(bridge, windows["repeated"], recipe)
    for behaviour in behaviours:
        log.info("%s: %.4f (bar %s)", behaviour.name, behaviour.value, behaviour.bar)
    clean = {kind: _loss(bridge, *windows[kind]) for kind in KINDS}
    names = dictionary_ids(recipe.layers)

    saes = {name: load_dictionary(directory / "dictionaries" / name) for name in names}
    # hooks are put on a model, so each thread has its own; loading is not for threads
    bridges = [bridge, *(load_bridge(directory / "model") for _ in range(recipe.threads - 1))]

    @torch.no_grad()
    def some(own: Any, hand: Sequence[str]) -> list[Dictionary]:
        found = []
        for name in hand:
            found.append(_dictionary(own, saes[name], name, windows, clean))
            log.info("%s", found[-1])
        return found

    hands = [names[n :: recipe.threads] for n in range(recipe.threads)]
    with one_thread_each(recipe.threads) as pool:
        measured = sorted(
            (d for found in pool.map(some, bridges, hands) for d in found),
            key=lambda d: names.index(d.id),
        )
    tokens: dict[str, int] = {kind: int(windows[kind][0].numel()) for kind in KINDS}
    gate = Gate(tokens, tuple(behaviours), tuple(measured))
    return Gate(gate.tokens, gate.behaviours, gate.dictionaries, tuple(judge(gate)))


def judge(gate: Gate) -> list[str]:
    """One line for everything that falls short of its bar; none when the gate holds."""
    short = [
        f"{b.name}: {b.value:.3f} < {b.bar}"
        for b in gate.behaviours
        if b.bar is not None and not b.value >= b.bar
    ]
    for d in gate.dictionaries:
        if not d.dead <= DEAD:
            short.append(f"{d.id}: dead {d.dead:.3f} > {DEAD}")
        for s in d.splices:
            where = f"{d.id} on {s.kind}"
            if s.l0_max > d.active or not s.l0_mean >= L0_SHARE * d.active:
                short.append(f"{where}: L0 mean {s.l0_mean:.2f}, max {s.l0_max}")
            bar = EXPLAINED.get(s.kind)
            if bar is not None and not s.explained_variance >= bar:
                short.append(f"{where}: explained variance {s.explained_variance:.3f} < {bar}")
            if s.kind in EXPLAINED:
                if not s.loss_rise <= LOSS_RISE:
                    short.append(f"{where}: loss rise {s.loss_rise:.3f} > {LOSS_RISE}")
                if s.recovered is not None and not s.recovered >= RECOVERED:
                    short.append(f"{where}: CE recovered {s.recovered:.3f} < {RECOVERED}")
    return short


# --------------------------------------------------------------------------------------------
# What the model does


def last_logits(bridge: Any, texts: Sequence[str]) -> Tensor:
    """Logits `[texts, vocabulary]` after each text, read one at a time, no token put before it."""
    rows = []
    for text in texts:
        ids = bridge.to_tokens(text, prepend_bos=False)
        rows.append(bridge(ids)[0, -1])
    return torch.stack(rows)


def token_id(bridge: Any, text: str) -> int:
    """The id of a text that is one token. Raises ValueError for any other."""
    ids = bridge.to_tokens(text, prepend_bos=False)[0].tolist()
    if len(ids) != 1:
        raise ValueError(f"{text!r} is {len(ids)} tokens, not one")
    return int(ids[0])


def _behaviours(bridge: Any, again: tuple[Tensor, Tensor], recipe: Recipe) -> list[Behaviour]:
    found: list[Behaviour] = []
    for prompt, continuation in corpus.FAMOUS:
        answer = ")" if continuation.startswith(")") else continuation.rstrip(".")
        answer_id = token_id(bridge, answer)
        probabilities = last_logits(bridge, [prompt])[0].softmax(-1)
        first = int(probabilities.argmax()) == answer_id
        found.append(
            Behaviour(
                f"{prompt}|{answer}",
                float(probabilities[answer_id]) if first else 0.0,
                PROMPT_PROBABILITY,
                1,
                "probability of the answer (0 if not first); memorised: the text is in training",
            )
        )
    found.append(_indirect_objects(bridge, recipe))
    found.append(_agreement(bridge, recipe))
    found.append(_brackets(bridge, recipe))
    windows, foretold = again
    right = _predictions(bridge, windows)[:, :-1] == windows[:, 1:]
    found.append(
        Behaviour(
            "repeated random sequences",
            float(right[foretold].float().mean()),
            RIGHT,
            len(windows),
            "next token first, over every token that repeats; sequences drawn anew",
        )
    )
    return found


def _indirect_objects(bridge: Any, recipe: Recipe) -> Behaviour:
    rng = random.Random(recipe.seed + 4)
    cases = [corpus.indirect_object(rng, "held-out") for _ in range(recipe.gate_prompts)]
    best = last_logits(bridge, [text for text, _, _ in cases]).argmax(-1)
    answers = torch.tensor([token_id(bridge, answer) for _, answer, _ in cases])
    return Behaviour(
        "indirect object",
        float((best == answers).float().mean()),
        RIGHT,
        len(cases),
        "first token is the right name; names in no sentence of training, places and things in "
        "no such sentence",
    )


def _agreement(bridge: Any, recipe: Recipe) -> Behaviour:
    rng = random.Random(recipe.seed + 5)
    cases = [
        corpus.agreement(rng, "held-out", rng.choice(_FOUR_CLAUSES))
        for _ in range(recipe.gate_prompts)
    ]
    best = last_logits(bridge, [text for text, _, _ in cases]).argmax(-1).tolist()
    forms = {
        plural: {token_id(bridge, f" {verb}") for verb in verbs}
        for plural, verbs in ((True, words.PLURAL_VERBS), (False, words.SINGULAR_VERBS))
    }
    right = [token in forms[plural] for token, (_, _, plural) in zip(best, cases, strict=True)]
    return Behaviour(
        "verb number across a relative clause",
        sum(right) / len(right),
        RIGHT,
        len(cases),
        "first token is a verb of the subject's number; subjects in no such sentence of training",
    )


def _brackets(bridge: Any, recipe: Recipe) -> Behaviour:
    rng = random.Random(f"held-out-{recipe.seed + 6}")
    closers = {right for _, right in words.BRACKETS}
    ids = {closer: token_id(bridge, f" {closer}") for closer in closers}
    right = 0
    for _ in range(recipe.gate_prompts):
        tokens = corpus.bracket_tokens(rng, rng.randint(6, 22))
        at = rng.choice([i for i, token in enumerate(tokens) if token in closers])
        logits = last_logits(bridge, [" ".join(tokens[:at])])[0]
        right += max(closers, key=lambda c: float(logits[ids[c]])) == tokens[at]
    return Behaviour(
        "brackets",
        right / recipe.gate_prompts,
        None,
        recipe.gate_prompts,
        "the right closing bracket above the two others; reported only",
    )


def _predictions(bridge: Any, windows: Tensor) -> Tensor:
    return torch.cat([bridge(rows).argmax(-1) for rows in batches(windows, _BATCH)])


# --------------------------------------------------------------------------------------------
# What the dictionaries keep


def _loss(
    bridge: Any,
    windows: Tensor,
    wanted: Tensor,
    hook: tuple[str, Callable[..., Tensor]] | None = None,
) -> float:
    """Mean cross-entropy in nats of the wanted next tokens, with an optional hook in place."""
    total = 0.0
    for rows, keep in zip(batches(windows, _BATCH), batches(wanted, _BATCH), strict=True):
        logits = bridge.run_with_hooks(rows, fwd_hooks=[hook]) if hook else bridge(rows)
        total += float(F.cross_entropy(logits[:, :-1][keep], rows[:, 1:][keep], reduction="sum"))
    return total / int(wanted.sum())


def _dictionary(
    bridge: Any,
    sae: Any,
    dictionary_id: str,
    windows: dict[Kind, tuple[Tensor, Tensor]],
    clean: dict[Kind, float],
) -> Dictionary:
    from sae_lens.evals import ExplainedVarianceCalculator

    fired = torch.zeros(sae.cfg.d_sae, dtype=torch.bool)
    splices = []
    for kind in KINDS:
        explained = ExplainedVarianceCalculator()
        counts: list[Tensor] = []

        def splice(
            x: Tensor,
            hook: Any,
            explained: Any = explained,
            counts: list[Tensor] = counts,
        ) -> Tensor:
            # encode, then decode at once: sae_lens keeps the layer norm between the two
            features = sae.encode(x)
            out: Tensor = sae.decode(features)
            explained.add_batch(sae_output=out.flatten(0, 1), hidden_acts=x.flatten(0, 1))
            active = features.flatten(0, 1) != 0
            counts.append(active.sum(-1))
            fired.logical_or_(active.any(0))
            return out

        spliced = _loss(bridge, *windows[kind], (dictionary_id, splice))
        zeroed = _loss(bridge, *windows[kind], (dictionary_id, lambda x, hook: torch.zeros_like(x)))
        l0 = torch.cat(counts)
        splices.append(
            Splice(
                kind=kind,
                tokens=len(l0),
                l0_mean=float(l0.float().mean()),
                l0_max=int(l0.max()),
                explained_variance=float(explained.compute()),
                loss=clean[kind],
                loss_spliced=spliced,
                loss_zeroed=zeroed,
            )
        )
    return Dictionary(
        id=dictionary_id,
        source=source_id(dictionary_id),
        active=int(sae.cfg.k),
        features=int(sae.cfg.d_sae),
        dead=1 - float(fired.float().mean()),
        splices=tuple(splices),
    )
