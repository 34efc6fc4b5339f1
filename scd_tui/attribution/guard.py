"""Keeping libraries from changing the environment that they run in."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def nothing_installed() -> Iterator[None]:
    """Keep TransformerLens from installing packages while it boots a model.

    Of a model that takes images too it wants the part that prepares them, which is not used here, and
    runs `pip install torchvision` where that is missing (transformer_lens 3.9, sources/transformers.py).
    It goes on without when that fails.
    """

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError("nothing is installed on the way")

    before = subprocess.check_call
    subprocess.check_call = refuse
    try:
        yield
    finally:
        subprocess.check_call = before
