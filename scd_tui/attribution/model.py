"""The language model: tokens, hook points, forward passes.

Everything that knows TransformerBridge is here. Two of its traps: hook names are aliases, so the
`hook.name` that a hook function is given is not the name that was asked for; and the bridge's tokenizer
has been told to prepend BOS, so special tokens must be refused at each call.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from scd_tui.errors import InputError
from scd_tui.graph import Completion, Site, Token

HookFunction = Callable[[Tensor], Tensor]
"""Takes the activation `[batch, pos, ...]` and returns what the model goes on with."""

_HOOKS = {
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
TOKEN_EMBEDDING = "hook_embed"
POSITION_EMBEDDING = "hook_pos_embed"


def hook_name(site: Site) -> str:
    """TransformerLens's name of a site's hook point. Raises InputError on kinds not supported."""
    if site.kind not in _HOOKS:
        raise InputError(f"a dictionary at {site} is not supported: sites are {', '.join(_HOOKS)}")
    return f"blocks.{site.layer}.{_HOOKS[site.kind]}"


def _byte_decoder() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte, inverted (GPT-2's encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(256 + n): byte for n, byte in enumerate(others)})
    return table


class LanguageModel:
    """A causal language model with frozen weights, in float32."""

    def __init__(self, bridge: TransformerBridge) -> None:
        self._bridge = bridge
        self._bytes = _byte_decoder()
        bridge.eval()
        for parameter in bridge.parameters():
            parameter.requires_grad_(False)

    @classmethod
    def boot(cls, path: Path | str, device: torch.device) -> "LanguageModel":
        """Load a Hugging Face directory or hub name in float32, its weights as they are."""
        return cls(
            TransformerBridge.boot_transformers(str(path), device=device, dtype=torch.float32)
        )

    @property
    def layers(self) -> int:
        return int(self._bridge.cfg.n_layers)

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self._bridge.cfg.d_model)

    @property
    def context(self) -> int:
        """The longest prompt, in tokens."""
        return int(self._bridge.cfg.n_ctx)

    @property
    def vocabulary(self) -> int:
        return int(self._bridge.cfg.d_vocab)

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self._bridge.parameters()).device
        return device

    # --- tokens ---------------------------------------------------------------------------

    def token(self, token_id: int) -> Token:
        """The token with this id. Bytes that are not UTF-8 are written `\\xNN`."""
        tokenizer = self._bridge.tokenizer
        piece = tokenizer.convert_ids_to_tokens(token_id)
        if piece is not None and all(character in self._bytes for character in piece):
            raw = bytes(self._bytes[character] for character in piece)
            return Token(token_id, raw.decode("utf-8", errors="backslashreplace"))
        return Token(token_id, tokenizer.decode([token_id]))

    def tokenize(self, text: str) -> tuple[Token, ...]:
        """Split text into tokens, no special ones added. May be empty or too long."""
        ids: list[int] = self._bridge.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tuple(self.token(i) for i in ids)

    def prompt(self, text: str) -> tuple[Token, ...]:
        """Tokens of a prompt. Raises InputError on an empty prompt and on one that is too long."""
        tokens = self.tokenize(text)
        if not tokens:
            raise InputError("the prompt is empty: give some text")
        if len(tokens) > self.context:
            raise InputError(
                f"the prompt has {len(tokens)} tokens and the model reads {self.context}: shorten it"
            )
        return tokens

    def single_token(self, wanted: str | int, role: str = "target") -> Token:
        """The token that `wanted` names, by id or by text. Raises InputError unless it is just one."""
        if isinstance(wanted, int):
            if not 0 <= wanted < self.vocabulary:
                raise InputError(
                    f"there is no token {wanted}: ids go from 0 to {self.vocabulary - 1}"
                )
            return self.token(wanted)
        tokens = self.tokenize(wanted)
        if len(tokens) == 1:
            return tokens[0]
        if not tokens:
            raise InputError(f"the {role} is empty: give one token")
        parts = " + ".join(repr(token.text) for token in tokens[:6]) + " + …" * (len(tokens) > 6)
        hint = ""
        if not wanted.startswith(" ") and len(self.tokenize(" " + wanted)) == 1:
            hint = f" (with a leading space, {' ' + wanted!r}, it is)"
        raise InputError(
            f"the {role} {wanted!r} is {len(tokens)} tokens, {parts}: give one token{hint}"
        )

    # --- forward passes -------------------------------------------------------------------

    def has_hook(self, name: str) -> bool:
        return name in self._bridge.hook_dict

    def forward(self, token_ids: Tensor, hooks: Sequence[tuple[str, HookFunction]] = ()) -> Tensor:
        """Logits `[batch, pos, vocabulary]` of `[batch, pos]`, with activations replaced by `hooks`."""

        def adapt(function: HookFunction) -> Callable[..., Tensor]:
            return lambda activation, hook: function(activation)

        if not hooks:
            logits: Tensor = self._bridge(token_ids, return_type="logits")
            return logits
        logits = self._bridge.run_with_hooks(
            token_ids,
            return_type="logits",
            fwd_hooks=[(name, adapt(function)) for name, function in hooks],
        )
        return logits

    def ids(self, tokens: Sequence[Token]) -> Tensor:
        """`[1, pos]` on the model's device."""
        return torch.tensor([[token.id for token in tokens]], device=self.device)

    @torch.no_grad()
    def next_token_logits(self, tokens: Sequence[Token]) -> Tensor:
        """`[vocabulary]` after the last token of the prompt."""
        return self.forward(self.ids(tokens))[0, -1]

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
