"""What some work allocates, byte by byte, as torch itself records it."""

import gc
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def allocated(work: Callable[[], object]) -> tuple[int, int]:
    """Bytes of tensors on the CPU at most, above those at the start, and those that are left."""
    gc.collect()
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as recorded:
        work()
        gc.collect()
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = recorded.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    total = most = 0
    for _, change in changes:
        total += change
        most = max(most, total)
    return most, total
