"""What can go wrong between here and Neuronpedia. Every message is one sentence for the screen."""

from typing import Literal

FaultKind = Literal[
    "offline", "limited", "server", "cut", "slow", "page", "size", "content", "redirect", "refused"
]


class Fault(Exception):
    """A request that brought no answer.

    `kind` is `offline` where no connection came about, `limited` for HTTP 429, `server` for 5xx, `cut`
    for an answer that ends too early, `slow` and `size` for answers beyond our bounds, `page` for a
    web page (of a hotel's network, say), `content` for data that is not what was asked for,
    `redirect` for one that is not followed, `refused` for any other 4xx.
    `wait` is how many seconds the service wants to be left alone, where it says.
    """

    def __init__(self, kind: FaultKind, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.wait = wait
