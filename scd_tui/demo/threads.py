"""Work on several cores without torch's own threads.

Those meet after every operation, thousands of times a step, and crawl as soon as another program
wants one of the cores. Threads that meet once a step, or never, lose only what the other takes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch


def one_thread_each(threads: int) -> ThreadPoolExecutor:
    """A pool whose threads each run torch's operations on themselves alone."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
