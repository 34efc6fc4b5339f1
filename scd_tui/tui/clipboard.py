"""Copying text out of a terminal that may be inside tmux, at the other end of a network."""

import asyncio
import contextlib
from collections.abc import Mapping

MAXIMUM_OSC52 = 74_000
"""Bytes. Terminals cut or drop longer ones."""


async def copy_through_tmux(text: str, env: Mapping[str, str]) -> bool:
    """Hand the text to tmux, which passes it on by default. False if that was not possible."""
    if not env.get("TMUX"):
        return False
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        process = await asyncio.create_subprocess_exec(
            "tmux", "load-buffer", "-w", "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.wait_for(process.communicate(text.encode()), 2)
        return process.returncode == 0
    return False
