"""The main screen: lays out the panes, and draws what the session knows into them."""

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from scd_tui.numbers import counted, probability
from scd_tui.text import visible
from scd_tui.tui import alone
from scd_tui.tui.bindings import screen_keys
from scd_tui.tui.completions import CompletionList
from scd_tui.tui.data_input import DataInput
from scd_tui.tui.detail import describe, peek, question_spans, title
from scd_tui.tui.hints import Focus, Now, first_keys, hints
from scd_tui.tui.ink import Span, between, width_of, wrap
from scd_tui.tui.labelling import Labelling
from scd_tui.tui.lines import header, last_words, prompt_count, status
from scd_tui.tui.paint import heading, quoted, root_text
from scd_tui.tui.prompt_line import PromptLine
from scd_tui.tui.records import RecordState
from scd_tui.tui.session import Session
from scd_tui.tui.tally import crumbs, tally
from scd_tui.tui.text_pane import TextPane
from scd_tui.tui.tree import CircuitTree, nothing_has
from scd_tui.tui.view import Bar, Pane, PaneTitle
from scd_tui.wording import place_words

PANES = ("completions", "circuit", "feature")
NARROW = 100
"""Columns below which one pane is shown at a time."""
WIDE = 124
"""Columns from which the side panes get all the room that they like."""
REST_SECONDS = 0.08
"""How long the cursor rests before what is missing about its row is asked for."""
ANSWER_SECONDS = 0.05
"""How much later the feature pane follows it: with what has come by then, so that it is drawn once."""
PEEK_LINES = 2
"""Height of the summary below the tree that a narrow screen shows."""
COUNT_CELLS = 14
FILTER_COUNT_CELLS = 34


class MainScreen(Screen[None]):
    """Prompt line, completions, circuit and feature. Holds no state but what is on the screen.

    `labelling` gives what is known of features.
    """

    BINDINGS: ClassVar[list[BindingType]] = screen_keys()
    AUTO_FOCUS = ""

    class Rested(Message):
        """The cursor has come to rest in the tree: what is missing about its row is wanted now."""

    def __init__(
        self,
        session: Session,
        prompt: str,
        labelling: Labelling,
    ) -> None:
        super().__init__()
        # Textual reads these from the instance as well as from the class.
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW, "-medium"), (WIDE, "-wide")]
        self._session = session
        self._labelling = labelling
        self._pane = "circuit"
        self._rest: Timer | None = None
        self._asked = False
        self._bars: dict[str, Bar] = {}
        self._keymap: Mapping[str, str] | None = None
        self._keys: dict[str, str] = {}
        self.circuit_tree = CircuitTree(labelling.label, labelling.hint, name="circuit")
        self.completions = CompletionList(name="completions")
        self.feature = TextPane(name="feature")
        self._prompt = prompt
        self.prompt_line = PromptLine(
            placeholder="type a prompt, then enter; tab and p choose from the sets",
            name="prompt",
        )
        self._panes: dict[str, Pane] = {
            "completions": self.completions,
            "circuit": self.circuit_tree,
            "feature": self.feature,
        }
        self._filter = DataInput(name="filter")
        self._filter_line = Horizontal(id="filter-line")
        self._titles = {name: PaneTitle(name.capitalize()) for name in PANES}
        self._boxes = {name: Vertical(id=f"{name}-box", classes="pane") for name in PANES}
        self._boxes["circuit"].add_class("current")

    def compose(self) -> ComposeResult:
        yield self.bar("header")
        with Horizontal(id="prompt-line"):
            yield self.bar("prompt-name")
            yield self.prompt_line
            yield self.bar("prompt-count")
        with Horizontal(id="panes"):
            with self._boxes["completions"]:
                yield self._titles["completions"]
                with Vertical(classes="frame"):
                    yield self.completions
            with self._boxes["circuit"]:
                yield self._titles["circuit"]
                with Vertical(classes="frame"):
                    yield self.bar("crumbs")
                    yield self.bar("columns")
                    yield self.circuit_tree
                    yield self.bar("tally")
                    yield self.bar("peek")
                    with self._filter_line:
                        yield self.bar("filter-name")
                        yield self._filter
                        yield self.bar("filter-count")
            with self._boxes["feature"]:
                yield self._titles["feature"]
                with Vertical(classes="frame"):
                    yield self.feature
        yield self.bar("last-words")
        yield self.bar("status")

    def on_mount(self) -> None:
        self.prompt_line.value = self._prompt
        self.bar("prompt-name").show([(" Prompt", "dim")])
        self.bar("filter-name").show([("/", "key")])
        self.draw_all()
        self.set_focus(self.circuit_tree if self._prompt else self.prompt_line)

    def bar(self, name: str) -> Bar:
        """The line or lines of this name, made when first asked for."""
        return self._bars.setdefault(name, Bar(name=name))

    # --- drawing ------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw_all)

    def on_screen_resume(self) -> None:
        """The terminal may have another size than when another screen was opened over this one."""
        self.call_after_refresh(self.draw_all)

    def on_descendant_focus(self) -> None:
        for name, box in self._boxes.items():
            self._titles[name].set_class(box.has_focus_within, "-active")
        self.draw_lines()

    @on(CircuitTree.Resized)
    def _resized(self) -> None:
        self.draw_circuit_frame()
        self.draw_feature(top=False)

    @on(CircuitTree.Moved)
    def _moved(self, message: CircuitTree.Moved) -> None:
        message.stop()
        self.draw_circuit_frame()
        self._labelling.moved()
        if self._rest is not None and not self._asked:
            self._rest.reset()
            return
        if self._rest is not None:
            self._rest.stop()
        self._asked = False
        self._rest = self.set_timer(REST_SECONDS, self._rested)

    def _rested(self) -> None:
        self._asked = True
        self._rest = self.set_timer(ANSWER_SECONDS, self._follow)
        self.post_message(self.Rested())

    def _follow(self) -> None:
        self._rest, self._asked = None, False
        self.draw_feature()
        self.draw_status()

    def draw_all(self) -> None:
        self.draw_lines()
        self.draw_completions()
        self.draw_circuit_frame()
        self.draw_feature(top=False)

    def draw_lines(self) -> None:
        """The lines at the top and the bottom."""
        session, width = self._session, self.size.width
        self.bar("header").show(header(session, width))
        self._draw_alone()
        count, counted = self.bar("prompt-count"), prompt_count(session)
        cells = max(COUNT_CELLS, width_of(counted))
        if count.styles.width is None or count.styles.width.value != cells:
            count.styles.width = cells
        count.show(between([], counted, cells))
        self.draw_status()
        words = last_words(session, width)
        bar = self.bar("last-words")
        if tuple(words) != bar.lines:
            # Only on a change: a new height lays the whole screen out again.
            bar.set_class(bool(words), "shown")
            bar.styles.height = max(1, len(words))
            bar.show(*words)

    def draw_status(self) -> None:
        """The bottom line: what runs, what there is to say, and the keys that apply now."""
        self.bar("status").show(
            status(self._session, self._hints(), self.size.width, self._labelling.status())
        )

    def _hints(self) -> list[tuple[str, str]]:
        """The keys that apply now, with what they do."""
        focused: Widget | None = self.focused
        focus: Focus = "feature"
        if isinstance(focused, Input):
            focus = "filter" if focused.id == "filter" else "prompt"
        elif isinstance(focused, CompletionList):
            focus = "completions"
        elif isinstance(focused, CircuitTree):
            focus = "circuit"
        offered = self._session.offered_contrast
        now = Now(
            focus,
            self.circuit_tree.current,
            running=self._session.running,
            filtered=bool(self.circuit_tree.rows.filter),
            typed=bool(self.prompt_line.value),
            contrast="" if offered is None else visible(offered.token.text),
        )
        keymap = self.app._keymap
        if keymap is not self._keymap:
            self._keymap, self._keys = keymap, first_keys(keymap)
        return [(self._keys[name], words) for name, words in hints(now, self._session.store)]

    def draw_completions(self) -> None:
        session = self._session
        circuit = session.store.circuit
        below: list[Span] = []
        if circuit is not None and circuit.prompt == session.prompt:
            below = [("metric ", "dim"), (circuit.target.metric, "key"), (": ", "dim")]
            below += question_spans(circuit)
            if not circuit.said and (place := place_words(circuit)):
                below.append((f", {place}", "text"))
            below += self._offered()
        self.completions.show(
            session.completions, session.target_token, session.contrast_token, below
        )

    def _offered(self) -> list[Span]:
        """A better contrast than the likeliest token, with the key that takes it."""
        offered = self._session.offered_contrast
        if offered is None:
            return []
        self._hints()  # has the keys as they are now
        return [
            (" · ", "dim"),
            (self._keys["ask.contrast"], "key"),
            (": contrast ", "text"),
            (quoted(visible(offered.token.text)), "token"),
            (f" {probability(offered.probability)}", "dim"),
            (", in the prompt", "text"),
        ]

    def _draw_alone(self) -> None:
        """What needs no dictionaries, where there can be no circuit for want of them."""
        # on a narrow screen one pane is as wide as the screen, but for its frame
        width = self.size.width - 2 if self.has_class("-narrow") else self.circuit_tree.size.width
        if self.circuit_tree.stand_in(alone.lines(self._session, max(20, width))):
            self.draw_circuit_frame()

    def draw_circuit_frame(self) -> None:
        """What stands above the tree: title, the cursor's place, and column heads."""
        session, rows = self._session, self.circuit_tree.rows
        text = alone.TITLE if session.lacks_dictionaries else "Circuit"
        if session.store.circuit is not None:
            text = f"Circuit for {root_text(session.store)}"
        elif session.partial:
            text = "Circuit, in the making"
        self._titles["circuit"].entitle(text, f"{rows.cursor + 1}/{len(rows)}" if len(rows) else "")
        columns = self.circuit_tree.columns(
            max(20, self.circuit_tree.scrollable_content_region.width)
        )
        self.bar("columns").show(heading(columns) if len(rows) else [])
        width = max(20, self.circuit_tree.size.width)
        self.bar("tally").show(tally(rows, width) if rows.store.nodes else [])

    def draw_feature(self, top: bool = True) -> None:
        """What the row under the cursor is, from its first line if `top`."""
        item, store = self.circuit_tree.current, self._session.store
        tree = self.circuit_tree
        self.bar("crumbs").show(crumbs(item, tree.rows, max(20, tree.size.width)))
        self._titles["feature"].entitle(title(item, store))
        label = "" if item is None or item.node is None else self._labelling.label(item.node)
        if self.has_class("-narrow"):
            # Its box may not have its new size yet; one pane is as wide as the screen, but for its frame.
            width = self.size.width - 2
            self.bar("peek").show(*peek(item, store, label, width, PEEK_LINES))
        if item is None:
            text = tree.rows.filter
            words = wrap(nothing_has(text), self.feature.text_width) if text else []
            self.feature.show(words)
            return
        state = RecordState() if item.node is None else self._labelling.state(item.node)
        lines = describe(item, store, state, label, self.feature.text_width)
        self.feature.show(lines, top=top)

    def draw_feature_again(self) -> None:
        """More is known of the row: say so where one is reading. While one moves, rest will draw it."""
        if self._rest is None:
            self.draw_feature(top=False)

    # --- panes --------------------------------------------------------------------------------

    def action_pane(self, name: str) -> None:
        """Go to a pane; on a narrow screen, show it in place of the others."""
        for pane in PANES:
            self._boxes[pane].set_class(pane == name, "current")
        self._pane = name
        # At once: keys that were typed ahead belong to the pane that was asked for.
        self.set_focus(self._panes[name])
        self.call_after_refresh(self.draw_all)

    @property
    def current_pane(self) -> Pane:
        """The pane that was gone to last."""
        return self._panes[self._pane]

    def action_focus_prompt(self) -> None:
        self.set_focus(self.prompt_line)

    def action_next_pane(self, step: int) -> None:
        order = ("prompt", *PANES)
        current = self.focused.id if self.focused is not None else None
        index = order.index(current) if current in order else order.index(self._pane)
        name = order[(index + step) % len(order)]
        if name == "prompt":
            self.action_focus_prompt()
        else:
            self.action_pane(name)

    def action_step_back(self) -> None:
        """End the filter; or else cancel what runs; or else go to the circuit."""
        if not self.close_filter() and not self._session.cancel():
            self.action_pane("circuit")

    # --- filter -------------------------------------------------------------------------------

    @on(CircuitTree.FilterWanted)
    def _open_filter(self) -> None:
        self._filter_line.add_class("shown")
        self.set_focus(self._filter)
        self._draw_filter_count()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self.circuit_tree.set_filter(event.value)
        self._draw_filter_count()

    @on(Input.Submitted, "#filter")
    def _filter_submitted(self) -> None:
        self.set_focus(self.circuit_tree)

    def _draw_filter_count(self) -> None:
        rows = self.circuit_tree.rows
        hidden = counted(rows.hidden, "row")
        text = f"{rows.matches:,} match · {hidden} hidden " if rows.filter else ""
        self.bar("filter-count").show(between([], [(text, "dim")], FILTER_COUNT_CELLS))

    def close_filter(self) -> bool:
        """Show all rows again. Returns whether there was a filter to end."""
        line = self._filter_line
        if not line.has_class("shown"):
            return False
        with self.prevent(Input.Changed):
            self._filter.value = ""
        line.remove_class("shown")
        if self.circuit_tree.rows.filter:
            self.circuit_tree.set_filter("")
        self.set_focus(self.circuit_tree)
        return True
