"""A worker that makes a circuit of as many rows as it is told to, and then computes for ever.

It computes as the real one does at full load: matrix products on all cores but one, at its niceness.
Asked for an ablation, it tells one measured effect after the other, as the background does.
"""

import sys
import threading
import time
from pathlib import Path

MEASURED = 100
"""Effects that are told after an ablation was asked for."""
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.large import large_circuit  # noqa: E402
from tui.samples import FakeWorker  # noqa: E402
from tui.scripted import answer  # noqa: E402

from scd_tui.worker import protocol as p  # noqa: E402
from scd_tui.worker.server import NICENESS  # noqa: E402


def compute() -> None:
    import torch

    from scd_tui.attribution.numerics import leave_a_core

    leave_a_core()
    matrix = torch.randn(1024, 1024)
    while True:
        matrix = torch.nn.functional.normalize(matrix @ matrix)


def main() -> None:
    import os

    os.nice(NICENESS)
    rows = int(sys.argv[1])
    busy = sys.argv[2] == "busy"

    def send(message: p.Message) -> None:
        sys.stdout.buffer.write(p.frame(message))
        sys.stdout.buffer.flush()

    worker = FakeWorker(send, lambda how: None)
    while prefix := sys.stdin.buffer.read(p.PREFIX):
        request = p.decode_request(sys.stdin.buffer.read(p.body_length(prefix)))
        if isinstance(request, p.Shutdown):
            return
        if isinstance(request, p.Attribute):
            send(p.Attributed(request=request.request, circuit=large_circuit(rows)))
            if busy:
                threading.Thread(target=compute, daemon=True).start()
        elif isinstance(request, p.Ablate):
            send(p.Failed(request=request.request, kind="cancelled", message=""))
            strongest = [node for node in large_circuit(rows).nodes if node.top]
            strongest.sort(key=lambda node: -abs(node.effect))
            for done, node in enumerate(strongest[:MEASURED], 1):
                exact = {node.id: 0.9 * node.effect}
                send(
                    p.Measured(request=request.circuit, exact=exact, done=done, total=MEASURED + 1)
                )
                time.sleep(0.02)
        elif isinstance(request, p.Inspect):
            send(p.Failed(request=request.request, kind="cancelled", message=""))
        else:
            answer(worker, request)


if __name__ == "__main__":
    main()
