"""How large a model and its dictionaries are, from what the catalogue has and from files that are here.

Nothing is loaded: of files of weights only the headers are read.
"""

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


def _header(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors. Raises InputError when it is none."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _LARGEST_HEADER:
                raise ValueError("its header has no size")
            header = decode_any_json(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                sizes = tensor["shape"]
                if not all(isinstance(n, int) and n >= 0 for n in sizes):
                    raise ValueError("a tensor has no shape")
                str(tensor["dtype"])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no safetensors file: {error}") from None
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
