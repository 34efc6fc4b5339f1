"""A key in the environment stays there: whatever the program does with Neuronpedia, and keeps, and says."""

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from neuronpedia import loopback
from neuronpedia.loopback import Running, running
from neuronpedia.test_bulk import SOURCE, fill
from terminals import Terminal
from tui.gpt2_size import full_size

from scd_tui.graph import encode_circuit
from scd_tui.neuronpedia.cache import MAXIMUM_VALUE

KEY = "sk-np-4f1d0c7e-not-to-be-seen"
COMMAND = (sys.executable, "-m", "scd_tui")


@pytest.fixture
def two() -> Iterator[tuple[Running, Running]]:
    with running() as first, running() as second:
        yield first, second


def environment(service: Running, folder: Path) -> dict[str, str]:
    """Where the program asks and keeps everything; and the key."""
    homes = {
        f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "STATE", "CACHE", "DATA")
    }
    urls = {"NEURONPEDIA_BASE_URL": service.url, "NEURONPEDIA_BULK_URL": service.url}
    return {"NEURONPEDIA_API_KEY": KEY, **urls, **homes}


def never_sent(*services: Running) -> None:
    for service in services:
        for method, path, headers, body in service.requests:
            said = f"{method} {path} {headers} {body!r}"
            assert KEY.lower() not in said.lower()
            names = {name.lower() for name in headers}
            assert not names & {"x-api-key", "authorization", "proxy-authorization", "cookie"}


def never_kept(folder: Path) -> None:
    """No file in `folder` has the key, as it is or in what is compressed inside."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        assert KEY.encode() not in data, path
        for start in (n for n in range(len(data)) if data.startswith(b"\x78\x01", n)):
            unpacking = zlib.decompressobj()
            try:
                text = unpacking.decompress(data[start:], MAXIMUM_VALUE)
            except zlib.error:
                continue
            assert KEY.encode() not in text, path


def test_the_app_neither_sends_nor_keeps_nor_shows_it(
    two: tuple[Running, Running], tmp_path: Path
) -> None:
    first, second = two
    home = tmp_path / "home"
    file = tmp_path / "circuit.json"
    file.write_bytes(encode_circuit(full_size()))
    first.faults += [loopback.error_page, loopback.redirect(f"{second.url}/api/features")]
    given = [f"{name}={value}" for name, value in environment(first, home).items()]
    terminal = Terminal(tmp_path, 120, 35, "env", *given, *COMMAND, "open", str(file))
    screens = []
    try:
        screens.append(terminal.wait("Neuronpedia failed", "resid_post 11"))
        terminal.press("r")
        answered = terminal.wait("mentions of 3500", lambda screen: "queued" not in screen)
        screens.append(answered)
        first.faults += [loopback.hang_up]
        terminal.press("j", "j")
        screens.append(terminal.wait("cut off"))
        terminal.press("r")
        screens.append(terminal.wait("top activations"))
        terminal.press("s")
        terminal.settle()
        screens.append(terminal.screen())
        terminal.press("Enter")
        terminal.settle()
        terminal.press("q")
        screens.append(terminal.wait("left with"))
    finally:
        terminal.close()
    asked = [path for service in two for path in service.paths()]
    assert asked.count("/api/features") >= 3, "asked, again, and redirected"
    assert sum(path.startswith("/api/feature/") for path in asked) >= 2
    assert second.requests, "the redirect was followed"
    never_sent(*two)
    never_kept(tmp_path)
    assert KEY not in "".join(screens)


def test_a_bulk_fetch_neither_sends_nor_keeps_nor_says_it(
    two: tuple[Running, Running], tmp_path: Path
) -> None:
    first, second = two
    for service in two:
        for source in loopback.SOURCES:
            fill(service, source, files=1)
    name = f"v1/gpt2-small/{loopback.SOURCES[0]}/explanations/batch-0.jsonl.gz"
    first.faults += [loopback.error_page, None, loopback.redirect(f"{second.url}/{name}")]
    home = tmp_path / "home"
    said = ""
    for words in (["gpt2-small"], ["--status"]):
        done = subprocess.run(
            [*COMMAND, "explanations", *words],
            env={**os.environ, **environment(first, home)},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        said += done.stdout + done.stderr
    assert "next try in" in said and SOURCE in said
    assert second.paths() == [f"/{name}"], "the redirect was followed"
    assert len(first.requests) == 73
    never_sent(*two)
    never_kept(home)
    assert KEY not in said
