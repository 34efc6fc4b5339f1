"""Choosing a model: a list of all there are, and the download of those that are not here."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content

from scd_tui.catalog.choice import Choice
from scd_tui.catalog.words import facts, memory_in_words, size_in_words
from scd_tui.errors import InputError
from scd_tui.text import visible
from scd_tui.tui.bindings import download_keys
from scd_tui.tui.chooser import Chooser, Option
from scd_tui.tui.dialogs import Dialog, Dialogs
from scd_tui.tui.ink import Ink, Line, Span, pad, wrap
from scd_tui.tui.lines import download_progress
from scd_tui.tui.notices import Change, Fetching, Notice
from scd_tui.tui.session import Session
from scd_tui.tui.view import Bar

NAME_CELLS, LEAST_NAME_CELLS = 40, 20
HERE = ("bundled", "local", "downloaded")
_STATES: dict[str, Span] = {
    "bundled": ("here", "good"),
    "local": ("here", "good"),
    "downloaded": ("here", "good"),
    "partly": ("partly", "warn"),
    "absent": ("–", "dim"),
    "broken": ("broken", "bad"),
}
_EVERY = 0.25  # seconds between two drawings of a download's progress


class NotWanted(Exception):
    """A download was given up."""


def option_of(choice: Choice, loaded: str, cells: int = NAME_CELLS) -> Option:
    """A line of the list, `cells` of them for the name; `loaded` is what the worker has."""
    state, ink = _STATES[choice.state]
    runs: Ink = {True: "text", False: "warn", None: "dim"}[choice.fits]  # type: ignore[assignment]
    current = choice.reference in (loaded, f"{loaded}:{choice.reference.rpartition(':')[2]}")
    line: Line = (
        ("● " if current else "  ", "good"),
        (pad(visible(choice.reference), cells) + " ", "name"),
        (pad(state, 7), ink),
        (size_in_words(choice).rjust(10), "text"),
        (memory_in_words(choice).rjust(10), "text"),
        (f"  {choice.runs if choice.state != 'broken' else visible(choice.why)}", runs),
    )
    return Option(choice.reference, line)


class DownloadPanel(Dialog[None]):
    """What a model is, what it takes, and how far its download has come."""

    BINDINGS: ClassVar[list[BindingType]] = download_keys()

    def __init__(self, choice: Choice, session: Session, start: Callable[[Choice], None]) -> None:
        super().__init__()
        self._choice, self._session, self._start = choice, session, start

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall download") as dialog:
            dialog.border_title = Content(f"Download {visible(self._choice.reference)}")
            dialog.border_subtitle = Content("enter downloads · c gives up · esc closes")
            yield Bar(name="facts")
            yield Bar(name="download-progress")

    def on_mount(self) -> None:
        self.call_after_refresh(self._describe)
        self.set_interval(_EVERY, self._show)
        self._show()

    def _describe(self) -> None:
        bar = self.query_one("#facts", Bar)
        width = max(20, bar.size.width)
        lines: list[Line] = []
        for name, value in facts(self._choice):
            lines += wrap([(f"{name:<13} ", "dim"), (visible(value), "text")], width)
        bar.show(*lines)

    @property
    def _fetching(self) -> Fetching | None:
        fetching = self._session.fetching
        mine = fetching is not None and fetching.reference == self._choice.reference
        return fetching if mine else None

    def _show(self) -> None:
        fetching = self._fetching
        said = self._session.message
        lines: list[Span] = [(said, "text")] if said and fetching is None else []
        if fetching is not None:
            lines = download_progress(fetching)
        self.query_one("#download-progress", Bar).show(lines)

    def action_go(self) -> None:
        if self._session.fetching is None:
            self._start(self._choice)
        elif self._fetching is None:
            other = visible(self._session.fetching.reference)
            self._session.say(f"{other} is being downloaded: one after the other", "warn")
        self._show()

    def action_stop(self) -> None:
        if self._fetching is not None:
            self._fetching.unwanted = True

    def action_close(self) -> None:
        self.dismiss(None)


class Models:
    """Lets choose a model and a set, and gives its reference to `load` once it is here."""

    def __init__(
        self,
        app: Dialogs,
        session: Session,
        *,
        load: Callable[[str], None],
        run: Callable[[Coroutine[Any, Any, None]], object],
        notice: Callable[[Notice], None],
    ) -> None:
        self._app, self._session = app, session
        self._load, self._run, self._notice = load, run, notice

    async def choose(self) -> None:
        """Ask for one of all there are."""
        self._session.say("looking at what there is")
        try:
            choices = await asyncio.to_thread(_all, self._session.device)
        except (InputError, OSError) as error:
            self._session.say(visible(str(error)), "bad")
            return
        self._session.say("")
        by_reference = {one.reference: one for one in choices}

        def chosen(reference: str | None) -> None:
            if reference is not None:
                self.take(by_reference[reference])

        in_order = sorted(choices, key=_nearest)
        # On a narrow screen the names give way to what is said of size and memory.
        longest = max((cell_len(visible(one.reference)) for one in choices), default=0)
        cells = min(longest, max(LEAST_NAME_CELLS, min(NAME_CELLS, self._app.size.width - 48)))
        options = [option_of(one, self._session.wanted_model, cells) for one in in_order]
        hint = "type words of its name · files, memory and how it would run"
        self._app.open_prepared(Chooser("Models", options, hint=hint), chosen)

    def take(self, choice: Choice) -> None:
        """Load what is here, and offer to download what is not."""
        if choice.state == "broken":
            self._session.say(visible(choice.why), "bad")
        elif choice.state in HERE:
            self._load(choice.reference)
        else:
            self._app.push_screen(DownloadPanel(choice, self._session, self._begin))

    def _begin(self, choice: Choice) -> None:
        self._session.fetching = Fetching(choice.reference)
        self._run(self._fetch(self._session.fetching, choice))

    async def _fetch(self, fetching: Fetching, choice: Choice) -> None:
        timer = self._app.set_interval(_EVERY, self._draw)
        try:
            await asyncio.to_thread(fetch, fetching)
        except NotWanted:
            kept = "what has come is kept, and goes on from there"
            if choice.package:
                kept = "nothing of it is kept"
            self._session.say(visible(f"{fetching.reference} was given up: {kept}"), "warn")
        except (InputError, OSError) as error:
            self._session.say(visible(f"not downloaded: {error}"), "bad")
        else:
            self._session.say(visible(f"{fetching.reference} is here"), "good")
            self._load(fetching.reference)
        finally:
            timer.stop()
            # a download that nobody waits for any more ends at its next block
            fetching.unwanted = True
            self._session.fetching = None
            self._draw()

    def _draw(self) -> None:
        self._notice(Notice(Change.STATUS))


def _nearest(choice: Choice) -> int:
    """What is here comes first, then what would run here, and last what does not fit."""
    if choice.state in (*HERE, "partly"):
        return 0
    return {True: 1, None: 2, False: 3}[choice.fits]


def _all(device: str) -> Sequence[Choice]:
    from scd_tui.catalog.machine import this_machine
    from scd_tui.catalog.overview import overview

    return overview(this_machine(), device)


def fetch(fetching: Fetching) -> None:
    """Download what is missing of a model, telling `fetching` how far it has come.

    Raises NotWanted when it is given up, RunError when it cannot be done.
    """
    from scd_tui.catalog.download import download
    from scd_tui.catalog.models import find

    def tell(stage: str, done: int, total: int) -> None:
        if fetching.unwanted:
            raise NotWanted
        fetching.stage, fetching.done, fetching.total = stage, done, total

    download(find(fetching.reference), tell)
