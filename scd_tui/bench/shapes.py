"""Models and dictionaries of a published size with random weights, made on the spot.

Random numbers take as long to multiply as learnt ones, so that speed and memory can be measured
without any download. What is found means nothing.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from sae_lens.saes import TopKSAE, TopKSAEConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.memory import emptied, trim
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.numerics import use_exact_float32
from scd_tui.bench.sizes import Shape
from scd_tui.graph import Site, SiteKind

KINDS: tuple[SiteKind, ...] = ("attn_out", "mlp_out", "resid_post")
_SEED = 0


def _write_tokenizer(folder: Path) -> None:
    """A tokenizer of single bytes: the bridge wants one, and the benchmarks give token ids."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: n for n, word in enumerate(["<|endoftext|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)


def write_random_model(shape: Shape, folder: Path) -> None:
    """Save the model, with a tokenizer, as a Hugging Face directory."""
    disable_progress_bar()
    torch.manual_seed(_SEED)
    _write_tokenizer(folder)
    GPT2LMHeadModel(
        GPT2Config(
            n_layer=shape.layers,
            n_embd=shape.width,
            n_head=shape.heads,
            vocab_size=shape.vocabulary,
            n_positions=shape.context,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).save_pretrained(folder)


def random_model(shape: Shape, device: torch.device) -> LanguageModel:
    """The model, loaded the way that every model is."""
    use_exact_float32()
    with tempfile.TemporaryDirectory() as folder:
        write_random_model(shape, Path(folder))
        return LanguageModel.boot(folder, device)


def random_sae(shape: Shape, device: torch.device, generator: torch.Generator) -> TopKSAE:
    """Random unit decoder rows, and the encoder tied to them."""
    config = TopKSAEConfig(
        d_in=shape.width,
        d_sae=1,
        k=shape.active,
        normalize_activations="layer_norm",
        rescale_acts_by_decoder_norm=False,
        device=str(device),
    )
    # made small and filled here: the library's own first weights take seconds at this size
    sae = TopKSAE(config)
    sae.cfg.d_sae = shape.features
    decoder = torch.randn(shape.features, shape.width, generator=generator, device=device)
    decoder /= decoder.norm(dim=-1, keepdim=True)
    sae.W_dec = torch.nn.Parameter(decoder)
    sae.W_enc = torch.nn.Parameter(decoder.clone().T)
    sae.b_enc = torch.nn.Parameter(torch.zeros(shape.features, device=device))
    return sae


def sites_of(shape: Shape) -> tuple[Site, ...]:
    """A site at every sublayer, in order of computation."""
    return tuple(Site(layer, kind) for layer in range(shape.layers) for kind in KINDS)


def random_saes(shape: Shape, device: torch.device) -> Iterator[tuple[Site, TopKSAE]]:
    """An SAE at every sublayer, and the same ones at every call.

    Each has weights of its own; but those of a streamed shape are one file under as many names, mapped
    into memory, which takes as long to read as different ones and less room on the disk.
    """
    generator = torch.Generator(device).manual_seed(_SEED)
    if not shape.streamed:
        for site in sites_of(shape):
            yield site, random_sae(shape, device, generator)
        return
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first"
        cpu = torch.device("cpu")
        sae = random_sae(shape, cpu, torch.Generator(cpu).manual_seed(_SEED))
        sae.W_enc.data = sae.W_enc.data.contiguous()
        sae.save_model(first)
        for site in sites_of(shape):
            link = Path(folder) / str(site)
            link.mkdir()
            for file in first.iterdir():
                (link / file.name).hardlink_to(file)
            # what is mapped stays there when its names are gone
            yield site, TopKSAE.load_from_disk(link, device="cpu", dtype="float32")


def random_dictionaries(
    shape: Shape,
    device: torch.device,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Site, Dictionary]:
    """A dictionary at every sublayer, of `random_saes`."""
    found = {}
    for site, sae in random_saes(shape, device):
        found[site] = Dictionary(site, sae, in_place=shape.streamed)
        emptied(sae)
        on_progress(len(found), len(sites_of(shape)))
    trim()
    return found
