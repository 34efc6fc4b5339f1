"""Training of the bundled GPT-2."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scd_tui.demo.recipe import Guide, Recipe
from scd_tui.demo.streams import Lesson, Texts
from scd_tui.demo.threads import one_thread_each

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast
    from transformers.models.gpt2.modeling_gpt2 import GPT2Attention

log = logging.getLogger(__name__)

# A guided head is left alone once it spends this much of its attention where it is told to.
_ATTENTIVE = 0.9


def train_model(texts: Texts, recipe: Recipe) -> GPT2LMHeadModel:
    """A GPT-2 trained from nothing on windows of `texts`, in float32 on the CPU."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(recipe.seed)
    config = GPT2Config(
        vocab_size=texts.vocabulary,
        n_positions=recipe.context,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=recipe.spread,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    model.set_attn_implementation("eager")  # the one that tells where its heads look
    first_weights(model, recipe)
    rng = np.random.default_rng(recipe.seed)

    def lesson(step: int) -> Lesson:
        if step == recipe.taking_away_step:
            take_away(model, recipe)
        if step < recipe.copying_steps:
            longest = recipe.copying_longest if step < recipe.copying_short_steps else None
            return texts.repeated(rng, recipe.model_batch, longest)
        if step < recipe.drill_short_steps:
            counts = recipe.drills_early
        elif step < recipe.drill_steps:
            counts = recipe.drills_middle
        else:
            counts = recipe.drills_late
        drills = texts.drilled(rng, counts, recipe.emphasis)
        rest = recipe.model_batch - sum(counts)
        return Lesson.joined([texts.mixed(rng, rest, recipe.shares, recipe.emphasis), drills])

    _train(model, texts, recipe, lesson, recipe.model_steps, recipe.model_rate)
    return model.eval()


def _train(
    model: GPT2LMHeadModel,
    texts: Texts,
    recipe: Recipe,
    lesson: Callable[[int], Lesson],
    steps: int,
    rate: float,
) -> None:
    # One thread a core, each with its share of the windows, meets the others once a step; the
    # threads inside torch's operations would meet thousands of times, and crawl on a busy machine.
    # How many there are decides in which order gradients are summed, and so what is learnt.
    replicas = [model, *(copy.deepcopy(model) for _ in range(recipe.model_threads - 1))]
    for replica in replicas[1:]:
        for mine, shared in zip(replica.parameters(), model.parameters(), strict=True):
            mine.data = shared.data
    attention: list[Tensor] = [
        weight
        for block in model.transformer.h
        for weight in (block.attn.c_attn.weight, block.attn.c_proj.weight)
    ]
    apart = {id(weight) for weight in attention}
    decayed: list[Tensor] = [p for p in model.parameters() if p.dim() > 1 and id(p) not in apart]
    others: list[Tensor] = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
            {"params": attention, "weight_decay": recipe.weight_decay},
        ],
        lr=rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    started = time.monotonic()
    with one_thread_each(recipe.model_threads) as pool:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(step, steps)
            if step >= recipe.drill_steps:
                # what is left of the first weights and does nothing is noise to the dictionaries
                optimizer.param_groups[2]["weight_decay"] = recipe.attention_decay
            whole = lesson(step)
            parts = [whole.rows(slice(n, None, len(replicas))) for n in range(len(replicas))]
            part = partial(
                _gradient, whole=whole, guides=recipe.guides, share=guidance(step, recipe)
            )
            loss = sum(pool.map(part, replicas, parts))
            for replica in replicas[1:]:
                for mine, other in zip(model.parameters(), replica.parameters(), strict=True):
                    if mine.grad is not None and other.grad is not None:
                        mine.grad += other.grad
                        other.grad = None
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0 or step == steps - 1:
                log.info(
                    "model step %d of %d: loss %.3f, of repetition %.3f, marked %.3f (%.0f s)",
                    step,
                    steps,
                    loss,
                    *_probe(model, texts),
                    time.monotonic() - started,
                )


@torch.no_grad()
def first_weights(model: GPT2LMHeadModel, recipe: Recipe) -> None:
    """Begin where copying is near, in place of the tens of thousands of steps it takes to find.

    Positions begin as sinusoids, from which "one token back" is a rotation; keys begin equal to
    queries, so that like attends to like, and each head's output as the transpose of its values,
    so that it passes on what it reads. All of it is free to change in training.
    """
    width = recipe.width
    positions = torch.arange(recipe.context)[:, None]
    rates = torch.exp(-math.log(100.0) * torch.arange(0, width, 2) / width)
    waves = torch.cat([torch.sin(positions * rates), torch.cos(positions * rates)], 1)
    model.transformer.wpe.weight.copy_(recipe.position_size * waves)
    for block in model.transformer.h:
        _like_to_like(block.attn, recipe)


@torch.no_grad()
def take_away(model: GPT2LMHeadModel, recipe: Recipe) -> None:
    """Let the attention of the later half of the layers begin anew, with reversed heads in between.

    A reversed head takes away what it reads. Half of those of the first of these layers begin so,
    and take the name that was said again out of what the last layer's queries look for, which then
    look at the other one. From the very beginning they would be in the way of copying.
    """
    middle = recipe.layers // 2
    for layer in range(middle, recipe.layers):
        attention = model.transformer.h[layer].attn
        _like_to_like(attention, recipe)
        attention.c_attn.bias.zero_()
        if layer == middle:
            attention.c_proj.weight[recipe.width // 2 :] *= -1  # its rows are head after head


def _like_to_like(attention: GPT2Attention, recipe: Recipe) -> None:
    width, weight = recipe.width, attention.c_attn.weight
    weight.normal_(0.0, recipe.attention_spread)
    weight[:, width : 2 * width] = weight[:, :width]
    attention.c_proj.weight.copy_(weight[:, 2 * width :].T)


def guidance(step: int, recipe: Recipe) -> float:
    """Weight of being told where to look, beside 1 for foretelling: constant, then fading out."""
    beyond = max(0, step - recipe.guided_steps) / recipe.guide_fading_steps
    return recipe.guide_weight * max(0.0, 1 - beyond)


def _gradient(
    model: GPT2LMHeadModel, lesson: Lesson, *, whole: Lesson, guides: Sequence[Guide], share: float
) -> float:
    """Add the gradient of a part of the `whole` lesson's loss; the part's loss in foretelling."""
    ids = torch.from_numpy(lesson.windows)
    weights = torch.from_numpy(lesson.weights)[:, 1:]
    wanted = weights > 0
    out = model.transformer(ids, output_attentions=share > 0)
    hidden = out.last_hidden_state[:, :-1][wanted]
    losses = F.cross_entropy(model.lm_head(hidden), ids[:, 1:][wanted], reduction="none")
    loss = (losses * weights[wanted]).sum() / float(whole.weights[:, 1:].sum())
    total = loss
    for guide in guides if share > 0 else ():
        if count := int((whole.looks(guide.what) >= 0).sum()):
            missed = overlooked(out.attentions[guide.layer], lesson, guide)
            total = total + share * missed / count
    total.backward()  # type: ignore[no-untyped-call]
    return loss.item()


def overlooked(attention: Tensor, lesson: Lesson, guide: Guide) -> Tensor:
    """What guided heads lose by looking elsewhere, in nats, summed over the lesson's places.

    `attention [windows, heads, pos, pos]` of the guide's layer. Nothing is lost by a head that
    spends `_ATTENTIVE` of its attention where it is told to.
    """
    looks = lesson.looks(guide.what)
    rows, queries = np.nonzero(looks >= 0)
    spent = attention[:, list(guide.heads)][rows, :, queries, looks[rows, queries]]
    return (math.log(_ATTENTIVE) - (spent + 1e-4).log()).clamp_min(0.0).mean(1).sum()


@torch.no_grad()
def _probe(model: GPT2LMHeadModel, texts: Texts) -> tuple[float, float]:
    """Cross-entropy in nats of what can be foretold in repetition, and of marked words."""
    rng = np.random.default_rng(0)
    again = texts.repeated(rng, 8)
    places = texts.templates.offsets(rng, 16, texts.context, anywhere=0.0)
    found = []
    for rows, kept in (
        (again.windows, again.weights > 0),
        (texts.templates.tokens[places], texts.templates.marked[places]),
    ):
        ids, wanted = torch.from_numpy(rows), torch.from_numpy(kept)[:, 1:]
        logits = model(ids).logits[:, :-1][wanted]
        found.append(F.cross_entropy(logits, ids[:, 1:][wanted]).item())
    return found[0], found[1]


def schedule(step: int, steps: int) -> float:
    """Share of the full learning rate: a short warm-up, then a cosine down to 2 %."""
    warm = max(1, min(200, steps // 20))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * done)))


def save_model(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write a Hugging Face directory: configuration, float16 weights, tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
