"""What the keys of the tree do that takes more than the tree: neighbours, marks, experiments."""

import asyncio
from typing import TYPE_CHECKING

import msgspec
from textual import on
from textual.app import App

from scd_tui.errors import InputError
from scd_tui.graph import Marks, NodeId, Supernode, parse_node
from scd_tui.history import key_of
from scd_tui.merging import merged_note
from scd_tui.numbers import counted, signed
from scd_tui.pruning import pruned
from scd_tui.text import visible
from scd_tui.tui.ask_text import AskText
from scd_tui.tui.item import Item
from scd_tui.tui.outline import members
from scd_tui.tui.store import removable
from scd_tui.tui.tree import CircuitTree
from scd_tui.worker.protocol import Event, Neighbour, NeighbourFound, Way

if TYPE_CHECKING:
    from scd_tui.tui.drafting import Drafting
    from scd_tui.tui.main_screen import MainScreen
    from scd_tui.tui.session import Session

WAYS: dict[Way, str] = {
    "earlier": "an earlier token",
    "later": "a later token",
    "below": "a site upstream",
    "above": "a site downstream",
}


class Walking(App[int]):
    """The part of the app that walks: `ScdApp` has the rest."""

    session: "Session"
    main: "MainScreen"
    drafting: "Drafting"

    @property
    def _tree(self) -> CircuitTree:
        return self.main.circuit_tree

    def _current_node(self) -> NodeId | None:
        """The node under the cursor; None, with a word on it, where there is none."""
        item = self._tree.current
        if item is None or item.node is None or item.kind == "root":
            self.session.say("put the cursor on a node first", "warn")
            return None
        return item.node

    @on(CircuitTree.Told)
    def _told(self, message: CircuitTree.Told) -> None:
        self.session.say(message.words)

    # --- where one has been -------------------------------------------------------------------

    def action_go_back(self) -> None:
        """To where the last jump was made from; from the first, to the question before."""
        if not self._tree.back() and not self._question(self.session.back()):
            self.session.say("this is where you began")

    def action_go_forward(self) -> None:
        if not self._tree.forward() and not self._question(self.session.forward()):
            self.session.say("there is nothing further on")

    def _question(self, turned: bool) -> bool:
        if turned:
            self.main.prompt_line.value = self.session.prompt or ""
        return turned

    # --- neighbours ---------------------------------------------------------------------------

    @on(CircuitTree.NeighbourWanted)
    def _neighbour_wanted(self, message: CircuitTree.NeighbourWanted) -> None:
        store, way = self.session.store, message.way

        def found(event: Event) -> None:
            if not isinstance(event, NeighbourFound) or store is not self.session.store:
                return
            if event.found is None:
                what = "it is not" if way in ("earlier", "later") else "nothing like it is"
                self.session.say(f"{what} at {WAYS[way]}")
                return
            store.add_nodes([event.found])
            self._tree.grew()
            self._find_labels()
            if not self._tree.jump_to_node(event.found.id):
                self.session.say(f"{event.found.id} is hidden: + and e show more", "warn")
            elif event.cosine is not None and event.weight is not None:
                self.session.say(
                    f"directions alike to {event.cosine:.2f}, edge {signed(event.weight)}", "good"
                )

        self.session.experiments.ask_of_circuit(
            Neighbour, found, "looking for it", node=message.node, way=way
        )

    def _find_labels(self) -> None:
        raise NotImplementedError

    # --- pruning ------------------------------------------------------------------------------

    def action_prune(self) -> None:
        """Leave out what carries little of the influence on the metric, or show it again."""
        if self._tree.rows.look.only is not None:
            self._tree.look(only=None)
            self.session.say("nodes are shown whatever their influence")
            return
        if self.session.store.circuit is None:
            self.session.say("there is no circuit to prune yet", "warn")
            return
        self.run_worker(self._pruned(), group="prune", exclusive=True)

    async def _pruned(self) -> None:
        store = self.session.store
        circuit = store.circuit
        assert circuit is not None
        try:
            kept = await asyncio.to_thread(pruned, circuit)
        except InputError as error:
            self.session.say(visible(str(error)), "warn")
            return
        if store is self.session.store:
            self._tree.look(only=frozenset(node.id for node in kept.nodes))
            of = f"{kept.size} of {counted(circuit.size, 'node')}"
            self.session.say(f"pruned to {of}, with 80% of the influence")

    # --- marks --------------------------------------------------------------------------------

    def _mark(self, marks: Marks) -> None:
        self.session.store.marks = marks
        self._tree.marks_changed()
        self.main.draw_feature(top=False)

    def action_pin(self) -> None:
        item, marks = self._tree.current, self.session.store.marks
        if item is not None and item.kind == "pins":
            self._mark(msgspec.structs.replace(marks, pins=()))
        elif item is not None and item.kind == "super":
            groups = tuple(group for group in marks.supernodes if group.name != item.key)
            gone = members(item, self.session.store)
            pins = tuple(dict.fromkeys((*marks.pins, *gone)))
            self._mark(msgspec.structs.replace(marks, supernodes=groups, pins=pins))
            self.session.say("the supernode is taken apart: its nodes are pinned")
        elif (node := self._current_node()) is not None:
            pins = tuple(pin for pin in marks.pins if pin != node)
            if len(pins) == len(marks.pins):
                pins = (*pins, node)
            self._mark(msgspec.structs.replace(marks, pins=pins))
            more = "A ablates them together, U unites them"
            self.session.say(f"{len(pins)} pinned" + (f": {more}" if pins else ""))

    def action_note(self) -> None:
        node = self._current_node()
        if node is None:
            return
        store = self.session.store
        before = store.marks.notes.get(node, "")

        key = "" if store.circuit is None else key_of(store.circuit)
        unfinished = self.drafting.note_left(key, node, before)

        def written(text: str | None) -> None:
            self.drafting.note_done(key, node, given_up=text is None)
            if text is None or store is not self.session.store:
                return
            notes = {name: words for name, words in store.marks.notes.items() if name != node}
            # another app may have written one on the same node meanwhile
            if note := merged_note(before, text.strip(), store.marks.notes.get(node, "")):
                notes[node] = note
            self._mark(msgspec.structs.replace(store.marks, notes=notes))

        hint = "empty takes the note off"
        dialog = AskText(
            f"Note on {node}",
            unfinished or before,
            hint,
            changed=lambda text: self.drafting.note_typed(key, node, text),
            unfinished=bool(unfinished),
        )
        self.push_screen(dialog, written)

    def action_unite(self) -> None:
        """Make one supernode of what is pinned, under a name."""
        store = self.session.store
        pins = store.marks.pins
        if not pins:
            self.session.say("pin the nodes first (a), then unite them", "warn")
            return

        def named(name: str | None) -> None:
            name = (name or "").strip()
            if not name or store is not self.session.store:
                return
            if any(group.name == name for group in store.marks.supernodes):
                self.session.say("there is a supernode of that name: choose another", "warn")
                return
            groups = (*store.marks.supernodes, Supernode(name, pins))
            others = tuple(pin for pin in store.marks.pins if pin not in pins)
            self._mark(msgspec.structs.replace(store.marks, supernodes=groups, pins=others))
            self._go_to_super(name)

        self.push_screen(AskText(f"Unite {counted(len(pins), 'pinned node')}", "", "a name"), named)

    def _go_to_super(self, name: str) -> None:
        rows = self._tree.rows
        item = next((one for one in rows.top if one.kind == "super" and one.key == name), None)
        if item is not None:
            self._tree.jump(rows.show_item(item))

    # --- experiments --------------------------------------------------------------------------

    def action_cut(self) -> None:
        item = self._tree.current
        if item is None or item.node is None or item.target is None:
            self.session.say("put the cursor on an edge, below an unfolded node, first", "warn")
        else:
            self.session.experiments.cut(item.node, item.target)

    def action_ablate_pinned(self) -> None:
        pins = self.session.store.marks.pins
        if not pins:
            self.session.say("pin nodes first (a)", "warn")
        else:
            self.session.experiments.remove(pins, "what is pinned")

    def action_ablate_subtree(self) -> None:
        item = self._tree.current
        if item is not None:
            nodes = removable(subtree(self._tree, item))
            self.session.experiments.remove(nodes, "all rows from here down")

    def ablate_set(self, item: Item) -> None:
        """Take out what a row stands for that is more than one node."""
        nodes = members(item, self.session.store)
        name = "what is pinned" if item.kind == "pins" else visible(item.key)
        self.session.experiments.remove(nodes, name)


def subtree(tree: CircuitTree, item: Item) -> list[NodeId]:
    """The nodes on a row and on all rows that are unfolded below it."""
    rows = tree.rows
    start = rows.visible.index(item)
    below = rows.visible[start : rows.subtree_end(start)]
    return [
        one.node
        for one in below
        if one.node is not None and parse_node(one.node).kind in ("feature", "error")
    ]
