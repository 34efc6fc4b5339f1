"""Giving memory back that loading needed for a while, and knowing when there is none left."""

import ctypes
import gc

import torch
from sae_lens import SAE

_MMAP_THRESHOLD = -3
"""The number of that parameter of glibc's `mallopt`."""
_LARGE = 1 << 20
"""Bytes from which a block is one of its own."""


def emptied(sae: SAE) -> None:
    """Take the weights out of an SAE that a dictionary was made of and that nobody else has.

    It is in a cycle with its hook points, so that what the dictionary laid out anew would otherwise
    stay until Python next looks for cycles: gigabytes of it, as few objects are made meanwhile.
    """
    for name, _ in list(sae.named_parameters(recurse=False)):
        setattr(sae, name, None)


def trim() -> None:
    """Hand freed memory back to the system, which the C library (glibc) keeps for later."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another C library
        return


def return_at_once() -> None:
    """Have the C library (glibc) return what is freed by tensors at once, and keep none of it for later.

    That is slower. A limit on address space needs it: there, pieces that are kept count as taken.
    """
    try:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
    except (AttributeError, OSError):  # another C library
        return


def ran_out(error: BaseException) -> bool:
    """Whether a device, or this process, had no memory left for what was asked of it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # of the CPU it is an error like any other
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def give_back(device: torch.device) -> None:
    """Free what nobody holds any more, on the device too."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim()
