"""Which keys are worth naming now, and how keys are written: for the bottom line and the help."""

from collections.abc import Mapping
from typing import Literal

import msgspec
from textual.binding import Binding
from textual.keys import format_key

from scd_tui.graph import parse_node
from scd_tui.tui.bindings import all_keys
from scd_tui.tui.item import Item
from scd_tui.tui.store import CircuitStore

Focus = Literal["prompt", "filter", "completions", "circuit", "feature"]
Hint = tuple[str, str]


class Now(msgspec.Struct, frozen=True):
    """What decides which keys apply: where one is, and what is going on. `contrast`: a token of the
    prompt that is offered as one."""

    focus: Focus
    item: Item | None = None
    running: bool = False
    filtered: bool = False
    typed: bool = False
    contrast: str = ""


def hints(now: Now, store: CircuitStore) -> list[Hint]:
    """(action, words) of the keys that apply now, the most useful last: the first make room."""
    if now.focus == "filter":
        return [("app.back", "end"), ("prompt.enter", "keep")]
    if now.focus == "prompt":
        more = [] if now.typed else [("circuit.past", "past circuits")]
        return [("app.palette", "commands"), ("app.next", "panes"), *more, ("prompt.enter", "ask")]
    found: list[Hint] = [("app.help", "help")]
    if now.contrast:
        found.append(("ask.contrast", f'contrast "{now.contrast}"'))
    if now.focus == "completions":
        found += [("ask.target", "type one"), ("completions.contrast", "contrast")]
        found.append(("completions.target", "explain"))
    elif now.item is None:
        found += [("circuit.past", "past circuits"), ("ask.prompts", "prompts")]
    else:
        found += _of_row(now.item, store, in_tree=now.focus == "circuit")
    if now.filtered:
        found.append(("app.back", "end the filter"))
    elif now.running:
        found.append(("app.back", "cancel"))
    return found


def _of_row(item: Item, store: CircuitStore, in_tree: bool) -> list[Hint]:
    found: list[Hint] = [("tree.filter", "filter")] if in_tree else [("app.next", "panes")]
    if item.node is not None:
        kind = parse_node(item.node).kind
        if kind in ("feature", "error"):
            found.append(("node.ablate", "ablate"))
        found.append(("node.copy", "copy"))
        if in_tree and store.upstream_state(item.node) != "leaf":
            asks = store.upstream_state(item.node) in ("unknown", "failed")
            words = "compute its edges" if asks and item.open else "fold" if item.open else "unfold"
            found.append(("tree.open", words))
    elif in_tree:
        found.append(("tree.open", "fold" if item.open else "unfold"))
    return found


def shown(one: Binding, keymap: Mapping[str, str]) -> str:
    """The keys of a binding as help writes them, or those that the keymap gives it instead."""
    changed = keymap.get(one.id or "")
    if changed is None and one.key_display:
        return one.key_display
    return " ".join(map(_written, (changed or one.key).split(",")))


def _written(name: str) -> str:
    *modifiers, key = name.split("+")
    signs = {"ctrl": "^", "shift": "⇧", "alt": "alt-"}
    return "".join(signs.get(one, one + "-") for one in modifiers) + format_key(key)


def first_keys(keymap: Mapping[str, str]) -> dict[str, str]:
    """The first key of every action, for the bottom line."""
    found = {
        one.id or "": shown(one, keymap).split(" ")[0] for _, keys in all_keys() for one in keys
    }
    return {"prompt.enter": "enter", **found}


def key_sections(keymap: Mapping[str, str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What every key does, by the pane that it works in."""
    return [
        (name, [(shown(one, keymap), one.description) for one in keys]) for name, keys in all_keys()
    ]
