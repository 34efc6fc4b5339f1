"""GPT-2 small at its size, with 36 dictionaries of 32,768 features, from files laid out as they are
downloaded: is what loading, the gate and a circuit take what the plan says?

    python tests/benchmarks/full_size.py [--folder DIR] [--streamed] [--tokens N] [--sites N]

Weights are random. The 36 files are one file under as many names, since what is in them does not matter
here; so they take 0.7 GB on the disk and not 7.8, and are read from memory after the first. Everything is
made below DIR (a temporary folder by default) and removed. Exit code 1 where an estimate is missed by more
than a tenth.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
TOLERANCE = 0.1
COMMIT = "0" * 40
NEEDED = 2 << 30
"""Bytes on the disk, with room."""


# --- making -------------------------------------------------------------------------------


def keep(home: Path, repo: str, files: Mapping[str, Path]) -> None:
    """Put files where huggingface_hub keeps those of a repository, at some commit that is its newest."""
    folder = home / "hub" / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for name, path in files.items():
        place = folder / "snapshots" / COMMIT / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(path)


def make_model(folder: Path) -> None:
    """A random GPT-2 small, with a tokenizer of little more than single bytes."""
    from tiny import write_tokenizer
    from transformers import GPT2Config, GPT2LMHeadModel

    folder.mkdir()
    write_tokenizer(folder)
    config = GPT2Config(bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)


def make_dictionary(path: Path, width: int, features: int) -> None:
    """Random unit decoder rows, and the encoder tied to them."""
    import torch
    from safetensors.torch import save_file

    decoder = torch.randn(features, width, generator=torch.Generator().manual_seed(0))
    decoder /= decoder.norm(dim=-1, keepdim=True)
    tensors = {
        "W_enc": decoder.T.contiguous(),
        "b_enc": torch.zeros(features),
        "W_dec": decoder,
        "b_dec": torch.zeros(width),
    }
    save_file(tensors, path)


def make(home: Path) -> None:
    """Everything of the catalogue's `gpt2-small`, as if it had been downloaded."""
    from hub_repos import Entry, v5_config

    from scd_tui.catalog.hub_files import dictionary_files
    from scd_tui.catalog.models import find
    from scd_tui.catalog.spec import HubDictionary

    made = home / "made"
    made.mkdir()
    make_model(made / "gpt2")
    make_dictionary(made / "weights", 768, 32_768)
    keep(home, "gpt2", {p.name: p for p in (made / "gpt2").iterdir()})
    by_repo: dict[str, dict[str, Path]] = {}
    for site, source in find("gpt2-small").dictionaries.items():
        assert isinstance(source, HubDictionary)
        known = (source.release, source.id, source.repo, source.path, source.layout, source.hook)
        config = made / f"{site}.json"
        config.write_text(json.dumps(v5_config(Entry(*known), 768, 32_768, 32)))
        by_repo.setdefault(source.repo, {}).update(
            {
                file.name: config if file.name.endswith(".json") else made / "weights"
                for file in dictionary_files(source)
            }
        )
    for repo, files in by_repo.items():
        keep(home, repo, files)


# --- measuring ----------------------------------------------------------------------------


def measure(tokens: int, sites: int, streamed: bool) -> dict[str, Any]:
    """In a process of its own: what each step takes, and what the plan said, in bytes and seconds."""
    import torch

    from scd_tui.attribution.explain import explain
    from scd_tui.attribution.gate import measure as gate
    from scd_tui.attribution.load import load
    from scd_tui.attribution.windows import Windows, token_windows
    from scd_tui.bench.memory import watched
    from scd_tui.catalog.machine import this_machine
    from scd_tui.catalog.models import find
    from scd_tui.catalog.plan import plans
    from scd_tui.catalog.sizes import needs_of
    from scd_tui.catalog.texts import bundled_text

    cpu = torch.device("cpu")
    spec = find("gpt2-small")
    need = needs_of(spec)
    assert need is not None
    planned = plans(need, this_machine(), "cpu")
    wanted = "streamed" if streamed else "resident"
    plan = next((p for p in planned.plans if p.kind == wanted), None)
    if plan is None:
        raise SystemExit(f"not {wanted}: {planned.why}")

    steps: dict[str, dict[str, float]] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result, memory = watched(work, cpu)
        seconds = time.perf_counter() - began
        steps[name] = {"seconds": seconds, "peak": memory.peak or 0, "mapped": mapped_bytes()}
        return result

    loaded = step("load", lambda: load(spec, cpu, stream=streamed))
    windows = Windows(token_windows(loaded.model, bundled_text().text, tokens))
    step("gate", lambda: list(islice(gate(loaded.model, loaded.dictionaries, windows), sites)))
    words = bundled_text().text
    length = next(n for n in range(1, 999) if len(loaded.model.tokenize(words[:n])) == need.tokens)
    circuit = step("attribute", lambda: explain(loaded, words[:length])).circuit
    assert len(circuit.tokens) == need.tokens and circuit.edges
    return {
        "plan": wanted,
        "estimate": plan.ram_bytes,
        "mapped estimate": plan.file_bytes,
        "steps": steps,
        "load average": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
    }


def mapped_bytes() -> int:
    """What this process has in memory of files."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(1024 * int(x.split()[1]) for x in lines if x.startswith("RssFile:"))


def table(found: Mapping[str, Any]) -> str:
    """What was measured beside what was estimated."""
    estimate = found["estimate"]
    lines = [
        f"{found['plan']}, {found['threads']} threads, load average {found['load average']:.1f}",
        f"estimate: {estimate / 1e9:.2f} GB, and up to {found['mapped estimate'] / 1e9:.2f} GB of files",
    ]
    for name, step in found["steps"].items():
        lines.append(
            f"{name:<10} {step['seconds']:7.1f} s   peak {step['peak'] / 1e9:.2f} GB "
            f"({step['peak'] / estimate:.2f} of the estimate)   of files {step['mapped'] / 1e9:.2f} GB"
        )
    return "\n".join(lines) + "\n"


def missed(found: Mapping[str, Any]) -> float:
    """By how much of the estimate the most that any step took differs from it."""
    peak = max(step["peak"] for step in found["steps"].values())
    return float(abs(peak / found["estimate"] - 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--folder", type=Path, help="where to make it (default: a temporary folder)"
    )
    parser.add_argument("--streamed", action="store_true", help="leave the dictionaries in files")
    parser.add_argument(
        "--tokens", type=int, default=512, help="of the gate's text (default: 512, one batch of it)"
    )
    parser.add_argument(
        "--sites",
        type=int,
        default=36,
        help="that the gate splices in, after it has read all (default: 36, which takes minutes)",
    )
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    if arguments.measure:
        sys.stdout.write(json.dumps(measure(arguments.tokens, arguments.sites, arguments.streamed)))
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        free = shutil.disk_usage(folder).free
        if free < NEEDED:
            sys.stderr.write(
                f"{NEEDED / 1e9:.1f} GB are needed in {folder}, {free / 1e9:.1f} are free\n"
            )
            return 2
        home = Path(folder)
        make(home)
        environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
        environment.pop("HF_HUB_CACHE", None)
        words = ["--measure", "--tokens", str(arguments.tokens), "--sites", str(arguments.sites)]
        words += ["--streamed"] * arguments.streamed
        done = subprocess.run(
            [sys.executable, __file__, *words], env=environment, stdout=subprocess.PIPE, text=True
        )
    if done.returncode:
        return done.returncode
    found = json.loads(done.stdout)
    sys.stdout.write(table(found))
    return int(missed(found) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
