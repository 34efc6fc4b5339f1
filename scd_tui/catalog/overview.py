"""What there is to choose from, with what it takes and how it would run here."""

from pathlib import Path

from huggingface_hub.file_download import repo_folder_name

from scd_tui.catalog.cached import cache_dir, kept
from scd_tui.catalog.choice import Choice, State
from scd_tui.catalog.models import Known, everything
from scd_tui.catalog.plan import Machine, Planned, plans
from scd_tui.catalog.sizes import dictionary_bytes, needs_of
from scd_tui.catalog.spec import HubDictionary, HubModel, ModelSpec, PackagedModel
from scd_tui.errors import InputError


def overview(machine: Machine, device: str = "auto", model: str | None = None) -> list[Choice]:
    """Every set that can be asked for by name, or those of one model.

    Raises InputError when there is no model of that name.
    """
    return [choice(known, machine, device) for known in everything(model)]


def choice(known: Known, machine: Machine, device: str = "auto") -> Choice:
    """One set, looked up in the cache and planned for; never raises for what is wrong with its files."""
    spec = known.spec
    if spec is None:
        return Choice(reference=known.reference, state="broken", why=known.problem)
    try:
        state, size = _state(known.reference, spec)
        need = needs_of(spec)
    except InputError as error:
        return Choice(reference=known.reference, about=known.about, state="broken", why=str(error))
    planned = None if need is None else plans(need, machine, device)
    sites: dict[str, int] = {}
    for site in spec.dictionaries:
        sites[site.kind] = sites.get(site.kind, 0) + 1
    hub = spec.model if isinstance(spec.model, HubModel) else None
    package = spec.model if isinstance(spec.model, PackagedModel) else None
    return Choice(
        reference=known.reference,
        about=known.about,
        state=state,
        sites=sites,
        size=size,
        memory=None if planned is None else _memory(planned),
        fits=None if planned is None else planned.best is not None,
        runs=_runs(planned),
        why="its size is known when it is downloaded" if planned is None else planned.why,
        repositories=_repositories(spec),
        package="" if package is None else package.requirement,
        gated=hub is not None and hub.gated,
        licence=spec.licence,
        model_licence=None if isinstance(spec.model, Path) else spec.model.licence,
        labels=bool(spec.sources) and spec.neuronpedia is not None,
        training_context=spec.training_context,
        prepends_bos=spec.prepends_bos,
    )


def _runs(planned: Planned | None) -> str:
    if planned is None:
        return "not known yet"
    return "does not fit" if planned.best is None else planned.best.words


def _memory(planned: Planned) -> int | None:
    return planned.least if planned.best is None else planned.best.amount


def _repositories(spec: ModelSpec) -> tuple[str, ...]:
    """Each once, the model's first."""
    sources = (spec.model, *spec.dictionaries.values())
    hub = (HubModel, HubDictionary)
    return tuple(dict.fromkeys(s.repo for s in sources if isinstance(s, hub)))


def _state(reference: str, spec: ModelSpec) -> tuple[State, int | None]:
    """What of it is here, and the size of its files."""
    if not spec.remote:
        folders = [spec.model, *spec.dictionaries.values()]
        size = sum(_folder_bytes(folder) for folder in folders if isinstance(folder, Path))
        return ("bundled" if reference.startswith("demo:") else "local"), size
    packaged = isinstance(spec.model, PackagedModel)
    if not packaged and not any(_has_folder(repo) for repo in _repositories(spec)):
        return "absent", _size_at_most(spec)
    here, missing = kept(spec)
    if missing:
        return ("partly" if here.files else "absent"), _size_at_most(spec)
    return "downloaded", sum(path.stat().st_size for path in here.files.values())


def _has_folder(repo: str) -> bool:
    return (cache_dir() / repo_folder_name(repo_id=repo, repo_type="model")).is_dir()


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _size_at_most(spec: ModelSpec) -> int | None:
    """Of model and dictionaries, in float32 where it is not known to be less."""
    of_dictionaries = dictionary_bytes(
        [s for s in spec.dictionaries.values() if isinstance(s, HubDictionary)]
    )
    if of_dictionaries is None or isinstance(spec.model, Path):
        return of_dictionaries
    if spec.model.shape is None:
        return None
    return of_dictionaries + 4 * spec.model.shape.parameters
