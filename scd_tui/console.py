"""Consoles that draw no control characters but their own, and the progress of a command."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import TextIOBase
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from scd_tui.saying import clean_lines
from scd_tui.streams import AsItIs


class CleanConsole(Console):
    """A console on stdout or stderr: text is text, whatever brackets or escapes are in it."""

    def __init__(self, *, stderr: bool = False, **settings: Any) -> None:
        stream = sys.stderr if stderr else sys.stdout
        super().__init__(
            file=AsItIs(stream),  # type: ignore[arg-type]
            markup=False,
            emoji=False,
            highlight=False,
            **settings,
        )

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does, with control characters in the text spelled out. Rich's own escapes stay."""
        for segment in super().render(renderable, options):
            clean = segment.text if segment.control else clean_lines(segment.text)
            yield segment if clean is segment.text else segment._replace(text=clean)

    def on_broken_pipe(self) -> None:
        """The command's end says what that means."""
        raise


class _Above(TextIOBase):
    """A stream whose lines are printed above what a console draws again and again."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            self._console.print(Text("\n".join(lines)), soft_wrap=True)
        return len(text)

    def finish(self) -> None:
        """Print a line that was begun."""
        if self._begun:
            self.write("\n")


@contextmanager
def progress(*columns: ProgressColumn) -> Iterator[Progress]:
    """Bars on a terminal at stderr, gone when all is done, with what is said meanwhile above them.

    Elsewhere nothing is drawn.
    """
    console = CleanConsole(stderr=True)
    columns = columns or (
        TextColumn("{task.description}", style="progress.description", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    bars = Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    if not console.is_terminal:
        yield bars
        return
    above = _Above(console)
    with redirect_stderr(above), bars:
        yield bars
        above.finish()
