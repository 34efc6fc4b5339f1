"""Circuits that were made before: to go on with, or to hold the shown one against."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from scd_tui.graph import Circuit
from scd_tui.history import Seen, View, key_of
from scd_tui.text import visible
from scd_tui.tui.dialogs import Dialogs

if TYPE_CHECKING:
    from scd_tui.comparison import Comparison
    from scd_tui.tui.keeping import Keeper
    from scd_tui.tui.labelling import Labelling
    from scd_tui.tui.main_screen import MainScreen
    from scd_tui.tui.opening import Opening
    from scd_tui.tui.session import Session


class Reopening(Dialogs):
    """The part of the app that opens and compares: `ScdApp` has the rest."""

    session: "Session"
    main: "MainScreen"
    labelling: "Labelling"
    keeper: "Keeper"
    opening: "Opening"
    _save_to: Path | None
    _first_prompt: str | None

    if TYPE_CHECKING:

        def action_restart(self) -> None: ...

    def _choose(self, work: Coroutine[Any, Any, None]) -> None:
        """Prepare a list to choose from, and no other that is still being prepared."""
        self.run_worker(work, group="choose", exclusive=True)

    def action_past(self) -> None:
        self._choose(self.opening.choose_past())

    def action_open_file(self) -> None:
        folder = self._save_to or Path.cwd()
        self._choose(self.opening.choose_file(folder))

    def action_compare(self) -> None:
        if self.screen is not self.main:
            return  # a comparison is open
        if self.session.store.circuit is None:
            self.session.say("there is no circuit to compare yet", "warn")
            return
        but, folder = key_of(self.session.store.circuit), self._save_to or Path.cwd()
        self._choose(self.opening.choose_other(folder, but, self._compare_with))

    def _compare_with(self, other: Circuit) -> None:
        self.run_worker(self._compare(other), group="compare", exclusive=True)

    async def _compare(self, other: Circuit) -> None:
        from scd_tui.comparison import compare, name_of
        from scd_tui.tui.compare import CompareScreen

        moment, labels = self.session.store.at_this_moment(), self.labelling.labels()

        def work() -> "tuple[Circuit, Comparison] | None":
            circuit = moment.snapshot()
            if circuit is None:
                return None
            circuit = msgspec.structs.replace(circuit, explanations=labels)
            return circuit, compare(circuit, other)

        def chosen(name: str | None) -> None:
            circuit, nodes = self.session.store.circuit, self.session.store.nodes
            if circuit is None or name is None:
                return
            same = (n for n in nodes if name in (n, name_of(circuit, n, "feature")))
            node = next(same, None)
            if node is None:
                self.session.say(f"{visible(name)} is not in this circuit", "warn")
            else:
                self.main.circuit_tree.jump_to_node(node)

        if (found := await asyncio.to_thread(work)) is not None:
            self.open_prepared(CompareScreen(found[0], other, found[1]), chosen)

    def _show(self, circuit: Circuit, view: View | None, given: str, seen: Seen | None) -> None:
        """Show a circuit that was made before, as it was left. `seen`: if it comes from the history, what
        that has."""
        self.labelling.learn(circuit)
        self._first_prompt = None
        self.main.prompt_line.value = circuit.prompt
        if seen is None:
            restart = self.session.open(circuit, given)
        else:
            restart = self.session.open(circuit, given, self.keeper.marks_seen)
            self.keeper.knows(self.session.store, seen)
        if view is not None:
            self.main.circuit_tree.restore(view)
        self.main.action_pane("circuit")
        if restart:
            self.action_restart()
