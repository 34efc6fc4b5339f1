from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from saes import DIFFERENT_KINDS, SaeKind
from tiny import PROMPT, random_dictionaries, write_model

from scd_tui.attribution.attribute import Reading, read
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.load import LoadedModel, load
from scd_tui.attribution.model import LanguageModel
from scd_tui.catalog.models import DEFAULT_MODEL, find
from scd_tui.graph import ModelIdentity, Site

# Matrices of a few dozen rows cost more to share between cores than to multiply on one.
torch.set_num_threads(1)


KEPT = ("CONFIG", "STATE", "CACHE", "DATA")


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where what outlives one test keeps things: not at home either."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for kind in KEPT:
            patch.setenv(f"XDG_{kind}_HOME", str(folder / kind.lower()))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program keeps things, in this process and in those that it starts: not at home."""
    for kind in KEPT:
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / f"home-{kind.lower()}"))
    return tmp_path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A random GPT-2 of three layers, booted as every model is."""
    folder = write_model(tmp_path_factory.mktemp("tiny"))
    return LanguageModel.boot(folder, torch.device("cpu"))


@pytest.fixture(scope="session")
def varied_model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A random GPT-2 whose likeliest token is another one at most positions."""
    folder = write_model(tmp_path_factory.mktemp("varied"), biases=0.05)
    return LanguageModel.boot(folder, torch.device("cpu"))


@pytest.fixture(scope="session", params=DIFFERENT_KINDS, ids=str)
def dictionaries(request: pytest.FixtureRequest) -> dict[Site, Dictionary]:
    """A random dictionary at every sublayer of `tiny_model`, of quite different kinds."""
    kind: SaeKind = request.param
    return random_dictionaries(3, 32, kind=kind)


@pytest.fixture(scope="session")
def tiny_loaded(tiny_model: LanguageModel, dictionaries: dict[Site, Dictionary]) -> LoadedModel:
    """`tiny_model` and `dictionaries` as they come out of loading; one site has labels."""
    identity = ModelIdentity(
        name="tiny",
        revision="0",
        dictionaries="random",
        dictionaries_revision="0",
        device="cpu",
        layers=3,
        context=32,
        vocabulary=tiny_model.vocabulary,
        sites=tuple(dictionaries),
        sources={"mlp_out.1": "1-mlp"},
    )
    return LoadedModel(tiny_model, dictionaries, identity)


@pytest.fixture(scope="session")
def reading(tiny_model: LanguageModel, dictionaries: dict[Site, Dictionary]) -> Reading:
    """`PROMPT` read by `tiny_model` and `dictionaries`."""
    return read(tiny_model, tiny_model.prompt(PROMPT), dictionaries)


@pytest.fixture(scope="session")
def demo() -> LoadedModel:
    """The bundled model, through the path on which every model is loaded."""
    return load(find(DEFAULT_MODEL), torch.device("cpu"))
