"""How large a model and its dictionaries are, from what the catalogue has and from files that are here.

Nothing is loaded: of files of weights only the headers are read.
"""

import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from scd_tui.catalog.cached import cached_file, model_folder
from scd_tui.catalog.folders import read_json
from scd_tui.catalog.hub_files import HubFile
from scd_tui.catalog.passes import ACTIVE, DictionarySize
from scd_tui.catalog.plan import TOKENS, Needs, needs
from scd_tui.catalog.spec import HubDictionary, ModelSpec, Shape
from scd_tui.decoding import decode_any_json
from scd_tui.errors import InputError
from scd_tui.numbers import in_bytes
from scd_tui.reading import open_regular

_LARGEST_HEADER = 100 << 20
"""Bytes; safetensors itself refuses larger ones."""
_KEYS = {
    # of transformers' configurations, by family
    "layers": ("num_hidden_layers", "n_layer"),
    "width": ("hidden_size", "n_embd"),
    "heads": ("num_attention_heads", "n_head"),
    "mlp": ("intermediate_size", "n_inner"),
    "vocabulary": ("vocab_size",),
}
_POSITIONS = ("n_positions", "n_ctx", "max_position_embeddings")
_ALL_SIZES = (
    *(name for names in _KEYS.values() for name in names),
    *(*_POSITIONS, "head_dim", "num_key_value_heads", "word_embed_proj_dim"),
    *("num_local_experts", "num_experts", "n_routed_experts"),
)
"""What a library makes room for."""
_READ_WHOLE = (".json", ".txt", ".model", ".jinja", ".safetensors")
"""The ends of names of files that are read into memory, or mapped."""
_LARGEST_FILE = 256 << 20
"""Bytes of one that is no file of weights; vocabularies have up to 40 million."""
_LONGEST_CONTEXT = 1 << 24
"""Positions; where they are rotated, no weights belong to them."""


def needs_of(spec: ModelSpec, tokens: int = TOKENS) -> Needs | None:
    """What a run of a spec takes; None where its sizes are not known before it is downloaded.

    Raises InputError on files that are here and cannot be read.
    """
    folder = model_folder(spec)
    shape = None if isinstance(spec.model, Path) else spec.model.shape
    if shape is None and folder is not None:
        shape = shape_in(folder)
    sizes = [_size(source) for source in spec.dictionaries.values()]
    known = [size for size in sizes if size is not None]
    if shape is None or len(known) < len(sizes):
        return None
    mapped = folder is not None and stored_dtypes(folder) == {"F32"}
    return needs(shape, tuple(known), model_mapped=mapped, tokens=tokens)


def dictionary_bytes(dictionaries: Iterable[HubDictionary]) -> int | None:
    """Bytes of their files, at most; None where a size is not known.

    Numbers of an unknown kind are counted as float32, which is the most that they are.
    """
    total = 0
    for one in dictionaries:
        if one.d_in is None or one.width is None:
            return None
        each = 2 if one.dtype == "bfloat16" else 4
        total += each * (2 * one.d_in * one.width + one.d_in + 2 * one.width)
    return total


def shape_in(folder: Path) -> Shape | None:
    """The sizes of a model in a folder; None if its files do not say.

    Raises InputError on a `config.json` that cannot be read.
    """
    config = read_json(folder / "config.json")
    text = config.get("text_config")
    config = {**config, **(text if isinstance(text, dict) else {})}
    found = {name: _first(config, keys) for name, keys in _KEYS.items()}
    parameters = parameters_in(folder)
    if parameters is None or any(found[k] is None for k in ("layers", "width", "heads")):
        return None
    numbers = {name: value or 0 for name, value in found.items()}
    width, heads = numbers["width"], max(1, numbers["heads"])
    return Shape(
        **{**numbers, "mlp": numbers["mlp"] or 4 * width},
        head_width=_first(config, ("head_dim",)) or width // heads,
        parameters=parameters,
    )


def files_fault(folder: Path) -> str | None:
    """What is wrong with the files beside a model's weights, in a sentence; None if nothing is.

    Libraries read all of them into memory, and wait for ever for what a pipe never says.
    """
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix not in _READ_WHOLE:
                continue
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                return f"{path} is no file: put the model's own there"
            if found.st_size > _LARGEST_FILE and path.suffix != ".safetensors":
                return f"{path} is damaged: it is {in_bytes(found.st_size)} large"
    except OSError as error:
        return f"{error.filename or folder} cannot be read: {error.strerror or error}"
    return None


def size_fault(folder: Path) -> str | None:
    """What is wrong with the sizes that a model's `config.json` gives, in a sentence; None if nothing is.

    Libraries make room for what is said there before they look for its weights. Nothing can be larger
    than all weights together, and every layer has weights. Raises InputError on files that cannot be read.
    """
    config = read_json(folder / "config.json")
    text = config.get("text_config")
    headers = [_header(path) for path in sorted(folder.glob("*.safetensors"))]
    tensors = sum(len(header) for header in headers)
    total = parameters_in(folder)
    if total is None:
        return None
    for part in (config, text if isinstance(text, dict) else {}):
        for name in _ALL_SIZES:
            value = part.get(name)
            if not isinstance(value, int):
                continue
            bound, what = total, f"{total:,} numbers altogether"
            if name in _POSITIONS:
                bound = max(bound, _LONGEST_CONTEXT)
            elif name in _KEYS["layers"]:
                bound, what = tensors, f"{tensors:,} tensors"
            if value > bound:
                said = f"{value:,}" if value < 1 << 64 else f"a number of {len(str(value))} digits"
                return (
                    f"{folder / 'config.json'} is damaged: {name} is {said}, and the model's files have "
                    f"{what}"
                )
    return None


def _first(config: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and value > 0:
            return value
    return None


def parameters_in(folder: Path) -> int | None:
    """Numbers in a folder's safetensors files; None if there are none of them."""
    headers = [_header(path) for path in sorted(folder.glob("*.safetensors"))]
    total = 0
    for header in headers:
        for name, tensor in header.items():
            if name != "__metadata__":
                count = 1
                for size in tensor["shape"]:
                    count *= size
                total += count
    return total or None


def stored_dtypes(folder: Path) -> set[str]:
    """The kinds of numbers in a folder's safetensors files, as `F32`."""
    return {
        tensor["dtype"]
        for path in folder.glob("*.safetensors")
        for name, tensor in _header(path).items()
        if name != "__metadata__"
    }


class _Header(ValueError):
    """What is wrong with a header, in words."""


def _header(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors. Raises InputError when it is none."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _LARGEST_HEADER:
                raise _Header("its header has no size")
            header = decode_any_json(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                sizes = tensor["shape"]
                if not all(isinstance(n, int) and n >= 0 for n in sizes):
                    raise _Header("a tensor has no shape")
                str(tensor["dtype"])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        why = (
            error if isinstance(error, _Header) else "it is cut off, damaged, or of another format"
        )
        raise InputError(f"{path} is no safetensors file: {why}") from None
    return dict(header)


def _size(source: Path | HubDictionary) -> DictionarySize | None:
    if isinstance(source, Path):
        return _size_in(source / "cfg.json")
    if source.layout == "sae_lens":
        name = f"{source.path}/cfg.json"
        here = cached_file(HubFile(source.repo, name, source.revision))
        found = None if here is None else _size_in(here)
        if found is not None:
            return replace(found, mapped=found.mapped and not _folded(source), copied=True)
    if source.d_in is None or source.width is None:
        return None
    active = source.k or round(source.published.l0 or 0) or ACTIVE
    mapped = source.layout == "sae_lens" and source.dtype == "float32" and not _folded(source)
    return DictionarySize(source.d_in, source.width, active, mapped, copied=True)


def _folded(source: HubDictionary) -> bool:
    """Whether a scale is multiplied into the weights as they are loaded."""
    return source.normalisation == "expected_average_only_in"


def _size_in(path: Path) -> DictionarySize | None:
    """Of a sae_lens dictionary, by its configuration."""
    config = read_json(path)
    d_in, width = _first(config, ("d_in",)), _first(config, ("d_sae",))
    if d_in is None or width is None:
        return None
    arguments = config.get("activation_fn_kwargs")
    k = _first(config, ("k",)) or _first(arguments if isinstance(arguments, dict) else {}, ("k",))
    mapped = str(config.get("dtype")).removeprefix("torch.") == "float32"
    return DictionarySize(d_in, width, k or ACTIVE, mapped)
