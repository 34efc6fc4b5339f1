"""Models with their dictionary sets, by name."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from scd_tui import demo
from scd_tui.catalog.folders import local_dictionaries, local_model, site_of_hook
from scd_tui.catalog.gate import read_gate
from scd_tui.catalog.spec import ModelSpec
from scd_tui.catalog.toml import read_model_file, spec_of
from scd_tui.errors import InputError

__all__ = ["DEFAULT_MODEL", "ModelSpec", "find", "from_folders", "names", "site_of_hook"]

DEFAULT_MODEL = "demo"
_DEMO_SET = "topk"


def data_dir() -> Path:
    """Where the files of the built-in models lie, one a model, under its name."""
    return Path(__file__).parent / "data"


def names() -> tuple[str, ...]:
    """The models that can be asked for by name."""
    return (DEFAULT_MODEL, *sorted(path.stem for path in data_dir().glob("*.toml")))


def find(name: str, dictionaries: str | None = None) -> ModelSpec:
    """The model of this name, or in this TOML file, with a set of dictionaries or its usual one.

    Raises InputError, naming the nearest, when there is no such model or no such set.
    """
    if name == DEFAULT_MODEL:
        if dictionaries not in (None, _DEMO_SET):
            raise _unknown("set of dictionaries", dictionaries, (_DEMO_SET,), f" of {name}")
        return _bundled()
    if name.endswith(".toml"):
        return from_file(Path(name), dictionaries)
    if name not in names():
        raise _unknown("model", name, names())
    return from_file(data_dir() / f"{name}.toml", dictionaries)


def from_file(path: Path, dictionaries: str | None = None) -> ModelSpec:
    """The model in a TOML file. Raises InputError when it is none or has no such set."""
    found = read_model_file(path)
    chosen = found.pick(dictionaries)
    if chosen is None:
        of = f" of {found.name or path.stem}"
        raise _unknown("set of dictionaries", dictionaries, [s.name for s in found.sets], of)
    return spec_of(found, chosen, path)


def from_folders(name: str, model: Path, dictionaries: Path) -> ModelSpec:
    """A model folder and a folder of dictionaries. Raises InputError when either is not that."""
    local_model(model)
    local = local_dictionaries(dictionaries)
    return ModelSpec(
        name=name,
        model=model,
        dictionaries_name=dictionaries.name,
        dictionaries=dict(local.dictionaries),
        sources=local.sources,
        neuronpedia=local.neuronpedia,
    )


def _unknown(what: str, name: str | None, known: Sequence[str], of: str = "") -> InputError:
    near = get_close_matches(str(name), known, n=3) or known
    return InputError(f"there is no {what} {name!r}{of}: use {' or '.join(near)}")


def _bundled() -> ModelSpec:
    spec = from_folders(DEFAULT_MODEL, demo.model_dir(), demo.dictionaries_dir())
    sites = {path.name: site for site, path in spec.dictionaries.items() if isinstance(path, Path)}
    return replace(
        spec,
        dictionaries_name=_DEMO_SET,
        neuronpedia=None,  # its ids are in the form of Neuronpedia's, but nobody uploaded it
        features=demo.features_dir(),
        gate=read_gate(demo.gate_path(), sites),
    )
