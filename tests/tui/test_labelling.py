"""Explanations on the screen, out of the real cache and client and over real sockets."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from neuronpedia import loopback
from neuronpedia.loopback import Running, running
from textual.pilot import Pilot
from tui.gpt2_size import full_size
from tui.samples import TOKENS, Records
from tui.screen import dump, make_app

from scd_tui.graph import Marks
from scd_tui.neuronpedia.address import Addresses
from scd_tui.neuronpedia.transport import Transport
from scd_tui.tui.app import ScdApp
from scd_tui.tui.fetching import Fetching
from scd_tui.tui.labelling import SHORT

Test = Callable[[ScdApp, Pilot[int]], Awaitable[None]]


@pytest.fixture
def service() -> Iterator[Running]:
    with running() as made:
        yield made


def run(test: Test, service: Running, folder: Path, *, fetch: bool = True, **options: Any) -> None:
    fetching = Fetching(
        Addresses(site=service.url), folder / "np", fetch=fetch, told=folder / "state" / "told"
    )

    async def main() -> None:
        options.setdefault("circuit", full_size())
        options.setdefault("records", NoneHere())
        app = make_app(None, fetching=fetching, **options)
        async with app.run_test(size=(140, 40), notifications=True) as pilot:
            await pilot.pause()
            await test(app, pilot)

    asyncio.run(main())


class NoneHere:
    """No records on this machine."""

    name = ""

    def record(self, source: str, index: int) -> None:
        return None

    def label(self, source: str, index: int) -> None:
        return None


async def until(pilot: Pilot[int], true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, dump(pilot.app)  # type: ignore[arg-type]
        await pilot.pause(0.02)


def rows_on_screen(app: ScdApp) -> list[str]:
    return [line for line in dump(app).splitlines() if "│├" in line or "│└" in line or "├" in line]


def unlabelled(app: ScdApp) -> list[str]:
    """Features on the screen without an explanation, or the reason why there is none."""
    rows, top, page = app.main.circuit_tree.view
    found = []
    for item in rows.visible[top : top + page]:
        node = item.node if item.kind == "node" else None
        if node is None or app.labelling.label(node):
            continue
        if app.labelling.hint(node) not in ("no explanation", ""):
            found.append(str(node))
    return found


def posts(service: Running) -> int:
    return service.paths().count("/api/features")


def test_walking_a_full_size_circuit(service: Running, tmp_path: Path) -> None:
    """Every label comes, for five requests at most; then for none. How soon, `test_labels` measures."""
    service.latency = 0.3

    async def presses(pilot: Pilot[int]) -> None:
        await pilot.press("E")
        for step in range(18):
            await pilot.press("pagedown" if step % 6 == 5 else "j")
            await asyncio.sleep(0.01)

    async def walk(app: ScdApp, pilot: Pilot[int]) -> None:
        await presses(pilot)
        await until(pilot, lambda: not unlabelled(app))
        await pilot.pause(1.0)
        await pilot.press("G")
        await until(pilot, lambda: not unlabelled(app))
        tops = [n.id for n in full_size().nodes if n.top and "7@" not in n.id]
        await until(pilot, lambda: all(map(app.labelling.label, tops)))

    run(walk, service, tmp_path)
    assert 2 <= len(service.requests) <= 5 and posts(service) <= 3
    before = set(service.paths())
    service.requests.clear()

    async def again(app: ScdApp, pilot: Pilot[int]) -> None:
        await presses(pilot)
        await until(pilot, lambda: not unlabelled(app))
        await pilot.press("G")
        await until(pilot, lambda: not unlabelled(app))
        await pilot.pause(0.3)

    run(again, service, tmp_path)
    # On a machine that is busy the cursor may rest where it did not the first time.
    assert posts(service) == 0 and not before & set(service.paths())
    service.stop()
    run(again, service, tmp_path)


def test_what_is_opened_is_fetched_in_full_and_says_where_it_is_from(
    service: Running, tmp_path: Path
) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: joined(app).count("words about") >= 1)
        await until(pilot, lambda: joined(app).count("words about") > 5)
        text = joined(app)
        assert "“mentions of 3500 of 11-res_post_32k-oai”" in text
        assert "gpt-3.5-turbo · oai_token-act-pair" in text
        assert "127.0.0.1, today" in text
        assert f"{service.url}/gpt2-small/11-res_post_32k-oai/3500" in text.replace(" ", "")

    run(test, service, tmp_path)
    assert service.paths().count("/api/feature/gpt2-small/11-res_post_32k-oai/3500") == 1


def test_w_shows_the_next_explanation_and_the_tree_follows(
    service: Running, tmp_path: Path
) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j", "j", "j", "j")
        node = app.main.circuit_tree.current
        assert node is not None and str(node.node).startswith("resid_post.11/3503@")
        await until(pilot, lambda: "1 of 2, w next" in joined(app))
        assert "“text about 3503" in dump(app) and "gpt-4o-mini · np_max-act" in dump(app)
        await pilot.press("w")
        await pilot.pause(0.1)
        assert "“mentions of 3503" in dump(app) and "2 of 2" in joined(app)
        assert node.node is not None and app.labelling.label(node.node).startswith(
            "mentions of 3503"
        )
        assert "text about 3503" not in dump(app)
        await pilot.press("k", "w")
        await until(pilot, lambda: "there is no other explanation" in dump(app))

    run(test, service, tmp_path)


def test_labels_do_not_move_what_one_looks_at(service: Running, tmp_path: Path) -> None:
    service.latency = 0.4

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("E", *["j"] * 12)
        tree = app.main.circuit_tree
        before = tree.rows.cursor, tree.scroll_offset.y, [i.key for i in tree.rows.visible]
        await until(pilot, lambda: not unlabelled(app))
        assert before == (
            tree.rows.cursor,
            tree.scroll_offset.y,
            [i.key for i in tree.rows.visible],
        )

    run(test, service, tmp_path)


STATES: list[tuple[loopback.Fault, str, str]] = [
    (loopback.limited, "rate limited", "127.0.0.1 limits the rate of requests: next try at"),
    (loopback.error_page, "Neuronpedia failed", "127.0.0.1 has a fault (HTTP 500): next"),
    (loopback.page, "web page, no data", "127.0.0.1 sent a web page in place of data (does this"),
    (loopback.truncated, "answer cut off", "an answer of 127.0.0.1 was cut off: next try at"),
    (loopback.redirect("http://example.com"), "redirected elsewhere", "us on to example.com"),
    (loopback.huge, "answer too large", "is larger than 25 MB"),
    (loopback.cut_json, "answer not usable", "could not be understood: next"),
    (loopback.not_found, "request refused", "has nothing at the address that was asked (HTTP 404)"),
]


@pytest.mark.parametrize(("fault", "short", "long"), STATES, ids=[s[2] for s in STATES])
def test_every_fault_is_told_in_the_tree_and_in_the_pane_and_passes(
    service: Running, tmp_path: Path, fault: loopback.Fault, short: str, long: str
) -> None:
    service.always = fault

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(
            pilot, lambda: f"neuronpedia {360} queued" in dump(app) or "queued" in dump(app)
        )
        await until(pilot, lambda: short in dump(app))
        await until(pilot, lambda: long in " ".join(dump(app).split()) or long in joined(app))
        service.always = None
        await pilot.press("r")
        await until(pilot, lambda: not unlabelled(app))
        assert short not in dump(app)

    run(test, service, tmp_path)


def test_no_two_faults_look_the_same_where_there_is_little_room() -> None:
    assert len(set(SHORT.values())) == len(SHORT)
    assert max(map(len, SHORT.values())) <= 20, "the words' width at 120 columns"


def test_an_explanation_that_was_seen_stays_when_the_service_denies_the_feature(
    service: Running, tmp_path: Path
) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: not unlabelled(app))
        # a batch that is still under way would meet the fault too, and hold the next request back
        await until(pilot, lambda: "queued" not in dump(app))
        service.always = loopback.not_found
        await pilot.press("j", "j")
        await until(pilot, lambda: "does not know it: r asks again" in joined(app))
        assert "“mentions of 3500 of 11-res_post_32k-oai” gpt-3.5-turbo" in joined(app)
        service.always = None
        await pilot.press("r")
        await until(pilot, lambda: joined(app).count("words about") > 5)
        assert "does not know it" not in joined(app)

    run(test, service, tmp_path)


def joined(app: ScdApp) -> str:
    """What the feature pane says, with its lines put together again."""
    lines = ["".join(part for part, _ in line).strip() for line in app.main.feature.lines]
    return " ".join(lines)


def test_offline_unexplained_and_unknown_look_different(service: Running, tmp_path: Path) -> None:
    service.unknown.add(("11-res_post_32k-oai", 3501))

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j", "j")
        await until(pilot, lambda: "not on Neuronpedia" in dump(app))
        assert "no explanation" in dump(app)
        await until(pilot, lambda: "Neuronpedia does not know this feature" in joined(app))
        await pilot.press(*["j"] * 6)
        await until(pilot, lambda: "nobody has explained this feature" in joined(app))

    run(test, service, tmp_path)
    service.stop()

    async def offline(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: "mentions of 3500" in dump(app))
        await pilot.press("E", "G")
        other = full_size(tokens=TOKENS)
        assert other is not None
        await pilot.pause(0.2)

    run(offline, service, tmp_path)

    async def gone(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: "offline: 127.0.0.1 cannot be reached: next try" in joined(app))
        assert " offline" in dump(app)

    run(gone, service, tmp_path / "elsewhere")


def test_with_fetching_turned_off_nothing_is_asked_and_the_cache_is_shown(
    service: Running, tmp_path: Path
) -> None:
    async def nothing(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: "fetching turned off" in dump(app))
        await until(pilot, lambda: "fetching from Neuronpedia is turned off" in joined(app))
        await pilot.pause(0.6)
        assert "queued" not in dump(app)

    run(nothing, service, tmp_path, fetch=False)
    assert service.requests == [] and not (tmp_path / "state" / "told").exists()

    async def fetched(app: ScdApp, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: not unlabelled(app))

    async def all_fetched(app: ScdApp, pilot: Pilot[int]) -> None:
        await fetched(app, pilot)
        await until(pilot, lambda: "queued" not in dump(app))
        await pilot.pause(0.6)

    run(all_fetched, service, tmp_path)
    service.requests.clear()
    run(fetched, service, tmp_path, fetch=False)
    assert service.requests == []


def test_what_fetching_gives_away_is_told_at_first_use_and_once(
    service: Running, tmp_path: Path
) -> None:
    async def first(app: ScdApp, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: "neuronpedia = false" in " ".join(dump(app).split()))
        assert "which learns" in dump(app)

    run(first, service, tmp_path)

    async def second(app: ScdApp, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: not unlabelled(app))
        assert "neuronpedia = false" not in dump(app)

    (tmp_path / "np").rename(tmp_path / "old")
    run(second, service, tmp_path)


def test_a_link_to_what_is_pinned_is_shown_and_copied(service: Running, tmp_path: Path) -> None:
    pins = tuple(node.id for node in full_size().nodes if node.top)[:200]
    copied: list[str] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        app.copy_to_clipboard = copied.append  # type: ignore[method-assign]
        await pilot.press("Q")
        await pilot.pause(0.1)
        assert "150 pinned features; it takes no key" in " ".join(dump(app).split())
        assert f"{service.url}/quick-list/?name=gpt2-small" in dump(app)
        await pilot.press("y")
        await pilot.pause(0.1)
        assert "pinned features; it" not in dump(app)

    run(test, service, tmp_path, circuit=full_size(marks=Marks(pins=pins)))
    assert (
        copied[0].startswith(f"{service.url}/quick-list/?name=gpt2-small")
        and copied[0].count("modelId") == 150
    )

    async def none(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("Q")
        await until(pilot, lambda: "pin features that are on Neuronpedia first" in dump(app))

    run(none, service, tmp_path)


def test_circuits_of_a_model_that_is_not_there_ask_for_nothing(
    service: Running, tmp_path: Path
) -> None:
    model = msgspec.structs.replace(full_size().model, neuronpedia="")

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("E", "j", "j")
        await pilot.pause(0.7)
        assert "turned off" not in dump(app) and "queued" not in dump(app)

    run(test, service, tmp_path, circuit=full_size(model=model))
    assert service.requests == []


def test_explanations_that_arrived_are_saved_with_the_circuit(
    service: Running, tmp_path: Path
) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: not unlabelled(app))
        await until(pilot, lambda: len(app.labelling.labels()) > 300)
        labels = app.labelling.labels()
        assert labels["11-res_post_32k-oai/3500"] == "mentions of 3500 of 11-res_post_32k-oai"

    run(test, service, tmp_path)


DAYS = 40 * 86_400


def test_what_is_stale_is_shown_at_once_says_so_and_is_fetched_again_behind(
    service: Running, tmp_path: Path
) -> None:
    async def fill(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: joined(app).count("words about") > 5)
        await until(pilot, lambda: not unlabelled(app))

    run(fill, service, tmp_path)
    service.requests.clear()
    service.latency = 1.0
    with pytest.MonkeyPatch.context() as patch:
        now = time.time() + DAYS
        patch.setattr(time, "time", lambda: now)

        async def later(app: ScdApp, pilot: Pilot[int]) -> None:
            await pilot.press("j", "j")
            await until(pilot, lambda: "127.0.0.1, 40 days ago, stale" in joined(app), 0.9)
            assert "mentions of 3500" in joined(app), "shown at once, before any answer"
            await until(pilot, lambda: "127.0.0.1, today" in joined(app))
            assert "stale" not in joined(app) and "mentions of 3500" in joined(app)

        run(later, service, tmp_path)
    assert service.requests, "it was asked for again"


class Own(Records):
    """Records that were made on this machine, of every feature."""

    name = "a text of mine"


def test_what_is_known_here_and_what_neuronpedia_says_stand_side_by_side(
    service: Running, tmp_path: Path
) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: "127.0.0.1, today" in joined(app))
        assert "mentions of 3500" in joined(app)
        await until(pilot, lambda: "1 of 2, w next" in joined(app))
        await pilot.press("w")
        await until(pilot, lambda: "here 3500" in joined(app))
        assert "2 of 2" in joined(app) and Own.name in joined(app)
        assert "127.0.0.1, today" not in joined(app), "each is told from where it is"

    run(test, service, tmp_path, records=Own("here {index}"))


def each(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Any], Any]:
    """The same change of one feature and of every one of a batch."""

    def changed(value: Any) -> Any:
        return [change(one) for one in value] if isinstance(value, list) else change(value)

    return changed


def test_an_answer_for_another_layer_is_never_shown_and_says_so(
    service: Running, tmp_path: Path
) -> None:
    service.change = each(lambda one: {**one, "layer": "5-res_post_32k-oai"})

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: "answer not usable" in dump(app))
        words = "answered for a feature that was not asked for, gpt2-small/5-res_post_32k-oai/"
        await until(pilot, lambda: words in joined(app))
        assert "mentions of" not in dump(app)
        service.change = each(lambda one: one)
        await pilot.press("r")
        await until(pilot, lambda: not unlabelled(app))
        assert "mentions of 3500" in dump(app)

    run(test, service, tmp_path)


def test_numbers_that_come_as_text_are_numbers_on_the_screen(
    service: Running, tmp_path: Path
) -> None:
    def as_text(value: dict[str, Any]) -> dict[str, Any]:
        texts = {"index": str(value["index"])}
        for name in ("maxActApprox", "frac_nonzero"):
            if name in value:
                texts[name] = str(value[name])
        return {**value, **texts}

    pane: list[str] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: joined(app).count("words about") > 5)
        pane.append(joined(app).replace(service.url, ""))

    run(test, service, tmp_path / "numbers")
    service.change = each(as_text)
    run(test, service, tmp_path / "texts")
    assert pane[0] == pane[1] and "density" in pane[0]


def test_an_answer_that_drips_for_ever_is_given_up_and_told(
    service: Running, tmp_path: Path
) -> None:
    service.always = loopback.drip

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await pilot.press("j", "j")
        await until(pilot, lambda: "answer too slow" in dump(app))
        await until(pilot, lambda: "127.0.0.1 gave no whole answer in" in joined(app))
        service.always = None
        for _ in range(20):
            # one that drips still may be under way, and fail after the key
            await pilot.press("r")
            await pilot.pause(0.6)
            if not unlabelled(app):
                break
        await until(pilot, lambda: not unlabelled(app))
        assert "too slow" not in dump(app)

    with pytest.MonkeyPatch.context() as patch:
        # a whole answer may take half a minute: not in a test
        patch.setattr("scd_tui.neuronpedia.transport.Transport", partial(Transport, seconds=0.5))
        run(test, service, tmp_path)
