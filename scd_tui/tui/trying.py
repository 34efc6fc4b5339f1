"""Asking otherwise, and trying a node at other strengths: what opens a screen over the main one."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.app import App

from scd_tui.graph import Completion
from scd_tui.tui.ask import AskScreen
from scd_tui.tui.choice import Choice
from scd_tui.worker.protocol import Continue, Continued, Event, Suggest, Suggested

if TYPE_CHECKING:
    from scd_tui.tui.main_screen import MainScreen
    from scd_tui.tui.session import Session

OFFERED = 6
"""Tokens of the vocabulary that are offered for what was typed."""
CONTINUATION = 8


class Trying(App[int]):
    """The part of the app that asks: `ScdApp` has the rest."""

    session: "Session"
    main: "MainScreen"

    # --- the question -------------------------------------------------------------------------

    def action_target(self) -> None:
        """All that can be asked of the prompt, in one panel."""
        session = self.session
        if session.prompt is None:
            session.say("type a prompt first", "warn")
            return
        circuit = session.store.circuit
        if circuit is not None and circuit.prompt != session.prompt:
            circuit = None

        def chosen(choice: Choice | None) -> None:
            if choice is not None:
                session.attribute(choice)

        forced = 0 if circuit is None else circuit.forced
        positions = len(session.tokens) - forced
        self.push_screen(
            AskScreen(session.choice, circuit, positions, self._suggest, self._continuation),
            chosen,
        )

    def _suggest(self, text: str, then: Callable[[Sequence[str]], None]) -> None:
        def found(event: Event) -> None:
            if isinstance(event, Suggested):
                then([token.text for token in event.tokens])

        if self.session.phase == "ready":
            self.session.experiments.ask(Suggest, found, quiet=True, text=text, count=OFFERED)

    def _continuation(self, then: Callable[[Sequence[Completion]], None]) -> None:
        def found(event: Event) -> None:
            if isinstance(event, Continued):
                then(event.completions)

        if self.session.phase == "ready":
            self.session.experiments.ask(
                Continue, found, quiet=True, prompt=self.session.prompt, count=CONTINUATION
            )
