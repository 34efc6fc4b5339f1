"""Giving memory back that loading needed for a while."""

import ctypes

from sae_lens import SAE


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
