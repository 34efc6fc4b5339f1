"""Tiny randomly initialised models of every family, and the sets of sites that users load."""

from pathlib import Path
from typing import Any

import torch
from tiny import write_model, write_tokenizer
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    GraniteMoeConfig,
    GraniteMoeForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    OPTConfig,
    OPTForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
)

from scd_tui.graph import Site, SiteKind

LAYERS, WIDTH, HEADS, D_HEAD = 3, 32, 4, 12
"""`d_head` × heads is not the width, so that the two cannot be taken for one another."""

_SHARED: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
_GROUPED: dict[str, Any] = {**_SHARED, "num_key_value_heads": 2, "head_dim": D_HEAD}
_FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "pythia": (GPTNeoXForCausalLM, GPTNeoXConfig, {**_SHARED, "rotary_pct": 0.25}),
    "gemma-2": (
        Gemma2ForCausalLM,
        Gemma2Config,
        # caps low enough to bend these small scores, a window shorter than the prompt
        {
            **_GROUPED,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
            "sliding_window": 4,
        },
    ),
    "gemma-3": (Gemma3ForCausalLM, Gemma3TextConfig, {**_GROUPED, "sliding_window": 4}),
    "llama-3": (LlamaForCausalLM, LlamaConfig, _GROUPED),
    "qwen-3": (Qwen3ForCausalLM, Qwen3Config, _GROUPED),
}
FAMILIES: tuple[str, ...] = ("gpt2", *_FAMILIES)
_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_SCALED = {
    "residual_multiplier": 0.3,
    "embedding_multiplier": 2.0,
    "logits_scaling": 2.0,
    "attention_multiplier": 0.5,
}
_GROUPED_HEADS = {**_SHARED, "num_key_value_heads": 2}
_ODD: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "granite": (GraniteForCausalLM, GraniteConfig, {**_GROUPED_HEADS, **_SCALED}),
    "granite-moe": (
        GraniteMoeForCausalLM,
        GraniteMoeConfig,
        {**_GROUPED_HEADS, **_SCALED, **_EXPERTS},
    ),
    "mixtral": (MixtralForCausalLM, MixtralConfig, {**_GROUPED_HEADS, **_EXPERTS}),
    "cohere": (CohereForCausalLM, CohereConfig, {**_GROUPED_HEADS, "logit_scale": 0.25}),
    "gpt-j": (
        GPTJForCausalLM,
        GPTJConfig,
        {
            "n_embd": WIDTH,
            "n_layer": LAYERS,
            "n_head": HEADS,
            "n_positions": 64,
            "rotary_dim": 4,
            "initializer_range": 0.2,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    "opt": (OPTForCausalLM, OPTConfig, {**_SHARED, "ffn_dim": 48, "word_embed_proj_dim": WIDTH}),
    "opt, norms after": (
        OPTForCausalLM,
        OPTConfig,
        {**_SHARED, "ffn_dim": 48, "word_embed_proj_dim": WIDTH, "do_layer_norm_before": False},
    ),
    "opt-350m": (
        OPTForCausalLM,
        OPTConfig,
        {**_SHARED, "ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "lfm-2": (
        Lfm2ForCausalLM,
        Lfm2Config,
        {**_GROUPED_HEADS, "layer_types": ["conv", "full_attention", "full_attention"]},
    ),
    "rwkv": (
        RwkvForCausalLM,
        RwkvConfig,
        {
            "hidden_size": WIDTH,
            "attention_hidden_size": WIDTH,
            "intermediate_size": 48,
            "num_hidden_layers": LAYERS,
        },
    ),
    "openai-gpt": (
        OpenAIGPTLMHeadModel,
        OpenAIGPTConfig,
        {
            "n_embd": WIDTH,
            "n_layer": LAYERS,
            "n_head": HEADS,
            "n_positions": 64,
            "initializer_range": 0.2,
        },
    ),
    "gemma-4": (
        Gemma4ForCausalLM,
        Gemma4TextConfig,
        {
            **_GROUPED_HEADS,
            "head_dim": 8,
            "global_head_dim": 8,
            "sliding_window": 4,
            "vocab_size_per_layer_input": 400,
            "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 0,
            "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        },
    ),
}
"""Families that TransformerLens wraps in another way than their names say, or that route to experts."""


def write_family(folder: Path, family: str) -> Path:
    """Save a random model of a family, with a tokenizer, as a Hugging Face directory."""
    if family == "gpt2":
        return write_model(folder, layers=LAYERS, width=WIDTH)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder)
    make, config, options = (_FAMILIES | _ODD)[family]
    torch.manual_seed(1)
    model = make(config(vocab_size=vocabulary, **options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def write_gemma_with_images(folder: Path) -> Path:
    """Save a random Gemma 3 that takes images beside its text, as its larger sizes do."""
    folder.mkdir(parents=True, exist_ok=True)
    text = Gemma3TextConfig(vocab_size=write_tokenizer(folder), **{**_GROUPED, "sliding_window": 4})
    vision = {
        "hidden_size": 16,
        "image_size": 28,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "patch_size": 14,
        "vision_use_head": False,
    }
    config = Gemma3Config(
        text_config=text.to_dict(),
        vision_config=vision,
        mm_tokens_per_image=4,
        **{"image_token_index": 1, "boi_token_index": 2, "eoi_token_index": 3},
    )
    torch.manual_seed(1)
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def of_kinds(*kinds: SiteKind) -> tuple[Site, ...]:
    """These kinds at every layer."""
    return tuple(Site(layer, kind) for layer in range(LAYERS) for kind in kinds)


SITE_SETS: dict[str, tuple[Site, ...]] = {
    "sublayers": of_kinds("attn_out", "mlp_out", "resid_post"),
    "heads": of_kinds("hook_z", "mlp_out", "resid_post"),
    "residual only": of_kinds("resid_pre"),
    "with gaps": (Site(0, "mlp_out"), Site(1, "attn_out"), Site(2, "resid_pre")),
    "identities, out of order": (
        Site(1, "resid_pre"),
        Site(0, "resid_post"),
        Site(2, "hook_z"),
        Site(2, "attn_out"),
        Site(0, "hook_z"),
    ),
    "middle": of_kinds("attn_out", "resid_mid", "resid_post"),
    "everything": of_kinds("resid_pre", "hook_z", "attn_out", "resid_mid", "mlp_out", "resid_post"),
}


def width_at(site: Site, family: str) -> int:
    """Width of a site's activation, heads flattened."""
    if site.kind == "hook_z" and family not in ("gpt2", "pythia"):
        return HEADS * D_HEAD
    return WIDTH
