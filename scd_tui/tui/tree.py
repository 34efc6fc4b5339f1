"""The circuit pane's tree: draws the row model, and moves in it."""

from collections.abc import Callable, Sequence
from typing import ClassVar
from weakref import WeakKeyDictionary

import msgspec
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer

from scd_tui.graph import NodeId
from scd_tui.history import View
from scd_tui.text import visible
from scd_tui.tui.bindings import tree_keys
from scd_tui.tui.ink import Line, Span, wrap
from scd_tui.tui.item import EDGES, Item
from scd_tui.tui.look import BY, ORDER_WORDS, ORDERS, next_level, threshold, threshold_words
from scd_tui.tui.outline import hidden_below
from scd_tui.tui.paint import Columns, RowState, quoted, row
from scd_tui.tui.place import restore, view_of
from scd_tui.tui.rows import Rows
from scd_tui.tui.store import CircuitStore
from scd_tui.tui.trail import Trail
from scd_tui.tui.view import Pane, strip_of
from scd_tui.worker.protocol import Way

WELCOME: tuple[Line, ...] = (
    (("  Type a prompt and press ", "dim"), ("enter", "key"), (": the likeliest", "dim")),
    (("  next token is explained here, site by site,", "dim"),),
    (("  by the features that pushed for it.", "dim"),),
    (),
    (("  tab", "key"), (" leaves the prompt line; then", "dim")),
    (("  p", "key"), ("   chooses from the prompt sets", "dim")),
    (("  ?", "key"), ("   shows every key", "dim")),
)


def nothing_has(text: str) -> Line:
    """Said where a filter finds nothing."""
    words: Span = (f"no row has {quoted(visible(text))}: ", "dim")
    return (words, ("esc", "key"), (" shows all", "dim"))


SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SPIN_SECONDS = 0.12


class CircuitTree(Pane):
    """Draws `rows`, which it alone changes.

    `label` gives a node's explanation, "" for none, and `hint` why there is none.
    """

    BINDINGS: ClassVar[list[BindingType]] = tree_keys()
    NAME = "circuit"

    class Moved(Message):
        """Another row is under the cursor."""

    class Resized(Message):
        """The pane has another size now, and what stands around it needs another width."""

    class Wanted(Message):
        """A node was unfolded whose upstream edges are not known."""

        def __init__(self, node: NodeId) -> None:
            super().__init__()
            self.node = node

    class NeighbourWanted(Message):
        """The node that lies this way from a node is wanted."""

        def __init__(self, node: NodeId, way: Way) -> None:
            super().__init__()
            self.node = node
            self.way = way

    class Told(Message):
        """There is something to say of what a key did."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    class FilterWanted(Message):
        """The filter key was pressed."""

    def __init__(
        self,
        label: Callable[[NodeId], str],
        hint: Callable[[NodeId], str],
        *,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self._label = label
        self._hint = hint
        self.rows = Rows(label=label)
        self.trail = Trail()
        self._kept: WeakKeyDictionary[CircuitStore, tuple[Rows, Trail]] = WeakKeyDictionary()
        self._towards: NodeId | None = None
        self._spinner: Timer | None = None
        self._frame = 0
        self.welcome: tuple[Line, ...] = WELCOME
        self._alone: tuple[Line, ...] = ()

    @property
    def view(self) -> tuple[Rows, int, int]:
        """The rows, the first one on the screen, and how many there are room for."""
        return self.rows, self.scroll_offset.y, self.page

    def columns(self, width: int) -> Columns:
        """The columns of rows of `width` cells, in the view that is shown."""
        return Columns.of(width, sites=self.rows.look.by != "site")

    @property
    def current(self) -> Item | None:
        return self.rows.current

    @property
    def line_count(self) -> int:
        return len(self.rows)

    def draw(self, y: int, width: int) -> tuple[Sequence[Span], bool]:
        item = self.rows.visible[y]
        state = RowState(
            unfolded=self.rows.unfolded(y),
            again=self.rows.first_place(item) is not None,
            spinner=SPINNER[self._frame % len(SPINNER)] if self._computing(item) else "",
            hidden=hidden_below(item, self.rows.store, self.rows.look),
        )
        spans = row(item, self.rows.store, self._label, self.columns(width), state)
        if item.kind == "node" and item.node is not None and not self._label(item.node):
            spans = [*spans, (self._hint(item.node), "dim")]
        return spans, y == self.rows.cursor

    def _computing(self, item: Item) -> bool:
        return item.node is not None and self.rows.store.upstream_state(item.node) == "pending"

    def _spin(self) -> None:
        """Turn the spinners for as long as there are any, and not a moment longer."""
        if self._spinner is None and self.rows.store.pending:
            self._spinner = self.set_interval(SPIN_SECONDS, self._turn)

    def _turn(self) -> None:
        if not self.rows.store.pending:
            if self._spinner is not None:
                self._spinner.stop()
            self._spinner = None
            return
        self._frame += 1
        top = self.scroll_offset.y
        shown = enumerate(self.rows.visible[top : top + self.size.height], top)
        self.redraw(*(y for y, item in shown if self._computing(item)))

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        lines = () if len(self.rows) else self._instead(width)
        if not 0 < y <= len(lines):
            return super().render_line(y)
        return strip_of(self, lines[y - 1], width)

    def _instead(self, width: int) -> Sequence[Line]:
        """What stands there while there are no rows."""
        if not self.rows.filter or not self.rows.store.nodes:
            return self._alone or self.welcome
        said = wrap(nothing_has(self.rows.filter), max(4, width - 4))
        return [(("  ", "text"), *line) for line in said]

    # --- what the app tells it ----------------------------------------------------------------

    def show(self, store: CircuitStore) -> None:
        """Show another circuit: as it was left if it was shown before, else from its top."""
        if store in self._kept:
            self.rows, self.trail = self._kept[store]
            self.rows.update()
        else:
            look = self.rows.look
            self.rows, self.trail = Rows(label=self._label), Trail()
            self.rows.look = msgspec.structs.replace(look, only=None)
            self.rows.reset(store)
            self._kept[store] = (self.rows, self.trail)
        self._towards = None
        self.scroll_to(y=0, animate=False, force=True)
        self._changed()

    def grew(self) -> None:
        self.rows.update()
        self._changed()

    def labels_changed(self) -> None:
        """More is known of nodes: draw the rows that say so, and those that the filter now finds."""
        if self.rows.filter and self.rows.search_again():
            self._changed()
        else:
            self.redraw_changed()

    def upstream_changed(self, node: NodeId) -> None:
        self.rows.update_node(node)
        self._changed()
        current = self.current
        if node == self._towards and current is not None and current.node == node:
            if self.rows.store.upstream_state(node) == "known":
                self.action_strongest()
            elif self.rows.store.upstream_state(node) == "failed":
                self._towards = None
        self._spin()

    def restore(self, view: View) -> None:
        """Look at it as it was looked at: what was unfolded, and the cursor where it was."""
        restore(self.rows, view)
        self._changed()

    def recalled(self, store: CircuitStore, view: View | None) -> None:
        """More is known of a circuit, from when it was looked at earlier in this way.

        Where somebody has begun to walk it meanwhile, nothing is taken from under the cursor.
        """
        if store not in self._kept:
            return
        rows, _ = self._kept[store]
        rows.update()
        if view is not None:
            here = view_of(rows.top, rows.current, others=rows.others)
            restore(rows, view, also=not here.untouched)
        if rows is self.rows:
            self._changed()

    def welcome_back(self, lines: Sequence[Line]) -> None:
        """Say more while there is no circuit yet."""
        self.welcome = (*WELCOME, *lines)
        self.refresh()

    def stand_in(self, lines: Sequence[Line]) -> bool:
        """Show these while there is no circuit, else the welcome. Returns whether they are new."""
        if tuple(lines) == self._alone:
            return False
        self._alone = tuple(lines)
        self.refresh()
        return True

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

    def jump(self, to: int | None) -> bool:
        """Go to a row in a way that `back` undoes. Returns whether there is such a row."""
        if to is None:
            return False
        if to != self.rows.cursor:
            self.trail.leave(self.current)
        self._scrolled_to(to)
        return True

    def _scrolled_to(self, to: int) -> None:
        """Rows above may have been unfolded on the way: everything is drawn again."""
        self.rows.move(to)
        self._changed()

    def jump_to_node(self, node: NodeId) -> bool:
        """Go to a node's own place. Returns whether it is shown in this view."""
        here = self.current
        index = self.rows.reveal(node)
        if index is None:
            return False
        self.trail.leave(here)
        self._scrolled_to(index)
        return True

    def back(self) -> bool:
        return self._return(self.trail.back(self.rows))

    def forward(self) -> bool:
        return self._return(self.trail.forward(self.rows))

    def _return(self, item: Item | None) -> bool:
        index = None if item is None else self.rows.show_item(item)
        if index is None:
            return False
        self._scrolled_to(index)
        return True

    def action_target(self) -> None:
        """To the node that this one leads into: two rows up in the tree, or the metric."""
        item = self.current
        while item is not None and item.kind not in (*EDGES, "root"):
            item = item.parent
        if item is not None and item.kind in EDGES and item.parent is not None:
            self.jump(self.rows.show_item(item.parent))
        elif self.rows.store.root is not None:
            self.jump(self.rows.reveal(self.rows.store.root))

    def action_strongest(self) -> None:
        """Unfold the node and go to the strongest edge into it, once that is known."""
        item = self.current
        if item is None or item.node is None:
            return
        state = self.rows.store.upstream_state(item.node)
        if state == "leaf":
            self.post_message(self.Told("an embedding: nothing is upstream of it"))
            return
        self._towards = item.node
        if not item.open:
            self._unfold()
        elif state != "known":
            self._ask(item)
        if self.rows.store.upstream_state(item.node) != "known":
            return
        self._towards = None
        edges = [
            child
            for group in item.children or ()
            for child in (self.rows.children_of(group) if group.kind == "group" else ())
        ]
        if not edges:
            self.post_message(self.Told("no edge into it is shown"))
            return
        strongest = max(edges, key=lambda one: abs(one.weight or 0.0))
        self.jump(self.rows.show_item(strongest))

    def action_first_place(self) -> None:
        """To where this row's node was unfolded first, or else to its place in the view."""
        item = self.current
        if item is None or item.node is None:
            return
        first = self.rows.first_place(item)
        if first is not None:
            self.jump(self.rows.show_item(first))
        elif not self.jump_to_node(item.node):
            self.post_message(self.Told("its own place is hidden: + and e show more"))

    def action_neighbour(self, way: Way) -> None:
        item = self.current
        if item is None or item.node is None:
            self.post_message(self.Told("put the cursor on a node first"))
        else:
            self.post_message(self.NeighbourWanted(item.node, way))

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

    # --- the look -----------------------------------------------------------------------------

    def look(self, **changes: object) -> None:
        """Look at the tree otherwise from now on."""
        self.rows.set_look(msgspec.structs.replace(self.rows.look, **changes))
        self._changed()

    def action_by(self) -> None:
        by = BY[(BY.index(self.rows.look.by) + 1) % len(BY)]
        self.look(by=by)
        self.post_message(self.Told(f"nodes by {by}"))

    def action_order(self) -> None:
        order = ORDERS[(ORDERS.index(self.rows.look.order) + 1) % len(ORDERS)]
        self.look(order=order)
        self.post_message(self.Told(f"sorted by {ORDER_WORDS[order]}"))

    def action_level(self, step: int) -> None:
        share = next_level(self.rows.look, step)
        self.look(least=share)
        least = threshold(self.rows.store, self.rows.look)
        words = f"shown from {threshold_words(least)} on, {100 * share:g}% of the largest effect"
        self.post_message(self.Told(words if share else "however weak, shown"))

    def action_errors(self) -> None:
        self.look(errors=not self.rows.look.errors)

    def marks_changed(self) -> None:
        """Pins, notes or supernodes are others than before."""
        self.rows.update()
        self._changed()

    def action_filter(self) -> None:
        self.post_message(self.FilterWanted())

    def on_resize(self) -> None:
        self.post_message(self.Resized())

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if 0 <= index < len(self.rows):
            again = index == self.rows.cursor
            self.go(index)
            if again:
                self.action_open()
