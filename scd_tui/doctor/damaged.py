"""Files of ours that cannot be read, where they lie and where they were moved to."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scd_tui.aside import kept_aside
from scd_tui.decoding import Undecodable
from scd_tui.doctor.findings import Finding
from scd_tui.numbers import counted
from scd_tui.text import visible

SECONDS = 5.0
"""For reading files: a large history is not read to its end."""
NAMED = 20
"""Files that get a line each."""
FaultOf = Callable[[Path], str]


def damaged(seconds: float = SECONDS) -> Iterator[Finding]:
    """A finding for each file that cannot be read, and one for those that were moved aside."""
    end = time.monotonic() + seconds
    named = 0
    for name, folder, suffix, fault_of in _places():
        for path in _files(folder, suffix):
            if time.monotonic() > end or named >= NAMED:
                break
            if fault := fault_of(path):
                named += 1
                yield Finding(
                    name=name,
                    state="warn",
                    says=f"{visible(str(path))} cannot be read: {visible(fault)}",
                    todo="move it away; the app passes it over",
                    facts={"path": str(path)},
                )
    if aside := kept_aside():
        paths = ", ".join(visible(str(path)) for path in aside[:NAMED])
        yield Finding(
            name="kept aside",
            state="warn",
            says=f"{counted(len(aside), 'damaged file')}: {paths}",
            todo="mend and move back what is needed, and delete the rest",
            facts={"paths": tuple(map(str, aside))},
        )


def _places() -> Iterator[tuple[str, Path, str, FaultOf]]:
    """What files are, their folder, how their names end, and what finds a fault in one."""
    from scd_tui import history, whereabouts
    from scd_tui.catalog.model_checks import checks_dir, read_check
    from scd_tui.catalog.verdicts import read_verdicts, verdicts_dir
    from scd_tui.config import cache_path, state_path
    from scd_tui.neuronpedia import store
    from scd_tui.neuronpedia.start import cache_folder

    state = state_path()
    yield "past circuit", state / "circuits", ".jsonl", history.fault_of
    caches = cache_path()
    yield "explanations", cache_folder(caches) / "looked-up", ".db", store.fault_of
    yield "explanations", cache_folder(caches) / "ahead", ".db", store.fault_of
    yield "feature records", caches / "contexts", ".db", store.fault_of
    yield "note on a model", state / "models", ".json", whereabouts.fault_of
    yield "dictionary check", verdicts_dir(), ".json", _fault_in(read_verdicts)
    yield "model check", checks_dir(), ".json", _fault_in(read_check)


def _fault_in(read: Callable[[Path], object]) -> FaultOf:
    def fault_of(path: Path) -> str:
        try:
            read(path)
        except OSError as error:
            return error.strerror or "the disk refuses it"
        except Undecodable as error:
            return str(error)
        return ""

    return fault_of


def _files(folder: Path, suffix: str) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.suffix == suffix and path.name[0] != "."
        )
    except OSError:
        return []
