"""One trial: the engine's tests run on a copy of the package that has a mistake in it."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from patch import Patch

ROOT = Path(__file__).parents[2]
# the quickest first: each run ends with its first failure
TESTS = (
    "pruning",
    *(
        f"attribution.{name}"
        for name in (
            *("metric", "question", "influence", "model", "planted", "dictionary", "screening"),
            *("trust", "gate", "neurons", "invariants", "properties", "integrated", "heads"),
            *(
                "explain",
                "ablation",
                "sinks",
                "methods",
                "contrast_prompt",
                "faithfulness",
                "reference",
            ),
            *("together", "experiments", "neighbours", "way", "replicate"),
            *("site_checks", "agreement", "finite"),
            "families",
        )
    ),
)
HEAVY = (
    "pytest",
    "hypothesis",
    "torch",
    "transformers",
    "transformer_lens",
    "sae_lens",
    "scipy.stats",
)
"""What takes seconds to import and is none of ours: trials start as copies of a process that has it."""


_PASSED_OVER = shutil.ignore_patterns("__pycache__")


def _lay(source: str, target: str) -> None:
    """Copy what may be patched, and only point at the rest, the bundled model's data among it."""
    if source.endswith(".py"):
        shutil.copyfile(source, target)
    else:
        Path(target).symlink_to(source)


class Broken(Exception):
    """A patch that does not fit the source, or tests that do not run."""


def noticed(patch: Patch | None) -> str | None:
    """The test that failed on the patched package, or on the package as it is; None if all passed.

    A process can do this once: it has then imported the package from a folder that is gone.
    """
    rounds = (
        [TESTS]
        if patch is None
        else [(patch.tests,), tuple(name for name in TESTS if name != patch.tests)]
    )
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "scd_tui"
        shutil.copytree(ROOT / "scd_tui", package, copy_function=_lay, ignore=_PASSED_OVER)
        if patch is not None:
            make(patch, package / f"{patch.module.replace('.', '/')}.py")
        for names in rounds:
            code, said = run_tests(names, Path(folder))
            if code != 0:
                break
    if code == 0:
        return None
    failures = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if code != 1 or not failures:
        raise Broken(f"{patch}: the tests did not run\n{said}")
    return failures[0].partition(" ")[2].partition(" - ")[0]


def make(patch: Patch, source: Path) -> None:
    """Write the mistake into a source file."""
    text = source.read_text(encoding="utf-8")
    if text.count(patch.old) != 1:
        raise Broken(
            f"{patch.name}: its place stands {text.count(patch.old)} times in {source.name}"
        )
    source.write_text(text.replace(patch.old, patch.new), encoding="utf-8")


def file_of(tests: str) -> Path:
    """`tests/attribution/test_cut.py` of `attribution.cut`."""
    *folders, name = tests.split(".")
    return Path("tests", *folders, f"test_{name}.py")


def run_tests(names: Sequence[str], folder: Path) -> tuple[int, str]:
    """pytest's exit code and output in this process, with the package that lies in `folder`."""
    import pytest

    os.chdir(ROOT)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    said = folder / "said"
    with said.open("w", encoding="utf-8") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        files = [str(file_of(name)) for name in names]
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files]))
        sys.stdout.flush()
    import scd_tui

    if not Path(scd_tui.__file__).is_relative_to(folder):
        raise Broken(f"the tests ran on {scd_tui.__file__}")
    return code, said.read_text(encoding="utf-8")
