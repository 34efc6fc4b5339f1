"""Bulk files from a bucket on this machine, with what goes wrong there."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neuronpedia import loopback
from neuronpedia.loopback import Running, running

from scd_tui.cli import main
from scd_tui.neuronpedia.address import SITE, Addresses, Feature
from scd_tui.neuronpedia.bulk import bulk_transport, fetch_source, files_of, read_file
from scd_tui.neuronpedia.cache import Cache, SourceStatus
from scd_tui.neuronpedia.faults import Fault

SOURCE = "6-res_post_32k-oai"


def line(index: Any, source: str = SOURCE, text: str = "words", **more: Any) -> bytes:
    """A row as the export writes it: older ones have the embedding as text."""
    row = {
        "id": "x", "modelId": "gpt2-small", "layer": source, "index": index, "authorId": "a",
        "description": f"{text} {index}", "embedding": json.dumps([0.1] * 256),
        "typeName": "np_max-act", "explanationModelName": "gpt-4o-mini", "umap_x": float("nan"),
    }  # fmt: skip
    return json.dumps({**row, **more}).encode()


def file_of(*lines: bytes) -> bytes:
    return gzip.compress(b"\n".join(lines) + b"\n")


def fill(service: Running, source: str = SOURCE, files: int = 3) -> None:
    """Features by text order of their indices, some of them twice, one in ten not at all."""
    indices = sorted((n for n in range(60) if n % 10 != 7), key=str)
    size = -(-len(indices) // files)
    for number in range(files):
        lines = [line(str(i) if i % 2 else i, source) for i in indices[number * size :][:size]]
        lines += [line(3, source, "other words", typeName="oai_token-act-pair")]
        service.files[f"v1/gpt2-small/{source}/explanations/batch-{number}.jsonl.gz"] = file_of(
            *lines
        )


@pytest.fixture
def service() -> Iterator[Running]:
    with running() as made:
        yield made


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    made = Cache(tmp_path / "np", SITE)
    yield made
    made.close()


def fetch(service: Running, cache: Cache, waits: list[float] | None = None) -> SourceStatus:
    addresses = Addresses(bulk=service.url)
    sleep = [].append if waits is None else waits.append
    transport = bulk_transport(addresses)
    try:
        return fetch_source(
            transport, addresses, cache, "gpt2-small", SOURCE, sleep=sleep, random=lambda: 0.0
        )
    finally:
        transport.close()


def test_a_source_is_fetched_whole_and_then_answers_for_every_feature(
    service: Running, cache: Cache
) -> None:
    fill(service)
    service.files[f"v1/gpt2-small/{SOURCE}/explanations/../../x.jsonl.gz"] = b"elsewhere"
    status = fetch(service, cache)
    assert status.complete and status.explained == 54
    for index in range(70):
        entry = cache.get(Feature("gpt2-small", SOURCE, index))
        assert entry is not None and entry.bulk
        explained = index < 60 and index % 10 != 7
        assert entry.state == ("explained" if explained else "unexplained")
        if index == 3:
            assert entry.record is not None
            texts = [e.description for e in entry.record.explanations]
            assert texts == ["words 3", "other words 3"]
    assert all("x-api-key" not in headers for _, _, headers, _ in service.requests)


def test_a_fetch_goes_on_where_it_stopped(service: Running, cache: Cache) -> None:
    fill(service)
    service.faults += [None, None, *[loopback.not_found]]
    with pytest.raises(Fault, match="HTTP 404"):
        fetch(service, cache)
    status = cache.source("gpt2-small", SOURCE)
    assert status is not None and len(status.done) == 1 and not status.complete
    service.requests.clear()
    assert fetch(service, cache).complete
    assert [path.rsplit("/")[-1] for path in service.paths()[1:]] == [
        "batch-1.jsonl.gz",
        "batch-2.jsonl.gz",
    ]


@pytest.mark.parametrize("fault", [loopback.error_page, loopback.truncated, loopback.hang_up])
def test_what_fails_in_passing_is_tried_again(
    service: Running, cache: Cache, fault: loopback.Fault
) -> None:
    fill(service)
    service.faults += [fault, None, fault, fault]
    waits: list[float] = []
    assert fetch(service, cache, waits).complete
    assert waits == [4, 4, 8]


def test_a_file_that_is_cut_off_counts_for_nothing(service: Running, cache: Cache) -> None:
    fill(service, files=1)
    name = next(iter(service.files))
    service.files[name] = service.files[name][:-30]
    with pytest.raises(Fault, match="cut off"):
        fetch(service, cache)
    assert cache.source("gpt2-small", SOURCE) is None


@pytest.mark.parametrize(
    "broken",
    [
        *(b"{", b"null", b"\xff", line("x"), line(5)[:40], line(5, description=3), b"[" * 5000),
        *(line(5).replace(b"gpt2-small", b"gpt2-smalm"), b'{"index": ' + b"9" * 5000),
    ],
)
def test_a_line_that_is_not_understood_is_no_word_on_any_feature(
    service: Running, cache: Cache, broken: bytes
) -> None:
    """What the other lines say is kept; the file is fetched again, and nothing is unexplained till then."""
    name = f"v1/gpt2-small/{SOURCE}/explanations/batch-0.jsonl.gz"
    service.files[name] = file_of(line(3), broken)
    with pytest.raises(Fault, match=f"1 line of {SOURCE} could not be understood"):
        fetch(service, cache)
    known = cache.get(Feature("gpt2-small", SOURCE, 3))
    assert known is not None and known.state == "explained"
    assert cache.get(Feature("gpt2-small", SOURCE, 5)) is None, "it is asked for one by one"
    service.files[name] = file_of(line(3))
    assert fetch(service, cache).complete
    known = cache.get(Feature("gpt2-small", SOURCE, 5))
    assert known is not None and known.state == "unexplained"


def test_listings_go_on_over_pages(service: Running) -> None:
    fill(service, files=9)
    service.page = 2
    addresses = Addresses(bulk=service.url)
    names = files_of(bulk_transport(addresses), addresses, "gpt2-small", SOURCE)
    assert names == [f"batch-{n}.jsonl.gz" for n in range(9)]


def test_rows_of_other_sources_and_broken_ones_are_refused() -> None:
    data = file_of(
        line(1), line(2, "5-res_post_32k-oai"), b"{", b"[]", line("x"), line(4, description=None),
        line(5).replace(b'"id": "x"', b'"id": NaN'),
    )  # fmt: skip
    explained, refused = read_file([data[:50], data[50:]], "gpt2-small", SOURCE)
    assert sorted(explained) == [1, 5] and refused == 4
    unpacked, _ = read_file([gzip.decompress(data)], "gpt2-small", SOURCE)
    assert unpacked == explained
    with pytest.raises(Fault, match="damaged"):
        read_file([b"\x1f\x8b\x08\x00" + b"\xff" * 40], "gpt2-small", SOURCE)
    bomb = gzip.compress(b"x" * (8 << 20))
    with pytest.raises(Fault, match="larger than can be"):
        read_file([bomb], "gpt2-small", SOURCE)


def test_the_command_fetches_says_and_forgets(
    service: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NEURONPEDIA_BULK_URL", service.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("scd_tui.config.cache_path", lambda: tmp_path)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for source in loopback.SOURCES:
        fill(service, source, files=1)
    assert main(["explanations", "gpt2-small", "--set", "v5-32k"]) == 0
    assert "36 of 36 sources are here, 1,944 explained features" in capsys.readouterr().out
    assert main(["explanations", "--status"]) == 0
    out = capsys.readouterr().out
    assert "36 sources" in out and f"gpt2-small/{SOURCE}" in out and "complete" in out
    assert main(["explanations", "demo"]) == 2
    assert "not on Neuronpedia" in capsys.readouterr().err
    assert main(["explanations"]) == 2
    assert "name a model" in capsys.readouterr().err
    assert main(["explanations", "--clear"]) == 0
    main(["explanations", "--status"])
    assert "0 sources" in capsys.readouterr().out
    service.files.clear()
    assert main(["explanations", "gpt2-small"]) == 1
    assert "there are no explanations of gpt2-small/0-att_32k-oai" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "words", "requests"),
    [
        (loopback.not_found, "127.0.0.1 has nothing at the address that was asked (HTTP 404)", 2),
        (loopback.error_page, "127.0.0.1 has a fault (HTTP 500)", 10),
        (loopback.limited, "127.0.0.1 limits the rate of requests", 5),
        (loopback.page, "127.0.0.1 sent no list of files (does this network ask for a", 10),
        (loopback.null, "127.0.0.1 sent no list of files", 10),
        (loopback.truncated, "an answer of 127.0.0.1 was cut off", 10),
        (loopback.redirect("http://example.com/x"), "sends us on to example.com: not followed", 2),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_that_stays_ends_the_fetch_with_what_it_is_and_keeps_what_is_here(
    service: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: loopback.Fault,
    words: str,
    requests: int,
) -> None:
    monkeypatch.setenv("NEURONPEDIA_BULK_URL", service.url)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for source in loopback.SOURCES:
        fill(service, source, files=1)
    service.faults += [None, None]
    service.always = fault
    assert main(["explanations", "gpt2-small"]) == 1
    out, said = capsys.readouterr()
    assert words in said and said.endswith("the same command goes on from here later\n")
    assert "1 of 36 sources are here, 54 explained features" in out
    assert len(service.requests) == 2 + requests, "36 sources are not all tried in vain"
    service.always = None
    assert main(["explanations", "gpt2-small"]) == 0
    assert "36 of 36 sources are here" in capsys.readouterr().out


def test_a_file_with_lines_of_another_source_is_not_taken_for_no_explanations(
    service: Running, cache: Cache
) -> None:
    fill(service, files=1)
    name = next(iter(service.files))
    service.files[name] = file_of(line(1, "5-res_post_32k-oai"), line(2, "5-res_post_32k-oai"))
    with pytest.raises(Fault, match=f"a bulk file of {SOURCE} has nothing of it inside"):
        fetch(service, cache)
    assert cache.source("gpt2-small", SOURCE) is None


def test_no_network_is_told_at_once_and_other_waits_in_a_line(
    service: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEURONPEDIA_BULK_URL", service.url)
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    for source in loopback.SOURCES:
        fill(service, source, files=1)
    service.faults.append(loopback.error_page)
    assert main(["explanations", "gpt2-small"]) == 0
    said = capsys.readouterr().err
    assert (
        "0-att_32k-oai: 127.0.0.1 has a fault (HTTP 500): next try in" in said
        and f"{SOURCE}: 54 explained features" in said
    )
    waits.clear()
    service.stop()
    assert main(["explanations", "gpt2-small"]) == 1
    assert "offline: 127.0.0.1 cannot be reached" in capsys.readouterr().err and waits == []
