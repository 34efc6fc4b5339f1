"""Whether the app's other half starts, and answers."""

import asyncio
import time

from scd_tui.config import DEFAULT_MODEL
from scd_tui.doctor.findings import Finding
from scd_tui.text import visible
from scd_tui.worker.client import WorkerClient, WorkerExit, WorkerGone
from scd_tui.worker.protocol import Event, Failed, Load, Loaded

SECONDS = 180.0
"""Until the bundled model must be loaded."""


async def worker(device: str, command: tuple[str, ...] | None = None) -> Finding:
    """Start a worker as the app does, have it load the bundled model, and end it."""
    start = time.perf_counter()
    loop = asyncio.get_running_loop()
    first: list[float] = []
    ended: asyncio.Future[Loaded | Failed | WorkerExit] = loop.create_future()

    def settle(how: Loaded | Failed | WorkerExit) -> None:
        if not ended.done():
            ended.set_result(how)

    def heard(event: Event) -> None:
        first.append(time.perf_counter() - start)
        if isinstance(event, Loaded | Failed):
            settle(event)

    client = WorkerClient(command, on_event=heard, on_exit=settle)
    try:
        await client.start()
        client.send(Load, model=DEFAULT_MODEL, device=device)
        how = await asyncio.wait_for(ended, SECONDS)
    except WorkerGone as error:
        return _broken(str(error))
    except TimeoutError:
        return _broken(f"it gave no answer within {SECONDS:.0f} s", client.stderr_tail)
    finally:
        await client.close()
    if isinstance(how, WorkerExit):
        return _broken(f"it {how.reason}", how.stderr_tail)
    if isinstance(how, Failed):
        return _broken(f"it answers, but cannot load the bundled model: {visible(how.message)}")
    seconds = time.perf_counter() - start
    return Finding(
        name="worker",
        says=f"answers after {first[0]:.1f} s, and has the bundled model on "
        f"{visible(how.model.device)} after {seconds:.1f} s",
        facts={"first_answer": first[0], "loaded": seconds, "device": how.model.device},
    )


def _broken(says: str, tail: tuple[str, ...] = ()) -> Finding:
    last = f"; its last words: {tail[-1]}" if tail else ""
    return Finding(
        name="worker",
        state="problem",
        says=says + last,
        todo="`scd-tui attribute x` does the same without it: SCD_TUI_TRACEBACK=1 shows where it fails",
    )
