"""The worker double of the screen's tests as a process of its own."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tui.samples import FakeWorker  # noqa: E402
from tui.scripted import answer  # noqa: E402

from scd_tui.worker import protocol as p  # noqa: E402


def send(message: p.Message) -> None:
    sys.stdout.buffer.write(p.frame(message))
    sys.stdout.buffer.flush()


def main() -> None:
    worker = FakeWorker(send, lambda how: None)
    sys.stderr.write("Loading weights: 100%\n")
    sys.stderr.flush()
    while prefix := sys.stdin.buffer.read(p.PREFIX):
        request = p.decode_request(sys.stdin.buffer.read(p.body_length(prefix)))
        if isinstance(request, p.Shutdown):
            return
        answer(worker, request)


if __name__ == "__main__":
    main()
