"""A model with its dictionaries, loaded."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from sae_lens import SAE
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from scd_tui.attribution.agreement import (
    TOLERANCE,
    largest_difference,
    plain_log_probabilities,
)
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.finite import require_finite_weights
from scd_tui.attribution.foreign import is_foreign, said_by, used
from scd_tui.attribution.memory import emptied, give_back, ran_out, trim
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.numerics import assert_exact_float32, use_exact_float32
from scd_tui.attribution.placing import Way, ways
from scd_tui.attribution.prepared import load_prepared, prepare, prepared_folder
from scd_tui.attribution.pretrained import lies_mapped, load_pretrained
from scd_tui.attribution.site_checks import unusable_sites
from scd_tui.attribution.stored import stored_fault, unreadable, weights_fault
from scd_tui.catalog.cached import Kept, require, revisions
from scd_tui.catalog.folders import MEND, one_head, site_of_hook
from scd_tui.catalog.model_checks import ModelCheck, keep_check, kept_check
from scd_tui.catalog.models import ModelSpec
from scd_tui.catalog.sizes import files_fault, size_fault
from scd_tui.catalog.spec import HubDictionary
from scd_tui.errors import InputError, RunError
from scd_tui.graph import ModelIdentity, Site
from scd_tui.numbers import listed

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LoadedModel:
    """Everything that attribution needs, on one device. `dictionaries` is in order of computation.

    `notes` are sentences on how it was loaded, where that was not as asked.
    """

    model: LanguageModel
    dictionaries: Mapping[Site, Dictionary]
    identity: ModelIdentity
    notes: tuple[str, ...] = ()


def load(
    spec: ModelSpec,
    device: torch.device,
    on_progress: OnProgress = lambda stage, done, total: None,
    *,
    stream: bool = False,
) -> LoadedModel:
    """Load a model and its dictionaries in float32, whatever they are stored in. No network is used.

    How is decided before anything is loaded, from sizes and from what memory is free (`placing`): all on
    the device; or the dictionaries' weights in files, mapped into memory, and read from there site by
    site, as always with `stream`; or the model spread over several GPUs. Where memory runs out
    all the same the next way is tried, and the model's notes say so.
    `on_progress(stage, done, total)` is called as pieces arrive; what it raises ends the loading.
    Raises InputError when a dictionary does not fit the model, RunError when something is not downloaded,
    damaged, or larger than memory.
    """
    use_exact_float32()
    # Progress is told by `on_progress`; the library's own bar would land between a program's lines.
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    here = require(spec)
    for source in spec.dictionaries.values():
        # by configurations and headers alone, before sizes are taken from them or the model is loaded
        if isinstance(source, Path) and (fault := stored_fault(source)):
            raise _damaged(source, str(source), fault)
    folder = _folder(spec, here)
    if fault := _model_fault(folder):
        raise RunError(f"the model in {folder} cannot be loaded ({fault}): {_cure(spec)}")
    chosen, why = ways(spec, device, stream=stream)
    where = device_label(device)
    notes: tuple[str, ...] = (f"{chosen[0].words}: {why}",) if why else ()
    for n, way in enumerate(chosen):
        if n > 0:
            notes += (
                f"{where} ran out of memory as {chosen[n - 1].words}, so it is {way.words}, which is "
                "slower",
            )
            on_progress(f"out of memory: now {way.words}", 0, 1)
        try:
            loaded = _load(spec, here, device, on_progress, way)
            return replace(loaded, notes=(*notes, *loaded.notes))
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        give_back(device)
    raise RunError(
        f"{spec.name} does not fit into the memory of {where}, tried "
        f"{' and '.join(way.words for way in chosen)}: use another device"
    )


def _load(
    spec: ModelSpec,
    here: Kept,
    device: torch.device,
    on_progress: OnProgress,
    way: Way,
) -> LoadedModel:
    total = 1 + len(spec.dictionaries)
    on_progress(f"loading the model, {way.words}", 0, total)
    if not spec.dictionaries:
        spec = replace(spec, prepends_bos=_begins_with_bos(_folder(spec, here)))
    model, check = _checked_model(spec, here, device, on_progress, way)
    dictionaries: dict[Site, Dictionary] = {}
    for done, (site, source) in enumerate(spec.dictionaries.items(), start=1):
        on_progress(f"loading the dictionary at {site}", done, total)
        name = str(source) if isinstance(source, Path) else f"{source.id} of {source.release}"
        if site.layer >= model.layers:
            raise InputError(
                f"{name} is at {site}, and the model has no such place: choose the dictionaries of this "
                f"model, which has {model.layers} layers"
            )
        if str(site) in check.unusable:
            continue
        where = torch.device("cpu") if way.stream else model.device_at(site)
        sae = _sae(source, here, where, stream=way.stream)
        _require_fit(name, site, sae, model)
        # A published file that stays in place was checked when it was downloaded, and is not read here.
        if (isinstance(source, Path) or not way.stream) and (fault := weights_fault(sae)):
            raise _damaged(source, name, fault)
        try:
            dictionaries[site] = Dictionary(site, sae, in_place=way.stream)
        except InputError as error:
            raise InputError(f"{name} cannot be used: {error}") from None
        emptied(sae)
        trim()  # or what laying each out took on the way adds up
    if spec.dictionaries and not dictionaries:
        raise InputError(
            f"{spec.name} cannot be attributed with {spec.dictionaries_name}: "
            + "; ".join(_site_notes(check))
        )
    on_progress("loaded", total, total)
    assert_exact_float32()
    revision, dictionaries_revision = revisions(spec, here)
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
        training_context=spec.training_context,
        sites=tuple(dictionaries),
        sources=dict(spec.sources),
        neuronpedia=spec.neuronpedia or "",
        gate=spec.gate,
    )
    return LoadedModel(model, dictionaries, identity, _check_notes(check))


def _checked_model(
    spec: ModelSpec, here: Kept, device: torch.device, on_progress: OnProgress, way: Way
) -> tuple[LanguageModel, ModelCheck]:
    """The model, and what its check found, now or when it was loaded first.

    A model that is spread over several devices is not compared with plain transformers, which would
    have to fit on one of them. Raises RunError on a model that does not run.
    """
    total, max_memory = 1 + len(spec.dictionaries), way.max_memory or None
    revision, _ = revisions(spec, here)
    options, sites = dict(spec.model_options), tuple(spec.dictionaries)
    known = kept_check(revision, options, sites)
    folder = _folder(spec, here)
    plain = None
    if known is None and max_memory is None:
        on_progress("loading the model in plain transformers, to compare its logits once", 0, total)
        plain = plain_log_probabilities(folder, device)
        if device.type == "cuda":  # on a CPU its weights go with it
            give_back(device)
        on_progress(f"loading the model, {way.words}", 0, total)
    model = _model(spec, here, device, max_memory)
    require_finite_weights(model, str(folder))
    if known is not None:
        return model, known
    try:
        present = [site for site in sites if site.layer < model.layers and model.has(site)]
        # of sites that are all another model's each is told with its dictionary, when that is loaded
        unusable = unusable_sites(model, present) if present else {}
        difference = None if plain is None else largest_difference(model, plain)
    except BaseException as error:
        # whatever the library stumbles over in a model of a kind that it does not know
        if not is_foreign(error):
            raise
        raise RunError(
            f"the model in {folder} loads, but TransformerLens cannot run it ({said_by(error)}): "
            "choose another model"
        ) from error
    missing = {site: "the model has no such place" for site in sites if not model.has(site)}
    reasons = {str(site): reason for site, reason in (missing | unusable).items()}
    found = ModelCheck(difference, reasons)
    if max_memory is None:  # on one device the next load compares
        keep_check(revision, options, sites, found)
    return model, found


def _check_notes(check: ModelCheck) -> tuple[str, ...]:
    """What a reader should know of the model, in sentences."""
    if check.difference is None:
        agreement = ["whether this is the model that transformers runs was not checked"]
    elif check.difference <= TOLERANCE:
        agreement = []
    else:
        by = f"up to {check.difference:.2g} nats (tolerance {TOLERANCE:g})"
        agreement = [
            "TransformerLens does not run this model as transformers does: log-probabilities after a few "
            f"tokens differ by {by}, so the numbers here are about another model"
        ]
    return (*agreement, *_site_notes(check))


def _site_notes(check: ModelCheck) -> tuple[str, ...]:
    """Which sites are not used and why, a sentence per reason."""
    notes = []
    by_reason: dict[str, list[str]] = {}
    for site, reason in check.unusable.items():
        by_reason.setdefault(reason, []).append(site)
    for reason, names in by_reason.items():
        are = "is" if len(names) == 1 else "are"
        notes.append(f"{listed(names)} {are} not used: {reason}")
    return tuple(notes)


def _folder(spec: ModelSpec, here: Kept) -> Path:
    folder = spec.model if isinstance(spec.model, Path) else here.model
    assert folder is not None, "a required model is on the disk"
    return folder


def _begins_with_bos(folder: Path) -> bool:
    """Whether a tokenizer itself puts its BOS first: without dictionaries nothing else says so."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = tokenizer("a")["input_ids"]
    except Exception:  # tokenizers raises no narrower kind; loading the model says what is wrong
        return False
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def _model(
    spec: ModelSpec, here: Kept, device: torch.device, max_memory: Mapping[int, int] | None
) -> LanguageModel:
    folder = _folder(spec, here)
    with used(f"the model in {folder}", _cure(spec)):
        model = LanguageModel.boot(
            folder,
            device,
            prepend_bos=spec.prepends_bos,
            processing=spec.model_options,
            max_memory=max_memory,
        )
        # a tokenizer that is damaged may fail only when it is used
        for token in model.tokenize(_SOME_TEXT):
            model.token(token.id)
    return model


_SOME_TEXT = "To be, or not to be: 1 2 3 é"


def _model_fault(folder: Path) -> str | None:
    """What is wrong with a model's files, by their kinds and sizes; None if nothing is."""
    try:
        return files_fault(folder) or size_fault(folder)
    except InputError as error:
        return str(error)


def _cure(spec: ModelSpec) -> str:
    """What to do about a model that cannot be loaded."""
    if isinstance(spec.model, Path):
        return "look there"
    return "`scd-tui download` finds out whether its files are damaged"


def _sae(source: Path | HubDictionary, here: Kept, where: torch.device, *, stream: bool) -> SAE:
    """A dictionary, in a file that is mapped into memory if it is to be streamed."""
    if isinstance(source, Path):
        try:
            return SAE.load_from_disk(source, device=str(where), dtype="float32")
        except BaseException as error:
            if not is_foreign(error):
                raise
            raise _damaged(source, str(source), unreadable(error)) from error
    files = here.of(source)
    if not stream or lies_mapped(source, files):
        return load_pretrained(source, files, str(where))
    folder = prepared_folder(source, here.commits[source.repo])
    mapped = load_prepared(folder)
    return mapped if mapped is not None else prepare(load_pretrained(source, files, "cpu"), folder)


def _damaged(source: Path | HubDictionary, name: str, fault: str) -> InputError:
    """What is raised of a dictionary whose files are not in order."""
    if isinstance(source, Path):
        return InputError(f"the dictionary in {name} cannot be loaded: {fault}; {MEND}")
    return RunError(
        f"the dictionary {name} cannot be loaded: {fault}; `scd-tui download` finds out whether its files "
        "are damaged"
    )


def _require_fit(name: str, site: Site, sae: SAE, model: LanguageModel) -> None:
    """Raises InputError on a dictionary of one head, of another site, or of another model."""
    said = sae.cfg.metadata.hook_name
    width, own_width = len(sae.b_dec), model.width_at(site)
    head = sae.cfg.metadata.hook_head_index
    narrow = width < own_width and width * model.heads == own_width
    if head is not None or (site.kind == "hook_z" and narrow):
        raise InputError(one_head(name, str(site), head))
    if said is not None:
        try:
            own = site_of_hook(
                str(said).replace(".hook_z", ".attn.hook_z").replace(".attn.attn", ".attn")
            )
        except ValueError:
            own = site  # said in other words, such as `hook_embed`, which settle nothing
        if own != site:
            raise InputError(f"{name} was trained at {said}, and is to be used at {site}")
    if width != own_width:
        raise InputError(
            f"{name} reads activations of width {width} and the model has {own_width} at {site}: it "
            "belongs to another model, so choose the dictionaries of this one"
        )


def device_label(device: torch.device) -> str:
    """`cpu`, or the CUDA device with its name."""
    if device.type != "cuda":
        return str(device)
    return f"cuda:{device.index or 0} {torch.cuda.get_device_name(device)}"
