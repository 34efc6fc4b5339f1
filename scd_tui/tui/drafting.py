"""Keeping what is being typed, as it is typed, and offering what a broken sitting left."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from scd_tui.decoding import Undecodable, decode_json
from scd_tui.drafts import Draft, Drafts
from scd_tui.graph import NodeId
from scd_tui.numbers import counted
from scd_tui.text import visible
from scd_tui.tui.ask import Texts
from scd_tui.tui.ink import Line, cut_start

REST_SECONDS = 0.5
"""From a key to the writing of what was typed: so much may be lost to a kill."""
OFFERED = 2
"""Unfinished prompts that the empty screen shows."""


class Drafting:
    """`later` calls a function after so many seconds, and `start` runs `write`."""

    def __init__(
        self,
        drafts: Drafts,
        later: Callable[[float, Callable[[], None]], object],
        start: Callable[[], object],
    ) -> None:
        self._drafts = drafts
        self._later = later
        self._start = start
        self._waiting = False

    def _touched(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._later(REST_SECONDS, self._rested)

    def _rested(self) -> None:
        self._waiting = False
        self._start()

    async def write(self) -> None:
        with suppress(OSError):  # a full disk is told where circuits are kept
            await asyncio.to_thread(self._drafts.save)

    def write_now(self) -> None:
        """In a signal's handler: the loop may be blocked by a terminal that is gone."""
        with suppress(OSError):
            self._drafts.save(0.2)

    async def take_over(
        self, asked: Sequence[str], notes: Callable[[str], Mapping[NodeId, str]]
    ) -> None:
        """Take over what was left, but for prompts that were `asked` and answered since, and for notes that
        are among the `notes` of their circuit's key."""

        def work() -> list[Draft]:
            self._drafts.take_over()
            left = self._drafts.notes()
            known = {key: notes(key) for key in {one.about for one in left}}
            return [o for o in left if o.text.strip() in known[o.about].get(NodeId(o.node), "")]

        with suppress(OSError):
            for one in await asyncio.to_thread(work):
                self._drafts.done(one.kind, one.about, one.node, one.text)
        for text in asked:
            self._drafts.done("prompt", text=text)

    def prompts(self) -> list[str]:
        """Unfinished prompts of earlier sittings, the last first."""
        return self._drafts.left("prompt")

    def offer(self) -> list[Line]:
        """What the empty screen says of what was left; nothing where nothing was."""
        lines: list[Line] = []
        if prompts := self.prompts():
            lines.append((("  ↑", "key"), (" goes on with an unfinished prompt:", "dim")))
            lines += [((" " * 6 + cut_start(visible(p), 60), "text"),) for p in prompts[:OFFERED]]
        for kind, key in (("note", "n"), ("question", "t")):
            if number := self._drafts.count("note" if kind == "note" else "question"):
                words = f" takes up {counted(number, f'unfinished {kind}')}, where it belongs"
                lines.append(((f"  {key}", "key"), (words, "dim")))
        return lines

    # --- what is typed ------------------------------------------------------------------------

    def prompt_typed(self, text: str) -> None:
        """The prompt line has this now."""
        self._drafts.put("prompt", text)
        self._touched()

    def prompt_asked(self, text: str) -> None:
        """It is this sitting's from now on, until it is answered."""
        self._drafts.done("prompt", text=text)

    def note_typed(self, circuit: str, node: str, text: str) -> None:
        """`circuit` is its key, "" for one that is being made: nothing is kept of that either."""
        if circuit:
            self._drafts.put("note", text, circuit, node)
            self._touched()

    def note_left(self, circuit: str, node: str, note: str) -> str:
        """The unfinished text of a note, "" if there is none that `note` does not say already."""
        found = self._drafts.left("note", circuit, node)
        return next((text for text in found if text.strip() not in note), "")

    def note_done(self, circuit: str, node: str, *, given_up: bool) -> None:
        """A written one stays until the sitting ends: it may not be in the history yet."""
        self._drafts.done("note", circuit, node)
        if given_up:
            self._drafts.put("note", "", circuit, node)
        self._touched()

    def question_typed(self, prompt: str, texts: Texts) -> None:
        self._drafts.put("question", msgspec.json.encode(texts).decode(), prompt)
        self._touched()

    def question_left(self, prompt: str) -> Texts | None:
        for text in self._drafts.left("question", prompt):
            with suppress(Undecodable):
                return decode_json(text.encode(), Texts)
        return None

    def question_asked(self, prompt: str) -> None:
        """It is this sitting's from now on, until it is answered."""
        self._drafts.done("question", prompt)

    def question_done(self, prompt: str, *, given_up: bool) -> None:
        """It was answered or given up."""
        if given_up:
            self._drafts.done("question", prompt)
        self._drafts.put("question", "", prompt)
        self._touched()

    def close(self, in_order: bool) -> None:
        self._drafts.close(in_order)
