"""Which nodes are on the screen, and which are near it."""

from collections.abc import Iterator

from scd_tui.graph import NodeId
from scd_tui.tui.rows import Rows


def on_screen(rows: Rows, top: int, page: int) -> list[NodeId]:
    """Nodes of the `page` rows from row `top` on. A folded site shows its strongest node."""
    return [node for index in range(top, top + page) for node in _at(rows, index)]


def around(rows: Rows, top: int, page: int, most: int = 600) -> list[NodeId]:
    """Nodes of the rows above and below those, nearest first; what follows before what went before."""
    found: list[NodeId] = []
    for distance in range(1, most // 2):
        found += _at(rows, top + page - 1 + distance)
        found += _at(rows, top - distance)
    return found


def _at(rows: Rows, index: int) -> Iterator[NodeId]:
    if not 0 <= index < len(rows.visible):
        return
    item = rows.visible[index]
    if item.node is not None:
        yield item.node
    elif item.kind == "place":
        yield from rows.store.at(item.key)[0][:1]
