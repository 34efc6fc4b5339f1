"""Does the suite notice each mistake of `patches.py`? Run with `python tests/mutants`.

Every patch is made in a copy of the package, on which the engine's tests then have to fail. A patch
that they pass, or that no longer fits the source, ends the run with exit status 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from patches import PATCHES, Patch

ROOT = Path(__file__).parents[2]
# the quickest first: each run ends with its first failure
TESTS = tuple(
    f"tests/attribution/test_{name}.py"
    for name in (
        *("dictionary", "gate", "trust", "metric", "ablation", "model", "invariants", "planted"),
        *("reference", "families"),
    )
)


def noticed(patch: Patch | None) -> str | None:
    """The test that failed on the patched package, or on the package as it is; None if all passed."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "scd_tui"
        shutil.copytree(
            ROOT / "scd_tui", package, ignore=shutil.ignore_patterns("data", "__pycache__")
        )
        if patch is not None:
            make(patch, package / "attribution" / f"{patch.module}.py")
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    if done.returncode == 0:
        return None
    failures = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 1 or not failures:
        raise SystemExit(f"{patch}: the tests did not run\n{done.stdout}{done.stderr}")
    return failures[0].partition(" ")[2].partition(" - ")[0]


def make(patch: Patch, source: Path) -> None:
    """Write the mistake into a source file."""
    text = source.read_text(encoding="utf-8")
    if text.count(patch.old) != 1:
        raise SystemExit(
            f"{patch.name}: its place stands {text.count(patch.old)} times in {source.name}"
        )
    source.write_text(text.replace(patch.old, patch.new), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests/mutants", description=__doc__)
    parser.add_argument("--only", default="", help="patches whose name contains this")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (%(default)s)")
    given = parser.parse_args(arguments)
    chosen = [patch for patch in PATCHES if given.only in patch.name]
    started, survivors = time.monotonic(), []
    with ThreadPoolExecutor(given.jobs) as pool:
        clean, *tests = pool.map(noticed, [None, *chosen])
        if clean is not None:
            raise SystemExit(f"{clean} fails without any patch")
        for patch, test in zip(chosen, tests, strict=True):
            sys.stdout.write(f"{'SURVIVED' if test is None else test} <- {patch.name}\n")
            if test is None:
                survivors.append(patch)
    seconds = time.monotonic() - started
    sys.stdout.write(
        f"{len(chosen) - len(survivors)} of {len(chosen)} noticed in {seconds:.0f} s\n"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
