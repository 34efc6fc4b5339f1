"""What a run takes of memory, beside what the plan said: `plan_memory.py FOLDER [SHAPE] [--stream]`.

A model and dictionaries of random weights are written into FOLDER by a process of their own, unless they
are there. They are loaded and a prompt is attributed, as by `scd-tui attribute`. Prints bytes as JSON, of
which the libraries' own are left out: they differ from one build of torch to the next.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from scd_tui.bench.memory import anonymous_bytes, watched
from scd_tui.bench.sizes import SHAPES, Shape

MIDDLE = Shape("middle-shape", 4, 256, 4, 512, 256, 32_768, 32)
"""Large enough for its weights to outweigh what Python does besides."""


def write(folder: Path, shape: Shape) -> None:
    import torch
    from sae_lens.saes import TopKSAE

    from scd_tui.bench.shapes import random_sae, sites_of, write_random_model

    cpu = torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    for site in sites_of(shape):
        sae: TopKSAE = random_sae(shape, cpu, generator)
        sae.W_enc.data = sae.W_enc.data.contiguous()
        sae.save_model(folder / "dictionaries" / f"blocks.{site.layer}.hook_{site.kind}")
    write_random_model(shape, folder / "model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("shape", nargs="?", default=MIDDLE.name)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shape = {MIDDLE.name: MIDDLE, **SHAPES}[arguments.shape]
    folder: Path = arguments.folder
    if arguments.write:
        write(folder, shape)
        import torch

        from scd_tui.attribution.load import load
        from scd_tui.catalog.models import find

        # the first load checks the model beside a second copy: what is measured is any later one
        load(find(str(folder / "model"), str(folder / "dictionaries")), torch.device("cpu"))
        return
    if not (folder / "model").exists():
        words = [sys.executable, __file__, str(folder), shape.name, "--write"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    import torch

    torch.set_num_threads(1)

    from scd_tui.attribution.explain import explain
    from scd_tui.attribution.load import load
    from scd_tui.catalog.models import find
    from scd_tui.catalog.plan import LIBRARIES, Machine, plans
    from scd_tui.catalog.sizes import needs_of

    spec = find(str(folder / "model"), str(folder / "dictionaries"))
    need = needs_of(spec, arguments.tokens)
    assert need is not None
    kind = "streamed" if arguments.stream else "resident"
    plan = next(p for p in plans(need, Machine(1 << 50), "cpu").plans if p.kind == kind)
    before = anonymous_bytes() or 0

    def run() -> object:
        loaded = load(spec, torch.device("cpu"), stream=arguments.stream)
        # a byte is a token here
        return explain(
            loaded, ("so it goes on " * arguments.tokens)[: arguments.tokens], target=None
        )

    _, memory = watched(run, torch.device("cpu"))
    found = {
        "shape": shape.name,
        "plan": plan.words,
        "planned": plan.ram_bytes - LIBRARIES,
        "taken": (memory.peak or 0) - before,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
