"""Timing: the best of several runs, with garbage collected before each."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import torch

Now = Callable[[], float]
"""Seconds on a clock, once everything that was asked for so far is done."""


def clock(device: torch.device) -> Now:
    """A clock that a CUDA device, which computes behind the program's back, is waited for."""
    if device.type != "cuda":
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def best_of(runs: int, work: Callable[[], object], now: Now) -> float:
    """Seconds of the fastest run. The others were disturbed by what else the machine does."""
    best = inf
    for _ in range(runs):
        gc.collect()
        start = now()
        work()
        best = min(best, now() - start)
    return best


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Leave what the libraries made out of collections, which take longer than what is timed with it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
