"""When Python looks for garbage, and at what: of the collector itself, in this process."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from tui.screen import make_app

from scd_tui.tui.app import ScdApp
from scd_tui.tui.garbage import collect_nothing, collect_what_is_new
from scd_tui.tui.run import run_app


class Knot:
    """Something that refers to itself, so that nothing but the collector ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()
    gc.collect()


def many() -> weakref.ref[Knot]:
    """The first of so many lost knots that the collector would have come by itself."""
    first = weakref.ref(Knot())
    for _ in range(3 * gc.get_threshold()[0]):
        Knot()
    return first


def test_nothing_is_collected_while_the_app_starts() -> None:
    assert many()() is None, "the collector comes by itself"
    collect_nothing()
    lost = many()
    assert lost() is not None
    gc.enable()
    many()
    assert lost() is None


def test_what_was_there_at_the_start_is_never_visited_and_what_came_later_is() -> None:
    collect_nothing()
    before = weakref.ref(Knot())
    collect_what_is_new()
    after = weakref.ref(Knot())
    kept = [Knot()]
    many()
    gc.collect()
    assert after() is None and before() is not None
    assert any(each is kept[0] for each in gc.get_objects())
    assert not any(each is before() for each in gc.get_objects())


def test_the_app_starts_without_collecting_and_collects_once_it_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, bool, bool]] = []

    def state(when: str) -> None:
        seen.append((when, gc.isenabled(), gc.get_freeze_count() > 0))

    class Noting(ScdApp):
        def __init__(self, *arguments: Any, on_shown: Any, **fields: Any) -> None:
            state("made")
            self.on_shown = on_shown

        def run(self, **fields: Any) -> None:  # type: ignore[override]
            state("run")
            self.on_shown()
            state("shown")

        return_code = None

    monkeypatch.setattr("scd_tui.tui.run.ScdApp", Noting)
    assert run_app() == 0
    assert seen == [("made", False, False), ("run", False, False), ("shown", True, True)]


def test_it_is_told_once_that_the_first_frame_was_drawn() -> None:
    frames: list[str] = []

    async def main() -> None:
        app = make_app(on_shown=lambda: frames.append(app.screen.name or "drawn"))
        async with app.run_test() as pilot:
            await pilot.pause()
            await pilot.press("j", "j")
            await pilot.pause()

    asyncio.run(main())
    assert len(frames) == 1
