"""When Python looks for garbage in the app's process.

A full collection visits every object there is: 50 ms or more among those of the library alone, at which
no key is answered. So there is none while the app starts, and none ever visits what it started with.
"""

import gc

from textual._styles_cache import StylesCache


def collect_nothing() -> None:
    """While the app starts."""
    gc.disable()


def collect_what_is_new() -> None:
    """From now on, and leave alone what is here."""
    gc.freeze()
    gc.enable()


def forget_closed_screens() -> None:
    """Let go of the lines that were drawn of widgets that are no more.

    Textual remembers two colours for each of the last 1,024 caches of lines, by the cache itself, so that
    every line of hundreds of closed dialogs stays: some 30 MB at 80x24. The colours are worked out again
    at the next drawing.
    """
    StylesCache.get_inner_outer.cache_clear()
