"""The panel of settings, on the worker double."""

import msgspec
import pytest
from textual.pilot import Pilot
from tui.driving import press, run
from tui.samples import COMPLETIONS, FakeWorker, circuit
from tui.screen import dump
from tui.scripted import answer

from scd_tui.errors import InputError
from scd_tui.graph import Settings
from scd_tui.tui.app import ScdApp
from scd_tui.tui.ask import AskScreen, Texts, chosen, texts_of
from scd_tui.tui.choice import Choice
from scd_tui.tui.ink import plain
from scd_tui.worker import protocol as p


def asked(worker: FakeWorker) -> p.Attribute:
    request = worker.of(p.Attribute)[-1]
    assert isinstance(request, p.Attribute)
    return request


def test_every_setting_is_changed_in_one_panel_and_asked_at_once() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        before = len(workers[0].of(p.Attribute))
        await press(pilot, "t", "home", "ctrl+k", *" way")
        await press(pilot, "tab", *" only", "tab", *"another prompt", "tab", *"4", "tab", "tab")
        await press(pilot, "right", "left", "tab", "right", "tab", "end", "backspace", "backspace")
        await press(pilot, *"25", "tab", "end", "backspace", "7", "tab", "right")
        await press(pilot, "tab", "space", "tab", "space")
        assert len(workers[0].of(p.Attribute)) == before, "nothing is asked before enter"
        await press(pilot, "enter")
        request = asked(workers[0])
        assert (request.target, request.contrast) == (" way", " only")
        assert (request.contrast_prompt, request.position) == ("another prompt", 4)
        assert (request.metric, request.continuation) == ("diff", None)
        expected = Settings(
            top=25, edges=7, method="integrated", skip_first=True, freeze_patterns=True, sinks=True
        )
        assert request.settings == expected
        assert 'Circuit for " way" − " only"' in dump(app)
        await press(pilot, "H")
        assert 'Circuit for " question" − " way"' in dump(app), "and back undoes it"

    run(test, workers=workers)


def test_a_token_is_completed_over_the_vocabulary() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "comma", "home", "ctrl+k", "space", "n")
        request = workers[0].of(p.Suggest)[-1]
        assert request.text == " n"  # type: ignore[attr-defined]
        assert "↓ ' nature'" in dump(app)
        await press(pilot, "backspace")
        assert "' question' ' way' ' only' ' nature'" in dump(app)
        await press(pilot, "down", "down", "down", "up")
        await press(pilot, "enter")
        assert asked(workers[0]).target == " way"

    run(test, workers=workers)


def test_going_round_the_offered_tokens_comes_back_to_what_was_typed() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t", "home", "ctrl+k", *" o")
        field = app.screen.query_one("#target")
        assert field.offered == ((" only",), -1)
        await press(pilot, "down")
        assert field.value == " only" and field.offered[1] == 0
        await press(pilot, "down")
        assert field.value == " o"
        field.offer("something else", (" way",))
        assert field.offered[0] == (" only",), "an answer that comes too late is not shown"

    run(test)


def test_any_token_of_the_continuation_can_be_explained() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t")
        text = dump(app)
        assert '1 " question" 61.2%' in text and '3 " only"' in text
        await press(pilot, *["tab"] * 4, "3", "enter")
        request = asked(workers[0])
        assert (request.continuation, request.target, request.contrast) == (3, None, None)

    run(test, workers=workers)


@pytest.mark.parametrize("place", ["continuation", "position"])
def test_the_likeliest_is_that_of_the_place_that_is_asked_now(place: str) -> None:
    """The completions that are shown are those of the place before."""

    def elsewhere(worker: FakeWorker, request: p.Request) -> None:
        if isinstance(request, p.Attribute) and (request.continuation or request.position):
            made = circuit(COMPLETIONS[3], COMPLETIONS[2], prompt=request.prompt)
            if request.continuation is None:
                target = msgspec.structs.replace(made.target, position=request.position)
                made = msgspec.structs.replace(made, target=target)
            else:
                made = msgspec.structs.replace(
                    made,
                    tokens=(*made.tokens, *(one.token for one in COMPLETIONS[:2])),
                    target=msgspec.structs.replace(made.target, position=len(made.tokens) + 1),
                    forced=2,
                )
            made = msgspec.structs.replace(made, completions=COMPLETIONS[::-1])
            worker.emit(p.Attributed(request=request.request, circuit=made))
        else:
            answer(worker, request)

    workers: list[FakeWorker] = []
    tabs = ["tab"] * {"position": 3, "continuation": 4}[place]

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t", *tabs, "3", "enter")
        assert 'Circuit for " nature"' in dump(app)
        pane = plain(app.main.completions._below)
        said = {"position": ", at position 3", "continuation": ', after " question way"'}[place]
        assert said in pane
        await press(pilot, "t", "home", "ctrl+k", *tabs, "home", "ctrl+k", "enter")
        request = asked(workers[0])
        assert (request.continuation, request.position) == (None, None)
        assert request.target in (None, COMPLETIONS[0].token.id), "not what is said elsewhere"
        assert 'Circuit for " question"' in dump(app)

    run(test, workers=workers, answering=elsewhere)


def test_what_is_no_number_is_told_and_nothing_is_asked() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        before = len(workers[0].of(p.Attribute))
        await press(pilot, "t", *["tab"] * 3, *"last", "enter")
        assert "position: 'last' is not a whole number" in dump(app)
        assert isinstance(app.screen, AskScreen)
        await press(pilot, "escape")
        assert len(workers[0].of(p.Attribute)) == before and len(app.screen_stack) == 1

    run(test, workers=workers)


def test_a_question_that_the_worker_refuses_is_there_to_be_mended_with_all_that_was_typed() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t", "home", "ctrl+k", *" zorkmid", *["tab"] * 3, *"4")
        await press(pilot, "tab", "tab", "tab", "right", "tab", "end", "backspace", "enter")
        text = dump(app)
        assert "' zorkmid' is 2 tokens: a target is one token" in text
        assert isinstance(app.screen, AskScreen), "the next keys are no commands"
        assert app.screen.texts() == Texts(
            " zorkmid", position="4", method="integrated", top="1", edges="5"
        )
        assert len(workers[0].of(p.Attribute)) == 2
        await press(pilot, "home", "ctrl+k", *" way", "enter")
        request = asked(workers[0])
        assert (request.target, request.contrast, request.position) == (" way", None, 4)
        assert (request.settings.method, request.settings.top) == ("integrated", 1)
        assert len(app.screen_stack) == 1 and 'Circuit for " way"' in dump(app)

    run(test, workers=workers)


def test_a_question_that_waited_for_the_model_is_there_to_be_mended_too() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        workers[0].die()
        await press(pilot, "t", "home", "ctrl+k", *" zorkmid", "enter", "R")
        assert isinstance(app.screen, AskScreen) and app.screen.texts().target == " zorkmid"
        await press(pilot, "escape", "escape", *"R")
        assert len(app.screen_stack) == 1, "what was closed does not come again"

    run(test, workers=workers)


def test_before_the_model_is_loaded_the_panel_says_that_it_is_not() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t")
        assert "the model is still being loaded" in dump(app) and len(app.screen_stack) == 1

    run(test, answering=None)


@pytest.mark.parametrize("size", [(60, 20), (140, 40)])
def test_a_long_reason_is_said_to_its_end(size: tuple[int, int]) -> None:
    def refusing(worker: FakeWorker, request: p.Request) -> None:
        if isinstance(request, p.Attribute) and request.position == 99:
            why = (
                "there is no position 99: the prompt has positions 0 to 9, and this goes on and on"
            )
            worker.emit(p.Failed(request=request.request, kind="input", message=why))
        else:
            answer(worker, request)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t", *["tab"] * 3, *"99", "enter")
        words = " ".join(dump(app).replace("│", " ").split())
        assert "no position 99" in words and "goes on and on" in words

    run(test, size, answering=refusing)


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
def test_the_panel_fits_a_small_terminal(size: tuple[int, int]) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t")
        text = dump(app)
        assert "target" in text and "metric" in text and "freeze patterns" in text
        assert all(len(line) == size[0] for line in text.splitlines())

    run(test, size)


def test_without_a_worker_the_panel_opens_and_what_is_asked_waits() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "t", "home", "ctrl+k", *" way", "enter")
        assert "R starts it" in app.session.message

    run(test, prompt=None, circuit=circuit())


BEFORE = Texts(" question", " way", top="10", edges="5")


def test_tokens_that_were_not_touched_stay_the_ids_that_they_are() -> None:
    old = Choice((3, 4), (5, 6))
    assert chosen(old, BEFORE, BEFORE) == old
    now = Texts(" question", " other", top="10", edges="5", metric="logp")
    assert chosen(old, BEFORE, now) == Choice((3, 4), " other", "logp")
    moved = Texts(" question", " way", top="10", edges="5", position="-2")
    assert chosen(old, BEFORE, moved) == Choice(position=-2)
    kept = Texts(" question!", " way", top="10", edges="5", position="-2")
    assert chosen(old, BEFORE, kept) == Choice(" question!", position=-2)
    assert chosen(old, BEFORE, Texts(top="", edges="")).settings == Settings()


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (Texts(top="0"), "top nodes: '0' is not a number from 1 on"),
        (Texts(edges="many"), "edges: 'many' is not a number from 1 on"),
        (Texts(continuation="0"), "continuation: '0'"),
        (Texts(position="1", continuation="2"), "leave out the position"),
    ],
)
def test_fields_that_make_no_question_are_refused(texts: Texts, why: str) -> None:
    with pytest.raises(InputError, match=why):
        chosen(Choice(), Texts(), texts)


def test_the_fields_say_what_was_asked() -> None:
    made = circuit(default=False)
    texts = texts_of(Choice(100, 101, position=4, settings=Settings(top=3)), made)
    assert (texts.target, texts.contrast) == (" question", " way")
    assert (texts.position, texts.top, texts.continuation) == ("4", "3", "")
    assert texts_of(Choice(100), circuit()).contrast == "", "nobody chose it"
