"""Faults of a dictionary in sae_lens's own format, each in one sentence, found before it is loaded.

sae_lens reads such a folder with few checks: a damaged one ends in the exception of whichever line
stumbled over it, or is loaded and computes something else. Here the configuration is held against what
sae_lens knows, and the names, shapes and kinds of the tensors against the configuration, from the header
of the file of weights alone. `weights_fault` then looks at the numbers, once they are loaded.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from packaging.version import InvalidVersion, Version
from sae_lens import SAE
from sae_lens.loading.pretrained_sae_loaders import LLM_METADATA_KEYS, handle_config_defaulting
from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY, get_sae_class
from safetensors import safe_open

from scd_tui.attribution.activation import REFUSED, SUPPORTED
from scd_tui.attribution.foreign import is_foreign, said_by
from scd_tui.catalog.folders import read_json
from scd_tui.errors import InputError
from scd_tui.reading import require_regular

CONFIGURATION = "cfg.json"
WEIGHTS = "sae_weights.safetensors"

_SELECTING = ("topk", "abstopk")
_NORMALISATIONS = (
    *("none", "layer_norm", "constant_norm_rescale"),
    *("expected_average_only_in", "covariance_whitening"),
)
_ADDED = {"scaling_factor", "finetuning_scaling_factor", "log_threshold"}
"""Tensors of older versions that sae_lens converts or leaves out."""
_PLAIN_FIELDS = {"architecture", "metadata", "hook_point", "hook_layer", "activation_fn_str"}


def stored_fault(folder: Path) -> str | None:
    """What is wrong with a dictionary's files, as a clause after the folder's name; None if nothing is."""
    return files_fault(folder / CONFIGURATION, folder / WEIGHTS)


def files_fault(configuration: Path, weights: Path) -> str | None:
    """The same of the two files, wherever they lie."""
    try:
        written = read_json(configuration)
    except InputError as error:
        return str(error).replace(str(configuration), CONFIGURATION)
    try:
        return _written_fault(written) or _weights_file_fault(written, weights)
    except BaseException as error:  # of sae_lens, over a value of another kind than it writes
        if not is_foreign(error):
            raise
        return f"sae_lens cannot read its {CONFIGURATION} ({said_by(error)})"


def _written_fault(written: Mapping[str, Any]) -> str | None:
    """What is wrong with a configuration as it is written, before sae_lens brings it up to date."""
    metadata = written.get("metadata", {})
    if not isinstance(metadata, dict):
        return f"metadata in {CONFIGURATION} is not a table"
    version = written.get("sae_lens_version") or metadata.get("sae_lens_version")
    try:
        old = not version or Version(version) < Version("6.0.0-rc.0")
    except (InvalidVersion, TypeError):
        return f"sae_lens_version in {CONFIGURATION} is {version!r}, which is not a version"
    if old:
        arguments = written.get("activation_fn_kwargs", {})
        if not isinstance(arguments, dict):
            return f"activation_fn_kwargs in {CONFIGURATION} is not a table"
        selects = "topk" in (written.get("activation_fn_str"), written.get("activation_fn"))
        if selects and arguments.get("k") is None:
            return f"activation_fn_kwargs in {CONFIGURATION} has no k"
        if not isinstance(written.get("hook_name", ""), str):
            return f"hook_name in {CONFIGURATION} is not a text"
    elif "architecture" not in written:
        return f"{CONFIGURATION} has no architecture"
    architecture = str(written.get("architecture", "standard"))
    if old and selects:
        architecture = "topk"  # whatever else it says (sae_lens, handle_pre_6_0_config)
    if architecture in REFUSED:
        return f"it is not supported: {REFUSED[architecture]}"
    if architecture not in SUPPORTED:
        return (
            f"its architecture is {architecture!r}, which is not supported: use one of "
            f"{', '.join(SUPPORTED)}"
        )
    unknown = () if old else sorted(set(written) - _known_fields())
    if unknown:
        return (
            f"{CONFIGURATION} has the field {unknown[0]!r}, which the installed sae_lens does not know "
            "and would leave out: update sae_lens, or remove the field if it changes nothing"
        )
    return _values_fault(handle_config_defaulting(_copied(written)))


def _copied(written: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: dict(value) if isinstance(value, dict) else value for key, value in written.items()
    }


def _known_fields() -> set[str]:
    """Names that any of sae_lens's configurations has, those of training included."""
    classes = [c for r in (SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY) for _, c in r.values()]
    known = {field.name for one in classes for field in fields(one)}
    return known | set(LLM_METADATA_KEYS) | _PLAIN_FIELDS


def _values_fault(config: Mapping[str, Any]) -> str | None:
    """What is wrong with the values of a configuration that is up to date."""
    for name in ("d_in", "d_sae"):
        if name not in config:
            return f"{CONFIGURATION} has no {name}"
        if not _is_count(config[name]):
            return f"{name} in {CONFIGURATION} is {config[name]!r}, and has to be a whole number above 0"
    if config["architecture"] in _SELECTING:
        if "k" not in config:
            return f"{CONFIGURATION} has no k, which {config['architecture']} dictionaries need"
        if fault := k_fault(config["k"], config["d_sae"]):
            return fault
    normalisation = config.get("normalize_activations", "none")
    if normalisation not in _NORMALISATIONS:
        return (
            f"normalize_activations in {CONFIGURATION} is {normalisation!r}, and has to be one of "
            f"{', '.join(_NORMALISATIONS)}"
        )
    reshaping = config.get("reshape_activations", "none")
    if reshaping not in ("none", "hook_z"):
        return (
            f"reshape_activations in {CONFIGURATION} is {reshaping!r}, and has to be none or hook_z"
        )
    for name in ("apply_b_dec_to_input", "rescale_acts_by_decoder_norm"):
        if not isinstance(config.get(name, False), bool):
            return f"{name} in {CONFIGURATION} is {config[name]!r}, and has to be true or false"
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def k_fault(k: object, features: int) -> str | None:
    """What is wrong with the number of active features of a TopK dictionary."""
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        return f"its k is {k!r}, and has to be a whole number above 0"
    if k > features:
        return f"its k is {k:,}, and it has only {features:,} features"
    return None


def _weights_file_fault(written: Mapping[str, Any], weights: Path) -> str | None:
    """What is wrong with a file of weights, by its header, beside a sound configuration."""
    if not weights.exists():
        return f"it has no {WEIGHTS}"
    try:
        require_regular(weights)
        with safe_open(weights, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(one.get_shape()) for name, one in slices.items()}
            kinds = {name: str(one.get_dtype()) for name, one in slices.items()}
    except BaseException as error:
        if not is_foreign(error):
            raise
        return unreadable(error, WEIGHTS)
    config = handle_config_defaulting(_copied(written))
    d_in, d_sae = config["d_in"], config["d_sae"]
    encoder = shapes.get("W_enc")
    if encoder is not None and encoder != (d_in, d_sae):
        return (
            f"W_enc in {WEIGHTS} is {_by(encoder)}, and d_in by d_sae in {CONFIGURATION} is "
            f"{_by((d_in, d_sae))}"
        )
    for name, shape in _expected(config).items():
        if name == "threshold" and name not in shapes:
            name = "log_threshold" if "log_threshold" in shapes else name
        if name not in shapes:
            return f"{WEIGHTS} has no {name}, which {config['architecture']} dictionaries have"
        if shapes[name] != shape:
            return f"{name} in {WEIGHTS} is {_by(shapes[name])}, and {CONFIGURATION} asks for {_by(shape)}"
        if "F" not in kinds[name]:
            return f"{name} in {WEIGHTS} is of kind {kinds[name]}, and has to be of floating-point numbers"
    extra = sorted(set(shapes) - set(_expected(config)) - _ADDED)
    if extra:
        return (
            f"{WEIGHTS} has the tensor {extra[0]!r}, which {config['architecture']} dictionaries do not "
            f"have: the architecture in {CONFIGURATION} is another one's, or the file is"
        )
    return None


def _expected(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors, from sae_lens's own class, without memory for them."""
    sae_class, config_class = get_sae_class(config["architecture"])
    sae: SAE[Any] = sae_class(config_class.from_dict({**config, "device": "meta"}))
    return {name: tuple(tensor.shape) for name, tensor in sae.state_dict().items()}


def _by(shape: tuple[int, ...]) -> str:
    return " by ".join(f"{size:,}" for size in shape) or "a single number"


def unreadable(error: BaseException, name: str = "a file of it") -> str:
    """What an exception of reading weights means, as a clause, without the exception's own words."""
    if isinstance(error, OSError) and error.strerror:
        return f"{name} cannot be read: {error.strerror}"
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]!r} is missing from its files"
    return f"{name} is cut off, damaged, or of another format"


@torch.no_grad()
def weights_fault(sae: SAE[Any]) -> str | None:
    """What is wrong with the numbers of a loaded dictionary: NaN and infinity, or a k that cannot be."""
    for name, tensor in sae.state_dict().items():
        # one pass over the memory, and no copy: a number that is none comes out of both
        low, high = torch.aminmax(tensor)
        if not bool(low.isfinite() and high.isfinite()):
            return f"{name} holds numbers that are not finite (NaN or infinity)"
    if sae.cfg.architecture() in _SELECTING:
        return k_fault(sae.cfg.k, int(sae.cfg.d_sae))
    return None
