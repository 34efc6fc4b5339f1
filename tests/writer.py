"""One of several programs that write the same past circuit: run with a folder, a name, a seed, a count.

As the app does, it writes what it has with what it last saw of the file, and goes on with what came of
that. It prints a line for each thing that it did once that is in the file: pins, notes, exact effects,
explanations, trials, and pins taken off that all had at first.
"""

import random
import sys
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent))

from tui.samples import SITES, circuit, site_nodes
from tui.scripted import OUTCOME

from scd_tui.graph import Circuit, Marks, NodeId, Removal
from scd_tui.history import UNSEEN, History, View

PINNED = tuple(node.id for site in SITES[:6] for node in site_nodes(site))
"""At first. Each writer takes some of them off."""
NODES = [node.id for site in SITES[6:] for node in site_nodes(site)]


def first() -> Circuit:
    return msgspec.structs.replace(circuit(), marks=Marks(pins=PINNED))


def changed(made: Circuit, kind: str, node: NodeId, text: str) -> Circuit:
    """A circuit after a reader did one thing to it."""
    marks = made.marks
    match kind:
        case "pin":
            marks = msgspec.structs.replace(marks, pins=(*marks.pins, node))
        case "unpin":
            left = tuple(pin for pin in marks.pins if pin != node)
            marks = msgspec.structs.replace(marks, pins=left)
        case "note":
            before = marks.notes.get(node)
            words = text if before is None else f"{before}; {text}"
            marks = msgspec.structs.replace(marks, notes={**marks.notes, node: words})
        case "exact":
            return made.with_exact({node: 0.25})
        case "explanation":
            return msgspec.structs.replace(made, explanations={**made.explanations, text: text})
        case "trial":
            trial = Removal((node,), OUTCOME)
            return msgspec.structs.replace(made, removals=(*made.removals, trial))
    return msgspec.structs.replace(made, marks=marks)


def missing(made: Circuit, line: str) -> bool:
    """Whether a circuit lacks what a line says was done."""
    kind, node, text = line.split("\t")
    match kind:
        case "pin":
            return node not in made.marks.pins
        case "unpin":
            return node in made.marks.pins
        case "note":
            return text not in made.marks.notes.get(NodeId(node), "")
        case "exact":
            return next(one.exact for one in made.nodes if one.id == node) is None
        case "explanation":
            return text not in made.explanations
        case _:
            return not any(one.nodes == (node,) for one in made.removals)


def main(folder: str, name: str, seed: str, count: str) -> None:
    numbers = random.Random(f"{seed} {name}")
    half = [pin for number, pin in enumerate(PINNED) if number % 2 == (name == "b")]
    history = History(Path(folder))
    kept = history.find(circuit())
    made, seen = (first(), UNSEEN) if kept is None else (kept.circuit, kept.seen)
    for step in range(int(count)):
        kind = numbers.choice(("pin", "unpin", "note", "note", "exact", "explanation", "trial"))
        # notes fall on the same few nodes often
        nodes = {"unpin": half, "note": NODES[:4]}.get(kind, NODES)
        node, text = numbers.choice(nodes), f"<{name}{step}>"
        if kind == "pin":  # each writer has its own, which the other does not take off again
            node = NODES[numbers.randrange(len(NODES) // 2) * 2 + (name == "b")]
        made = changed(made, kind, node, text)
        written = history.write(made, View(), seen=seen)
        assert written is not None
        made, seen = written.circuit, written.seen
        sys.stdout.write(f"{kind}\t{node}\t{text}\n")
        sys.stdout.flush()
        time.sleep(numbers.random() * 0.004)


if __name__ == "__main__":
    main(*sys.argv[1:])
