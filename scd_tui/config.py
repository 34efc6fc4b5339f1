"""The one configuration file, and the folders that this program keeps things in.

`config.toml` lies in the user's configuration folder. What is missing in it has its default; a file
that cannot be used is told in one sentence, and everything then has its default.
"""

from pathlib import Path
from typing import Literal

import msgspec
from platformdirs import user_cache_path, user_config_path, user_state_path

from scd_tui.decoding import Undecodable, decode_toml
from scd_tui.graph import Method, Metric, Settings
from scd_tui.reading import TOML, read_text

DEFAULT_MODEL = "demo"
"""The one that ships inside."""
Choice = Literal["auto", "on", "off"]

_TOP = Settings()


class Defaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the app asks for until it is told otherwise; the meanings are those of `Settings`."""

    metric: Metric = "diff"
    method: Method = _TOP.method
    top: int = _TOP.top
    edges: int = _TOP.edges
    completions: int = _TOP.completions

    def __post_init__(self) -> None:
        for name in ("top", "edges", "completions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is a number from 1 on")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file can say. Its comments in `scd-tui config` are the docstrings of `MEANINGS`."""

    theme: str = "auto"
    model: str = ""
    device: str = "auto"
    mouse: Choice = "auto"
    unicode: Choice = "auto"
    history: int = 200
    neuronpedia: bool = True
    defaults: Defaults = Defaults()
    keys: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.history < 0:
            raise ValueError("history is a number from 0 on")


MEANINGS = {
    "theme": "auto, scd, scd-light, scd-16, or another of those that the command palette lists",
    "model": 'a name of `scd-tui models`; "" is the one that was used last',
    "device": "auto, cpu, cuda or cuda:N",
    "mouse": "auto: off over SSH, where its reports cost too much",
    "unicode": "auto: off where the locale is not UTF-8; bars and lines are then ASCII",
    "neuronpedia": "false: nothing is fetched, so that nobody learns which features a prompt activates",
    "history": "how many past circuits are kept for their owner; 0 keeps none",
    "metric": "diff, logp or logit",
    "method": "gradient, integrated or exact",
    "top": "strongest nodes of a site",
    "edges": "strongest edges from each upstream site into a node",
    "completions": "likeliest next tokens that are listed",
}


def config_path() -> Path:
    """Where the file is looked for."""
    return user_config_path("scd-tui") / "config.toml"


def state_path() -> Path:
    """The folder of what is remembered from one sitting to the next."""
    return user_state_path("scd-tui")


def cache_path() -> Path:
    """The folder of what can be fetched or made again."""
    return user_cache_path("scd-tui")


def read_config(path: Path | None = None) -> tuple[Config, str]:
    """The configuration, and one sentence on why the file could not be used; "" if it could."""
    path = path or config_path()
    try:
        # tomllib says line and column of what it does not understand.
        found = decode_toml(read_text(path, TOML), Config)
    except FileNotFoundError:
        if path.is_symlink():
            return Config(), f"{path} is a link that leads nowhere: the defaults are used"
        return Config(), ""
    except OSError as error:
        return Config(), f"{path} cannot be read ({error.strerror}): the defaults are used"
    except Undecodable as error:
        return Config(), f"{path} cannot be used ({error}): mend it; the defaults are used"
    return found, ""
