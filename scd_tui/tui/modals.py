"""The screens that open over the main one: help, prompt picker, and the question for a target."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from scd_tui.catalog.prompts import Prompt, PromptSet
from scd_tui.numbers import counted
from scd_tui.text import visible
from scd_tui.tui.bindings import close_keys, key, list_keys
from scd_tui.tui.dialogs import Dialog
from scd_tui.tui.ink import Line, Span, cut_start, pad, wrap
from scd_tui.tui.text_screen import TextScreen
from scd_tui.tui.view import Bar, Pane


class HelpScreen(TextScreen):
    """Every key that works now, and what the columns mean."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("modal.close", "escape,q,question_mark", "close", "close", "esc")
    ]

    def __init__(self, sections: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
        super().__init__("Help", "esc closes", pane="help")
        self._sections = sections

    def text(self, width: int) -> Sequence[Line]:
        return help_lines(self._sections, width)


READING = (
    ("effect", "what the metric is estimated to lose without the node: activation × gradient along "
               "its direction. + pushes towards the target, − away."),
    ("exact", "the same, measured by ablating the node (x, or in the background). ≠: the estimate "
              "has the other sign, or is more than twice or less than half of it."),
    ("→", "below an unfolded node: the weight of an edge, the part of that node's effect that "
          "arrives from this source along the direct path."),
    ("« » →", "in the prompt of the feature pane: « » stands around the token of this node, where its edge "
              "comes from; → before the token that the edge leads to. ¹ to ⁹: how strongly the feature "
              "fires there."),
    ("error", "what a site's dictionary leaves unexplained at a token. Errors are large, so their "
              "estimates are the least to be trusted, and trust leaves them out: look at exact."),
    ("bars", "of effects: against the largest effect. Of edges: against the largest edge into the "
             "same node. On a site's row: its share explained."),
    ("sums", "a site's row has the sum over all its active features; Σ on a group of edges only "
             "that of the edges shown. Rows of different sites do not add up to the metric."),
    ("share", "share explained: at each token, the site's features are summed; then Σ|sum| / "
              "Σ(|sum| + |error|). Explained variance is another thing (EV in the site's pane)."),
    ("trust", "rank correlation of |estimate| with |exact| over the strongest features, and how "
              "many signs agree."),
    ("last site", "without a contrast prompt, gradient effects of features, errors and the constant of "
                  "the last residual site sum to about zero: the final norm takes out what they share."),
    ("metric", "diff: logit(target) − logit(contrast). logp: log-probability of the target; its "
               "gradient fades as p nears 1. logit: logit minus the mean logit."),
)  # fmt: skip


def help_lines(sections: Sequence[tuple[str, Sequence[tuple[str, str]]]], width: int) -> list[Line]:
    """Sections of (keys, what they do), then how to read the screen."""
    lines: list[Line] = []
    for name, keys in sections:
        lines += [((name, "heading"),)]
        for keys_text, words in keys:
            keys_text = pad(keys_text, max(9, cell_len(keys_text) + 1))
            lines += wrap([(keys_text, "key"), (words, "text")], width, indent=9)
        lines.append(())
    lines.append((("reading the screen", "heading"),))
    for name, words in READING:
        lines += wrap([(pad(name, 10), "name"), (words, "text")], width, indent=10)
    return lines


class PickerRow(msgspec.Struct, frozen=True):
    """A line of the prompt picker: the head of a set, or one of its prompts."""

    group: PromptSet
    prompt: Prompt | None = None


class PromptList(Pane):
    """Prompt sets with their prompts, below one another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *list_keys(),
        key("picker.choose", "enter", "choose", "take this prompt", "enter"),
        key("picker.against", "c", "choose_against", "take it with its contrast prompt", "c"),
        key("picker.next", "J,tab", "next_set(1)", "next set", "tab"),
        key("picker.previous", "K,shift+tab", "next_set(-1)", "previous set", "⇧tab"),
    ]

    class Moved(Message):
        """Another prompt is under the cursor."""

    class Chosen(Message):
        """This prompt is wanted, with or without its contrast prompt."""

        def __init__(self, prompt: Prompt) -> None:
            super().__init__()
            self.prompt = prompt

    def __init__(self, sets: Iterable[PromptSet], *, name: str) -> None:
        super().__init__(name=name)
        self.rows = [
            row
            for group in sets
            for row in (PickerRow(group), *(PickerRow(group, p) for p in group.prompts))
        ]
        self.cursor = 1 if len(self.rows) > 1 else 0

    @property
    def current(self) -> PickerRow | None:
        return self.rows[self.cursor] if self.rows else None

    @property
    def line_count(self) -> int:
        return len(self.rows)

    def on_mount(self) -> None:
        self.relayout()

    def draw(self, y: int, width: int) -> tuple[Sequence[Span], bool]:
        row = self.rows[y]
        if row.prompt is None:
            group = row.group
            count = f" {counted(len(group.prompts), 'prompt')}"
            return [
                (f" {visible(group.name)}", "heading"),
                (count, "dim"),
                (f"  {visible(group.description)}", "dim"),
            ], y == self.cursor
        prompt = row.prompt
        wanted: list[Span] = [("  ", "text"), (visible(prompt.target), "towards")]
        if prompt.contrast is not None:
            wanted += [(" not", "dim"), (visible(prompt.contrast), "away")]
        room = max(10, width - 26)
        return [
            ("   ", "text"),
            (pad(cut_start(visible(prompt.text), room), room), "text"),
            *wanted,
        ], y == self.cursor

    def go(self, to: int, step: int = 1) -> None:
        """Move to a row, and on from the head of a set to a prompt."""
        old = self.cursor
        to = max(0, min(to, len(self.rows) - 1))
        if self.rows and self.rows[to].prompt is None:
            to = to + step if 0 <= to + step < len(self.rows) else to + 1
        self.cursor = max(0, min(to, len(self.rows) - 1))
        if self.cursor != old:
            self.redraw(old, self.cursor)
            # The head of the first set stays in sight.
            self.keep_visible(0 if self.cursor == 1 else self.cursor)
            self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        self.go(self.cursor + step, step)

    def action_page(self, step: int) -> None:
        self.go(self.cursor + step * self.page, step)

    def action_half(self, step: int) -> None:
        self.go(self.cursor + step * max(1, self.page // 2), step)

    def action_top(self) -> None:
        self.go(0)

    def action_bottom(self) -> None:
        self.go(len(self.rows) - 1)

    def action_next_set(self, step: int) -> None:
        heads = [index for index, row in enumerate(self.rows) if row.prompt is None]
        if not heads:
            return
        current = max((i for i, head in enumerate(heads) if head <= self.cursor), default=0)
        head = heads[(current + step) % len(heads)]
        self.go(head + 1)
        self.keep_visible(min(len(self.rows) - 1, head + self.page - 1))
        self.keep_visible(head)

    def action_choose(self) -> None:
        if self.current is not None and self.current.prompt is not None:
            alone = msgspec.structs.replace(self.current.prompt, contrast_prompt=None)
            self.post_message(self.Chosen(alone))

    def action_choose_against(self) -> None:
        if self.current is not None and self.current.prompt is not None:
            self.post_message(self.Chosen(self.current.prompt))


class PromptPicker(Dialog[Prompt | None]):
    """Choose a prompt, with its target and contrast, from the sets that ship with the program.

    It is answered without its contrast prompt, unless that was wanted too.
    """

    BINDINGS: ClassVar[list[BindingType]] = close_keys()

    def __init__(self, sets: tuple[PromptSet, ...]) -> None:
        super().__init__()
        self._sets = sets

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall wide") as dialog:
            dialog.border_title = Content("Prompts")
            dialog.border_subtitle = Content(
                "enter takes · c with contrast prompt · tab next set · esc"
            )
            yield PromptList(self._sets, name="prompts")
            yield Bar(name="note")

    def on_mount(self) -> None:
        self.query_one(PromptList).focus()
        self._describe()

    @on(PromptList.Moved)
    def _describe(self) -> None:
        """Below the list: what is known of the prompt, and its contrast prompt."""
        row = self.query_one(PromptList).current
        note = self.query_one("#note", Bar)
        if row is None or row.prompt is None:
            note.show()
            return
        width = max(10, note.size.width or 100)
        lines: list[Line] = [((cut_start(visible(row.prompt.text), width), "text"),)]
        if row.prompt.contrast_prompt is not None:
            other = cut_start(visible(row.prompt.contrast_prompt), width - 9)
            lines.append((("contrast ", "dim"), (other, "text")))
        lines += wrap([(visible(row.prompt.note), "dim")], width)[:2]
        note.show(*lines)

    @on(PromptList.Chosen)
    def _chosen(self, message: PromptList.Chosen) -> None:
        self.dismiss(message.prompt)

    def action_close(self) -> None:
        self.dismiss(None)
