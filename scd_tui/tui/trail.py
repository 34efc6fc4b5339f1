"""Where one has been in a tree, to go back to and forward again."""

from scd_tui.tui.item import Item
from scd_tui.tui.place import item_at, path_of
from scd_tui.tui.rows import Rows

Path = tuple[str, ...]
LONGEST = 200


class Trail:
    """The places that jumps were made from, in one tree."""

    def __init__(self) -> None:
        self._past: list[Path] = []
        self._future: list[Path] = []

    def leave(self, item: Item | None) -> None:
        """A jump is made from here."""
        path = path_of(item)
        if path and path != (self._past[-1] if self._past else ()):
            self._past = [*self._past, path][-LONGEST:]
        self._future.clear()

    def back(self, rows: Rows) -> Item | None:
        """The row of the last jump, None if there was none."""
        return self._turn(self._past, self._future, rows)

    def forward(self, rows: Rows) -> Item | None:
        """Undo `back`."""
        return self._turn(self._future, self._past, rows)

    @staticmethod
    def _turn(where: list[Path], other: list[Path], rows: Rows) -> Item | None:
        here = rows.current
        while where:
            item = item_at(rows, where.pop())
            # Rows that are gone, in another view, are passed over.
            if item is not None and item is not here:
                other.append(path_of(here))
                return item
        return None
