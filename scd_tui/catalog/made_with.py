"""The model that a saved circuit was made with, found again on this machine."""

from scd_tui.catalog.models import find
from scd_tui.catalog.spec import ModelSpec
from scd_tui.errors import InputError, RunError
from scd_tui.graph import ModelIdentity
from scd_tui.history import Entry
from scd_tui.whereabouts import references
from scd_tui.wording import without_dictionaries


def model_of(made_with: ModelIdentity, reference: str = "") -> ModelSpec:
    """The model of this identity, by its name, where it was loaded before, or by `reference` alone.

    Raises InputError, with the places that were searched, where there is none, and where one is of
    another revision than the circuit's; RunError where it is not downloaded.
    """
    from scd_tui.catalog.cached import require, revisions

    wanted = (reference,) if reference else references(made_with)
    past = (made_with.revision, made_with.dictionaries_revision)
    other: InputError | None = None
    absent: InputError | None = None
    for name in wanted:
        try:
            spec = find(name)
            if not spec.dictionaries:
                raise InputError(without_dictionaries(spec.name))
            present = revisions(spec, require(spec))
        except InputError as error:  # also where it is not downloaded
            absent = absent if isinstance(absent, RunError) else error
            continue
        if present == past:
            return spec
        other = other or _another_revision(spec, past, present)
    if other is not None:
        raise other
    if absent is not None and (reference or (isinstance(absent, RunError) and len(wanted) == 1)):
        raise type(absent)(f"the circuit cannot be computed again: {absent}")
    raise InputError(_not_found(made_with, wanted))


def reference_of(made_with: ModelIdentity, entries: list[Entry] | None = None) -> str:
    """Where a circuit's model is to be loaded from, as `find` takes it; "" if its name alone says it.

    Of the references where there is a model the surest. Where there is none, the last known path: the
    failure to load it then names it. Revisions are not compared: that reads all of the model's files.
    `entries` are of the history, read if not given.
    """
    known = references(made_with, entries)
    for reference in known:
        try:
            find(reference)
        except InputError:
            continue
        return "" if reference == made_with.reference else reference
    return next((one for one in known if one != made_with.reference), "")


def _another_revision(
    spec: ModelSpec, past: tuple[str, str], present: tuple[str, str]
) -> InputError:
    pairs = zip(("model", "dictionaries"), past, present, strict=True)
    what, then, now = next(pair for pair in pairs if pair[1] != pair[2])
    return InputError(
        f"the circuit was made with revision {then!r} of the {what} of {spec.name}, and "
        f"{now!r} is here: attribute its prompt again, or name the right one with --model"
    )


def _not_found(made_with: ModelIdentity, wanted: tuple[str, ...]) -> str:
    """One sentence: what is missing, where it was looked for, and how to name it."""
    paths = [name for name in wanted if name != made_with.reference]
    where = f" and at {', '.join(paths)}, where it was loaded before" if paths else ""
    having = f" with the dictionaries {made_with.dictionaries}" if made_with.dictionaries else ""
    return (
        f"the circuit's model, {made_with.name}{having}, is not "
        f"found: looked for among the names of `scd-tui models`{where}; say where it is with --model "
        "FILE.toml, or with --model FOLDER --dictionaries FOLDER"
    )
