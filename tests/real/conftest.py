"""SmolLM2 as `scd-tui download smollm2` leaves it, and six dictionaries trained for it.

`pytest -m real` runs these tests; without the model they are skipped.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from real.plain import PlainModel, PlainReading, Transformer, load_saes, read_plainly
from real.question import CONTRAST, CONTRAST_PROMPT, PROMPT, TARGET
from real.training import train_all
from transformers import AutoModelForCausalLM, AutoTokenizer

from scd_tui.attribution.explain import Explanation, explain
from scd_tui.attribution.load import LoadedModel, load
from scd_tui.catalog.cached import model_folder
from scd_tui.catalog.models import find
from scd_tui.graph import Site

_REPORT = pytest.StashKey[list[str]]()

_FOLDER = model_folder(find("smollm2"))
"""Looked up before a fixture gives the tests a cache of their own."""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(_REPORT, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> list[str]:
    """Lines of measured numbers, printed after the tests."""
    return pytestconfig.stash.setdefault(_REPORT, [])


@pytest.fixture(scope="session")
def folder() -> Path:
    if _FOLDER is None:
        pytest.skip("SmolLM2 is not downloaded: run `scd-tui download smollm2`")
    return _FOLDER


@pytest.fixture(scope="session")
def transformer(folder: Path) -> Transformer:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return Transformer(model, AutoTokenizer.from_pretrained(folder))


@pytest.fixture(scope="session")
def dictionaries(
    transformer: Transformer, tmp_path_factory: pytest.TempPathFactory, report: list[str]
) -> Mapping[Site, Path]:
    """Folders of the trained dictionaries, by site, in one folder."""
    start = time.perf_counter()
    made = train_all(
        transformer.model, transformer.tokenizer, tmp_path_factory.mktemp("dictionaries")
    )
    report.append(f"six dictionaries trained in {time.perf_counter() - start:.0f} s")
    return made


@pytest.fixture(scope="session")
def loaded(folder: Path, dictionaries: Mapping[Site, Path]) -> LoadedModel:
    """Model and dictionaries by the path on which every model is loaded."""
    where = next(iter(dictionaries.values())).parent
    return load(find(str(folder), str(where)), torch.device("cpu"))


@pytest.fixture(scope="session")
def explanation(loaded: LoadedModel) -> Explanation:
    """The circuit of the prompt, as `scd-tui attribute` makes it by default."""
    return explain(loaded, PROMPT, target=TARGET, contrast=CONTRAST)


@pytest.fixture(scope="session")
def contrasted(loaded: LoadedModel) -> Explanation:
    """The same with the contrast prompt."""
    return explain(
        loaded, PROMPT, target=TARGET, contrast=CONTRAST, contrast_prompt=CONTRAST_PROMPT
    )


@pytest.fixture(scope="session")
def saes(dictionaries: Mapping[Site, Path]) -> dict[Site, Any]:
    return load_saes(dictionaries)


@pytest.fixture(scope="session")
def plain_model(folder: Path) -> PlainModel:
    return PlainModel(folder)


def _read(model: PlainModel, transformer: Transformer, saes: Any, text: str) -> PlainReading:
    tokenizer = transformer.tokenizer
    ids, target, against = (
        tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, TARGET, CONTRAST)
    )
    return read_plainly(model, ids, saes, *target, *against)


@pytest.fixture(scope="session")
def plain(plain_model: PlainModel, transformer: Transformer, saes: Any) -> PlainReading:
    """The prompt by transformers, sae_lens and autograd alone."""
    return _read(plain_model, transformer, saes, PROMPT)


@pytest.fixture(scope="session")
def plain_contrast(plain_model: PlainModel, transformer: Transformer, saes: Any) -> PlainReading:
    """The contrast prompt likewise."""
    return _read(plain_model, transformer, saes, CONTRAST_PROMPT)
