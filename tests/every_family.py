"""A table of what can be used of each decoder family that TransformerLens and transformers both have.

Run with `python tests/every_family.py [WORD ...]`, for families whose names hold one of the words. Each
family is a tiny random model, loaded as a user's is. The run ends with exit status 1 if a row is another
one than `FAMILIES` expects: after an update of either library it says what has changed. It takes half a
minute, so the suite has a family of each kind instead (`families.py`).
"""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny import write_tokenizer

from scd_tui.attribution.agreement import (
    TOLERANCE,
    largest_difference,
    plain_log_probabilities,
)
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.site_checks import unusable_sites
from scd_tui.graph import SITE_KINDS, Site

CPU = torch.device("cpu")
LAYERS = 3
WIDE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
GROUPED = {**WIDE, "num_key_value_heads": 2}
NARROW = {**GROUPED, "head_dim": 12}
EVEN = {**GROUPED, "head_dim": 8}
OLD: dict[str, Any] = {
    "n_embd": 32,
    "n_layer": LAYERS,
    "n_head": 4,
    "n_positions": 64,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
WINDOW = {"sliding_window": 4}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
LATENT = {"kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8}
SCALED = {
    "residual_multiplier": 0.3,
    "embedding_multiplier": 2.0,
    "logits_scaling": 2.0,
    "attention_multiplier": 0.5,
}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention", "full_attention"],
}
OPT = {**WIDE, "ffn_dim": 48, "word_embed_proj_dim": 32}
BLOOM = {
    "hidden_size": 32,
    "n_layer": LAYERS,
    "n_head": 4,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


@dataclass(frozen=True)
class Family:
    """A family's class in transformers, its configuration's class where that is not called alike, and the
    row expected of it; `of` tells apart models of one class.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    expected: str = "whole"
    config: str = ""
    of: str = ""

    def model(self, vocabulary: int) -> torch.nn.Module:
        config = self.config or f"{self.name}Config"
        made: torch.nn.Module = getattr(transformers, f"{self.name}ForCausalLM", None) or getattr(
            transformers, f"{self.name}LMHeadModel"
        )
        return made(getattr(transformers, config)(vocab_size=vocabulary, **self.options))

    def __str__(self) -> str:
        return f"{self.name}, {self.of}" if self.of else self.name


FREE = "whole, patterns not held"
ANOTHER = "whole, another model"
REFUSED = "refused"

FAMILIES = (
    Family("GPT2", OLD),
    Family("GPTBigCode", OLD),
    Family(
        "GPTNeo",
        {
            **{"hidden_size": 32, "num_layers": LAYERS, "num_heads": 4, "window_size": 4},
            **{"attention_types": [[["global", "local"], 1], [["global"], 1]]},
            **{"max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0},
        },
        FREE,
    ),
    Family("GPTNeoX", WIDE),
    Family("GPTNeoX", {**WIDE, "use_parallel_residual": False}, of="one after the other"),
    Family("GPTJ", {**OLD, "rotary_dim": 4}, FREE),
    Family("CodeGen", {**OLD, "rotary_dim": 4}),
    Family(
        "OpenAIGPT",
        {name: value for name, value in OLD.items() if not name.endswith("_id")},
        "6 of 18 sites",
    ),
    Family("OPT", OPT, FREE),
    Family("OPT", {**OPT, "word_embed_proj_dim": 16}, FREE, of="projected"),
    Family(
        "OPT",
        {**OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
        "9 of 15 sites, patterns not held",
        of="projected, norms after",
    ),
    Family("OPT", {**OPT, "do_layer_norm_before": False}, REFUSED, of="norms after"),
    Family("Bloom", BLOOM),
    Family(
        "Bloom",
        {**BLOOM, "apply_residual_connection_post_layernorm": True},
        "15 of 18 sites",
        of="residual after norm",
    ),
    Family("Falcon", {**WIDE, "new_decoder_architecture": False, "parallel_attn": True}),
    Family("Falcon", {**WIDE, "parallel_attn": False, "alibi": True}, ANOTHER, of="alibi"),
    Family(
        "Falcon",
        {**WIDE, "new_decoder_architecture": True, "num_kv_heads": 2},
        REFUSED,
        of="new",
    ),
    Family(
        "Mpt",
        {"d_model": 32, "n_layers": LAYERS, "n_heads": 4, "max_seq_len": 64, "expansion_ratio": 2},
    ),
    Family(
        "XGLM",
        {
            **{"d_model": 32, "ffn_dim": 48, "num_layers": LAYERS, "attention_heads": 4},
            **{"max_position_embeddings": 64, "init_std": 0.2},
            **{"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0},
        },
        FREE,
    ),
    Family("Llama", NARROW),
    Family(
        "Llama4",
        {
            **{**NARROW, "intermediate_size_mlp": 48, "num_local_experts": 4},
            **{"num_experts_per_tok": 1, "moe_layers": [1], "attention_chunk_size": 32},
        },
        FREE,
        "Llama4TextConfig",
    ),
    Family("Mistral", {**NARROW, **WINDOW}),
    Family("Ministral3", NARROW),
    Family("Mixtral", {**GROUPED, **LOCAL_EXPERTS}),
    Family("Qwen2", GROUPED),
    Family("Qwen2Moe", {**GROUPED, **EXPERTS, "shared_expert_intermediate_size": 24}),
    Family("Qwen3", NARROW),
    Family("Qwen3Moe", {**NARROW, **EXPERTS}),
    Family(
        "Qwen3Next", {**NARROW, **EXPERTS, **LINEAR, "shared_expert_intermediate_size": 24}, FREE
    ),
    Family("Qwen3_5", {**NARROW, **LINEAR}, FREE, "Qwen3_5TextConfig"),
    Family("Gemma", NARROW),
    Family(
        "Gemma2",
        {**NARROW, **WINDOW, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    ),
    Family("Gemma3", {**NARROW, **WINDOW}, config="Gemma3TextConfig"),
    Family(
        "Gemma4",
        {
            **{**EVEN, **WINDOW, "global_head_dim": 8, "num_kv_shared_layers": 0},
            **{"vocab_size_per_layer_input": 400, "hidden_size_per_layer_input": 8},
            "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        },
        "12 of 18 sites, patterns not held",
        "Gemma4TextConfig",
    ),
    Family("VaultGemma", {**NARROW, **WINDOW}),
    Family("RecurrentGemma", {**GROUPED, "lru_width": 32, "attention_window_size": 8}, FREE),
    Family("Phi", WIDE),
    Family("Phi3", GROUPED),
    Family("StableLm", GROUPED),
    Family("StableLm", {**GROUPED, "use_parallel_residual": True}, of="parallel"),
    Family("Cohere", {**GROUPED, "logit_scale": 0.25}, ANOTHER),
    Family("Cohere2", {**GROUPED, **WINDOW, "logit_scale": 0.25}, ANOTHER),
    Family("Granite", {**GROUPED, **SCALED}),
    Family("GraniteMoe", {**GROUPED, **SCALED, **LOCAL_EXPERTS}),
    Family(
        "GraniteMoeHybrid",
        {
            **{**GROUPED, **SCALED, **LOCAL_EXPERTS, "shared_intermediate_size": 24},
            **{"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8},
            **{"layer_types": ["mamba", "attention", "attention"]},
            "position_embedding_type": "rope",
        },
        FREE,
    ),
    Family("Olmo", GROUPED),
    Family("Olmo2", GROUPED),
    Family("Olmo3", {**GROUPED, **WINDOW}),
    Family("Olmoe", {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2}),
    Family("FlexOlmo", {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2}),
    Family("Starcoder2", GROUPED),
    Family("SmolLM3", GROUPED),
    Family("SeedOss", NARROW),
    Family("Nemotron", GROUPED),
    Family("Apertus", GROUPED),
    Family("Arcee", GROUPED),
    Family("Afmoe", {**NARROW, **EXPERTS, **WINDOW, "num_dense_layers": 1}, FREE),
    Family("BitNet", GROUPED),
    Family("Ernie4_5", NARROW),
    Family(
        "Ernie4_5_Moe",
        {
            **{**GROUPED, "moe_num_experts": 4, "moe_k": 2},
            **{"moe_intermediate_size": 24, "moe_layer_start_index": 1},
        },
    ),
    Family("Exaone4", {**GROUPED, **WINDOW, "sliding_window_pattern": 3}),
    Family("Glm", EVEN),
    Family("Glm4", EVEN),
    Family("Glm4Moe", {**EVEN, **ROUTED}),
    Family("Glm4MoeLite", {**WIDE, **ROUTED, **LATENT, "q_lora_rank": 16}),
    Family("GptOss", {**NARROW, **LOCAL_EXPERTS, **WINDOW}),
    Family("HunYuanDenseV1", NARROW, ANOTHER),
    Family("DeepseekV2", {**WIDE, **ROUTED, **LATENT, "q_lora_rank": None}),
    Family("DeepseekV3", {**WIDE, **ROUTED, **LATENT, "q_lora_rank": 16}),
    Family(
        "Jamba",
        {
            **{**GROUPED, "num_experts": 2, "num_experts_per_tok": 1, "attn_layer_period": 2},
            **{"attn_layer_offset": 1, "use_mamba_kernels": False},
        },
        FREE,
    ),
    Family("JetMoe", {**GROUPED, **LOCAL_EXPERTS, "kv_channels": 8}, FREE),
    Family("Jais2", GROUPED),
    Family("Lfm2", {**GROUPED, "layer_types": ["conv", "full_attention", "full_attention"]}, FREE),
    Family("Mamba", {"hidden_size": 32, "num_hidden_layers": LAYERS, "state_size": 8}, FREE),
    Family("MiniMaxM2", {**NARROW, **LOCAL_EXPERTS}),
    Family("ModernBertDecoder", {**WIDE, "local_attention": 8}, FREE),
    Family("NanoChat", GROUPED, FREE),
    Family(
        "FalconH1",
        {
            **{**NARROW, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8},
            **{"mamba_d_state": 8, "mamba_n_groups": 1},
        },
    ),
    Family(
        "Bamba",
        {
            **{**GROUPED, "attn_layer_indices": [1], "mamba_n_heads": 8},
            **{"mamba_d_head": 8, "mamba_d_state": 8},
        },
        FREE,
    ),
    Family(
        "Zamba2",
        {
            **{**WIDE, "mamba_d_state": 8, "n_mamba_heads": 8, "mamba_headdim": 8},
            **{"layer_types": ["mamba", "hybrid", "mamba"]},
        },
        REFUSED,
    ),
    Family(
        "Rwkv",
        {
            **{"hidden_size": 32, "attention_hidden_size": 32, "intermediate_size": 48},
            **{"num_hidden_layers": LAYERS},
        },
        FREE,
    ),
    Family("Youtu", {**WIDE, **LATENT, "q_lora_rank": 16}),
)


def write(family: Family, folder: Path) -> None:
    """Save a random model of the family, with biases and norms that are not trivial."""
    vocabulary = write_tokenizer(folder)
    torch.manual_seed(1)
    model: Any = family.model(vocabulary)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)


def row(folder: Path) -> tuple[str, str]:
    """What is found of a model in a word or two, and in detail."""
    plain = plain_log_probabilities(folder, CPU)
    try:
        model = LanguageModel.boot(folder, CPU)
        assert plain is not None
        difference = largest_difference(model, plain)
        sites = [Site(layer, kind) for layer in range(LAYERS) for kind in SITE_KINDS]
        sites = [site for site in sites if model.has(site)]
        unusable = unusable_sites(model, sites)
        unheld = model.unheld_patterns
    except Exception as error:  # whatever the library raises of a model that it cannot run
        return REFUSED, next(iter(str(error).splitlines()), "")[:90]
    words = [f"{len(sites) - len(unusable)} of {len(sites)} sites" if unusable else "whole"]
    words += ["another model"] if difference > TOLERANCE else []
    words += ["patterns not held"] if unheld else []
    reasons = {
        reason: " ".join(str(site) for site in unusable if unusable[site] == reason)
        for reason in unusable.values()
    }
    detail = [f"{len(sites)} sites, log-probabilities differ by {difference:.1e}"]
    detail += [f"{names}: {reason}" for reason, names in reasons.items()]
    return ", ".join(words), "; ".join(detail)


def main(words: list[str]) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    others = 0
    for family in FAMILIES:
        if words and not any(word.lower() in str(family).lower() for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            write(family, Path(folder))
            found, detail = row(Path(folder))
        other = "" if found == family.expected else f"EXPECTED {family.expected}: "
        others += bool(other)
        sys.stdout.write(f"{family!s:32} {other}{found} ({detail})\n")
        sys.stdout.flush()
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
