"""The prompt sets that ship with the program."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import msgspec

from scd_tui.decoding import Undecodable, decode_toml
from scd_tui.errors import InputError
from scd_tui.graph import Record
from scd_tui.reading import TOML, read_text


class Prompt(Record, frozen=True, kw_only=True):
    """A prompt with its right completion, what to hold it against, and what is known of it.

    `contrast_prompt` is a prompt of as many tokens whose right completion is the contrast.
    """

    text: str
    target: str
    contrast: str | None = None
    contrast_prompt: str | None = None
    note: str = ""


class PromptSet(Record, frozen=True, kw_only=True):
    """A named list of prompts of one kind."""

    name: str
    description: str
    prompts: tuple[Prompt, ...] = msgspec.field(name="prompt")


def prompts_dir() -> Path:
    """Where the bundled sets lie: in the installed package, or beside it in a checkout."""
    inside = Path(str(resources.files("scd_tui"))) / "prompts"
    return inside if inside.is_dir() else inside.parents[1] / "prompts"


def read_prompt_set(path: Path) -> PromptSet:
    """Read one TOML file. Raises InputError, in one sentence, when it is no prompt set."""
    try:
        return decode_toml(read_text(path, TOML), PromptSet)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except Undecodable as error:
        raise InputError(f"{path} is not a prompt set: {error}") from None


def load_prompt_sets(paths: Iterable[Path] | None = None) -> tuple[PromptSet, ...]:
    """The sets in `paths`, or all bundled ones, in order of their file names."""
    return tuple(
        read_prompt_set(path)
        for path in (sorted(prompts_dir().glob("*.toml")) if paths is None else paths)
    )
