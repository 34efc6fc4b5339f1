"""What would grow for as long as the app is used, and is bounded: by counting what is there."""

import asyncio
import gc
import time
import weakref
from typing import Any

from textual._styles_cache import StylesCache
from textual.pilot import Pilot
from tui.driving import press, run
from tui.samples import FakeWorker, Records, circuit, other_circuit
from tui.test_bursts import burst, idle

from scd_tui.graph import parse_node
from scd_tui.tui import labelling
from scd_tui.tui.app import ScdApp
from scd_tui.tui.session import Session
from scd_tui.tui.store import CircuitStore
from scd_tui.worker.protocol import Heads


def drawn() -> int:
    """How many widgets' drawn lines are in memory."""
    gc.collect()
    return sum(isinstance(one, StylesCache) for one in gc.get_objects())


def test_nothing_that_was_drawn_of_closed_dialogs_stays() -> None:
    """A dialog with fields has some forty widgets, each with the lines that were drawn of it."""

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t", "escape")
        before = drawn()
        for opens in ("t", "colon", "question_mark"):
            burst(app, opens, "tab")
            await idle(app)
            burst(app, "escape")
            await idle(app)
            assert app.screen is app.main
        # the search of a palette that was closed ends a moment later, and holds it until then
        end = time.monotonic() + 5
        while drawn() > before + 5 and time.monotonic() < end:
            await pilot.pause(0.05)
        assert drawn() <= before + 5

    run(test, (80, 24))


def test_records_of_features_are_kept_up_to_a_number(monkeypatch: Any) -> None:
    """One that was let go is read again when the cursor comes back."""
    monkeypatch.setattr(labelling, "KEPT_RECORDS", 3)
    records = Records()

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        for keys in ("E", *"jjjjj"):
            await press(pilot, keys)
        nodes = [node for node in app.session.store.nodes if app.labelling.feature(node)][:5]
        for node in nodes:
            app.labelling.open(node)
            await asyncio.gather(*(w.wait() for w in app.workers if w.group == "record"))
        assert [app.labelling.state(node).looked_up for node in nodes] == [False] * 2 + [True] * 3
        app.labelling.open(nodes[0])
        await idle(app)
        assert app.labelling.state(nodes[0]).looked_up

    run(test, records=records)


def test_a_circuit_that_is_shown_no_more_is_let_go() -> None:
    """What was asked about its heads, which nobody asks again, does not keep it."""
    worker = FakeWorker(lambda event: None, lambda how: None)
    worker.running = True
    session = Session("demo", "cpu", worker.send, lambda notice: None)
    session.store = CircuitStore.of(circuit())
    session.phase, session._circuit_request = "ready", 1
    session.experiments.heads(next(n for n in circuit().expanded if parse_node(n).site))
    assert worker.of(Heads)
    old = weakref.ref(session.store)
    session.store = CircuitStore.of(other_circuit())
    session.experiments._pending.clear()
    gc.collect()
    assert old() is None
