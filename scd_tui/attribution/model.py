"""The language model: tokens, hook points, forward passes.

Everything that knows TransformerBridge is here. Two of its traps: hook names are aliases, so the
`hook.name` that a hook function is given is not the name that was asked for; and the bridge's tokenizer
has been told to prepend BOS, so special tokens must be refused at each call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformer_lens.hook_points import LensHandle
from transformer_lens.model_bridge import TransformerBridge

from scd_tui.attribution.guard import nothing_installed
from scd_tui.attribution.memory import ran_out
from scd_tui.attribution.tokens import Tokens, id_named
from scd_tui.errors import InputError, RunError
from scd_tui.graph import Completion, Site, SiteKind, Token

Leaf = Literal["token", "pos"]
Place = Site | Leaf
"""Where an activation can be read and replaced: a site, or one of the two embeddings."""


@dataclass(frozen=True)
class Attention:
    """A part of a layer's attention that no dictionary is at, to be looked at or replaced.

    `z` `[batch, pos, heads, d_head]`: what the heads read, before their output matrix; `pattern`
    `[batch, heads, pos, pos]`: how much of each earlier position.
    """

    layer: int
    part: Literal["z", "pattern"]

    def __str__(self) -> str:
        return f"attention {self.part} in layer {self.layer}"


@dataclass(frozen=True)
class MlpInput:
    """The stream `[batch, pos, d]` that a layer's MLP reads, in blocks where attention comes before it."""

    layer: int


@dataclass(frozen=True)
class Neurons:
    """A layer's MLP neurons `[batch, pos, d_mlp]`, to be looked at or replaced.

    What the MLP's output matrix reads: after the nonlinearity, times the other half where it is gated.
    """

    layer: int

    def __str__(self) -> str:
        return f"MLP neurons in layer {self.layer}"


Point = Place | Attention | Neurons | MlpInput
"""Whatever can be looked at or replaced."""

Edit = Callable[[Tensor], Tensor]
"""Takes the activation `[batch, pos, ...]` of a point and returns what the model goes on with."""

_HOOKS: Mapping[SiteKind, str] = {
    "resid_pre": "hook_resid_pre",
    "hook_z": "attn.hook_z",
    "attn_out": "hook_attn_out",
    "resid_mid": "hook_resid_mid",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
_EMBEDDINGS: Mapping[Leaf, str] = {"token": "hook_embed", "pos": "hook_pos_embed"}


def hook_name(place: Point) -> str:
    """TransformerLens's name of a place's hook point."""
    if isinstance(place, Neurons):
        return f"blocks.{place.layer}.mlp.hook_post"
    if isinstance(place, Attention):
        return f"blocks.{place.layer}.attn.hook_{place.part}"
    if isinstance(place, MlpInput):
        return f"blocks.{place.layer}.{_HOOKS['resid_mid']}"
    if isinstance(place, Site):
        return f"blocks.{place.layer}.{_HOOKS[place.kind]}"
    return _EMBEDDINGS[place]


PROCESSING = frozenset({"fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"})
"""What can be done to a model's weights that changes activations and not what it says."""
_UNEMBED = "unembed.hook_in"
"""What the unembedding reads, `[batch, pos, d]`."""
_ROUNDING = 1e-5
"""Of the largest logit: how far apart two passes that compute the same come out at most."""
_OUR_LEVEL = 1_000_000
"""Marks the hooks of one forward pass, so that no others are taken off after it."""


def _keep_no_patterns(bridge: TransformerBridge) -> None:
    """Have each attention let go of its pattern `[batch, heads, pos, pos]` once it has been used.

    The bridge of some families keeps the last one of every layer, with the graph that it hangs on, until
    the next forward pass: gigabytes of a long prompt.
    """

    def let_go(attention: Any, *_: Any) -> None:
        attention._pattern = None

    for block in bridge.blocks:
        attention = getattr(block, "attn", None)
        if attention is not None and hasattr(attention, "_pattern"):
            attention.register_forward_hook(let_go)


def _mid_stream(
    site: Site, edits: Sequence[Edit]
) -> tuple[list[tuple[str, Edit]], list[tuple[str, Edit]]]:
    """Hooks that replace the stream between attention and MLP: those to run first, and last.

    The bridge's hook of that name feeds the MLP alone, and the block adds the old stream to what the
    MLP writes. So the block's output is made again, from the new stream and the MLP's output.
    """
    old: list[Tensor] = []
    new: list[Tensor] = []
    written: list[Tensor] = []

    def replace(stream: Tensor) -> Tensor:
        old.append(stream)
        for edit in edits:
            stream = edit(stream)
        new.append(stream)
        return stream

    def keep(mlp_out: Tensor) -> Tensor:
        written.append(mlp_out)
        return mlp_out

    def finish(out: Tensor) -> Tensor:
        with torch.no_grad():
            if not torch.allclose(old[0] + written[0], out, rtol=1e-4, atol=1e-4):
                raise InputError(
                    f"{site} cannot be used: this model's block does more than add the MLP's output"
                )
        return new[0] + written[0]

    layer = f"blocks.{site.layer}."
    first: list[tuple[str, Edit]] = [
        (layer + _HOOKS["resid_mid"], replace),
        (layer + _HOOKS["resid_post"], finish),
    ]
    return first, [(layer + _HOOKS["mlp_out"], keep)]


class _Nothing:
    """Stands for a hook on gradients where none is wanted: one of autograd's slows each product."""

    def remove(self) -> None:
        """There is nothing to take off."""


def _scaled_outputs(bridge: TransformerBridge) -> frozenset[str]:
    """Hook points of blocks that scale what a sublayer adds to the stream (Granite).

    There the bridge drops a replacement whose value is that of the activation, and with it the cut,
    unless the hook point is listed as having a hook on gradients.
    """
    return frozenset(
        f"blocks.{layer}.{_HOOKS[kind]}"
        for layer, block in enumerate(bridge.blocks)
        if hasattr(block, "residual_contribution_scale")
        for kind in ("attn_out", "mlp_out")
    )


class LanguageModel:
    """A causal language model with frozen weights, in float32."""

    def __init__(self, bridge: TransformerBridge, *, prepend_bos: bool = False) -> None:
        self._bridge = bridge
        self._first: int | None = None
        if prepend_bos:
            self._first = bridge.tokenizer.bos_token_id
            if self._first is None:
                raise InputError(
                    "its dictionaries were trained with a beginning-of-sequence token, and this "
                    "model's tokenizer has none"
                )
        self._tokens = Tokens(bridge.tokenizer)
        # The bridge makes this dict anew each time that it is asked, which takes longer than many a
        # forward pass: so hooks are put on here, and not by its run_with_hooks.
        self._points = dict(bridge.hook_dict)
        self._scaled = _scaled_outputs(bridge)
        self._parts: dict[Site, bool] = {}
        _keep_no_patterns(bridge)
        bridge.eval()
        for parameter in bridge.parameters():
            parameter.requires_grad_(False)
        self._drop_broken_mid_streams()

    @torch.no_grad()
    def _drop_broken_mid_streams(self) -> None:
        """Forget the hook points between attention and MLP where the model does not run with hooks there.

        In blocks that normalise after their sublayers (OPT-350m) TransformerLens gives that name to a
        hook point behind the MLP, which hands on another shape.
        """
        mids = [hook_name(MlpInput(layer)) for layer in range(self.layers)]
        mids = [name for name in mids if name in self._points]
        ids = torch.zeros(1, 1, dtype=torch.long, device=self.device)
        try:
            self._run(ids, [(name, lambda stream: stream) for name in mids])
        except (ValueError, TypeError, AttributeError, LookupError, RuntimeError) as error:
            if ran_out(error):
                raise
            for name in mids:
                del self._points[name]

    @classmethod
    def boot(
        cls,
        path: Path | str,
        device: torch.device,
        *,
        prepend_bos: bool = False,
        processing: Mapping[str, bool] | None = None,
        max_memory: Mapping[int, int] | None = None,
    ) -> "LanguageModel":
        """Load a Hugging Face directory or hub name in float32, its weights as they are.

        With `prepend_bos` prompts begin with the tokenizer's BOS, as the dictionaries' training texts did.
        `processing` is what TransformerLens is to do to the weights, in its own words, because a set of
        dictionaries was trained on a model that had it done (`center_writing_weights`). With `max_memory`,
        bytes by number of a CUDA device, the layers are spread over these, and `device` is not used.
        Raises InputError on processing that there is not.
        """
        unknown = set(processing or {}) - PROCESSING
        if unknown:
            raise InputError(
                f"a model cannot be loaded with {', '.join(sorted(unknown))}: "
                f"there is {', '.join(sorted(PROCESSING))}"
            )
        place: dict[str, Any] = {"device": device}
        if max_memory is not None:
            place = {"device_map": "auto", "max_memory": dict(max_memory)}
        with nothing_installed():
            bridge = TransformerBridge.boot_transformers(
                str(path), dtype=torch.float32, trust_remote_code=False, **place
            )
        if any((processing or {}).values()):
            asked = {name: (processing or {}).get(name, False) for name in PROCESSING}
            bridge.enable_compatibility_mode(disable_warnings=True, **asked)
        return cls(bridge, prepend_bos=prepend_bos)

    @property
    def bridge(self) -> TransformerBridge:
        """The library's own model, for what computes without this class."""
        return self._bridge

    @property
    def layers(self) -> int:
        return int(self._bridge.cfg.n_layers)

    @property
    def heads(self) -> int:
        """Attention heads of a layer, those of the queries where keys have fewer."""
        return int(self._bridge.cfg.n_heads)

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self._bridge.cfg.d_model)

    def width_at(self, site: Site) -> int:
        """Width of a site's activation, attention heads side by side."""
        cfg = self._bridge.cfg
        return int(cfg.n_heads * cfg.d_head) if site.kind == "hook_z" else self.width

    @property
    def context(self) -> int:
        """The longest prompt, in tokens."""
        return int(self._bridge.cfg.n_ctx)

    @property
    def vocabulary(self) -> int:
        return int(self._bridge.cfg.d_vocab)

    @property
    def bos(self) -> int | None:
        """The id of the token that texts begin with, where the tokenizer has one."""
        token_id: int | None = self._bridge.tokenizer.bos_token_id
        return token_id

    def begins_with_bos(self, tokens: Sequence[Token]) -> bool:
        """Whether the first token is the BOS that this model's prompts are given."""
        return self._first is not None and len(tokens) > 0 and tokens[0].id == self._first

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self._bridge.parameters()).device
        return device

    def device_at(self, site: Site) -> torch.device:
        """Where a site's layer computes, if the model is spread over several devices."""
        device: torch.device = next(self._bridge.blocks[site.layer].parameters()).device
        return device

    # --- tokens ---------------------------------------------------------------------------

    def token(self, token_id: int) -> Token:
        """The token with this id, with its text in running text. Bytes that are not UTF-8 are written
        `\\xNN`; an id without any text names itself, `#50300`."""
        return self._tokens.token(token_id)

    def tokenize(self, text: str) -> tuple[Token, ...]:
        """Split text into tokens, no special ones added. May be empty or too long."""
        return self._tokens.split(text)

    def named(self, text: str) -> tuple[Token, ...]:
        """The tokens that a text names: `#1234` the one with that id, else those that say just this text
        where it goes on from another. Raises InputError on an id that there is not."""
        token_id = id_named(text)
        if token_id is not None:
            self._require_id(token_id)
            return (self.token(token_id),)
        tokens = self._tokens.within(text)
        if len(tokens) != 1 and (alone := self._by_text.get(text)) is not None:
            return (alone,)
        return tokens

    @cached_property
    def _by_text(self) -> dict[str, Token]:
        """The first token of each text. Of byte-level vocabularies, which split a text that is a token
        into just that token, there is no need to look."""
        if self._tokens.byte_level:
            return {}
        found: dict[str, Token] = {}
        for token in self.every_token:
            found.setdefault(token.text, token)
        return found

    def _require_id(self, token_id: int) -> None:
        if not 0 <= token_id < self.vocabulary:
            raise InputError(
                f"there is no token {token_id}: ids go from 0 to {self.vocabulary - 1}"
            )

    def says_bos_itself(self, text: str) -> bool:
        """Whether a prompt begins with the text of the BOS that is put before it anyway."""
        return self.begins_with_bos(self.tokenize(text))

    def prompt(self, text: str) -> tuple[Token, ...]:
        """Tokens of a prompt, with BOS before them where the dictionaries want it, once.

        Raises InputError on an empty prompt and on one that is too long.
        """
        tokens = self.tokenize(text)
        if not tokens:
            raise InputError("the prompt is empty: give some text")
        if self._first is not None and not self.begins_with_bos(tokens):
            tokens = (self.token(self._first), *tokens)
        if len(tokens) > self.context:
            raise InputError(
                f"the prompt has {len(tokens)} tokens and the model reads {self.context}: shorten it"
            )
        return tokens

    def single_token(self, wanted: str | int, role: str = "target") -> Token:
        """The token that `wanted` names, by id or by text. Raises InputError unless it is just one."""
        if isinstance(wanted, int):
            self._require_id(wanted)
            return self.token(wanted)
        tokens = self.named(wanted)
        if len(tokens) == 1:
            return tokens[0]
        if not tokens:
            raise InputError(f"the {role} is empty: give one token")
        parts = " + ".join(repr(token.text) for token in tokens[:6]) + " + …" * (len(tokens) > 6)
        hint = ""
        if not wanted.startswith(" ") and self.is_single(" " + wanted):
            hint = f" (with a leading space, {' ' + wanted!r}, it is)"
        raise InputError(
            f"the {role} {wanted!r} is {len(tokens)} tokens, {parts}: give one token{hint}"
        )

    @cached_property
    def every_token(self) -> tuple[Token, ...]:
        """The vocabulary, in order of ids. Takes a second for a large one, once."""
        return tuple(self.token(i) for i in range(self.vocabulary))

    def is_single(self, text: str) -> bool:
        """Whether a text names just one token."""
        return len(self.named(text)) == 1

    # --- forward passes -------------------------------------------------------------------

    @cached_property
    def unheld_patterns(self) -> tuple[int, ...]:
        """The layers whose attention pattern cannot be replaced: the model goes on with its own.

        One forward pass on a few tokens, a row per layer with that layer's pattern cleared.
        """
        layers = [n for n in range(self.layers) if self.has(Attention(n, "pattern"))]
        count = min(4, self.context)
        ids = torch.tensor(
            [[(n + 1) * self.vocabulary // (count + 2) for n in range(count)]], device=self.device
        )

        def clear(row: int, pattern: Tensor) -> Tensor:
            changed = pattern.clone()
            changed[row] = 0.0
            return changed

        edits = [
            (Attention(layer, "pattern"), partial(clear, row)) for row, layer in enumerate(layers)
        ]
        with torch.no_grad():
            # the last row is the model as it is
            logits = self.forward(ids.expand(len(layers) + 1, -1), edits, [-1])[:, 0]
        # rows of a batch differ by rounding even where nothing was replaced
        held = ((logits[:-1] - logits[-1]).abs() > _ROUNDING * logits[-1].abs().max()).any(dim=-1)
        replaced = {layer for layer, holds in zip(layers, held.tolist(), strict=True) if holds}
        return tuple(layer for layer in range(self.layers) if layer not in replaced)

    def has(self, place: Point) -> bool:
        """Whether the model has such a place. Parallel blocks have no `resid_mid`."""
        names = [hook_name(place)]
        if isinstance(place, Site) and place.kind == "resid_mid":
            # what `_mid_stream` puts the block's output together from
            names += [f"blocks.{place.layer}.{_HOOKS[kind]}" for kind in ("mlp_out", "resid_post")]
        return all(name in self._points for name in names)

    def part(self, site: Site, read: Tensor, example: Tensor) -> Callable[[Tensor], Tensor] | None:
        """What makes a site's activation `[batch, n, d]` position by position, run by itself.

        Of an `mlp_out` it is the MLP, from the stream `[batch, n, d]` that it reads; of an `attn_out`
        the output matrix, from what the heads read `[batch, n, heads, d_head]`; norms included. It
        takes as many positions as are given. `read` and `example` are what it once read and wrote:
        None where the block does anything else between the two.
        """
        block = self._bridge.blocks[site.layer]

        def mlp(x: Tensor) -> Tensor:
            out = block.mlp(block.ln2(x))
            written: Tensor = out[0] if isinstance(out, tuple) else out
            return block.ln2_post(written) if hasattr(block, "ln2_post") else written

        def attention(z: Tensor) -> Tensor:
            written: Tensor = block.attn.o(z.flatten(start_dim=2))
            return block.ln1_post(written) if hasattr(block, "ln1_post") else written

        run = {"mlp_out": mlp, "attn_out": attention}[site.kind]
        if site not in self._parts:
            try:
                with torch.no_grad():
                    again = run(read.detach())
                close = again.shape == example.shape and torch.allclose(
                    again, example, rtol=1e-4, atol=1e-4
                )
            except (AttributeError, TypeError, RuntimeError):  # a block of other parts
                close = False
            self._parts[site] = close
        return run if self._parts[site] else None

    def forward(
        self,
        token_ids: Tensor,
        edits: Sequence[tuple[Point, Edit]] = (),
        positions: Sequence[int] | slice | None = None,
    ) -> Tensor:
        """Logits `[batch, pos, vocabulary]` of `[batch, pos]`, with activations replaced by `edits`.

        Edits of one place are made in the order given. With `positions` only the logits there are
        computed, in their order: all of them are a third of a small model's work. Raises InputError on
        a place that the model has not, which the bridge would pass over in silence.
        """

        mids: dict[Site, list[Edit]] = {}
        hooks: list[tuple[str, Edit]] = []
        for place, edit in edits:
            if not self.has(place):
                raise InputError(f"this model has no {place}")
            if isinstance(place, Site) and place.kind == "resid_mid":
                mids.setdefault(place, []).append(edit)
            else:
                hooks.append((hook_name(place), edit))
        for site, several in mids.items():
            first, last = _mid_stream(site, several)
            hooks = [*first, *hooks, *last]
        if positions is not None:
            chosen = positions if isinstance(positions, slice) else list(positions)
            hooks.append((_UNEMBED, lambda stream: stream[:, chosen]))
        return self._run(token_ids, hooks)

    def _run(self, token_ids: Tensor, hooks: Sequence[tuple[str, Edit]]) -> Tensor:
        """Logits, with an edit at each of these hook points."""

        def adapt(edit: Edit) -> Callable[..., Tensor]:
            return lambda activation, hook: edit(activation)

        try:
            for name, edit in hooks:
                self._points[name].add_hook(adapt(edit), level=_OUR_LEVEL)
                if name in self._scaled and torch.is_grad_enabled():
                    listed = LensHandle(_Nothing(), context_level=_OUR_LEVEL)
                    self._points[name].bwd_hooks.append(listed)
            logits: Tensor = self._bridge(token_ids, return_type="logits")
        finally:
            for name, _ in hooks:
                self._points[name].remove_hooks(dir="both", level=_OUR_LEVEL)
        return logits

    def ids(self, tokens: Sequence[Token]) -> Tensor:
        """`[1, pos]` on the model's device."""
        return torch.tensor([[token.id for token in tokens]], device=self.device)

    @torch.no_grad()
    def next_token_logits(self, tokens: Sequence[Token]) -> Tensor:
        """`[vocabulary]` after the last token. Raises RunError where they are NaN or infinite."""
        logits = self.forward(self.ids(tokens), positions=[-1])[0, 0]
        if not bool(logits.isfinite().all()):
            raise self.not_finite(tokens)
        return logits

    @torch.no_grad()
    def not_finite(self, tokens: Sequence[Token]) -> RunError:
        """What to raise on a prompt whose logits are NaN or infinite: it names the first such activation.

        Found by another forward pass, among sublayers' outputs and the residual stream.
        """
        found: list[tuple[Site, int]] = []

        def look(site: Site, activation: Tensor) -> Tensor:
            good = activation[0].flatten(start_dim=1).isfinite().all(dim=1)
            if not found and not bool(good.all()):
                found.append((site, int((~good).nonzero()[0])))
            return activation

        kinds: tuple[SiteKind, ...] = ("resid_pre", "attn_out", "mlp_out", "resid_post")
        sites = [Site(layer, kind) for layer in range(self.layers) for kind in kinds]
        self.forward(
            self.ids(tokens),
            [(site, partial(look, site)) for site in sites if self.has(site)],
            [-1],
        )
        what = "the logits are"
        if found:
            site, position = found[0]
            what = f"the activation at {site}, position {position} {tokens[position].text!r}, is"
        return RunError(f"{what} NaN or infinite: nothing is ranked; check the model's files")

    def continued(self, tokens: tuple[Token, ...], count: int) -> tuple[Token, ...]:
        """The tokens and `count` more, each the likeliest. Raises InputError when they are too many."""
        if len(tokens) + count > self.context:
            raise InputError(
                f"the prompt has {len(tokens)} tokens and the model reads {self.context}: "
                f"there is no room for {count} more"
            )
        for _ in range(count):
            best = self.completions(self.next_token_logits(tokens), 1)[0]
            tokens = (*tokens, best.token)
        return tokens

    def completions(self, logits: Tensor, count: int) -> tuple[Completion, ...]:
        """The `count` likeliest tokens under logits `[vocabulary]`, likeliest first."""
        probabilities = logits.softmax(dim=-1)
        # Equal logits come in order of their ids, on every device.
        best = torch.argsort(logits, descending=True, stable=True)[:count].tolist()
        return tuple(self.completion(i, logits, probabilities) for i in best)

    def completion(
        self, token_id: int, logits: Tensor, probabilities: Tensor | None = None
    ) -> Completion:
        """One token's probability and logit under logits `[vocabulary]`."""
        if probabilities is None:
            probabilities = logits.softmax(dim=-1)
        return Completion(
            self.token(token_id), float(probabilities[token_id]), float(logits[token_id])
        )
