"""Models with their dictionary sets, by name.

One text says which model and which dictionaries: `gpt2-small` (with its usual set), `gpt2-small:res-jb`,
`FILE.toml`, `FILE.toml:SET`, `FOLDER:FOLDER` (a model's and its dictionaries'), `gpt2-small:FOLDER`,
`FOLDER` (a model without dictionaries).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from scd_tui import demo
from scd_tui.catalog.folders import (
    begins_with_bos,
    local_dictionaries,
    local_model,
    site_of_hook,
)
from scd_tui.catalog.gate import read_gate
from scd_tui.catalog.spec import ModelSpec
from scd_tui.catalog.toml import ModelFile, read_model_file, spec_of
from scd_tui.config import DEFAULT_MODEL, config_path
from scd_tui.errors import InputError
from scd_tui.reading import expanded, name_of

__all__ = [
    "DEFAULT_MODEL",
    "Known",
    "ModelSpec",
    "everything",
    "find",
    "from_folders",
    "names",
    "site_of_hook",
]

_DEMO_SET = "topk"
_FEW = 6
"""Names in an error."""


@dataclass(frozen=True)
class Known:
    """A set of a model that can be asked for by name; `problem` says why it cannot be used."""

    reference: str
    about: str
    spec: ModelSpec | None
    problem: str = ""


def data_dir() -> Path:
    """Where the files of the built-in models lie, one a model, under its name."""
    return Path(__file__).parent / "data"


def user_dir() -> Path:
    """Where the user's own files are looked for. One of a built-in model's name takes its place."""
    return config_path().parent / "models"


def _files() -> dict[str, Path]:
    """The file of every model but the bundled one, by name."""
    return {
        path.stem: path for folder in (data_dir(), user_dir()) for path in folder.glob("*.toml")
    }


def names() -> tuple[str, ...]:
    """The models that can be asked for by name."""
    return (DEFAULT_MODEL, *sorted(_files()))


def find(reference: str, dictionaries: str | None = None) -> ModelSpec:
    """The model and the set of dictionaries that a text names (see this module's docstring).

    `dictionaries` names the set, or its folder, apart from it. Nothing is loaded or downloaded. Raises
    InputError, with the nearest names, when there is no such model or no such set.
    """
    if "\0" in reference + (dictionaries or ""):
        raise InputError("no model has a name with a NUL in it: see `scd-tui models`")
    name, wanted = _parted(reference)
    wanted = dictionaries or wanted
    found = _find(name, wanted)
    return replace(found, given=absolute(f"{name}:{wanted}" if wanted else name))


def _find(name: str, wanted: str | None) -> ModelSpec:
    if wanted and _is_folder(wanted):
        folder = expanded(wanted)
        if _is_model_folder(name):
            path = expanded(name)
            return from_folders(name_of(path), path, folder)
        return _with_folder(_named(name, None), folder)
    if not _is_model_folder(name):
        return _named(name, wanted)
    if wanted:
        raise InputError(
            f"{name} is a folder and has no sets of dictionaries: name a folder of them, with "
            "--dictionaries FOLDER"
        )
    path = expanded(name)
    return ModelSpec(name_of(path), local_model(path), "", {})


def absolute(reference: str) -> str:
    """The same text with its paths from the root on, so that it means the same in another folder."""
    name, wanted = _parted(reference)
    folder = wanted is not None and _is_folder(wanted)
    if name.endswith(".toml") or _is_model_folder(name):
        name = str(expanded(name).absolute())
    if wanted is None:
        return name
    return f"{name}:{expanded(wanted).absolute() if folder else wanted}"


def _parted(reference: str) -> tuple[str, str | None]:
    """What stands before and after the last colon, unless the whole is a path."""
    name, colon, wanted = reference.rpartition(":")
    if not colon or _there(reference):
        return reference, None
    return name, wanted or None


def _there(path: str) -> bool:
    """Whether there is such a file or folder; of what cannot be a path there is none."""
    try:
        return Path(path).exists()
    except OSError:  # longer than any name of a file
        return False


def _is_folder(text: str) -> bool:
    """Whether it means a folder, there or not, and no name."""
    if text.endswith(".toml"):
        return False
    return os.sep in text or text.startswith((".", "~")) or (_there(text) and Path(text).is_dir())


def _is_model_folder(text: str) -> bool:
    """Whether it means a model's folder: what is also a model's name means that model."""
    return _is_folder(text) and text not in names()


def _named(name: str, wanted: str | None) -> ModelSpec:
    if name.endswith(".toml"):
        return from_file(expanded(name), wanted)
    files = _files()
    if name in files:
        return from_file(files[name], wanted)
    if name != DEFAULT_MODEL:
        raise _unknown("model", name, names())
    if wanted not in (None, _DEMO_SET):
        raise _unknown("set of dictionaries", wanted, (_DEMO_SET,), f" of {name}")
    return _bundled()


def from_file(path: Path, wanted: str | None = None) -> ModelSpec:
    """The model in a TOML file. Raises InputError when it is none or has no such set."""
    found = read_model_file(path)
    chosen = found.pick(wanted)
    if chosen is None and not found.sets and wanted:
        raise InputError(
            f"{found.name or path.stem} has no sets of dictionaries: name a folder of them, with "
            "--dictionaries FOLDER"
        )
    if chosen is None and found.sets:
        of = f" of {found.name or path.stem}"
        raise _unknown("set of dictionaries", wanted, [s.name for s in found.sets], of)
    return spec_of(found, chosen, path)


def from_folders(name: str, model: Path, dictionaries: Path) -> ModelSpec:
    """A model folder and a folder of dictionaries. Raises InputError when either is not that."""
    spec = ModelSpec(name, local_model(model), dictionaries.name, {})
    return _with_folder(spec, dictionaries)


def _with_folder(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The same model with the dictionaries of a folder."""
    local = local_dictionaries(folder)
    return ModelSpec(
        name=spec.name,
        model=spec.model,
        dictionaries_name=name_of(folder),
        dictionaries=local.dictionaries,
        sources=local.sources,
        neuronpedia=local.neuronpedia,
        training_context=local.training_context,
        prepends_bos=begins_with_bos(local, folder),
    )


def everything(model: str | None = None) -> list[Known]:
    """Every set of every model that can be asked for by name; the usual set of each first. A model without
    sets is listed alone.

    With `model` those of one, which may be a TOML file. Raises InputError when there is no such model.
    """
    if model is not None and model.endswith(".toml"):
        path = expanded(model)
        return _sets_of(model, read_model_file(path), path)
    files = _files()
    if model is not None and model not in (*files, DEFAULT_MODEL):
        raise _unknown("model", model, names())
    found = []
    if model in (None, DEFAULT_MODEL):
        found.append(Known(f"{DEFAULT_MODEL}:{_DEMO_SET}", "bundled, to try it on", _bundled()))
    for name, path in sorted(files.items()):
        if model not in (None, name):
            continue
        try:
            file = read_model_file(path)
        except InputError as error:
            found.append(Known(name, "", None, str(error)))
        else:
            found += _sets_of(name, file, path)
    return found


def _sets_of(name: str, file: ModelFile, path: Path) -> list[Known]:
    if not file.sets:
        try:
            return [Known(name, "", spec_of(file, None, path))]
        except InputError as error:
            return [Known(name, "", None, str(error))]
    found = []
    usual = file.pick(None)
    for one in sorted(file.sets, key=lambda s: s is not usual):
        reference = f"{name}:{one.name}"
        try:
            found.append(Known(reference, one.about, spec_of(file, one, path)))
        except InputError as error:
            found.append(Known(reference, one.about, None, str(error)))
    return found


def _unknown(what: str, name: str | None, known: Sequence[str], of: str = "") -> InputError:
    wanted = str(name).lower()
    beginning = [one for one in known if one.startswith(wanted)]
    near = beginning[:_FEW] or get_close_matches(wanted, known, n=3)
    if not near and len(known) > _FEW:
        return InputError(f"there is no {what} {name!r}{of}: scd-tui models lists what there is")
    return InputError(f"there is no {what} {name!r}{of}: use {' or '.join(near or known)}")


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
