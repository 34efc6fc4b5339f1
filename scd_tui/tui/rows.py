"""The rows of the circuit tree as a flat list, in plain Python.

The tree is unfolded lazily: an item has no children until it is first opened. `Rows.visible` is the
list that is drawn, so that drawing a line is an index into it, opening is one splice and closing
one deletion. Items keep their identity, and what was unfolded below them, while the store grows.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from scd_tui.graph import NodeId, parse_node
from scd_tui.history import By, Look
from scd_tui.tui.item import EDGES, Item
from scd_tui.tui.look import LeftOut, left_out
from scd_tui.tui.outline import below, home, top_level
from scd_tui.tui.store import CircuitStore

FOLDERS = ("pins", "super", "place", "token")
"""Rows of the top level that have nodes below them which are not edges."""


class Left(NamedTuple):
    """A way of grouping as it was left, for when one comes back to it."""

    top: list[Item]
    built: dict[NodeId, list[Item]]
    current: Item | None


class Rows:
    """The flat row model with its cursor and filter.

    `label` gives what is known of a node in words, for the filter; "" where nothing is.
    """

    def __init__(
        self, store: CircuitStore | None = None, label: Callable[[NodeId], str] | None = None
    ) -> None:
        self.store = store or CircuitStore()
        self.look = Look()
        self._left_out: LeftOut | None = None
        self._label = label or (lambda node: "")
        self.top: list[Item] = []
        self.visible: list[Item] = []
        self.cursor = 0
        self.filter = ""
        self.matches = 0
        self.searched = 0
        self._exempt: set[Item] = set()
        self._before_filter: Item | None = None
        self._built: dict[NodeId, list[Item]] = {}
        self._left: dict[By, Left] = {}
        self.update()

    def __len__(self) -> int:
        return len(self.visible)

    @property
    def current(self) -> Item | None:
        return self.visible[self.cursor] if self.visible else None

    @property
    def others(self) -> Mapping[By, tuple[list[Item], Item | None]]:
        """The top rows, and the one under the cursor, of each other way of grouping that was left."""
        return {by: (list(left.top), left.current) for by, left in self._left.items()}

    @property
    def hidden(self) -> int:
        """How many built rows the filter keeps from the screen."""
        return max(0, self.searched - len(self.visible)) if self.filter else 0

    @property
    def left_out(self) -> LeftOut:
        """How many nodes the look keeps from the screen, wherever they would stand."""
        if self._left_out is None:
            self._left_out = left_out(self.store, self.look)
        return self._left_out

    # --- building -----------------------------------------------------------------------------

    def reset(self, store: CircuitStore) -> None:
        """Show another circuit: everything folded, but the last site."""
        self.store = store
        self.top, self.visible, self.cursor = [], [], 0
        self.filter = ""
        self._exempt.clear()
        self._built, self._left, self._before_filter = {}, {}, None
        self.update()
        self._open_first()

    def _open_first(self) -> None:
        for index, item in enumerate(self.visible):
            if item.kind in ("place", "token"):
                self.unfold(index)
                break

    def set_look(self, look: Look) -> None:
        """Group, sort and leave out otherwise.

        A way of grouping that was left comes back as it was. The cursor stays with its node, if that is
        shown; where it has not left that since, it is back on the very row.
        """
        by, current = self.look.by, self.current
        self.look = look
        if look.by == by:
            self.update()
            return
        node, at_the_top = None if current is None else current.node, self.cursor == 0
        self._before_filter = None
        self._left[by] = Left(self.top, self._built, current)
        left = self._left.pop(look.by, None)
        self.top, self._built = ([], {}) if left is None else (left.top, left.built)
        self.visible, self.cursor = [], 0
        self._exempt.clear()
        self.update()
        row = None if left is None else left.current
        if row is not None and (at_the_top or node is None or row.node == node):
            self._put_cursor(row)
        elif node is not None and (index := self.reveal(node)) is not None:
            self.cursor = index
        elif left is None:
            self._open_first()

    def reveal(self, node: NodeId) -> int | None:
        """Unfold what is above a node's own place, and return its index; None if it is not shown."""
        level, path = self.top, home(node, self.store, self.look)
        if node == self.store.root:
            return next((n for n, item in enumerate(self.visible) if item.kind == "root"), None)
        for key in path:
            item = next((one for one in level if one.key == key and one.kind != "super"), None)
            if item is None:
                return None
            if (index := self._index(item)) is None:
                return None
            self.unfold(index)
            level = item.children or []
        found = next((one for one in level if one.node == node and one.kind == "node"), None)
        return None if found is None else self._index(found)

    def first_place(self, item: Item) -> Item | None:
        """Where a row's node was unfolded first, if that is elsewhere and still unfolded."""
        if item.node is None or item.kind != "node":
            return None
        built = self._built.get(item.node)
        if not built or built[0] is item or not built[0].open:
            return None
        return built[0]

    def show_item(self, item: Item) -> int | None:
        """Unfold what is above a row that is there already, and return its index."""
        above = item.parent
        changed = False
        while above is not None:
            changed = changed or not above.open
            above.open = True
            above = above.parent
        if changed:
            self._relist(self.current)
        return self._index(item)

    def update(self) -> None:
        """Take in what the store has learned: new sites, new nodes, new edges."""
        current, self._left_out = self.current, None
        wanted = top_level(self.store, self.look)
        known = {(item.kind, item.key): item for item in self.top}
        self.top = [
            known.get((kind, key)) or Item(kind, key, None, node) for kind, key, node, _ in wanted
        ]
        for item in self.top:
            item.last = item is self.top[-1]
        for item in list(self._walk(self.top, lambda item: item.children is not None)):
            if item.children is not None:
                self._rebuild(item)
        self._relist(current)

    def update_node(self, node: NodeId) -> None:
        """Take in what the store has learned of one node's upstream, wherever it is unfolded."""
        items, self._left_out = self._built.get(node, []), None
        if not items:
            return
        current = self.current
        for item in items:
            self._rebuild(item)
        if self.filter:
            self._relist(current)
            return
        for item in items:
            if item.open and (index := self._index(item)) is not None:
                under = list(self._walk(item.children or [], lambda child: child.open))
                self.visible[index + 1 : self.subtree_end(index)] = under
        self._put_cursor(current)

    def _index(self, item: Item) -> int | None:
        """Where an item is on the screen; None where something above it is folded."""
        above = item.parent
        while above is not None:
            if not above.open:
                return None
            above = above.parent
        try:
            return self.visible.index(item)
        except ValueError:
            return None

    def _relist(self, current: Item | None) -> None:
        """Make the list of visible rows anew and put the cursor where it was, or near it."""
        if self.filter:
            self._apply_filter()
        else:
            self.visible = list(self._walk(self.top, lambda item: item.open))
        self._put_cursor(current)

    def _put_cursor(self, current: Item | None) -> None:
        item = current
        while item is not None:
            try:
                self.cursor = self.visible.index(item)
                return
            except ValueError:
                item = item.parent
        self.cursor = max(0, min(self.cursor, len(self.visible) - 1))

    @staticmethod
    def _walk(items: list[Item], into: Callable[[Item], bool]) -> Iterator[Item]:
        """Depth first, without recursion: a path can be of any length."""
        stack = items[::-1]
        while stack:
            item = stack.pop()
            yield item
            if item.children and into(item):
                stack.extend(item.children[::-1])

    def _rebuild(self, item: Item) -> None:
        """Make the children of an item from the store; those that were there are kept."""
        known = {(child.kind, child.key): child for child in item.children or ()}
        children: list[Item] = []
        for kind, key, node, weight in below(item, self.store, self.look):
            child = known.get((kind, key))
            if child is None:
                child = Item(kind, key, item, node, weight)
                # The edges are what one unfolds a node for; the filter searches the weak ones too.
                if kind in EDGES:
                    child.open = kind == "group"
                    self._rebuild(child)
            child.weight = weight
            child.last = False
            children.append(child)
        if children:
            children[-1].last = True
        if item.children is None and item.node is not None and item.kind in ("node", "root"):
            self._built.setdefault(item.node, []).append(item)
        item.children = children

    def children_of(self, item: Item) -> list[Item]:
        """The rows below an item, made now if it was never opened."""
        if item.children is None:
            self._rebuild(item)
        return item.children or []

    def show_open(self, current: Item | None) -> None:
        """Take in that items were opened and closed by others; the cursor goes to `current`."""
        self._relist(current)

    # --- folding ------------------------------------------------------------------------------

    def foldable(self, item: Item) -> bool:
        if item.kind == "note":
            return False
        if item.kind in ("node", "root") and item.node is not None:
            return self.store.upstream_state(item.node) != "leaf"
        return True

    def unfold(self, index: int) -> bool:
        """Open the row at `index`. Returns whether anything changed.

        A node whose edges are not known yet gets a note for a child; asking is up to the caller.
        """
        item = self.visible[index]
        if not self.foldable(item):
            return False
        if item.children is None:
            self._rebuild(item)
        if item.open and not (self.filter and item not in self._exempt):
            return False
        item.open = True
        if self.filter:
            # Whoever unfolds a match wants to see what is below it, matching or not, and be there.
            self._before_filter = None
            self._exempt.add(item)
            self._relist(item)
        else:
            under = list(self._walk(item.children or [], lambda child: child.open))
            self.visible[index + 1 : index + 1] = under
            if self.cursor > index:
                self.cursor += len(under)
        return True

    def fold(self, index: int) -> bool:
        """Close the row at `index`. Returns whether anything changed."""
        item = self.visible[index]
        end = self.subtree_end(index)
        self._exempt.discard(item)
        if not item.open and end == index + 1:
            return False
        item.open = False
        if self.filter:
            self._relist(self.current)
            return True
        del self.visible[index + 1 : end]
        if index < self.cursor < end:
            self.cursor = index
        elif self.cursor >= end:
            self.cursor -= end - index - 1
        return True

    def unfolded(self, index: int) -> bool:
        """Whether rows below the row at `index` are on the screen, by folding or by the filter."""
        after = index + 1
        return after < len(self.visible) and (self.visible[after].depth > self.visible[index].depth)

    def subtree_end(self, index: int) -> int:
        """Index after the last visible row below the row at `index`."""
        depth = self.visible[index].depth
        end = index + 1
        while end < len(self.visible) and self.visible[end].depth > depth:
            end += 1
        return end

    def fold_all(self) -> None:
        """Close the sites (and the root), keeping what is unfolded inside them."""
        for item in self.top:
            item.open = False
        current = self.current
        self._exempt.clear()
        self._relist(current)

    def unfold_all(self) -> None:
        """Open every site (or token), so that all top nodes are seen at once."""
        for item in self.top:
            if item.kind in FOLDERS:
                if item.children is None:
                    self._rebuild(item)
                item.open = True
        self._relist(self.current)

    # --- filtering ----------------------------------------------------------------------------

    def set_filter(self, text: str) -> None:
        """Keep the nodes with `text` in their name, token or label, and the rows above them.

        Searched is everything that was unfolded once and the top nodes of every site, folded or
        not; edges that were never asked for are not. "" ends the filter, and the cursor is back where it
        was before, unless it has been put on another row meanwhile.
        """
        current = self.current
        if text and not self.filter:
            self._before_filter = current
            for item in self.top:
                if item.kind in FOLDERS and item.children is None:
                    self._rebuild(item)
        self.filter = text
        self._exempt.clear()
        self._relist(current if text else self._before_filter or current)

    def search_again(self) -> bool:
        """Take in what has become known of nodes. Returns whether other rows match the filter now."""
        before, matched = self.visible, self.matches
        self._relist(self.current)
        return (self.visible, self.matches) != (before, matched)

    def _matches(self, item: Item, needle: str, found: dict[NodeId, bool]) -> bool:
        if item.node is None or item.kind == "note":
            return False
        known = found.get(item.node)
        if known is None:
            token = self.store.token(parse_node(item.node).position)
            hay = f"{item.node}\n{token}\n{self._label(item.node)}".lower()
            known = found[item.node] = needle in hay
        return known

    def _apply_filter(self) -> None:
        needle = self.filter.lower()
        found: dict[NodeId, bool] = {}
        keep: set[Item] = set()
        everything = list(self._walk(self.top, lambda item: True))
        self.matches = 0
        exempt_below = -1  # depth of the unfolded match that we are below of, or -1
        for item in everything:
            if exempt_below >= 0 and item.depth <= exempt_below:
                exempt_below = -1
            hit = self._matches(item, needle, found)
            self.matches += hit
            if hit or (exempt_below >= 0 and self._shown_below(item, exempt_below)):
                above: Item | None = item
                while above is not None and above not in keep:
                    keep.add(above)
                    above = above.parent
            if exempt_below < 0 and item in self._exempt:
                exempt_below = item.depth
        self.searched = len(everything)
        self.visible = [item for item in everything if item in keep]

    @staticmethod
    def _shown_below(item: Item, depth: int) -> bool:
        """Whether every row between `item` and the exempt row above it at `depth` is open."""
        above = item.parent
        while above is not None and above.depth > depth:
            if not above.open:
                return False
            above = above.parent
        return True

    # --- moving -------------------------------------------------------------------------------

    def move(self, to: int) -> bool:
        """Put the cursor on a row, clamped. Returns whether it moved."""
        old = self.cursor
        self.cursor = max(0, min(to, len(self.visible) - 1))
        if self.cursor != old:
            self._before_filter = None
        return self.cursor != old

    def parent_index(self) -> int | None:
        """Index of the row above the cursor's in the tree; None at the top level."""
        current = self.current
        if current is None or current.parent is None:
            return None
        return self.visible.index(current.parent, 0, self.cursor)

    def sibling_index(self, step: int) -> int | None:
        """Index of the next (`step` 1) or previous (−1) visible row of the same parent."""
        current = self.current
        if current is None:
            return None
        index = self.cursor + step
        while 0 <= index < len(self.visible):
            item = self.visible[index]
            if item.depth < current.depth:
                return None
            if item.depth == current.depth:
                return index
            index += step
        return None

    def position_index(self, step: int) -> int | None:
        """Index of the sibling at the nearest later (`step` 1) or earlier (−1) token position.

        Of several at that position, the strongest, which stands first.
        """
        current = self.current
        if current is None or current.node is None or current.kind != "node":
            return None
        here = parse_node(current.node).position
        siblings = current.parent.children if current.parent is not None else self.top
        best: tuple[int, Item] | None = None
        for item in siblings or ():
            if item.kind != "node" or item.node is None:
                continue
            distance = (parse_node(item.node).position - here) * step
            if distance > 0 and (best is None or distance < best[0]):
                best = (distance, item)
        if best is None:
            return None
        try:
            return self.visible.index(best[1])
        except ValueError:
            return None  # the filter hides it

    def features(self) -> list[NodeId]:
        """Names of the features on visible rows, without repetition."""
        return list(
            dict.fromkeys(
                item.node
                for item in self.visible
                if item.node is not None and parse_node(item.node).kind == "feature"
            )
        )
