"""What pip says when it cannot fetch a wheel, in one sentence that says what to do."""

import re

from scd_tui.text import shorten, visible

_SHOWS = "`pip config list` shows which index pip uses"
_UNREACHED = re.compile(
    r"Retrying|NewConnectionError|ConnectTimeout|ReadTimeout|Failed to establish|Max retries|"
    r"Name or service not known|Temporary failure in name resolution|ProxyError|"
    r"Could not fetch URL|ConnectionError|ReadTimeoutError|Connection broken",
    re.IGNORECASE,
)
_CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError")
_FULL = re.compile(r"Errno 28|No space left|Errno 122|Disk quota")
_REFUSED = re.compile(r"(401|403) Client Error|\bUnauthorized\b|\bForbidden\b")
_ABSENT = re.compile(r"No matching distribution found|Could not find a version")
_LONGEST = 300


def why(said: str, python: str) -> str:
    """A clause on what stopped pip and what helps. `said` is its output, `python` ran it."""
    if "No module named pip" in said:
        return f"pip is not installed beside {python}: `{python} -m ensurepip` installs it"
    if _FULL.search(said):
        return "the disk is full: make room, or set XDG_CACHE_HOME to a folder on another disk"
    if _CERTIFICATE.search(said):
        return f"the certificate of the package index is not trusted: set PIP_CERT; {_SHOWS}"
    if _REFUSED.search(said):
        return f"the package index refuses access: {_SHOWS}, and its user and password go there"
    if _UNREACHED.search(said):
        return f"the package index cannot be reached: check the network; {_SHOWS}"
    if _ABSENT.search(said):
        return f"the package index does not have it: set PIP_INDEX_URL to one that has; {_SHOWS}"
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    last = (errors or lines or ["it did not say why"])[-1]
    return f"pip failed ({shorten(visible(last), _LONGEST)}): {_SHOWS}"
