"""Neuronpedia's public bulk files: all explanations of a source, streamed into the cache.

The files of a source hold its features in the order of their indices as text, in pages whose size
differs between sets, so that nothing can be told from a file's number. Most of a file is embeddings,
which are skipped.
"""

import html
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any
from urllib.parse import quote

import msgspec

from scd_tui.decoding import Undecodable, decode_any_json, decode_with
from scd_tui.neuronpedia.address import Addresses, Feature, sendable
from scd_tui.neuronpedia.backoff import Backoff
from scd_tui.neuronpedia.cache import Cache, SourceStatus
from scd_tui.neuronpedia.faults import Fault, FaultKind
from scd_tui.neuronpedia.records import Explanation, parse_explanations, parse_index
from scd_tui.neuronpedia.transport import Transport, status_fault
from scd_tui.numbers import counted

FILE_SECONDS = 600.0
FILE_BYTES = 256 << 20
"""Bytes of one file as it is stored."""
UNPACKED_BYTES = 2 << 30
LINE_BYTES = 4 << 20
FILES = 10_000
"""Files of one source, beyond which a listing is not believed."""
TRIES = 5
PASSING: frozenset[FaultKind] = frozenset({"limited", "server", "cut", "slow", "page"})
"""Faults that go by with time. No connection may go by too, where there has been one before."""

_KEY = re.compile(r"<Key>([^<]{1,1024})</Key>")
_MORE = re.compile(r"<NextContinuationToken>([^<]{1,4096})</NextContinuationToken>")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}\.jsonl\.gz", re.ASCII)


class _Row(msgspec.Struct):
    """What is read of a line; the rest is skipped."""

    modelId: Any = None
    layer: Any = None
    index: Any = None
    description: Any = None
    typeName: Any = None
    explanationModelName: Any = None


_ROW = msgspec.json.Decoder(_Row)
Explained = dict[int, tuple[Explanation, ...]]
Show = Callable[[str, int, int], None]
"""Is told of a source, how many of its files are done, and of how many."""


def bulk_transport(addresses: Addresses) -> Transport:
    """A transport for files, which are larger and take longer than answers."""
    return Transport(addresses.bulk, seconds=FILE_SECONDS, maximum=FILE_BYTES)


def files_of(transport: Transport, addresses: Addresses, model: str, source: str) -> list[str]:
    """Names of the files that hold a source's explanations. Raises Fault."""
    prefix = f"v1/{model}/{source}/explanations/"
    names: dict[str, None] = {}
    token = ""
    while True:
        url = f"{addresses.bulk}/?list-type=2&prefix={quote(prefix, safe='')}"
        answer = transport.send(
            "GET", url + (f"&continuation-token={quote(token, safe='')}" * bool(token))
        )
        if answer.status != 200:
            raise status_fault(answer.status, transport.host, answer.retry_after)
        text = answer.body.decode("utf-8", "replace")
        if "<ListBucketResult" not in text:
            words = "sent no list of files (does this network ask for a sign-in?)"
            raise Fault("page", f"{transport.host} {words}")
        for key in map(html.unescape, _KEY.findall(text)):
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and _NAME.fullmatch(name):
                names[name] = None
        more = _MORE.search(text)
        following = html.unescape(more[1]) if more else ""
        if not following or following == token:
            return list(names)
        if len(names) > FILES:
            raise Fault("size", f"{source} has more files than can be")
        token = following


def read_file(chunks: Iterable[bytes], model: str, source: str) -> tuple[Explained, int]:
    """Explanations in one file by index, and how many lines were not of this source or unreadable.

    Raises Fault for a file that is cut off, damaged, or too large, and for one that has lines of other
    sources alone: to take that for no explanations would be to say so for months.
    """
    found: dict[int, list[dict[str, Any]]] = {}
    refused = 0
    for line in _lines(chunks):
        try:
            row = _row(line)
            if row["modelId"] != model or row["layer"] != source:
                raise ValueError("of another source")
            if not isinstance(row["description"], str | None):
                raise ValueError("an explanation without words")
            found.setdefault(parse_index(row["index"]), []).append(row)
        except (ValueError, KeyError, TypeError):
            refused += 1
    if refused and not found:
        raise Fault("content", f"a bulk file of {source} has nothing of it inside")
    explained = {index: parse_explanations(rows) for index, rows in found.items()}
    return {index: some for index, some in explained.items() if some}, refused


def _row(line: bytes) -> dict[str, Any]:
    try:
        return msgspec.structs.asdict(decode_with(_ROW, line))
    except Undecodable:
        return dict(decode_any_json(line))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a gzipped file, or of one that was unpacked on its way."""
    unpacking: Any = None
    rest, size = b"", 0
    for chunk in chunks:
        if size == 0 and unpacking is None and chunk.startswith(b"\x1f\x8b"):
            unpacking = zlib.decompressobj(31)
        pending = chunk
        while pending:
            try:
                data = pending if unpacking is None else unpacking.decompress(pending, 1 << 20)
            except zlib.error:
                raise Fault("content", "a bulk file is damaged") from None
            pending = b"" if unpacking is None else unpacking.unconsumed_tail
            size += len(data)
            rest += data
            *whole, rest = rest.split(b"\n")
            if size > UNPACKED_BYTES or len(rest) > LINE_BYTES:
                raise Fault("size", "a bulk file is larger than can be")
            yield from (line for line in whole if line.strip())
    if unpacking is not None and not unpacking.eof:
        raise Fault("cut", "a bulk file was cut off")
    if rest.strip():
        yield rest


def fetch_source(
    transport: Transport,
    addresses: Addresses,
    cache: Cache,
    model: str,
    source: str,
    *,
    show: Show = lambda source, done, total: None,
    sleep: Callable[[float], None],
    random: Callable[[], float],
    waiting: Callable[[str, float], None] = lambda why, seconds: None,
    patient: bool = True,
) -> SourceStatus:
    """Put all explanations of a source into the cache, going on where an earlier call stopped.

    What fails in passing is tried again after a while, and `waiting` is told why and for how many
    seconds; unless `patient`, no connection at the first request is the end. Raises Fault
    when that does not help, when there are no files, or when the cache cannot be written; and at the end
    where lines could not be understood: their files do not count as fetched.
    """
    if not sendable(Feature(model, source, 0)):
        raise Fault("refused", f"{source!r} is not the name of a source")

    def wait(why: str, seconds: float) -> None:
        waiting(f"{source}: {why}", seconds)

    again = _again(sleep, random, wait, {*PASSING, "offline"})
    first = again if patient else _again(sleep, random, wait, PASSING)
    names = first(lambda: files_of(transport, addresses, model, source))
    if not names:
        raise Fault("refused", f"there are no explanations of {model}/{source} to fetch")
    status = cache.source(model, source) or SourceStatus(model, source)
    show(source, len(status.done), len(names))
    odd = 0
    for name in names:
        if name in status.done:
            continue
        url = f"{addresses.bulk}/v1/{model}/{source}/explanations/{name}"

        def read(url: str = url) -> tuple[Explained, int]:
            return read_file(transport.stream(url), model, source)

        explained, refused = again(read)
        odd += refused
        kept = cache.put_file(
            *(model, source, name, len(names), explained, addresses.host), whole=not refused
        )
        if kept is None:
            raise Fault("refused", "the cache cannot be written")
        status = kept
        show(source, len(status.done), len(names))
    if odd:
        lines = counted(odd, "line")
        raise Fault(
            "content",
            f"{lines} of {source} could not be understood: the rest is kept, and the same command "
            "fetches those files again",
        )
    return status


def _again(
    sleep: Callable[[float], None],
    random: Callable[[], float],
    waiting: Callable[[str, float], None],
    passing: Set[FaultKind],
) -> Callable[[Callable[[], Any]], Any]:
    def run(work: Callable[[], Any]) -> Any:
        backoff = Backoff(random)
        for left in reversed(range(TRIES)):
            try:
                return work()
            except Fault as fault:
                if not left or fault.kind not in passing:
                    raise
                backoff.failed(fault, 0)
                waiting(fault.message, backoff.wait(0))
                sleep(backoff.wait(0))
        raise AssertionError

    return run
