"""The circuit pane's tree: draws the row model, and moves in it."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from scd_tui.graph import NodeId
from scd_tui.history import View
from scd_tui.tui.bindings import tree_keys
from scd_tui.tui.ink import Line, Span
from scd_tui.tui.paint import Columns, row
from scd_tui.tui.place import restore
from scd_tui.tui.rows import Item, Rows
from scd_tui.tui.store import CircuitStore
from scd_tui.tui.view import Pane, strip_of

WELCOME: tuple[Line, ...] = (
    (("  Type a prompt and press ", "dim"), ("enter", "key"), (": the likeliest", "dim")),
    (("  next token is explained here, site by site,", "dim"),),
    (("  by the features that pushed for it.", "dim"),),
    (),
    (("  tab", "key"), (" leaves the prompt line; then", "dim")),
    (("  p", "key"), ("   chooses from the prompt sets", "dim")),
    (("  ?", "key"), ("   shows every key", "dim")),
)


class CircuitTree(Pane):
    """Draws `rows`, which it alone changes. `label` gives a node's explanation, "" for none."""

    BINDINGS: ClassVar[list[BindingType]] = tree_keys()
    NAME = "circuit"

    class Moved(Message):
        """Another row is under the cursor."""

    class Wanted(Message):
        """A node was unfolded whose upstream edges are not known."""

        def __init__(self, node: NodeId) -> None:
            super().__init__()
            self.node = node

    class FilterWanted(Message):
        """The filter key was pressed."""

    def __init__(self, label: Callable[[NodeId], str], *, name: str) -> None:
        super().__init__(id=name)
        self._label = label
        self.rows = Rows(label=label)
        self.welcome: tuple[Line, ...] = WELCOME

    @property
    def current(self) -> Item | None:
        return self.rows.current

    @property
    def line_count(self) -> int:
        return len(self.rows)

    def draw(self, y: int, width: int) -> tuple[Sequence[Span], bool]:
        item = self.rows.visible[y]
        columns = Columns.of(width)
        spans = row(item, self.rows.store, self._label, columns, self.rows.unfolded(y))
        return spans, y == self.rows.cursor

    def render_line(self, y: int) -> Strip:
        if len(self.rows) or not 0 < y <= len(self.welcome):
            return super().render_line(y)
        return strip_of(self, self.welcome[y - 1], self.scrollable_content_region.width)

    # --- what the app tells it ----------------------------------------------------------------

    def show(self, store: CircuitStore) -> None:
        """Show another circuit, from its top."""
        self.rows.reset(store)
        self.scroll_to(y=0, animate=False, force=True)
        self._changed()

    def grew(self) -> None:
        self.rows.update()
        self._changed()

    def upstream_changed(self, node: NodeId) -> None:
        self.rows.update_node(node)
        self._changed()

    def restore(self, view: View) -> None:
        """Unfold what was unfolded, and put the cursor where it was."""
        restore(self.rows, view)
        self._changed()

    def reveal(self, node: NodeId) -> bool:
        """Put the cursor on a node at its own site. Returns whether there is one."""
        if self.rows.reveal(node) is None:
            return False
        self._changed()
        return True

    def welcome_back(self, lines: Sequence[Line]) -> None:
        """Say more while there is no circuit yet."""
        self.welcome = (*WELCOME, *lines)
        self.refresh()

    def set_filter(self, text: str) -> None:
        self.rows.set_filter(text)
        self._changed()

    def _changed(self) -> None:
        self.relayout()
        self.keep_visible(self.rows.cursor)
        self.post_message(self.Moved())

    # --- moving -------------------------------------------------------------------------------

    def go(self, to: int | None) -> None:
        """Put the cursor on a row; None leaves it where it is."""
        if to is None:
            return
        old = self.rows.cursor
        if self.rows.move(to):
            self.redraw(old, self.rows.cursor)
            self.keep_visible(self.rows.cursor)
            self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        self.go(self.rows.cursor + step)

    def action_page(self, step: int) -> None:
        self.go(self.rows.cursor + step * self.page)

    def action_half(self, step: int) -> None:
        self.go(self.rows.cursor + step * max(1, self.page // 2))

    def action_top(self) -> None:
        self.go(0)

    def action_bottom(self) -> None:
        self.go(len(self.rows) - 1)

    def action_sibling(self, step: int) -> None:
        self.go(self.rows.sibling_index(step))

    def action_position(self, step: int) -> None:
        self.go(self.rows.position_index(step))

    # --- folding ------------------------------------------------------------------------------

    def _unfold(self) -> bool:
        item = self.current
        if item is None or not self.rows.unfold(self.rows.cursor):
            return False
        self._ask(item)
        self._changed()
        # What was unfolded comes into sight, as far as the row that was unfolded can stay there.
        here = self.rows.cursor
        self.keep_visible(min(self.rows.subtree_end(here) - 1, here + self.page - 1))
        return True

    def _ask(self, item: Item) -> None:
        """Ask for edges that are not known, or that could not be had last time."""
        if item.node is not None and item.kind != "place":
            state = self.rows.store.upstream_state(item.node)
            if state in ("unknown", "failed"):
                self.post_message(self.Wanted(item.node))

    def _fold(self) -> bool:
        if self.current is None or not self.rows.fold(self.rows.cursor):
            return False
        self._changed()
        return True

    def action_open(self) -> None:
        item = self.current
        if item is None:
            return
        if item.kind == "note":
            self._ask(item)
        elif not self._unfold():
            state = None if item.node is None else self.rows.store.upstream_state(item.node)
            if state == "failed":
                self._ask(item)
            else:
                self._fold()

    def action_toggle_fold(self) -> None:
        if self.current is not None and not self._unfold():
            self._fold()

    def action_unfold(self) -> None:
        if self.current is not None and not self._unfold() and self.current.open:
            self.go(self.rows.cursor + 1)

    def action_fold(self) -> None:
        item = self.current
        if item is None:
            return
        if not (item.open and self._fold()):
            self.go(self.rows.parent_index())

    def action_unfold_all(self) -> None:
        self.rows.unfold_all()
        self._changed()

    def action_fold_all(self) -> None:
        self.rows.fold_all()
        self._changed()

    def action_filter(self) -> None:
        self.post_message(self.FilterWanted())

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if 0 <= index < len(self.rows):
            again = index == self.rows.cursor
            self.go(index)
            if again:
                self.action_open()
