"""A randomly initialised GPT-2 and dictionaries small enough to check everything on.

Weights are larger than a fresh model's and no bias is zero, so that no term can hide by vanishing.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from saes import TOPK, SaeKind, random_sae
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.graph import Site, SiteKind

TEXT = "the cat sat on the mat. To be or not to be, that is the question (a) [b] {c}"
PROMPT = "the cat sat on the mat. To be"
KINDS: tuple[SiteKind, ...] = ("attn_out", "mlp_out", "resid_post")


def write_tokenizer(folder: Path) -> int:
    """Save a byte-level BPE tokenizer; returns its vocabulary size."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [TEXT] * 10,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    fast.save_pretrained(folder)
    return len(fast)


def write_model(
    folder: Path, *, layers: int = 3, width: int = 32, seed: int = 0, biases: float = 0.3
) -> Path:
    """Save a random GPT-2 with its tokenizer as a Hugging Face directory.

    `biases` is their standard deviation; beside 0.3 tokens matter so little that the model's favourite
    is the same at every position.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder)
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=32,
            n_embd=width,
            n_layer=layers,
            n_head=4,
            bos_token_id=0,
            eos_token_id=0,
            initializer_range=0.15,
        )
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, biases)
    model.save_pretrained(folder)
    return folder


def plant_sink(folder: Path, size: float = 200.0) -> Path:
    """Give a model that `write_model` saved a massive activation at position 0, written by its first MLP.

    The position's embedding points along a direction that one neuron reads, and that neuron writes a
    vector `size` times as long as an ordinary one. Elsewhere the neuron is silent.
    """
    model = GPT2LMHeadModel.from_pretrained(folder)
    width = model.config.n_embd
    read = torch.nn.functional.normalize(
        torch.randn(width, generator=torch.Generator().manual_seed(1)), dim=0
    )
    read = torch.nn.functional.normalize(read - read.mean(), dim=0)
    write = torch.nn.functional.normalize(
        torch.randn(width, generator=torch.Generator().manual_seed(2)), dim=0
    )
    with torch.no_grad():
        block = model.transformer.h[0]
        model.transformer.wpe.weight[0] = 20 * read
        block.ln_2.weight.fill_(1.0)
        block.ln_2.bias.zero_()
        block.mlp.c_fc.weight[:, 0] = 10 * read
        block.mlp.c_fc.bias[0] = -40.0
        block.mlp.c_proj.weight[0] = size / 10 * write
    model.save_pretrained(folder)
    return folder


def random_dictionaries(
    layers: int,
    width: int,
    *,
    kinds: Iterable[SiteKind] = KINDS,
    features: int = 64,
    kind: SaeKind = TOPK,
) -> dict[Site, Dictionary]:
    """A random dictionary at each of `kinds` in every layer."""
    sites = [Site(layer, kind) for layer in range(layers) for kind in kinds]
    return {
        site: Dictionary(site, random_sae(width, features, seed=100 + n, kind=kind))
        for n, site in enumerate(sites)
    }


def write_dictionaries(folder: Path, layers: int, width: int) -> Path:
    """Save a random dictionary a sublayer in sae_lens's own format, one folder a hook."""
    for n, (layer, kind) in enumerate((layer, kind) for layer in range(layers) for kind in KINDS):
        hook = f"blocks.{layer}.hook_{kind}"
        sae = random_sae(width, 64, seed=100 + n, hook=hook)
        sae.cfg.metadata.neuronpedia_id = f"tiny/{layer}-{kind}"
        sae.save_model(folder / hook)
    return folder
