"""What goes wrong between here and the Hub, each in one sentence that says what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from scd_tui.catalog.cached import cache_dir
from scd_tui.catalog.hub_files import HubFile
from scd_tui.errors import InputError, RunError


class DamagedError(Exception):
    """What arrived is not what the Hub says that it is. The message goes on after a file's name."""


class Missing(Exception):
    """The repository has no such file."""


@contextmanager
def told(file: HubFile) -> Iterator[None]:
    """Turn what the libraries raise while they deal with a file into one sentence.

    Raises RunError; Missing where a file that need not be there is not; what else there is unchanged.
    """
    try:
        yield
    except (InputError, DamagedError, Missing):
        raise
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):
            raise _unreachable(error) from None
        raise _no_file(file) from None
    except (HfHubHTTPError, FileMetadataError, OfflineModeIsEnabled, httpx2.HTTPError) as error:
        raise _said(file, error) from None
    except OSError as error:
        raise _of_disk(file, error) from None


def _no_file(file: HubFile) -> Exception:
    if not file.needed:
        return Missing(file.name)
    return RunError(
        f"{file.repo} has no file {file.name}: it is not laid out as expected, "
        "so look there what has changed"
    )


def _said(file: HubFile, error: Exception) -> RunError:
    endpoint = constants.ENDPOINT
    match error:
        case OfflineModeIsEnabled():
            return RunError("HF_HUB_OFFLINE is set, so nothing is downloaded: unset it first")
        case GatedRepoError():
            return RunError(f"{file.repo} is open only to accounts that asked: {_ask(file.repo)}")
        case RevisionNotFoundError():
            return RunError(
                f"{file.repo} has no revision {file.revision or 'main'!r}: "
                f"look on {endpoint}/{file.repo} which there are"
            )
        case RepositoryNotFoundError():
            return RunError(
                f"there is no repository {file.repo} on {endpoint}, or it is private: check the name, "
                "or set HF_TOKEN to a token that may read it"
            )
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return RunError(f"{endpoint} does not let {file.repo} be read: {_ask(file.repo)}")
        case HfHubHTTPError():
            return RunError(
                f"{endpoint} answered with error {error.response.status_code} when asked for "
                f"{file.name} of {file.repo}: try again later"
            )
        case httpx2.HTTPStatusError():
            return RunError(
                f"{error.request.url.host} answered with error {error.response.status_code} when "
                f"asked for {file.name} of {file.repo}: try again later"
            )
        case FileMetadataError():
            return RunError(f"{endpoint} is no hub: check HF_ENDPOINT")
        case _:
            return _unreachable(error)


def _ask(repo: str) -> str:
    page = f"{constants.ENDPOINT}/{repo}"
    if get_token() is None:
        return f"ask for access on {page}, and set HF_TOKEN to a token of an account that has it"
    return f"the account of the token that was sent has no access, so ask for it on {page}"


def _unreachable(error: Exception) -> RunError:
    if isinstance(error, OfflineModeIsEnabled) or constants.is_offline_mode():
        return RunError("HF_HUB_OFFLINE is set, so nothing is downloaded: unset it first")
    cause = next(iter(str(error).splitlines()), "")[:100]
    told = f" ({cause})" if cause and not isinstance(error, LocalEntryNotFoundError) else ""
    own = " and HF_ENDPOINT" if os.environ.get("HF_ENDPOINT") else ""
    return RunError(
        f"{constants.ENDPOINT} cannot be reached{told}: check the connection{own} and try again, "
        "what has arrived is kept"
    )


def _of_disk(file: HubFile, error: OSError) -> RunError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"the disk of {cache_dir()} is full: make room and try again, what has arrived is kept, "
            "or set HF_HOME to a folder on another disk"
        )
    return RunError(f"{file.name} cannot be written below {cache_dir()}: {error.strerror or error}")
