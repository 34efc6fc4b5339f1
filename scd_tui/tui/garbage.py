"""When Python looks for garbage in the app's process.

A full collection visits every object there is: 50 ms or more among those of the library alone, at which
no key is answered. So there is none while the app starts, and none ever visits what it started with.
"""

import gc


def collect_nothing() -> None:
    """While the app starts."""
    gc.disable()


def collect_what_is_new() -> None:
    """From now on, and leave alone what is here."""
    gc.freeze()
    gc.enable()
