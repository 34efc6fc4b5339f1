"""Where Neuronpedia is, and links to what is there."""

import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

import msgspec

from scd_tui.errors import InputError

SITE = "https://www.neuronpedia.org"
BULK = "https://neuronpedia-datasets.s3.us-east-1.amazonaws.com"
MAXIMUM_QUICK_LIST = 150
"""Features that a quick list can hold."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)


class Feature(msgspec.Struct, frozen=True, order=True):
    """A feature by Neuronpedia's names: model, source id, index."""

    model: str
    source: str
    index: int

    def __str__(self) -> str:
        return f"{self.model}/{self.source}/{self.index}"


class Addresses(msgspec.Struct, frozen=True):
    """Base URLs, without a slash at the end: of the service, and of its bulk files."""

    site: str = SITE
    bulk: str = BULK

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Addresses":
        """Those that the environment sets, or else the public ones. Raises InputError."""
        return cls(
            base_url(environment.get("NEURONPEDIA_BASE_URL") or SITE, "NEURONPEDIA_BASE_URL"),
            base_url(environment.get("NEURONPEDIA_BULK_URL") or BULK, "NEURONPEDIA_BULK_URL"),
        )

    @property
    def host(self) -> str:
        """The service's host, as messages name it."""
        return (urlsplit(self.site).hostname or "neuronpedia").removeprefix("www.")

    def page(self, feature: Feature) -> str:
        """The feature's page."""
        return f"{self.site}/{_path(feature)}"

    def api(self, feature: Feature) -> str:
        """What answers with all that is known of the feature."""
        return f"{self.site}/api/feature/{_path(feature)}"

    def quick_list(self, name: str, features: Iterable[Feature]) -> str:
        """A page that lists these features, which takes no key. Raises InputError beyond 150."""
        listed = [{"modelId": f.model, "layer": f.source, "index": str(f.index)} for f in features]
        if len(listed) > MAXIMUM_QUICK_LIST:
            raise InputError(f"a quick list holds {MAXIMUM_QUICK_LIST} features, not {len(listed)}")
        text = json.dumps(listed, separators=(",", ":"))
        return (
            f"{self.site}/quick-list/?name={quote(name, safe='')}&features={quote(text, safe='')}"
        )


def _path(feature: Feature) -> str:
    return "/".join(
        quote(part, safe="") for part in (feature.model, feature.source, str(feature.index))
    )


def sendable(feature: Feature) -> bool:
    """Whether the names are of a kind that Neuronpedia has: they can come from anybody's file."""
    return bool(
        _NAME.fullmatch(feature.model)
        and _NAME.fullmatch(feature.source)
        and 0 <= feature.index < 10**10
    )


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine."""
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def base_url(text: str, name: str) -> str:
    """A base URL as it is used here. Raises InputError unless it is https or of this machine."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    plain = parts.scheme == "http" and is_loopback(host)
    if not host or not (parts.scheme == "https" or plain) or "@" in parts.netloc:
        raise InputError(f"{name} is to be an https address, or one of this machine")
    where = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/").removesuffix("/api")
    return f"{parts.scheme}://{where}{f':{port}' if port else ''}{path}"


def may_follow(start: str, target: str) -> bool:
    """Whether a redirect from one URL to another is followed.

    To https anywhere; to http only from this machine to itself, as tests and private servers do.
    """
    here, there = urlsplit(start), urlsplit(target)
    if there.hostname is None or "@" in there.netloc:
        return False
    if is_loopback(there.hostname) and not is_loopback(here.hostname):
        return False
    return there.scheme == "https" or (there.scheme == "http" and is_loopback(there.hostname))
