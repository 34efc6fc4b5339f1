"""What attributing and ablating take, beside what `attribution.room` reckons: one line of JSON.

`room_memory.py LAYERS WIDTH HEADS VOCABULARY TOKENS` on a GPT-2 of random weights, or `room_memory.py
--model MODEL:DICTIONARIES --tokens N`. Bytes are the peak of the process's own memory, above what the
weights take.
"""

import argparse
import json
import sys
import time

import torch

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import attribute, read, strongest
from scd_tui.attribution.memory import give_back
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.room import asked_of
from scd_tui.attribution.trust import nodes_to_measure
from scd_tui.bench.memory import watched
from scd_tui.bench.shapes import random_dictionaries, random_model
from scd_tui.bench.sizes import Shape
from scd_tui.catalog.models import find

CPU = torch.device("cpu")
TARGETS, ABLATIONS = 11, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int)
    parser.add_argument("--model")
    parser.add_argument("--tokens", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.model:
        from scd_tui.attribution.load import load

        loaded = load(find(given.model), CPU)
        model, dictionaries, count = loaded.model, dict(loaded.dictionaries), given.tokens
    else:
        layers, width, heads, vocabulary, count = given.sizes
        shape = Shape("measured", layers, width, heads, vocabulary, max(64, count), 512, 16)
        model, dictionaries = random_model(shape, CPU), random_dictionaries(shape, CPU)
    ids = torch.randint(5, 250, (count,), generator=torch.Generator().manual_seed(0))
    tokens = tuple(map(model.token, ids.tolist()))

    def run() -> None:
        reading = read(model, tokens, dictionaries, said=[count - 1])
        logits = reading.cut.logits_by_position()
        target = resolve_target(model, tokens, logits, target=7, contrast=11)
        found = attribute(reading, target, strongest(TARGETS - 1))
        nodes = nodes_to_measure(found)[:ABLATIONS]
        for _ in exact_effects(model, reading, target, nodes, ABLATIONS):
            pass

    give_back(CPU)
    asked, started = asked_of(model, dictionaries), time.monotonic()
    _, memory = watched(run, CPU)
    said = {
        "tokens": count,
        "least": round(asked.needed(count) / 1e6),
        "with whole batches": round(asked.needed(count, TARGETS, ABLATIONS) / 1e6),
        "measured": round(((memory.peak or 0) - (memory.before or 0)) / 1e6),
        "seconds": round(time.monotonic() - started, 1),
    }
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
