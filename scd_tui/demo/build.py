"""Remake the bundled model and all that ships with it: `python -m scd_tui.demo.build`.

From nothing and offline: texts, tokenizer, model, dictionaries, feature records, gate. Every
draw is seeded; the texts are those of the Python version that runs the build (the shipped data
name theirs in `gate.json`), and floating point may differ in the last place between processors.
Each step can be told to start from what an earlier one wrote, with `--from`.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scd_tui.demo import corpus, data_dir
from scd_tui.demo.recipe import Recipe
from scd_tui.demo.report import NOTICE, as_markdown

if TYPE_CHECKING:
    from scd_tui.demo.gate import Gate

log = logging.getLogger(__name__)

STEPS = ("model", "dictionaries", "features", "gate")
_TOKENIZER_SENTENCES = 20_000
_PACKAGES = ("torch", "transformers", "tokenizers", "transformer_lens", "sae_lens", "numpy")


def build(directory: Path, recipe: Recipe, first: str = "model") -> Gate:
    """Write `model/`, `dictionaries/`, `features/`, `gate.json`, `GATE.md` and `NOTICE`.

    `first` is the step of `STEPS` to start from; what comes before it is read from `directory`.
    """
    import torch
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

    from scd_tui.demo.dictionaries import save_dictionaries, train_dictionaries
    from scd_tui.demo.features import write_features
    from scd_tui.demo.gate import measure
    from scd_tui.demo.streams import Texts
    from scd_tui.demo.tokenizer import train_tokenizer
    from scd_tui.demo.training import save_model, train_model

    started = time.monotonic()
    seconds: dict[str, float] = {}
    steps = STEPS[STEPS.index(first) :]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "NOTICE").write_text(NOTICE, encoding="utf-8")
    documents = corpus.documentation(recipe.documents)
    model_directory = directory / "model"

    if "model" in steps:
        texts = [e for d in documents if d.split == "train" for e in d.entries]
        texts += corpus.sentences("train", recipe.seed, _TOKENIZER_SENTENCES)
        tokenizer = train_tokenizer(texts, recipe.vocabulary, recipe.context)
    else:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(model_directory)
    train = Texts.build(
        tokenizer,
        documents,
        "train",
        recipe.seed,
        recipe.template_documents,
        recipe.context,
        recipe.drills,
    )
    held_out = Texts.build(
        tokenizer, documents, "held-out", recipe.seed, recipe.held_out_documents, recipe.context
    )
    seconds["texts"] = time.monotonic() - started
    if "model" in steps:
        save_model(train_model(train, recipe), tokenizer, model_directory)
        seconds["model"] = time.monotonic() - started
    # from here on everything sees the model as it was written: float16, widened to float32
    model = GPT2LMHeadModel.from_pretrained(model_directory, dtype=torch.float32).eval()
    if "dictionaries" in steps:
        bank = train_dictionaries(model, train, recipe)
        save_dictionaries(bank, recipe.layers, recipe.context, directory / "dictionaries")
        seconds["dictionaries"] = time.monotonic() - started
    if "features" in steps:
        write_features(model, tokenizer, directory, [train, held_out], recipe)
        seconds["features"] = time.monotonic() - started
    gate = measure(directory, held_out, recipe)
    seconds["gate"] = time.monotonic() - started
    _write_gate(directory, gate, seconds)
    for path in directory.rglob("*"):
        # some writers make files that only their owner may read
        path.chmod(0o755 if path.is_dir() else 0o644)
    return gate


def _write_gate(directory: Path, gate: Gate, seconds: dict[str, float]) -> None:
    made_with: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "seconds_until_end_of": {name: round(value) for name, value in seconds.items()},
    }
    plain = {"made_with": made_with, **gate.as_json()}
    text = json.dumps(plain, indent=1, ensure_ascii=False)
    (directory / "gate.json").write_text(text + "\n", encoding="utf-8")
    (directory / "GATE.md").write_text(as_markdown(plain), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 if the gate holds (or the build is a smoke test), 1 if it does not."""
    parser = argparse.ArgumentParser(
        prog="python -m scd_tui.demo.build", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=data_dir(), help="where to write (%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="the same steps in miniature")
    parser.add_argument("--from", dest="first", choices=STEPS, default="model", help="first step")
    parser.add_argument("--threads", type=int, default=2, help="cores to use (%(default)s)")
    given = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)  # the long steps share out their work themselves
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("scd_tui.demo").setLevel(logging.INFO)
    recipe = Recipe().smoke() if given.smoke else Recipe()
    gate = build(given.out, replace(recipe, threads=given.threads), given.first)
    for line in gate.shortfalls:
        sys.stdout.write(f"short of its bar: {line}\n")
    sys.stdout.write(f"written to {given.out}; {len(gate.shortfalls)} bars missed\n")
    return 0 if given.smoke or not gate.shortfalls else 1


if __name__ == "__main__":
    sys.exit(main())
