"""Asking otherwise, and trying a node at other strengths: what opens a screen over the main one."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.screen import Screen

from scd_tui.graph import Completion
from scd_tui.tui.ask import AskScreen, Texts
from scd_tui.tui.choice import Choice
from scd_tui.tui.dialogs import Dialogs
from scd_tui.tui.outline import members
from scd_tui.tui.scaling import FACTORS, ScaleScreen
from scd_tui.tui.store import removable
from scd_tui.wording import names_of
from scd_tui.worker.protocol import (
    Continue,
    Continued,
    Curves,
    CurvesFound,
    Event,
    Scale,
    Scaled,
    Suggest,
    Suggested,
)

if TYPE_CHECKING:
    from scd_tui.tui.drafting import Drafting
    from scd_tui.tui.main_screen import MainScreen
    from scd_tui.tui.session import Session

OFFERED = 6
"""Tokens of the vocabulary that are offered for what was typed."""
CONTINUATION = 8


class Trying(Dialogs):
    """The part of the app that asks: `ScdApp` has the rest."""

    session: "Session"
    main: "MainScreen"
    drafting: "Drafting"

    # --- the question -------------------------------------------------------------------------

    def action_target(self) -> None:
        """All that can be asked of the prompt, in one panel."""
        session = self.session
        if session.prompt is None:
            session.say_no_prompt()
            return
        self._ask_panel()

    def _ask_panel(self, typed: Texts | None = None, problem: str = "") -> None:
        """Open the panel; after a question that was refused with what was typed, and why."""
        session = self.session
        circuit = session.store.circuit
        if circuit is not None and circuit.prompt != session.prompt:
            circuit = None

        prompt = session.prompt or ""
        if typed is None and (typed := self.drafting.question_left(prompt)) is not None:
            problem = "unfinished, from before: enter asks it, esc discards it"

        def chosen(answer: tuple[Choice, Texts] | None) -> None:
            if answer is None:
                self.drafting.question_done(prompt, given_up=True)
            else:
                self.drafting.question_asked(prompt)
                choice, texts = answer
                session.attribute(choice, lambda why: refused(texts, why))

        def refused(texts: Texts, why: str) -> None:
            if not isinstance(self.screen, AskScreen):  # there is a newer question in that one
                self._ask_panel(texts, why)

        forced = 0 if circuit is None else circuit.forced
        positions = len(session.tokens) - forced
        self.open_prepared(
            AskScreen(
                session.choice,
                circuit,
                positions,
                self._suggest,
                self._continuation,
                typed=typed,
                problem=problem,
                changed=lambda texts: self.drafting.question_typed(prompt, texts),
            ),
            chosen,
        )

    def _suggest(self, text: str, then: Callable[[Sequence[str]], None]) -> None:
        def found(event: Event) -> None:
            if isinstance(event, Suggested):
                then(names_of(event.tokens, text))

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

    # --- at other strengths -------------------------------------------------------------------

    def action_scale(self) -> None:
        """Run the model with the node under the cursor at every strength there is."""
        item = self.main.circuit_tree.current
        if item is None or not (chosen := removable([item.node] if item.node else [])):
            self.session.say("put the cursor on a feature or an error node first", "warn")
            return
        node = chosen[0]

        def found(event: Event) -> None:
            if isinstance(event, Scaled):
                self.open_prepared(ScaleScreen(event))

        self.session.experiments.ask_of_circuit(
            Scale, found, f"scaling {node}", node=node, factors=FACTORS
        )

    # --- curves -------------------------------------------------------------------------------

    def action_curve(self) -> None:
        """Measure what the pinned features carry alone, or those of the supernode under the cursor."""
        item, store = self.main.circuit_tree.current, self.session.store
        grouped = item is not None and item.kind == "super"
        nodes = members(item, store) if item is not None and grouped else store.marks.pins
        if not nodes:
            self.session.say("pin features first (a), or put the cursor on a supernode", "warn")
            return

        def found(event: Event) -> None:
            if isinstance(event, CurvesFound):
                self.run_worker(self._show_curves(event), group="curves", exclusive=True)

        self.session.experiments.ask_of_circuit(Curves, found, "curves", nodes=nodes)

    async def _show_curves(self, event: CurvesFound) -> None:
        # the library that draws takes a while to import
        self.open_prepared(await asyncio.to_thread(_curve_screen, event))


def _curve_screen(event: CurvesFound) -> Screen[None]:
    from scd_tui.tui.curve_screen import CurveScreen

    return CurveScreen(event.columns)
