"""The widgets that draw spans: a scrolling one, and one for the single lines at top and bottom."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from scd_tui.tui.ink import INKS, Line, Span, cut, fit

NO_LINKS: Mapping[str, str] = MappingProxyType({})
INK_CLASSES = frozenset(f"ink--{ink}" for ink in INKS)


def strip_of(
    widget: Widget,
    spans: Iterable[Span],
    width: int,
    over: Style | None = None,
    links: Mapping[str, str] = NO_LINKS,
) -> Strip:
    """Exactly `width` cells of styled text. `over` is laid over every span, as a cursor is.

    A span whose text is in `links` leads there, in terminals that follow links (OSC 8).
    """
    segments = []
    for text, ink in fit(list(spans), width):
        style = widget.get_component_rich_style(f"ink--{ink}")
        if address := links.get(text):
            style += Style(link=address)
        segments.append(Segment(text, style if over is None else style + over))
    # Fewer segments are fewer bytes to the terminal.
    return Strip(Segment.simplify(segments), width)


def _overlay(style: Style) -> Style:
    """What a cursor adds to the spans below it: a background, and attributes, but no colour."""
    return Style(
        bgcolor=style.bgcolor, reverse=style.reverse or None, underline=style.underline or None
    )


class Bar(Widget):
    """Lines of fixed height that are set from outside, one by default."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(INK_CLASSES)
    DEFAULT_CSS = """
    Bar { height: 1; width: 1fr; }
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(id=name)
        self._lines: tuple[Line, ...] = ((),)

    @property
    def lines(self) -> tuple[Line, ...]:
        return self._lines

    def show(self, *lines: Sequence[Span]) -> None:
        """Draw these lines from now on. Drawing the same again costs nothing."""
        new = tuple(tuple(line) for line in lines) or ((),)
        if new != self._lines:
            self._lines = new
            self.refresh()

    def render_line(self, y: int) -> Strip:
        spans = self._lines[y] if y < len(self._lines) else ()
        return strip_of(self, spans, self.size.width)


class PaneTitle(Widget):
    """The upper edge of a pane, with its title, and a note at its right end.

    A title in a Textual border would draw the whole pane again whenever it changes.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"pane-title--text"}

    def __init__(self, title: str = "") -> None:
        super().__init__()
        self._title, self._note = title, ""

    def entitle(self, title: str, note: str = "") -> None:
        """Show these from now on; both must be safe to show."""
        if (title, note) != (self._title, self._note):
            self._title, self._note = title, note
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width, frame = self.size.width, self.rich_style
        tail = f" {self._note} ─╮" if self._note else "─╮"
        title = cut(self._title, max(0, width - cell_len(tail) - 4))
        line = "─" * (width - 4 - cell_len(title) - cell_len(tail))
        return Strip(
            [
                Segment("╭─ ", frame),
                Segment(title, self.get_component_rich_style("pane-title--text")),
                Segment(f" {line}{tail}", frame),
            ],
            width,
        )


class Pane(ScrollView, can_focus=True):
    """A scrolling list of lines that are drawn one at a time, so that its length costs nothing.

    Subclasses give `line_count` and `draw`; those with a cursor call `keep_visible`.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {*INK_CLASSES, "pane--cursor", "pane--blurred"}
    ALLOW_SELECT = False

    def __init__(self, *, name: str) -> None:
        super().__init__(id=name)
        self._drawn: dict[int, Strip] = {}
        """The lines that were drawn last, by their place on the screen."""

    @property
    def line_count(self) -> int:
        raise NotImplementedError

    def draw(self, y: int, width: int) -> tuple[Sequence[Span], bool]:
        """The spans of line `y`, and whether the cursor is on it."""
        raise NotImplementedError

    def links(self, y: int) -> Mapping[str, str]:
        """Addresses by the text that leads to them, on line `y`."""
        return NO_LINKS

    @property
    def page(self) -> int:
        """Lines that one page has."""
        return max(1, self.scrollable_content_region.height)

    def resize_rows(self) -> None:
        """The number of lines has changed: adapt the scrollbar.

        The scrollbar's column is always there, so that nothing has to be laid out again.
        """
        self.set_reactive(Widget.virtual_size, Size(0, self.line_count))
        self._scroll_update(self.virtual_size)

    def relayout(self) -> None:
        """The lines may have changed: adapt the scrollbar and draw everything again."""
        self.resize_rows()
        self.refresh()

    def redraw(self, *lines: int) -> None:
        """Draw these lines again, and no others."""
        top, width = self.scroll_offset.y, self.size.width
        regions = [
            Region(0, y - top, width, 1) for y in set(lines) if 0 <= y - top < self.size.height
        ]
        if regions:
            self.refresh(*regions)

    def redraw_changed(self) -> None:
        """Draw those lines again that look otherwise than when they were drawn."""
        top, height = self.scroll_offset.y, self.size.height
        drawn = ((y, strip) for y, strip in self._drawn.items() if y < height)
        self.redraw(*(top + y for y, strip in drawn if self._strip(y) != strip))

    def keep_visible(self, y: int) -> None:
        """Have line `y` on the screen. One that is just beyond the edge brings half a page with it.

        Scrolling line by line would send the whole pane to the terminal at every key.
        """
        top, page = self.scroll_offset.y, self.page
        if top <= y < top + page:
            return
        to = y if y < top else y - page + 1
        if y == top - 1:
            to = y - page // 2
        elif y == top + page:
            to = y - page + 1 + page // 2
        self.scroll_to(y=max(0, to), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        strip = self._drawn[y] = self._strip(y)
        return strip

    def _strip(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        index = y + self.scroll_offset.y
        if index >= self.line_count:
            return Strip.blank(width, self.rich_style)
        spans, cursor = self.draw(index, width)
        over = None
        if cursor:
            name = "pane--cursor" if self.has_focus else "pane--blurred"
            over = _overlay(self.get_component_rich_style(name))
        return strip_of(self, spans, width, over, self.links(index))

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()
