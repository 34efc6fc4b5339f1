"""The worker's process: its descriptors, a thread that reads, one that gives signs of life, and the main
thread that answers.

The device is used by the main thread only. Standard output belongs to the protocol, so the descriptor
is moved away at once and everything that a library prints goes to stderr.
"""

import os
import threading
from typing import BinaryIO

from scd_tui.worker import protocol
from scd_tui.worker.inbox import Inbox
from scd_tui.worker.protocol import Message
from scd_tui.worker.pulse import Pulse

NICENESS = 5
"""The screen goes before the computation."""


def _claim_stdout() -> BinaryIO:
    """Take the protocol's descriptor away from everything else; prints then go to stderr."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb", buffering=0)


def serve() -> int:
    """Serve on stdin and stdout until stdin ends or a shutdown comes; returns the exit code."""
    out = _claim_stdout()
    os.nice(NICENESS)
    # Unbuffered: a buffered reader holds a lock while it waits, and Python aborts at exit over it.
    inbox = Inbox(os.fdopen(os.dup(0), "rb", buffering=0))
    threading.Thread(target=inbox.read_forever, name="inbox", daemon=True).start()

    one_at_a_time = threading.Lock()

    def send(message: Message) -> None:
        data = memoryview(protocol.frame(message))
        with one_at_a_time:
            while data:
                data = data[out.write(data) :]

    pulse = Pulse(send, lambda: inbox.awaited)
    threading.Thread(target=pulse.beat_forever, name="pulse", daemon=True).start()

    # Imported only now: it takes seconds, and what it prints must not meet the protocol.
    from scd_tui.attribution.numerics import leave_a_core
    from scd_tui.worker.answers import Server

    leave_a_core()
    try:
        Server(inbox, send).run()
    except BrokenPipeError:
        return 1
    return 0
