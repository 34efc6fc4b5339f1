"""What is known of a set of dictionaries with its model, to choose from."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from scd_tui.graph import Record

State = Literal["bundled", "local", "downloaded", "partly", "absent", "broken"]
"""`local`: in folders of the user's; `broken`: its file cannot be used."""


class Choice(Record, frozen=True, kw_only=True):
    """A set of dictionaries with its model. Sizes in bytes; None where they are not known.

    `sites` counts dictionaries by kind. `size` is that of the files: of what is downloaded as it is, of
    what is not the most that it can be, as float32. `memory` is what the best plan takes where it runs,
    or what the least demanding would take. `fits` is None where that cannot be told. `package` is what pip
    is asked for, where the model comes in a package.
    """

    reference: str
    about: str = ""
    state: State
    sites: Mapping[str, int] = msgspec.field(default_factory=dict)
    size: int | None = None
    memory: int | None = None
    fits: bool | None = None
    runs: str = ""
    why: str = ""
    repositories: tuple[str, ...] = ()
    package: str = ""
    gated: bool = False
    licence: str | None = None
    model_licence: str | None = None
    labels: bool = False
    training_context: int | None = None
    prepends_bos: bool = False
