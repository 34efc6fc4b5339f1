"""Requests over one pool of connections, with a bound on everything that an answer can be.

Redirects are followed by hand: `requests` would go wherever they lead, and would look into `.netrc`
for a password. There is no key: nothing that is asked here takes one.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from scd_tui import __version__
from scd_tui.neuronpedia.address import is_loopback, may_follow
from scd_tui.neuronpedia.faults import Fault

CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 60.0
"""How long one exchange may take, from the first byte sent to the last received."""
MAXIMUM_BYTES = 24 << 20
"""Bytes of an answer, unpacked."""
CONNECTIONS = 4
REDIRECTS = 3
USER_AGENT = f"scd-tui/{__version__} (python-requests/{version('requests')})"
_CHUNK = 1 << 16
_REDIRECT = frozenset({301, 302, 307, 308})


class Answer(msgspec.Struct, frozen=True):
    """An answer that arrived whole.

    `remaining` is what is left of the hour's requests and `retry_after` how many seconds the service
    wants to be left alone, where it says so.
    """

    status: int
    content_type: str
    body: bytes
    remaining: int | None = None
    retry_after: int | None = None


class _Exchange:
    """One request under way, and the socket that it is on."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.expired = False

    def expire(self) -> None:
        """End it from another thread: whoever reads or writes on the socket is woken."""
        self.expired = True
        if self.socket is not None:
            with contextlib.suppress(OSError):
                # not through SSLSocket, which would take the session away from under its reader
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


_EXCHANGE: ContextVar[_Exchange | None] = ContextVar("exchange", default=None)


class _Connection(urllib3.connection.HTTPConnection):
    def request(self, *args: Any, **fields: Any) -> None:
        _note(self)
        super().request(*args, **fields)


class _SecureConnection(urllib3.connection.HTTPSConnection):
    def request(self, *args: Any, **fields: Any) -> None:
        _note(self)
        super().request(*args, **fields)


def _note(connection: urllib3.connection.HTTPConnection) -> None:
    exchange = _EXCHANGE.get()
    if exchange is not None:
        if connection.sock is None:
            connection.connect()
        exchange.socket = connection.sock


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Connections that can be ended at a time, whatever the other side does."""

    def init_poolmanager(self, *args: Any, **fields: Any) -> None:
        super().init_poolmanager(*args, **fields)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **fields: Any) -> Any:
        manager = super().proxy_manager_for(*args, **fields)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager


class _NoPassword(AuthBase):
    """In place of what `requests` would read from `.netrc`."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class Transport:
    """Sends requests; safe for several threads."""

    def __init__(
        self,
        site: str,
        *,
        seconds: float = TOTAL_SECONDS,
        maximum: int = MAXIMUM_BYTES,
    ) -> None:
        self._site = site
        self._seconds = seconds
        self._maximum = maximum
        self._host = urlsplit(site).hostname or site
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"})
        self._session.auth = _NoPassword()
        self._session.cookies.set_policy(_no_cookies())
        # proxies and certificates of the environment hold for the network, not for this machine
        self._session.trust_env = not is_loopback(urlsplit(site).hostname)
        adapter = _Adapter(pool_connections=2, pool_maxsize=CONNECTIONS, max_retries=0)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, adapter)

    @property
    def host(self) -> str:
        """As messages name it."""
        return self._host

    def __repr__(self) -> str:
        return f"Transport({self._site!r})"

    def close(self) -> None:
        self._session.close()

    def send(self, method: str, url: str, body: bytes | None = None) -> Answer:
        """The answer to one request, whatever its status. Raises Fault when none arrives."""
        with self._exchange(method, url, body) as (response, exchange):
            return Answer(
                response.status_code,
                response.headers.get("Content-Type", ""),
                b"".join(self._chunks(response, exchange)),
                _whole_number(response.headers.get("x-limit-remaining")),
                _whole_number(response.headers.get("Retry-After")),
            )

    def stream(self, url: str) -> Iterator[bytes]:
        """The bytes of a file, as they come. Raises Fault, also for a status that is not 200."""
        with self._exchange("GET", url, None) as (response, exchange):
            if response.status_code != 200:
                wait = _whole_number(response.headers.get("Retry-After"))
                raise status_fault(response.status_code, self._host, wait)
            yield from self._chunks(response, exchange)

    @contextlib.contextmanager
    def _exchange(
        self, method: str, url: str, body: bytes | None
    ) -> Iterator[tuple[requests.Response, _Exchange]]:
        exchange = _Exchange()
        token = _EXCHANGE.set(exchange)
        timer = threading.Timer(self._seconds, exchange.expire)
        timer.daemon = True
        timer.start()
        try:
            with self._followed(method, url, body) as response:
                yield response, exchange
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._fault(error, exchange) from None
        finally:
            timer.cancel()
            _EXCHANGE.reset(token)

    def _followed(self, method: str, url: str, body: bytes | None) -> requests.Response:
        """The first answer that is no redirect."""
        for _ in range(REDIRECTS + 1):
            headers = {} if body is None else {"Content-Type": "application/json"}
            response = self._session.request(
                method, url, data=body, headers=headers, stream=True, allow_redirects=False,
                timeout=(CONNECT_SECONDS, self._seconds),
            )  # fmt: skip
            if response.status_code not in _REDIRECT:
                return response
            target = urljoin(url, response.headers.get("Location", ""))
            response.close()
            if not may_follow(url, target):
                there = urlsplit(target).hostname or "nowhere"
                raise Fault("redirect", f"{self._host} sends us on to {there}: not followed")
            url = target
        raise Fault("redirect", f"{self._host} sends us round in circles")

    def _chunks(self, response: requests.Response, exchange: _Exchange) -> Iterator[bytes]:
        size = 0
        while chunk := response.raw.read(_CHUNK, decode_content=True):
            size += len(chunk)
            if size > self._maximum:
                most = f"{self._maximum / 1e6:.0f} MB"
                raise Fault("size", f"an answer of {self._host} is larger than {most}")
            yield chunk
        if exchange.expired:
            raise self._too_slow()

    def _too_slow(self) -> Fault:
        return Fault("slow", f"{self._host} gave no whole answer in {self._seconds:.0f} s")

    def _fault(self, error: Exception, exchange: _Exchange) -> Fault:
        if exchange.expired or isinstance(
            error, (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError)
        ):
            return self._too_slow()
        if isinstance(error, (requests.exceptions.SSLError, requests.exceptions.ProxyError)):
            what = "certificate" if isinstance(error, requests.exceptions.SSLError) else "proxy"
            return Fault("offline", f"offline: the {what} on the way to {self._host} does not work")
        if isinstance(error, requests.ConnectionError) and exchange.socket is None:
            return Fault("offline", f"offline: {self._host} cannot be reached")
        return Fault("cut", f"an answer of {self._host} was cut off")


def status_fault(status: int, host: str, wait: int | None = None) -> Fault:
    """What an HTTP status that is not 200 comes down to."""
    if status == 429:
        return Fault("limited", f"{host} limits the rate of requests", wait)
    if status >= 500:
        return Fault("server", f"{host} has a fault (HTTP {status})", wait)
    if status == 404:
        return Fault("refused", f"{host} has nothing at the address that was asked (HTTP 404)")
    return Fault("refused", f"{host} refuses the request (HTTP {status})")


def _whole_number(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 9:
        return None
    return int(text)


def _no_cookies() -> Any:
    from http.cookiejar import DefaultCookiePolicy

    return DefaultCookiePolicy(allowed_domains=[])
