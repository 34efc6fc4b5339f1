"""The contrast that the prompt offers, on the screen and behind its key."""

import msgspec
from textual.pilot import Pilot
from tui import scripted
from tui.driving import press, run
from tui.samples import COMPLETIONS, TOKENS, FakeWorker
from tui.screen import dump

from scd_tui.graph import Completion, Token
from scd_tui.tui.app import ScdApp
from scd_tui.worker import protocol as p

BE = Completion(TOKENS[1], 0.02, 6.5)


def answering(worker: FakeWorker, request: p.Request) -> None:
    """As the sample, with a token of the prompt among the likeliest."""

    def emit(event: p.Event) -> None:
        if isinstance(event, p.Attributed):
            found = (*COMPLETIONS[:4], BE, *COMPLETIONS[4:])
            target = event.circuit.target
            if request.contrast == BE.token.id:  # type: ignore[attr-defined]
                target = msgspec.structs.replace(target, contrast=BE, contrast_is_default=False)
            circuit = msgspec.structs.replace(event.circuit, completions=found, target=target)
            event = msgspec.structs.replace(event, circuit=circuit)
        told(event)

    told, worker.emit = worker.emit, emit  # type: ignore[method-assign]
    scripted.answer(worker, request)
    worker.emit = told  # type: ignore[method-assign]


def test_one_key_takes_the_token_of_the_prompt_as_contrast() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        shown = " ".join(dump(app).split())
        assert 'T contrast " be"' in shown
        await press(pilot, "T")
        assert workers[0].of(p.Attribute)[-1].contrast == BE.token.id  # type: ignore[attr-defined]
        shown = " ".join(dump(app).split())
        assert "T contrast" not in shown and ", in the prompt" not in shown, "it is chosen now"

    run(test, answering=answering, workers=workers)


def test_without_one_the_key_says_how_to_name_a_contrast() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        before = len(workers[0].of(p.Attribute))
        await press(pilot, "T")
        assert len(workers[0].of(p.Attribute)) == before
        assert app.session.message.startswith("no other token of the prompt is among the likeliest")

    run(test, workers=workers)


def test_a_token_from_outside_is_no_markup_in_the_footer() -> None:
    hostile = Token(TOKENS[1].id, "[/]\x1b[2J")

    def odd(worker: FakeWorker, request: p.Request) -> None:
        told = worker.emit

        def emit(event: p.Event) -> None:
            if isinstance(event, p.Attributed):
                tokens = (TOKENS[0], hostile, *TOKENS[2:])
                found = (*COMPLETIONS, Completion(hostile, 0.01, 1.0))
                circuit = msgspec.structs.replace(event.circuit, tokens=tokens, completions=found)
                event = msgspec.structs.replace(event, circuit=circuit)
            told(event)

        worker.emit = emit  # type: ignore[method-assign]
        scripted.answer(worker, request)
        worker.emit = told  # type: ignore[method-assign]

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        assert 'contrast "[/]\\x1b[2J"' in dump(app)

    run(test, answering=odd)
