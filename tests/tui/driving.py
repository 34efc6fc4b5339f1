"""An app on the doubles that a test drives with keys."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot
from tui.screen import make_app

from scd_tui.graph import NodeId
from scd_tui.tui.app import ScdApp

Test = Callable[[ScdApp, Pilot[int]], Awaitable[None]]


def run(test: Test, size: tuple[int, int] = (140, 40), **options: Any) -> None:
    async def main() -> None:
        app = make_app(**options)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            await test(app, pilot)

    asyncio.run(main())


async def settle(pilot: Pilot[int]) -> None:
    """Wait for what is on its way: answers, the cursor's rest, threads."""
    app = pilot.app
    assert isinstance(app, ScdApp)
    async with asyncio.timeout(30):
        for _ in range(2):
            await pilot.pause()
            while app.main._rest is not None:
                await pilot.pause(0.02)
            await app.workers.wait_for_complete()
    await pilot.pause()


async def press(pilot: Pilot[int], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


def here(app: ScdApp) -> NodeId | None:
    """The node under the cursor."""
    item = app.main.circuit_tree.current
    return None if item is None else item.node
