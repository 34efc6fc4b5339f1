"""Imports go one way, and the heavy libraries stay out of everything but the mathematics."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import scd_tui

ROOT = Path(scd_tui.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
RANKS = {
    "": 0,
    "graph": 0,
    "curves": 0,
    "judge": 0,
    "timings": 0,
    "pruning": 0,
    "grouped": 0,
    "replication": 0,
    "text": 0,
    "numbers": 0,
    "errors": 0,
    "saying": 0,
    "streams": 0,
    "console": 0,
    "leaving": 0,
    "files": 0,
    "config": 0,
    "history": 0,
    "comparison": 0,
    "wording": 0,
    **dict.fromkeys(["demo", "catalog", "neuronpedia", "export"], 1),
    "attribution": 2,
    "bench": 3,
    "worker": 3,
    "tui": 4,
    "doctor": 5,
    "commands": 6,
    "cli": 7,
    "__main__": 8,
}
HEAVY = {"torch", "transformers", "transformer_lens", "sae_lens", "numpy", "tokenizers"}
MAY_BE_HEAVY = (
    *("attribution", "bench", "catalog.build", "commands", "demo"),
    *("worker.answers", "worker.server", "doctor.probe"),
)
"""`worker.server` and `commands` import them inside functions, when they are needed."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Absolute names of all that a module imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(imported: str) -> str | None:
    """`a.b` of `scd_tui.a.b.Name`, None for other packages."""
    if imported != "scd_tui" and not imported.startswith("scd_tui."):
        return None
    return imported.removeprefix("scd_tui").lstrip(".")


def package(name: str) -> str:
    top = name.split(".")[0]
    return top if top in RANKS else ""


def test_every_module_imports_only_from_below() -> None:
    wrong = []
    for path in MODULES:
        name = name_of(path)
        for imported in imports_of(path):
            target = ours(imported)
            if target is None:
                continue
            here, there = package(name), package(target)
            if here != there and RANKS[there] >= max(RANKS[here], 1) and there != "":
                if (here, there) == ("catalog", "demo"):
                    continue  # where the bundled model lies
                wrong.append(f"{name} imports {imported}")
    assert not wrong


def test_nothing_imports_the_modules_that_build_what_ships() -> None:
    for path in MODULES:
        for imported in imports_of(path):
            assert ours(imported) != "catalog.build", f"{path} imports {imported}"
        if package(name_of(path)) != "demo":
            for imported in imports_of(path):
                target = ours(imported) or ""
                assert not target.startswith("demo."), f"{path} imports {imported}"


def test_the_heavy_libraries_are_imported_by_the_mathematics_alone() -> None:
    for path in MODULES:
        name = name_of(path)
        if not name.startswith(MAY_BE_HEAVY):
            heavy = {i for i in imports_of(path) if i.split(".")[0] in HEAVY}
            assert not heavy, f"{name} imports {heavy}"


def test_the_app_s_side_of_the_worker_does_not_reach_its_other_side() -> None:
    for path in MODULES:
        name = name_of(path)
        if package(name) == "tui" or name in ("worker.client", "worker.protocol"):
            reached = {ours(i) or "" for i in imports_of(path)}
            assert not any(
                r.startswith(("attribution", "worker.answers", "worker.server")) for r in reached
            ), name


def test_importing_any_package_does_no_work() -> None:
    """Nothing heavy, nothing printed, no thread started."""
    code = (
        "import sys, threading, scd_tui.cli, scd_tui.graph, scd_tui.judge, scd_tui.catalog.models, "
        "scd_tui.catalog.prompts, scd_tui.worker.client, scd_tui.neuronpedia.bundled\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert threading.active_count() == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
