"""The numbers of the build: sizes, steps, rates, seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Look = Literal["before", "again", "answers", "opening"]
"""Where a head is shown to look: at the token before; at the earlier place that holds the token to
come, in repeated sequences ("again") and for marked words ("answers"); at the bracket that the token
to come will close."""


@dataclass(frozen=True)
class Guide:
    """Heads of a layer that are shown where to look in training."""

    what: Look
    layer: int
    heads: tuple[int, ...]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a build makes, apart from the texts' own rules."""

    seed: int = 20
    threads: int = 2  # that share the dictionaries; the model has its own number
    # texts
    documents: int | None = None  # None: every one
    template_documents: int = 250_000
    shares: tuple[float, float, float] = (0.34, 0.42, 0.24)  # documentation, templates, repeated
    emphasis: float = 8.0  # weight of the word that a template sentence is about
    # model
    vocabulary: int = 3072
    layers: int = 4
    width: int = 128
    heads: int = 4
    context: int = 64
    copying_steps: int = 520  # on repetition alone, before the others
    copying_short_steps: int = 280  # of them, on short sequences
    copying_longest: int = 13  # tokens of a short sequence
    drills: int = 60_000  # of each kind
    drill_steps: int = 1200  # until drills of random words end
    drill_short_steps: int = 750  # until the long ones join the short
    drills_early: tuple[int, int, int] = (8, 0, 0)  # windows short, long, real, until then
    drills_middle: tuple[int, int, int] = (2, 5, 2)
    drills_late: tuple[int, int, int] = (0, 2, 4)
    taking_away_step: int = 400  # see training.take_away
    model_steps: int = 2700  # in all
    model_threads: int = 2
    model_batch: int = 32  # windows
    model_rate: float = 3e-3
    weight_decay: float = 0.1
    attention_decay: float = 1.6  # of attention's weights, once the drills are over
    # the first weights: see training.first_weights
    spread: float = 0.06
    attention_spread: float = 0.1
    position_size: float = 0.3
    # heads that are shown where to look: see training.guidance
    guides: tuple[Guide, ...] = (
        Guide("before", layer=0, heads=(0,)),
        Guide("again", layer=1, heads=(0, 1)),
        Guide("answers", layer=3, heads=(0, 1)),
        Guide("opening", layer=3, heads=(2, 3)),
    )
    guide_weight: float = 0.5
    guided_steps: int = 2000
    guide_fading_steps: int = 300
    # dictionaries
    features: int = 1024
    active: int = 32
    dictionary_steps: int = 2200
    dictionary_batch: int = 16  # windows
    dictionary_rate: float = 2e-3
    report_every: int = 100  # steps between lines of the log
    # A dictionary that leaves less than this share of the variance unexplained is finished: going on
    # only concentrates the work in fewer features.
    enough: float = 0.007
    silent_steps: int = 50  # without firing, after which a feature counts as silent
    auxiliary_active: int = 64  # silent features that reconstruct a token's left-over
    dictionary_shares: tuple[float, float, float] = (0.33, 0.6, 0.07)
    # records and gate
    record_windows: int = 4096
    held_out_documents: int = 20_000
    gate_windows: int = 2048
    gate_prompts: int = 200

    def smoke(self) -> Recipe:
        """The same build in miniature: every step runs, no bar of the gate is expected to hold."""
        return replace(
            self,
            documents=60,
            template_documents=3000,
            layers=2,
            taking_away_step=8,
            guides=(
                Guide("before", layer=0, heads=(0,)),
                Guide("again", layer=1, heads=(0,)),
                Guide("answers", layer=1, heads=(1,)),
                Guide("opening", layer=1, heads=(2,)),
            ),
            guided_steps=20,
            guide_fading_steps=5,
            copying_steps=10,
            copying_short_steps=5,
            drills=300,
            drill_short_steps=15,
            drill_steps=20,
            drills_early=(4, 0, 0),
            drills_middle=(2, 4, 1),
            drills_late=(0, 2, 3),
            model_steps=30,
            model_batch=16,
            features=64,
            active=8,
            dictionary_steps=30,
            report_every=10,
            silent_steps=5,
            record_windows=96,
            held_out_documents=1000,
            gate_windows=24,
            gate_prompts=10,
        )
