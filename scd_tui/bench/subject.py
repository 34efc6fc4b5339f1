"""What is measured: a model with dictionaries that is made when it is wanted, and made again.

The encoder products are timed before the dictionaries take memory, and the published procedure after
they have given it back, so a subject is a recipe.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sae_lens import SAE

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.load import load
from scd_tui.attribution.model import LanguageModel
from scd_tui.bench.shapes import random_dictionaries, random_model, random_saes, sites_of
from scd_tui.bench.sizes import Shape
from scd_tui.catalog.folders import read_json
from scd_tui.catalog.models import ModelSpec
from scd_tui.catalog.texts import bundled_text
from scd_tui.errors import InputError
from scd_tui.graph import Site, Token

_SEED = 1
_CHARACTERS = 40
"""Characters of text that have at least one token, for any tokenizer worth the name."""


@dataclass(frozen=True)
class Subject:
    """`sizes`: (d, d_sae) of each dictionary. `context`: the longest prompt; None until it is loaded.

    `streamed`: the dictionaries stay in files and take no memory of their own. `load` makes the
    model and its dictionaries, `saes` sae_lens's own SAEs for the same sites with the same weights;
    `prompt` gives so many tokens of a prompt.
    """

    name: str
    sizes: tuple[tuple[int, int], ...]
    context: int | None
    streamed: bool
    load: Callable[[torch.device], tuple[LanguageModel, dict[Site, Dictionary]]]
    saes: Callable[[torch.device], dict[Site, Any]]
    prompt: Callable[[LanguageModel, int], tuple[Token, ...]]

    @property
    def dictionary_bytes(self) -> int:
        """Encoders, decoders and both biases in float32, as far as they are in memory."""
        if self.streamed:
            return 0
        return sum(4 * (2 * d * features + d + features) for d, features in self.sizes)


def _frozen(sae: Any) -> Any:
    """As a dictionary leaves it: nothing is differentiated by its weights."""
    return sae.eval().requires_grad_(False)


def random_subject(shape: Shape) -> Subject:
    """Random weights, and a prompt of random tokens."""

    def prompt(model: LanguageModel, count: int) -> tuple[Token, ...]:
        generator = torch.Generator().manual_seed(_SEED)
        ids = torch.randint(model.vocabulary, (count,), generator=generator)
        return tuple(model.token(i) for i in ids.tolist())

    return Subject(
        name=shape.name,
        sizes=tuple((shape.width, shape.features) for _ in sites_of(shape)),
        context=shape.context,
        streamed=shape.streamed,
        load=lambda device: (random_model(shape, device), random_dictionaries(shape, device)),
        saes=lambda device: {site: _frozen(sae) for site, sae in random_saes(shape, device)},
        prompt=prompt,
    )


def catalogued_subject(spec: ModelSpec) -> Subject:
    """A model of the catalogue, and a prompt from the bundled text."""
    _, folders = spec.folders()

    def loaded(device: torch.device) -> tuple[LanguageModel, dict[Site, Dictionary]]:
        found = load(spec, device)
        return found.model, dict(found.dictionaries)

    def saes(device: torch.device) -> dict[Site, Any]:
        read = partial(SAE.load_from_disk, device=str(device), dtype="float32")
        return {site: _flat(_frozen(read(path))) for site, path in folders.items()}

    def prompt(model: LanguageModel, count: int) -> tuple[Token, ...]:
        tokens = model.tokenize(bundled_text().text[: _CHARACTERS * count])
        if spec.prepends_bos and model.bos is not None:
            tokens = (model.token(model.bos), *tokens)
        if len(tokens) < count:
            raise InputError(f"the bundled text has {len(tokens)} tokens: ask for fewer")
        return tokens[:count]

    configs = [read_json(path / "cfg.json") for path in folders.values()]
    return Subject(
        name=spec.name,
        sizes=tuple((int(config["d_in"]), int(config["d_sae"])) for config in configs),
        context=None,
        streamed=False,
        load=loaded,
        saes=saes,
        prompt=prompt,
    )


def _flat(sae: Any) -> Any:
    if sae.hook_z_reshaping_mode:
        sae.turn_off_forward_pass_hook_z_reshaping()
    return sae
