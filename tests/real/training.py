"""Six small TopK dictionaries of SmolLM2, trained in about a minute from text that is in this repository.

Trained and not shipped: 3 MB would hold some 400 features per site at one byte per weight, and a
binary file that nobody can read. Training holds 1,024 at full precision and shows how they were made.

The text is half of the bundled documentation, without the windows that the dictionary check reads, and
template sentences. Position 0 of each window is left out: its activation is a hundred times as
long as the others. The same model on the same machine gives the same dictionaries.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sae_lens import TopKSAE, TopKSAEConfig
from sae_lens.saes.sae import SAEMetadata
from torch import Tensor

from scd_tui.attribution.gating import MORE
from scd_tui.attribution.windows import WINDOW as CHECKED
from scd_tui.catalog.texts import bundled_text
from scd_tui.demo.corpus import sentences
from scd_tui.demo.threads import one_thread_each
from scd_tui.graph import Site

LAYERS = (14, 15)
SITES = tuple(
    Site(layer, kind) for layer in LAYERS for kind in ("attn_out", "mlp_out", "resid_post")
)
ACTIVE = {"attn_out": 32, "mlp_out": 64, "resid_post": 64}
FEATURES = 1024
WINDOW = 128
SENTENCES = 300
STEPS, BATCH, RATE = 100, 768, 1.5e-3
THREADS = 2
"""Each with work of its own, so that the result is the same for any number of cores."""
_SPREAD = 0.3
"""Noise in the first decoder rows, which are directions of activations, so that no two are alike."""


def module_at(model: Any, site: Site) -> Any:
    """The module of a transformers model whose output a site is."""
    block = model.model.layers[site.layer]
    return {"attn_out": block.self_attn, "mlp_out": block.mlp, "resid_post": block}[site.kind]


def windows(tokenizer: Any) -> Tensor:
    """Token ids `[windows, WINDOW]` of the text to train on."""
    documentation = tokenizer(bundled_text().text, add_special_tokens=False)["input_ids"]
    made_up = tokenizer("\n".join(sentences("train", 0, SENTENCES)), add_special_tokens=False)
    places, checks = len(documentation) // CHECKED, MORE["cpu"] // CHECKED
    checked = {CHECKED * (n * places // checks) // WINDOW for n in range(checks)}
    rows = _cut(documentation)
    kept = [row for n, row in enumerate(rows) if n not in checked][::2]
    return torch.tensor(kept + _cut(made_up["input_ids"]))


def _cut(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + WINDOW] for start in range(0, len(ids) - WINDOW + 1, WINDOW)]


def activations(model: Any, ids: Tensor) -> dict[Site, Tensor]:
    """`[tokens, d]` at every site, position 0 left out. Layers after the last site are not run."""
    here = threading.local()

    class Enough(Exception):
        pass

    def keep(site: Site, module: Any, inputs: Any, output: Any) -> None:
        x = output[0] if isinstance(output, tuple) else output
        here.seen[site] = x[:, 1:].flatten(0, 1).clone()
        if site == SITES[-1]:
            raise Enough

    def read(rows: Tensor) -> dict[Site, Tensor]:
        here.seen = {}
        with torch.no_grad(), suppress(Enough):
            model(rows, use_cache=False)
        seen: dict[Site, Tensor] = here.seen
        return seen

    handles = [module_at(model, site).register_forward_hook(partial(keep, site)) for site in SITES]
    try:
        with one_thread_each(THREADS) as pool:
            found = list(pool.map(read, torch.split(ids, 8)))
    finally:
        for handle in handles:
            handle.remove()
    return {site: torch.cat([seen[site] for seen in found]) for site in SITES}


def train(site: Site, x: Tensor) -> TopKSAE:
    """A dictionary of activations `[tokens, d]`; of the residual stream, layer-normed ones."""
    normed = site.kind == "resid_post"
    scale = torch.ones(()) if normed else x.norm(dim=-1).mean() / x.shape[1] ** 0.5
    z = x / scale
    if normed:
        z = x - x.mean(dim=-1, keepdim=True)
        z = z / (z.std(dim=-1, keepdim=True) + 1e-5)
    generator = torch.Generator().manual_seed(site.layer)
    encoder, decoder, b_enc, b_dec = parameters = _begin(z, ACTIVE[site.kind], generator)
    optimizer = torch.optim.Adam(parameters, lr=RATE, betas=(0.9, 0.98), fused=True)
    variance = (z - z.mean(dim=0)).square().sum(dim=-1).mean()
    order = torch.cat(
        [torch.randperm(len(z), generator=generator) for _ in range(STEPS * BATCH // len(z) + 1)]
    )
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 8, (STEPS - step) / (0.4 * STEPS))
        batch = z[order[step * BATCH : (step + 1) * BATCH]]
        again = _reconstructed(batch, encoder, decoder, b_enc, b_dec, ACTIVE[site.kind])
        loss = (again - batch).square().sum(dim=-1).mean() / variance
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # the scale is folded in: the saved dictionary reads and writes raw activations
    sae = TopKSAE(
        TopKSAEConfig(
            d_in=x.shape[1],
            d_sae=FEATURES,
            k=ACTIVE[site.kind],
            dtype="float32",
            device="cpu",
            apply_b_dec_to_input=True,
            normalize_activations="layer_norm" if normed else "none",
            rescale_acts_by_decoder_norm=False,
            metadata=SAEMetadata(
                model_name="smollm2",
                hook_name=f"blocks.{site.layer}.hook_{site.kind}",
                context_size=WINDOW,
                prepend_bos=False,
            ),
        )
    )
    with torch.no_grad():
        lengths = decoder.norm(dim=-1)
        sae.W_enc.copy_(encoder * lengths)
        sae.W_dec.copy_(decoder / lengths[:, None])
        sae.b_enc.copy_(b_enc * lengths * scale)
        sae.b_dec.copy_(b_dec * scale)
    return sae


def _begin(z: Tensor, active: int, generator: torch.Generator) -> list[Tensor]:
    """Encoder, decoder and their biases: decoder rows along activations, the encoder tied to them."""
    b_dec = z.mean(dim=0)
    decoder = z[torch.randperm(len(z), generator=generator)[:FEATURES]] - b_dec
    decoder = decoder + _SPREAD * torch.randn(decoder.shape, generator=generator)
    decoder = decoder / decoder.norm(dim=-1, keepdim=True)
    b_enc = torch.zeros(FEATURES)
    some = z[:BATCH]
    again = _reconstructed(some, decoder.T, decoder, b_enc, b_dec, active) - b_dec
    # rows that overlap write too much together
    size = ((some - b_dec) * again).sum() / again.square().sum()
    found = [(size * decoder.T).clone(), decoder.clone(), b_enc, b_dec.clone()]
    return [parameter.requires_grad_() for parameter in found]


def _reconstructed(
    z: Tensor, encoder: Tensor, decoder: Tensor, b_enc: Tensor, b_dec: Tensor, active: int
) -> Tensor:
    before = torch.addmm(b_enc, z - b_dec, encoder)
    values, indices = before.topk(active, dim=-1, sorted=False)
    dense = torch.zeros_like(before).scatter(-1, indices, values.relu())
    return torch.addmm(b_dec, dense, decoder)


def train_all(model: Any, tokenizer: Any, folder: Path) -> Mapping[Site, Path]:
    """Train a dictionary at every site and save it as sae_lens does; the folders by site."""
    found = activations(model, windows(tokenizer))
    with one_thread_each(THREADS) as pool:
        saes = dict(zip(SITES, pool.map(train, SITES, found.values()), strict=True))
    made = {}
    for site, sae in saes.items():
        made[site] = folder / f"blocks.{site.layer}.hook_{site.kind}"
        sae.save_model(made[site])
    return made
