"""A tiny random Llama in a GGUF file, written by gguf's own writer as llama.cpp's converter lays it out."""

from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

HEADS, KEY_HEADS, WIDTH, LAYERS = 4, 2, 64, 2
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = (("2", "0"), ("2", "4"), ("20", "24"), ("a", "t"), ("Ġ", "c"))


def tiny_llama() -> LlamaForCausalLM:
    """Fewer heads for keys than for queries, as SmolLM2 has."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens()),
            hidden_size=WIDTH,
            intermediate_size=96,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KEY_HEADS,
            max_position_embeddings=64,
            rope_theta=100_000.0,
            tie_word_embeddings=True,
            initializer_range=0.3,
            bos_token_id=1,
            eos_token_id=2,
        )
    ).eval()


def tokens() -> list[str]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [*SPECIAL, *alphabet, *("".join(pair) for pair in MERGES)]


def tokenizer_before() -> Tokenizer:
    """The tokenizer that the model was trained with: each digit alone, then GPT-2's pattern."""
    vocabulary = {token: n for n, token in enumerate(tokens())}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(MERGES)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def write_gguf(
    path: Path, model: LlamaForCausalLM, *, pre: str = "smollm"
) -> dict[str, np.ndarray]:
    """Write the file, feed-forward weights in Q8_0 and the rest in float32.

    Returns the weights by their names in transformers, those in Q8_0 as gguf itself dequantises them.
    """
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(len(tokens()))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens())
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens()) - len(SPECIAL)))
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    for add, number in (
        *((writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2)),
        *((writer.add_unk_token_id, 0), (writer.add_pad_token_id, 2)),
    ):
        add(number)
    expected = {}
    for name, parameter in model.named_parameters():
        weights = parameter.detach().numpy()
        theirs, laid_out = _as_llama_cpp(name, weights)
        if "mlp" in name:
            packed = gguf.quantize(laid_out, GGMLQuantizationType.Q8_0)
            writer.add_tensor(theirs, packed, raw_dtype=GGMLQuantizationType.Q8_0)
            weights = gguf.dequantize(packed, GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(theirs, np.ascontiguousarray(laid_out))
        expected[name] = weights
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _as_llama_cpp(name: str, weights: np.ndarray) -> tuple[str, np.ndarray]:
    """A tensor's name and layout there (convert_hf_to_gguf.py): rotary halves are interleaved."""
    if name == "model.embed_tokens.weight":
        return "token_embd.weight", weights
    if name == "model.norm.weight":
        return "output_norm.weight", weights
    _, _, layer, rest = name.split(".", 3)
    part = rest.removesuffix(".weight")
    heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KEY_HEADS}.get(part)
    if heads is not None:
        shape = (heads, 2, len(weights) // heads // 2, weights.shape[1])
        weights = weights.reshape(shape).swapaxes(1, 2).reshape(weights.shape)
    return f"blk.{layer}.{_NAMES[part]}.weight", weights
