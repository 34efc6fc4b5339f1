"""Pointing the client libraries of this process at a hub; those of others read the environment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hub_repos import Family, repositories, write_toml
from hub_server import Hub, serve
from huggingface_hub import constants

from scd_tui.catalog.download import download
from scd_tui.catalog.models import ModelSpec, find


@contextmanager
def pointed(hub: Hub, home: Path) -> Iterator[None]:
    """huggingface_hub, and what uses it, asks `hub` and keeps files under `home`.

    The library reads its environment when it is imported, so what it read is replaced.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.delenv("HF_TOKEN", raising=False)
        yield


@contextmanager
def downloaded(family: Family, folder: Path) -> Iterator[tuple[Hub, ModelSpec]]:
    """A family on a hub, and downloaded from there. Nothing that was asked for that is remembered."""
    with serve(Hub(repositories(family, folder / "model"))) as hub, pointed(hub, folder):
        spec = find(str(write_toml(folder / f"{family.name}.toml", family)))
        download(spec)
        hub.asked.clear()
        yield hub, spec
