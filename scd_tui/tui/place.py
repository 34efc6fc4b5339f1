"""Where one is in a tree: what is unfolded and where the cursor stands, taken down and put back."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from scd_tui.history import By, Folds, Look, View
from scd_tui.tui.item import Item
from scd_tui.tui.rows import Rows
from scd_tui.tui.store import CircuitStore

NO_OTHERS: Mapping[By, tuple[Sequence[Item], Item | None]] = MappingProxyType({})


def key_of(item: Item) -> str:
    """A row's name among those of the same parent."""
    return f"{item.kind}:{item.key}"


def path_of(item: Item | None) -> tuple[str, ...]:
    """The keys from the top level down to a row."""
    path: list[str] = []
    while item is not None:
        path.append(key_of(item))
        item = item.parent
    return tuple(reversed(path))


def folds_of(top: Sequence[Item], current: Item | None) -> Folds:
    """What is unfolded below `top`, and where the cursor is."""
    steps: list[tuple[int, str]] = []
    stack = [(item, -1) for item in reversed(top)]
    while stack:
        item, above = stack.pop()
        if item.open:
            steps.append((above, key_of(item)))
            here = len(steps) - 1
            stack += [(child, here) for child in reversed(item.children or ())]
    return Folds(tuple(steps), path_of(current))


def view_of(
    top: Sequence[Item],
    current: Item | None,
    look: Look | None = None,
    others: Mapping[By, tuple[Sequence[Item], Item | None]] = NO_OTHERS,
) -> View:
    """How rows are looked at. It changes nothing, and can run in a thread beside the screen."""
    left = {by: folds_of(*rows) for by, rows in others.items()}
    here = folds_of(top, current)
    return View(here.open, here.cursor, look, left)


def kept_look(look: Look, store: CircuitStore) -> Look:
    """The look as it is to be kept: of a pruned circuit also what was learned of since, which is shown.

    A kept circuit was made with all of its nodes, as far as can be seen later.
    """
    if look.only is None:
        return look
    learned = (name for name in store.nodes if not store.is_original(name))
    return msgspec.structs.replace(look, only=look.only.union(learned))


def restore(rows: Rows, view: View, also: bool = False) -> None:
    """Unfold what was unfolded, fold the rest, and put the cursor back, or as near as there is a row.

    With `also`, nothing is folded and the cursor stays: somebody is at it already. Rows that are not
    there any more are passed over, and so is a view that is none. A view that says nothing of grouping
    and sorting leaves them as they are.
    """
    here, look = rows.current, rows.look
    wanted = view.look or look
    folds: dict[By, Folds] = {**view.others, wanted.by: view}
    last = look if also else wanted
    for by in (*(by for by in folds if by != last.by), last.by):
        rows.set_look(msgspec.structs.replace(last, by=by))
        if by in folds:
            _unfold(rows, folds[by], also)
    if also:
        rows.show_open(here)


def _unfold(rows: Rows, folds: Folds, also: bool) -> None:
    wanted: dict[int, set[str]] = {}
    index: dict[tuple[int, str], int] = {}
    for number, (above, name) in enumerate(folds.open):
        if above < number:
            wanted.setdefault(above, set()).add(name)
            index[above, name] = number
    stack = [(item, -1) for item in rows.top]
    while stack:
        item, above = stack.pop()
        name = key_of(item)
        known = name in wanted.get(above, ())
        item.open = known or (also and item.open)
        if known:
            stack += [(child, index[above, name]) for child in rows.children_of(item)]
    current: Item | None = None
    level: Sequence[Item] = rows.top
    for name in folds.cursor:
        below = next((one for one in level if key_of(one) == name), None)
        if below is None or (current is not None and not current.open):
            break
        current, level = below, below.children or ()
    rows.show_open(current)


def item_at(rows: Rows, path: Sequence[str]) -> Item | None:
    """The row of these keys, or the last above it that there is."""
    found: Item | None = None
    level: Sequence[Item] = rows.top
    for name in path:
        item = next((one for one in level if key_of(one) == name), None)
        if item is None:
            break
        found, level = item, rows.children_of(item)
    return found
