"""Joint training of the bundled TopK dictionaries.

Every site has its own dictionary, optimizer state and learning; they only share the model's
forward pass. The recipe is that of the OpenAI dictionaries for GPT-2: input normalised to mean 0
and standard deviation 1 over the width, decoder bias taken off the input, TopK with ReLU,
unit-norm decoder rows. Features that have gone silent learn to reconstruct what the others leave
over, until they are among the strongest again (the auxiliary loss of Gao et al. 2024, "Scaling and
evaluating sparse autoencoders", appendix A.2).
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scd_tui.demo.recipe import Recipe
from scd_tui.demo.sites import Recorder, dictionary_ids, source_id
from scd_tui.demo.streams import Texts
from scd_tui.demo.threads import one_thread_each
from scd_tui.demo.training import schedule

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

log = logging.getLogger(__name__)

# Weight of the auxiliary loss, which is a share of what is left over (Gao et al.: 1/32).
_AUXILIARY_WEIGHT = 1 / 32
# Share of the loss that weighs tokens alike; the rest weighs them by their size, as explained
# variance does.
_NORMALISED_SHARE = 0.25


@dataclass
class Bank:
    """The parameters of all dictionaries: leading axis `sites`.

    `encoder [s, width, features]`, `decoder [s, features, width]` with rows of norm 1,
    `encoder_bias [s, 1, features]`, `decoder_bias [s, 1, width]`.
    """

    encoder: Tensor
    decoder: Tensor
    encoder_bias: Tensor
    decoder_bias: Tensor
    active: int

    @classmethod
    def initial(
        cls, sample: Tensor, features: int, active: int, generator: torch.Generator
    ) -> Bank:
        """Random unit decoder rows, tied encoder, and the mean normalised input as bias."""
        sites, _, width = sample.shape
        decoder = torch.randn(sites, features, width, generator=generator)
        decoder /= decoder.norm(dim=-1, keepdim=True)
        normal, _, _ = normalise(sample)
        bank = cls(
            encoder=decoder.transpose(1, 2).clone(),
            decoder=decoder,
            encoder_bias=torch.zeros(sites, 1, features),
            decoder_bias=normal.mean(1, keepdim=True),
            active=active,
        )
        for tensor in bank.parameters():
            tensor.requires_grad_()
        return bank

    def parameters(self) -> list[Tensor]:
        """The four tensors that are learnt."""
        return [self.encoder, self.decoder, self.encoder_bias, self.decoder_bias]

    def encode(self, normal: Tensor) -> tuple[Tensor, Tensor]:
        """The strongest features of `[s, n, width]`: values and indices `[s, n, active]`."""
        before = torch.baddbmm(self.encoder_bias, normal - self.decoder_bias, self.encoder)
        values, indices = before.topk(self.active, dim=-1, sorted=False)
        return values.relu(), indices

    def decode(self, values: Tensor, indices: Tensor) -> Tensor:
        """Reconstruction `[s, n, width]` of the normalised input."""
        sites, tokens, _ = values.shape
        dense = torch.zeros(sites, tokens, self.decoder.shape[1])
        dense = dense.scatter(-1, indices, values)
        return torch.baddbmm(self.decoder_bias, dense, self.decoder)


def normalise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sae_lens's "layer_norm": `(x − mean) / (std + 1e-5)` over the width, mean, std (unbiased)."""
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    std = centred.std(-1, keepdim=True)
    return centred / (std + 1e-5), mean, std


def train_dictionaries(model: GPT2LMHeadModel, texts: Texts, recipe: Recipe) -> Bank:
    """TopK dictionaries of every site of `model`, all on the same windows of `texts`.

    The sites are dealt out to `recipe.threads` threads, which need nothing from one another.
    """
    sites = range(len(dictionary_ids(recipe.layers)))
    hands = [list(sites[n :: recipe.threads]) for n in range(recipe.threads)]
    with one_thread_each(recipe.threads) as pool:
        banks = list(
            pool.map(lambda hand: _train_some(copy.deepcopy(model), texts, recipe, hand), hands)
        )
    back = torch.tensor([site for hand in hands for site in hand]).argsort()

    def together(name: str) -> Tensor:
        return torch.cat([getattr(bank, name).detach() for bank in banks])[back]

    return Bank(
        encoder=together("encoder"),
        decoder=together("decoder"),
        encoder_bias=together("encoder_bias"),
        decoder_bias=together("decoder_bias"),
        active=recipe.active,
    )


def _train_some(model: GPT2LMHeadModel, texts: Texts, recipe: Recipe, sites: Sequence[int]) -> Bank:
    rng = np.random.default_rng(recipe.seed + 1)
    generator = torch.Generator().manual_seed(recipe.seed + 1 + sites[0])
    started = time.monotonic()
    which = torch.tensor(sites)
    with Recorder(model) as recorder:
        draw = recipe.dictionary_batch * 8
        sample = recorder.stacked(_windows(texts, rng, draw, recipe))[which]
        bank = Bank.initial(sample, recipe.features, recipe.active, generator)
        # one scale a site, so that every site's loss is a share of its variance
        scale = 1 / (sample - sample.mean(1, keepdim=True)).pow(2).sum(-1).mean(1)
        optimizer = torch.optim.Adam(bank.parameters(), betas=(0.9, 0.99), fused=True)
        idle = torch.zeros(bank.decoder.shape[:2], dtype=torch.int64)  # steps without firing
        unexplained = torch.zeros(len(sites))  # mean since the last report
        finished: dict[int, list[Tensor]] = {}
        for step in range(recipe.dictionary_steps):
            for group in optimizer.param_groups:
                group["lr"] = recipe.dictionary_rate * schedule(step, recipe.dictionary_steps)
            x = recorder.stacked(_windows(texts, rng, recipe.dictionary_batch, recipe))[which]
            normal, _, std = normalise(x)
            values, indices = bank.encode(normal)
            missed = bank.decode(values, indices) - normal
            squares = missed.pow(2).sum(-1)
            by_site = (squares * std[..., 0].pow(2)).mean(1) * scale
            alike = squares.mean(1) / x.shape[-1]
            loss = (1 - _NORMALISED_SHARE) * by_site.sum() + _NORMALISED_SHARE * alike.sum()
            silent = idle >= recipe.silent_steps
            loss = loss + _AUXILIARY_WEIGHT * auxiliary_loss(
                bank, normal, -missed.detach(), silent, recipe.auxiliary_active
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                bank.decoder /= bank.decoder.norm(dim=-1, keepdim=True)
                count = torch.zeros_like(idle)
                count.scatter_add_(1, indices.flatten(1), (values > 0).flatten(1).long())
                idle = torch.where(count > 0, 0, idle + 1)
                unexplained += by_site / recipe.report_every
            if (step + 1) % recipe.report_every == 0:
                log.info(
                    "dictionaries %s, step %d of %d: unexplained %s, silent %s (%.0f s)",
                    " ".join(str(site) for site in sites),
                    step + 1,
                    recipe.dictionary_steps,
                    " ".join(f"{v:.4f}" for v in unexplained.tolist()),
                    " ".join(str(n) for n in silent.sum(1).tolist()),
                    time.monotonic() - started,
                )
                for site in (unexplained < recipe.enough).nonzero()[:, 0].tolist():
                    finished.setdefault(site, [p[site].detach().clone() for p in bank.parameters()])
                unexplained.zero_()
    with torch.no_grad():
        for site, parameters in finished.items():
            for parameter, value in zip(bank.parameters(), parameters, strict=True):
                parameter[site] = value
    return bank


def auxiliary_loss(
    bank: Bank, normal: Tensor, left_over: Tensor, silent: Tensor, active: int
) -> Tensor:
    """How badly the silent features alone reconstruct what the others leave over, summed over sites.

    A scalar: for each site with silent features, the squared error as a share of the left-over's
    square. Only the silent features' rows have a gradient. `normal`, `left_over` `[s, n, width]`,
    `silent` bool `[s, features]`; at most `active` silent features reconstruct one token.
    """
    total = normal.new_zeros(())
    for site in range(silent.shape[0]):
        which = silent[site].nonzero()[:, 0]
        if not len(which):
            continue
        before = torch.addmm(
            bank.encoder_bias[site][:, which],
            normal[site] - bank.decoder_bias[site].detach(),
            bank.encoder[site][:, which],
        )
        values, indices = before.topk(min(active, len(which)), dim=-1, sorted=False)
        values = torch.zeros_like(before).scatter(-1, indices, values.relu())
        again = values @ bank.decoder[site, which]
        total = total + (again - left_over[site]).pow(2).sum() / left_over[site].pow(2).sum()
    return total


def _windows(texts: Texts, rng: np.random.Generator, count: int, recipe: Recipe) -> Tensor:
    return torch.from_numpy(texts.mixed(rng, count, recipe.dictionary_shares).windows)


def save_dictionaries(bank: Bank, layers: int, context: int, directory: Path) -> Sequence[str]:
    """Write every dictionary with sae_lens's own writer, weights in float16; return their ids.

    The configuration says float32, so that sae_lens widens the weights when it loads them.
    """
    from sae_lens import TopKSAE, TopKSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    ids = dictionary_ids(layers)
    for site, dictionary_id in enumerate(ids):
        config = TopKSAEConfig(
            d_in=bank.decoder.shape[2],
            d_sae=bank.decoder.shape[1],
            k=bank.active,
            dtype="float32",
            device="cpu",
            apply_b_dec_to_input=True,
            normalize_activations="layer_norm",
            rescale_acts_by_decoder_norm=False,
            metadata=SAEMetadata(
                model_name="demo",
                hook_name=dictionary_id,
                neuronpedia_id=f"demo/{source_id(dictionary_id)}",
                context_size=context,
                prepend_bos=False,
            ),
        )
        sae = TopKSAE(config)
        with torch.no_grad():
            sae.W_enc.copy_(bank.encoder[site])
            sae.W_dec.copy_(bank.decoder[site])
            sae.b_enc.copy_(bank.encoder_bias[site, 0])
            sae.b_dec.copy_(bank.decoder_bias[site, 0])
        sae.half().save_model(directory / dictionary_id)
    return ids
