"""A Neuronpedia of our own on this machine: the routes, the bulk files, and what goes wrong there.

It answers as the public service does: indices as text, everything in a feature response that the
service sends, features that are not there left out of a batch, the order of a batch by index alone.
Faults are queued, one for each request to come, or stay until they are taken away.
"""

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Fault = Callable[["Handler"], None]

SOURCES = tuple(
    f"{layer}-{kind}_32k-oai" for layer in range(12) for kind in ("att", "mlp", "res_post")
)
"""36 sources, as GPT-2 small has them."""


def feature(source: str, index: int, model: str = "gpt2-small", activations: int = 12) -> Any:
    """A feature in full, made up from its names: every scalar and relation that the service sends.

    Indices that end in 7 have no explanation, those that end in 3 have two.
    """
    tokens = [" words", " about", "Ċ", f" {index}", "âĢĶ", " and", " more"]
    explained = [
        {
            "id": f"e{index}-{n}",
            "description": f"{words} {index} of {source}",
            "explanationModelName": author,
            "typeName": kind,
            "scores": [],
            "triggeredByUser": None,
        }
        for n, (words, author, kind) in enumerate(
            [
                ("mentions of", "gpt-3.5-turbo", "oai_token-act-pair"),
                ("text about", "gpt-4o-mini", "np_max-act"),
            ]
        )
    ]
    shown = 0 if index % 10 == 7 else 2 if index % 10 == 3 else 1
    return {
        "modelId": model,
        "layer": source,
        "index": str(index),
        "sourceSetName": source.split("-", 1)[1],
        "creatorId": "someone",
        "createdAt": "2024-07-01T00:00:00.000Z",
        "maxActApprox": 0 if index % 100 == 99 else 12.25,
        "hasVector": False,
        "vector": [],
        "vectorLabel": None,
        "vectorDefaultSteerStrength": 10,
        "hookName": None,
        **{
            name: []
            for name in (
                *("topkCosSimIndices", "topkCosSimValues", "decoder_weights_dist"),
                *(f"neuron_alignment_{part}" for part in ("indices", "values", "l1")),
                *(f"correlated_neurons_{part}" for part in ("indices", "pearson", "l1")),
                *(f"correlated_features_{part}" for part in ("indices", "pearson", "l1")),
            )
        },
        "pos_str": ["Ġquestion", " way"],
        "pos_values": [1.5, 0.5],
        "neg_str": [" nearly", ""],
        "neg_values": [-0.61, -10000],
        "frac_nonzero": 0.00112,
        "freq_hist_data_bar_heights": [30, 12, 4],
        "freq_hist_data_bar_values": [2.0, 6.0, 10.0],
        "logits_hist_data_bar_heights": [100, 40000, 157],
        "logits_hist_data_bar_values": [-0.5, 0.0, 0.5],
        **dict.fromkeys(("umap_cluster", "umap_log_feature_sparsity", "umap_x", "umap_y")),
        "model": {"id": model, "layers": 12},
        "source": {"id": source, "saelensRelease": None, "hasDashboards": True},
        "sourceSet": None,
        "creator": None,
        "lists": [],
        "comments": [],
        "explanations": explained[:shown],
        "activations": [
            {
                "id": f"a{n}",
                "tokens": [*tokens, f" {n}"],
                "values": [0.0, 0.0, 0.0, 12.25 - n, 3.0, 0.0, 0.0, 0.0],
                "maxValue": 12.25 - n,
                "maxValueTokenIndex": 3,
                "minValue": 0.0,
                "modelId": model,
                "layer": source,
                "index": str(index),
                "dataIndex": None,
                "dfaValues": [],
                "lossValues": [],
                "binMin": None,
            }
            for n in range(activations)
        ],
    }


def brief(full: Any, activations: int) -> Any:
    """The same feature as a batch has it."""
    left_out = ("model", "source", "sourceSet", "creator", "lists", "comments")
    made = {key: value for key, value in full.items() if key not in left_out}
    made["explanations"] = [
        {key: one[key] for key in ("description", "explanationModelName", "typeName")}
        for one in full["explanations"]
    ]
    if activations:
        made["activations"] = full["activations"][:activations]
    return made


class Handler(BaseHTTPRequestHandler):
    """One connection. `service` is what it belongs to."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: "Service"
    body = b""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._handle()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        service = self.service
        with service.lock:
            service.requests.append((self.command, self.path, dict(self.headers), self.body))
            fault = service.faults.popleft() if service.faults else service.always
        time.sleep(service.latency)
        try:
            if fault is not None:
                fault(self)
            else:
                service.answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        service.answers.append((time.perf_counter(), self.path))

    def reply(
        self, status: int, content: bytes, kind: str = "application/json", **more: str
    ) -> None:
        """A whole answer, packed where the other side takes that."""
        packed = "gzip" in self.headers.get("Accept-Encoding", "") and kind != "application/gzip"
        data = gzip.compress(content, 1) if packed else content
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def json(self, status: int, value: Any) -> None:
        more = {}
        if self.service.remaining is not None:
            more["x_limit_remaining"] = str(self.service.remaining)
        self.reply(status, json.dumps(value).encode(), **more)


class Service:
    """What the server has, what it was asked, and what is to go wrong.

    `answers` are the paths that were answered, and when by `time.perf_counter`. `files` are the bulk
    files by name. `remaining` is said with every answer, where it is not None.
    """

    def __init__(self, width: int = 32_768) -> None:
        self.width = width
        self.unknown: set[tuple[str, int]] = set()
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[tuple[float, str]] = []
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.latency = 0.0
        self.remaining: int | None = None
        self.files: dict[str, bytes] = {}
        self.page = 1000
        self.lock = threading.Lock()
        self.change: Callable[[Any], Any] = lambda value: value
        self.url = ""

    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.requests]

    def answer(self, handler: Handler) -> None:
        parts = urlsplit(handler.path)
        path = [unquote(part) for part in parts.path.strip("/").split("/")]
        if path[:2] == ["api", "feature"] and len(path) == 5:
            self._one(handler, *path[2:])
        elif path == ["api", "features"]:
            self._many(handler)
        elif path[0] == "v1" and "/".join(path) in self.files:
            handler.reply(200, self.files["/".join(path)], "application/gzip")
        elif parts.path == "/" and "list-type=2" in parts.query:
            self._list(handler, parse_qs(parts.query))
        else:
            handler.json(404, {"error": "there is no such route"})

    def _known(self, model: str, source: str, index: int) -> bool:
        known = model == "gpt2-small" and source in SOURCES and 0 <= index < self.width
        return known and (source, index) not in self.unknown

    def _one(self, handler: Handler, model: str, source: str, index: str) -> None:
        if not self._known(model, source, int(index)):
            words = "The model, source, or feature you specified is not available."
            handler.json(404, {"error": words})
            return
        handler.json(200, self.change(feature(source, int(index))))

    def _many(self, handler: Handler) -> None:
        asked = json.loads(handler.body)
        if not asked:
            handler.json(500, {"error": "Unknown Error"})
            return
        most = asked[0].get("maxActsToReturn", 0)
        found = [
            brief(feature(one["layer"], one["index"]), most)
            for one in asked
            if self._known(one["modelId"], one["layer"], one["index"])
        ]
        found.sort(key=lambda one: int(one["index"]))
        handler.json(200, self.change(found))

    def answered(self, handler: Handler) -> Any:
        """What the answer to a request for features would be, decoded."""
        path = [unquote(part) for part in urlsplit(handler.path).path.strip("/").split("/")]
        if path[:2] == ["api", "feature"]:
            return feature(path[3], int(path[4]))
        asked = json.loads(handler.body)
        return [brief(feature(one["layer"], one["index"]), 1) for one in asked]

    def _list(self, handler: Handler, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        start = query.get("continuation-token", [""])[0]
        names = sorted(name for name in self.files if name.startswith(prefix) and name > start)
        page, rest = names[: self.page], names[self.page :]
        items = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(self.files[name])}</Size></Contents>"
            for name in page
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if rest else ""
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(bool(rest)).lower()}</IsTruncated>{items}{more}</ListBucketResult>"
        )
        handler.reply(200, text.encode(), "application/xml")


# --- faults -----------------------------------------------------------------------------------


def not_found(handler: Handler) -> None:
    handler.json(404, {"error": "not available", "message": "not available"})


def null(handler: Handler) -> None:
    handler.json(200, None)


def error_page(handler: Handler) -> None:
    handler.reply(
        500, b"<!DOCTYPE html><html><body>Internal Server Error</body></html>", "text/html"
    )


def limited(handler: Handler) -> None:
    value = {"endpoint": "/api", "limitPerWindow": 25000, "remainingRequests": 0, "error": "slow"}
    handler.json(429, value)


def page(handler: Handler) -> None:
    handler.reply(200, b"<html>a captive portal</html>", "text/html; charset=utf-8")


def truncated(handler: Handler) -> None:
    """Less than was promised."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'[{"modelId": "gpt2-small", ')
    handler.close_connection = True


def cut_json(handler: Handler) -> None:
    """A whole answer whose JSON ends in the middle."""
    handler.reply(200, b'[{"modelId": "gpt2-small", "layer": "0-att', "application/json")


def huge(handler: Handler) -> None:
    """50 MB that are small on the wire."""
    handler.reply(200, b"[" + b" " * (50 << 20) + b"]", "application/json")


def huge_plain(handler: Handler) -> None:
    """50 MB, as such, and no length."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(50):
        handler.wfile.write(b" " * (1 << 20))
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """A byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.02)


def drip_headers(handler: Handler) -> None:
    """Not even the status line comes to an end."""
    handler.wfile.write(b"HTTP/1.1 200 ")
    while True:
        handler.wfile.write(b"O")
        time.sleep(0.02)


def hang_up(handler: Handler) -> None:
    """No answer at all."""
    handler.connection.close()
    handler.close_connection = True


def redirect(target: str, status: int = 307) -> Fault:
    def answer(handler: Handler) -> None:
        handler.reply(status, b"", "text/plain", Location=target)

    return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the other side hung up, as some tests do


class Running(Service):
    """A service with its server, until `stop`."""

    def __init__(self, width: int = 32_768, port: int = 0) -> None:
        super().__init__(width)
        self._server = _Server(("127.0.0.1", port), type("Bound", (Handler,), {"service": self}))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def running(width: int = 32_768) -> Iterator[Running]:
    service = Running(width)
    try:
        yield service
    finally:
        service.stop()
