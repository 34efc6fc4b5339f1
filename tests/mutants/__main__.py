"""Does the suite notice each mistake of `patches`? Run with `python tests/mutants`.

Every patch is made in a copy of the package, on which the engine's tests then have to fail. A patch
that they pass, or that no longer fits the source, ends the run with exit status 1.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence

from patches import PATCHES
from trial import HEAVY, Broken, noticed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests/mutants", description=__doc__)
    parser.add_argument("--only", default="", help="patches whose name or module contains this")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (%(default)s)")
    given = parser.parse_args(arguments)
    chosen = [patch for patch in PATCHES if given.only in patch.name or given.only == patch.module]
    started, survivors = time.monotonic(), 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(HEAVY))
    # a process a trial: each imports a package of its own
    with context.Pool(given.jobs, maxtasksperchild=1) as pool:
        found = pool.imap(noticed, [None, *chosen])
        try:
            if (failed := next(found)) is not None:
                raise SystemExit(f"{failed} fails without any patch")
            for patch in chosen:
                test = next(found)
                sys.stdout.write(f"{test or 'SURVIVED'} <- {patch.name}\n")
                sys.stdout.flush()
                survivors += test is None
        except Broken as error:
            raise SystemExit(str(error)) from None
    seconds = time.monotonic() - started
    sys.stdout.write(f"{len(chosen) - survivors} of {len(chosen)} noticed in {seconds:.0f} s\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
