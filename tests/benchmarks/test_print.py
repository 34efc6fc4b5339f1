"""What a printed circuit costs, a line, against Rich's own tree in the same run."""

import io
import time

from benchmarks.conftest import Report
from benchmarks.large import large_circuit
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from scd_tui.export.tree import render

LINES = 2_000


def test_a_line_costs_a_small_part_of_one_in_richs_tree(report: Report) -> None:
    made = large_circuit(LINES)
    start = time.process_time()
    lines = list(render(made, Console(file=io.StringIO())))
    ours = (time.process_time() - start) / len(lines)

    tree = Tree("root")
    for line in lines:
        tree.add(Text(line.lstrip("│├└─ ")))
    console = Console(file=io.StringIO(), width=160)
    start = time.process_time()
    console.print(tree)
    theirs = (time.process_time() - start) / len(lines)
    report("µs a printed line", round(1e6 * ours, 1))
    report("µs a line of Rich's tree", round(1e6 * theirs, 1))
    assert len(lines) >= LINES and ours < theirs / 3
