from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import pointed
from hub_server import Hub, Repo, serve
from neuronpedia import loopback
from neuronpedia.loopback import Running, running

from scd_tui.config import Config
from scd_tui.doctor.network import ASKED, ask, settings


@pytest.fixture
def service() -> Iterator[Running]:
    with running() as made:
        yield made


def test_the_settings_are_told_and_nothing_is_asked(service: Running) -> None:
    env = {"NEURONPEDIA_BASE_URL": service.url}
    on, hub = settings(Config(), env)
    assert service.url in on.says and "asked for the features" in on.says
    assert hub.facts["endpoint"] in hub.says
    off, _ = settings(Config(neuronpedia=False), env)
    assert "never asked" in off.says and off.facts["on"] is False
    assert service.requests == []


def test_an_address_that_the_app_refuses_stops_it() -> None:
    one, _ = settings(Config(), {"NEURONPEDIA_BASE_URL": "http://example.org"})
    assert one.state == "problem" and "https" in one.says


def test_each_is_asked_once_and_always_the_same(service: Running, tmp_path: Path) -> None:
    repos = {"openai-community/gpt2": Repo({"main": {"config.json": b"{}"}})}
    with serve(Hub(repos)) as hub, pointed(hub, tmp_path):
        neuronpedia, of_hub = ask({"NEURONPEDIA_BASE_URL": service.url})
        assert neuronpedia.facts["reached"] and of_hub.facts["reached"], (neuronpedia, of_hub)
        assert service.paths() == [f"/api/feature/{ASKED}"]
        assert [one.path for one in hub.asked] == [
            "/openai-community/gpt2/resolve/main/config.json"
        ]


def test_what_cannot_be_reached_is_told(service: Running, tmp_path: Path) -> None:
    service.always = loopback.limited
    with serve(Hub({})) as hub, pointed(hub, tmp_path):
        neuronpedia, of_hub = ask({"NEURONPEDIA_BASE_URL": service.url})
    assert (neuronpedia.state, neuronpedia.facts["kind"]) == ("warn", "limited")
    assert of_hub.state == "warn" and not of_hub.facts["reached"]
