"""The circuits that a sitting has shown: back through them, and forward again."""

import msgspec

from scd_tui.graph import Circuit, Completion, Token
from scd_tui.history import key_of
from scd_tui.tui.choice import Choice
from scd_tui.tui.store import CircuitStore

KEPT_QUESTIONS = 20
"""Circuits that one can go back to."""


class Shown(msgspec.Struct, frozen=True):
    """A finished circuit that was on the screen, with the question that it answers.

    `request` is the worker's number for it, None where the worker has it no more.
    """

    store: CircuitStore
    request: int | None
    prompt: str
    tokens: tuple[Token, ...]
    completions: tuple[Completion, ...]
    choice: Choice


class Turns:
    """What was shown before the present circuit, and what one went back from; the last at the end."""

    def __init__(self) -> None:
        self.past: list[Shown] = []
        self.future: list[Shown] = []

    def find(self, circuit: Circuit, present: Shown | None) -> CircuitStore | None:
        """What is known of the question that a circuit answers, if this sitting has shown it before."""
        key = key_of(circuit)
        shown = (one for one in (present, *self.past, *self.future) if one is not None)
        return next(
            (one.store for one in shown if one.store.circuit and key_of(one.store.circuit) == key),
            None,
        )

    def leave(self, before: Shown, store: CircuitStore) -> None:
        """Have what was shown before `store` for the past, each circuit once, and nothing to go on to."""
        if before.store is store:
            return
        past = (one for one in (*self.past, before) if one.store is not store)
        self.past = list(past)[-KEPT_QUESTIONS:]
        self.future.clear()

    def back(self, present: Shown | None) -> Shown:
        """The circuit before this one, if one is shown. Raises IndexError where there is none."""
        shown = self.past.pop()
        if present is not None:
            self.future.append(present)
        return shown

    def forward(self, present: Shown | None) -> Shown:
        """The circuit that one went back from. Raises IndexError where there is none."""
        shown = self.future.pop()
        if present is not None:
            self.past.append(present)
        return shown

    def forget_requests(self) -> None:
        """The worker is another: it has none of them."""
        for shown in (self.past, self.future):
            shown[:] = [msgspec.structs.replace(one, request=None) for one in shown]
