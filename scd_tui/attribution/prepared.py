"""Dictionaries that cannot be read from the file that was published, in one that can.

Streaming maps weights into memory from a file of float32. Some are published in half precision, compressed,
transposed, or with a scale yet to be multiplied in: of these a copy is made, once, in a cache of our own.
"""

import shutil
from pathlib import Path

import torch
from platformdirs import user_cache_path
from sae_lens import SAE
from safetensors import SafetensorError

from scd_tui.catalog.spec import HubDictionary
from scd_tui.errors import RunError
from scd_tui.numbers import in_bytes

_ROOM = 64 << 20
"""Bytes that stay free on the disk."""


def prepared_dir() -> Path:
    """Where the copies lie; it can be deleted at any time."""
    return user_cache_path("scd-tui") / "prepared"


def prepared_folder(source: HubDictionary, commit: str) -> Path:
    """Where the copy of a dictionary at a commit lies."""
    repo = source.repo.replace("/", "--")
    return prepared_dir() / repo / commit / source.path.replace("/", "--")


def load_prepared(folder: Path) -> SAE | None:
    """The copy, mapped into memory; None if there is none, or a damaged one."""
    try:
        return SAE.load_from_disk(folder, device="cpu", dtype="float32")
    except (OSError, ValueError, KeyError, SafetensorError):
        return None


def prepare(sae: SAE, folder: Path) -> SAE:
    """Write a copy of a dictionary and return it, mapped. Raises RunError when the disk is too small."""
    needed = sum(p.numel() * 4 for p in sae.parameters())
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if free < needed + _ROOM:
            raise RunError(
                f"streaming this set needs a copy of each dictionary in float32 below {prepared_dir()}, "
                f"{in_bytes(needed)} for the next, and {in_bytes(free)} are free there: make room"
            )
        # complete or not there: the folder gets its name when everything is in it
        begun = folder.with_name(f"{folder.name}.begun")
        shutil.rmtree(begun, ignore_errors=True)
        # a dictionary published in another layout may lie across its memory
        for parameter in sae.parameters():
            parameter.data = parameter.data.contiguous().to(torch.float32)
        sae.save_model(begun)
        shutil.rmtree(folder, ignore_errors=True)
        begun.rename(folder)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror or error}") from None
    made = load_prepared(folder)
    assert made is not None
    return made
