"""Copying text out of a terminal that may be inside tmux, at the other end of a network."""

import asyncio
import contextlib
from collections.abc import Mapping

MAXIMUM_OSC52 = 74_000
"""Bytes. Terminals cut or drop longer ones."""


TMUX_COPY = ("tmux", "load-buffer", "-w", "-")
"""Puts its stdin into a buffer, and on to the terminal, whatever `set-clipboard` says."""


def inside_tmux(env: Mapping[str, str]) -> bool:
    """Whether there is a tmux to hand a text to."""
    return bool(env.get("TMUX"))


def route(tmux: bool) -> str:
    """Where a copied text went, in words; `tmux` is whether tmux took it."""
    return "tmux, and to the terminal (OSC 52)" if tmux else "the terminal (OSC 52)"


async def copy_through_tmux(text: str, env: Mapping[str, str]) -> bool:
    """Hand the text to tmux, which passes it on by default. False if that was not possible."""
    if not inside_tmux(env):
        return False
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        process = await asyncio.create_subprocess_exec(
            *TMUX_COPY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.wait_for(process.communicate(text.encode()), 2)
        return process.returncode == 0
    return False
