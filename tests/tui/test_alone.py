"""The app on a model without dictionaries: completions and logits, and what a circuit needs."""

import math

import msgspec
from textual.pilot import Pilot
from tui.driving import press, run, settle
from tui.samples import COMPLETIONS, MODEL, FakeWorker
from tui.screen import dump
from tui.scripted import answer

from scd_tui.tui.app import ScdApp
from scd_tui.worker import protocol as p

NEEDS = "a circuit needs dictionaries, and bare has none"
CURE = "--dictionaries FOLDER"


def bare(worker: FakeWorker, request: p.Request) -> None:
    """As the scripted worker, but a model named `bare` has no dictionaries, and others have."""
    if isinstance(request, p.Load) and request.model.startswith("bare"):
        model = msgspec.structs.replace(
            MODEL,
            name="bare",
            dictionaries="",
            dictionaries_revision="",
            sites=(),
            sources={},
            gate=(),
        )
        worker.emit(p.Loaded(request=request.request, model=model))
    else:
        answer(worker, request)


def test_completions_and_logits_are_shown_and_what_a_circuit_needs_is_said() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        text = dump(app)
        assert (
            NEEDS in " ".join(text.split()) and CURE in text and "Logits, without a circuit" in text
        )
        assert "bare · no dictionaries · cpu" in text
        for one in COMPLETIONS:
            row = next(
                line for line in text.splitlines() if f"{math.log(one.probability):.3f}"[1:] in line
            )
            assert one.token.text in row and f"+{one.logit:.3f}" in row
        assert 'logit difference " question" − " way"  +1.000' in text
        assert not workers[0].of(p.Attribute), "nothing is asked that cannot be answered"

    run(test, workers=workers, answering=bare, model="bare")


def test_every_way_to_ask_for_a_circuit_says_so_and_keeps_what_was_chosen() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "1", "j", "enter")
        assert 'logit difference " way" − " question"  −1.000' in dump(app)
        assert NEEDS in app.session.message
        await press(pilot, "j", "c")
        assert 'logit difference " way" − " only"  +1.000' in dump(app)
        await press(pilot, "M")
        assert "logit difference" not in dump(app), "of a metric without a contrast"
        for key in ("x", "ctrl+r", "V"):
            await press(pilot, key)
            while len(app.screen_stack) > 1:
                await press(pilot, "escape")
        await press(pilot, "escape", "2", "t")
        assert '1 " question" 61.2%' in dump(app), "the continuation needs no dictionaries"
        await press(pilot, "enter")
        assert NEEDS in " ".join(dump(app).split()) and not workers[-1].of(p.Attribute)

    run(test, workers=workers, answering=bare, model="bare")


def test_it_fits_a_narrow_screen_and_stands_there_before_any_prompt() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        text = dump(app)
        assert (
            NEEDS in " ".join(text.split()) and "Type a prompt: its completions need none." in text
        )
        await press(pilot, *"Hi", "enter")
        text = dump(app)
        assert "log-probability" in text and "+10.000" in text and CURE in text

    run(test, size=(80, 24), answering=bare, model="bare", prompt=None)


def test_another_model_s_circuit_makes_way_and_is_gone_back_to() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        assert 'Circuit for " question"' in dump(app)
        app._use("bare")
        await settle(pilot)
        text = dump(app)
        assert "Logits, without a circuit" in text and "mlp_out" not in text
        app.session.back()
        await settle(pilot)
        assert 'Circuit for " question"' in dump(app) and app.session.wanted_model == "demo"
        app._use("demo")
        await settle(pilot)
        text = dump(app)
        assert 'Circuit for " question"' in text and "no dictionaries" not in text

    run(test, workers=workers, answering=bare, model="demo")
