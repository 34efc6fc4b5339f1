"""The screen as plain text, and an app on the doubles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual import constants
from tui.samples import PROMPT, FakeWorker, Records
from tui.scripted import answer

from scd_tui.graph import Circuit
from scd_tui.tui.app import ScdApp
from scd_tui.worker.protocol import Request

constants.COLOR_SYSTEM = "truecolor"  # whatever terminal the tests are run from


def dump(app: ScdApp) -> str:
    """What is on the screen now, a line a row."""
    return "\n".join(
        "".join(segment.text for segment in strip)
        for strip in app.screen._compositor.render_strips()
    )


def make_app(
    prompt: str | None = PROMPT,
    *,
    workers: list[FakeWorker] | None = None,
    answering: Callable[[FakeWorker, Request], None] | None = answer,
    circuit: Circuit | None = None,
    records: Records | None = None,
    save_to: Path | None = None,
    **options: Any,
) -> ScdApp:
    """An app whose workers are doubles; those that it starts are added to `workers`."""

    def worker(on_event: Any, on_exit: Any) -> FakeWorker:
        made = FakeWorker(on_event, on_exit, answering)
        if workers is not None:
            workers.append(made)
        return made

    return ScdApp(
        prompt,
        circuit=circuit,
        worker=worker,
        records=lambda model: records or Records(),
        save_to=save_to,
        **options,
    )
