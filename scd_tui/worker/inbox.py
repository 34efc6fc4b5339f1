"""Requests as they arrive, read by a thread of their own."""

import queue
import sys
import threading
from typing import BinaryIO

from scd_tui.worker import protocol


class Inbox:
    """Requests as they arrive, and which of them have been cancelled since."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting: queue.Queue[protocol.Request] = queue.Queue()
        self._cancelled: set[int] = set()
        self._lock = threading.Lock()
        self.closed = threading.Event()
        self.awaited = False
        """Whether the thread that answers waits for the next request."""

    def read_forever(self) -> None:
        """Read frames until the stream ends or breaks; then leave a shutdown in the queue."""
        try:
            while True:
                prefix = self._exactly(protocol.PREFIX)
                request = protocol.decode_request(self._exactly(protocol.body_length(prefix)))
                if isinstance(request, protocol.Cancel):
                    with self._lock:
                        self._cancelled.add(request.request)
                else:
                    self._waiting.put(request)
        except EOFError:
            pass
        except (OSError, protocol.ProtocolError) as error:
            sys.stderr.write(f"the app's side broke off: {error}\n")
        self.closed.set()
        self._waiting.put(protocol.Shutdown(request=0))

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._stream.read(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def take(self, *, wait: bool) -> protocol.Request | None:
        """The next request; None when there is none and `wait` is false."""
        self.awaited = wait
        try:
            return self._waiting.get(block=wait)
        except queue.Empty:
            return None
        finally:
            self.awaited = False

    @property
    def waiting(self) -> bool:
        """Whether there is a request to be taken, or nobody left to answer."""
        return self.closed.is_set() or not self._waiting.empty()

    def is_cancelled(self, request: int) -> bool:
        with self._lock:
            return request in self._cancelled
