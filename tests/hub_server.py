"""A hub on loopback: real sockets, the answers that huggingface_hub needs, and faults on demand.

It serves `/{repo}/resolve/{revision}/{file}` with `X-Repo-Commit` and `ETag`, ranges, and the redirect to
another host that large files have on the real one. Everything else, listings too, is 404.
"""

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

_LARGE = (".safetensors", ".npz", ".pt", ".bin")
"""Files that the real hub keeps in large file storage: their ETag is the SHA-256 of their content."""
_PIECE = 1 << 16

Files = Mapping[str, bytes | Path]
"""Content by path in a repository."""


@dataclass
class Fault:
    """What goes wrong with files whose path contains `where`, in the first `times` requests for one.

    `status`: answered so, with the hub's error `code`. `cut`: the connection breaks after `after` bytes of
    content. `corrupt`: the first byte is another. `size`: the announced size is one too many. `silent`:
    no size is announced. `slow`: a pause of `seconds` before each 64 KiB.
    `etag`: `code` is said to be the hash.
    """

    kind: Literal["status", "cut", "corrupt", "size", "silent", "slow", "etag"]
    where: str = ""
    times: int = 1_000_000
    status: int = 500
    code: str = ""
    after: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A request that came in; its headers' names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Repo:
    """Files by revision; a commit is the hash of what is in it."""

    revisions: dict[str, Files]

    def at(self, revision: str) -> tuple[str, Files] | None:
        for name, files in self.revisions.items():
            commit = commit_of(files)
            if revision in (name, commit):
                return commit, files
        return None


def content(held: bytes | Path) -> bytes:
    return held if isinstance(held, bytes) else held.read_bytes()


def commit_of(files: Files) -> str:
    """40 hexadecimal digits that depend on names and sizes, and of small files on their content."""
    digest = hashlib.sha1()
    for name in sorted(files):
        held = files[name]
        if isinstance(held, bytes) or not name.endswith(_LARGE):
            held = content(held)
            digest.update(f"{name}\0{len(held)}\0".encode() + held)
        else:
            digest.update(f"{name}\0{held.stat().st_size}\0{held.stat().st_mtime_ns}\0".encode())
    return digest.hexdigest()


def etag_of(name: str, data: bytes) -> str:
    """SHA-256 for large files, git's hash of a blob for others."""
    if name.endswith(_LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


@dataclass
class Hub:
    """A running server. `storage` is another one, on another port, that large files are redirected to."""

    repos: dict[str, Repo]
    storage: "Hub | None" = None
    gated: dict[str, str] = field(default_factory=dict)
    """The token that a repository wants."""
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    _etags: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """What points the client libraries of another process here, and nowhere else."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_ETAG_TIMEOUT": "2",
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
            **more,
        }

    def fetched(self, method: str = "GET") -> list[str]:
        """The files asked for with this method, in order."""
        return [
            a.path.split("/resolve/")[-1].split("/", 1)[-1]
            for a in self.asked
            if a.method == method
        ]

    def fault(self, path: str, *kinds: str) -> Fault | None:
        """The first fault of these kinds that `path` has left, used up by one."""
        for fault in self.faults:
            if fault.kind in kinds and fault.where in path and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def etag(self, repo: str, commit: str, name: str, data: bytes) -> str:
        key = (repo, commit, name)
        if key not in self._etags:
            self._etags[key] = etag_of(name, data)
        return self._etags[key]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer(head=False)

    def do_POST(self) -> None:
        self._refuse(404)

    def _refuse(self, status: int, code: str = "", commit: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, *, head: bool) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.asked.append(Asked(self.command, path, headers))
        if "/resolve/" not in path:
            return self._refuse(404)
        repo, _, rest = path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if (fault := hub.fault(path, "status")) is not None:
            return self._refuse(fault.status, fault.code)
        if repo not in hub.repos:
            return self._refuse(401, "RepoNotFound")
        wanted = hub.gated.get(repo)
        if wanted is not None and self.headers.get("Authorization") != f"Bearer {wanted}":
            return self._refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
        found = hub.repos[repo].at(revision)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        commit, files = found
        if name not in files:
            return self._refuse(404, "EntryNotFound", commit)
        data = content(files[name])
        fault = hub.fault(path, "etag")
        etag = hub.etag(repo, commit, name, data) if fault is None else fault.code
        if hub.storage is not None and name.endswith(_LARGE):
            return self._redirect(hub.storage, path, commit, etag, len(data))
        return self._send(path, data, commit, etag, head)

    def _redirect(self, storage: Hub, path: str, commit: str, etag: str, size: int) -> None:
        self.send_response(302)
        self.send_header("Location", storage.url + path)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(size + self._too_many(path)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _too_many(self, path: str) -> int:
        return int(self.hub.fault(path, "size") is not None)

    def _send(self, path: str, data: bytes, commit: str, etag: str, head: bool) -> None:
        start, status = 0, 200
        asked = self.headers.get("Range", "")
        end = len(data)
        if asked.startswith("bytes=") and not head:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, status = int(first), 206
            end = min(end, int(last) + 1) if last else end
        self.send_response(status)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        if self.hub.fault(path, "silent") is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            size = end - start + (self._too_many(path) if head else 0)
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if not head:
            self._body(path, data, start, end)

    def _body(self, path: str, data: bytes, start: int, end: int) -> None:
        cut = self.hub.fault(path, "cut")
        slow = self.hub.fault(path, "slow")
        if start == 0 and self.hub.fault(path, "corrupt") is not None:
            data = bytes([data[0] ^ 1]) + data[1:]
        stop = end if cut is None else min(end, start + cut.after)
        try:
            for at in range(start, stop, _PIECE):
                if slow is not None:
                    time.sleep(slow.seconds)
                self.wfile.write(data[at : min(at + _PIECE, stop)])
            if stop < end:
                # a reset, as when a line breaks, and not the orderly end of a short answer
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
        except OSError:  # the client has left
            self.close_connection = True


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run a hub, on a free port, for as long as it is needed."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
