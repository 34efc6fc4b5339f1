"""A model with its dictionaries, loaded."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from sae_lens import SAE
from transformers.utils.logging import disable_progress_bar

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.memory import emptied, trim
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.numerics import assert_exact_float32, use_exact_float32
from scd_tui.catalog.models import ModelSpec
from scd_tui.errors import InputError
from scd_tui.graph import ModelIdentity, Site


@dataclass(frozen=True)
class LoadedModel:
    """Everything that attribution needs, on one device. `dictionaries` is in order of computation."""

    model: LanguageModel
    dictionaries: Mapping[Site, Dictionary]
    identity: ModelIdentity


def load(
    spec: ModelSpec,
    device: torch.device,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    *,
    stream: bool = False,
) -> LoadedModel:
    """Load a model and its dictionaries in float32, whatever they are stored in.

    With `stream` the dictionaries' weights stay in their files, mapped into memory, and are read from
    there site by site: that takes no memory of our own, as long as they are stored in float32.
    `on_progress(stage, done, total)` is called as pieces arrive; what it raises ends the loading.
    Raises InputError when a dictionary does not fit the model.
    """
    use_exact_float32()
    # Progress is told by `on_progress`; the library's own bar would land between a program's lines.
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    model_folder, folders = spec.folders()
    total = 1 + len(folders)
    on_progress("loading the model", 0, total)
    model = LanguageModel.boot(model_folder, device, prepend_bos=spec.prepends_bos)
    dictionaries: dict[Site, Dictionary] = {}
    for done, (site, path) in enumerate(folders.items(), start=1):
        on_progress(f"loading the dictionary at {site}", done, total)
        if site.layer >= model.layers or not model.has(site):
            raise InputError(f"{path.name} is at {site}, and the model has no such place")
        where = "cpu" if stream else str(device)
        sae = SAE.load_from_disk(path, device=where, dtype="float32")
        dictionaries[site] = Dictionary(site, sae, in_place=stream)
        emptied(sae)
        if dictionaries[site].d_in != model.width_at(site):
            raise InputError(
                f"{path.name} reads activations of width {dictionaries[site].d_in} and the model "
                f"has {model.width_at(site)} there: it belongs to another model"
            )
    trim()
    on_progress("loaded", total, total)
    assert_exact_float32()
    revision, dictionaries_revision = spec.revisions()
    identity = ModelIdentity(
        name=spec.name,
        revision=revision,
        dictionaries=spec.dictionaries_name,
        dictionaries_revision=dictionaries_revision,
        device=device_label(device),
        layers=model.layers,
        context=model.context,
        vocabulary=model.vocabulary,
        prepends_bos=spec.prepends_bos,
        sites=tuple(dictionaries),
        sources=dict(spec.sources),
        neuronpedia=spec.neuronpedia or "",
        gate=spec.gate,
    )
    return LoadedModel(model, dictionaries, identity)


def device_label(device: torch.device) -> str:
    """`cpu`, or the CUDA device with its name."""
    if device.type != "cuda":
        return str(device)
    return f"cuda:{device.index or 0} {torch.cuda.get_device_name(device)}"
