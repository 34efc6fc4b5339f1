"""Whatever lies at a path that a command is given: one sentence on stderr, soon, and exit 2 or 1."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from special_files import SPECIAL, calls
from tui.samples import circuit

from scd_tui.cli import main
from scd_tui.graph import encode_circuit

SECONDS = 3.0
EXCEPTION = re.compile(r"Traceback|\b[A-Z][A-Za-z]+(?:Error|Exception)\b|Errno")


def _too_long(*_: object) -> None:
    raise AssertionError("it waits, or reads without end")


@pytest.mark.parametrize("ending", ["", ".toml"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_no_special_file_is_waited_for_or_read_without_end(
    kind: str,
    ending: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circuit_file, text = tmp_path / "circuit.json", tmp_path / "text"
    circuit_file.write_bytes(encode_circuit(circuit()))
    text.write_text("some words", "utf-8")
    path = tmp_path / f"special{ending}"
    SPECIAL[kind](path)
    before = os.lstat(path)
    monkeypatch.setattr("os.environ", {**os.environ, "TERM": "xterm"})
    signal.signal(signal.SIGALRM, _too_long)
    tried = 0
    for words in calls(str(path), str(circuit_file), str(text), str(tmp_path / "out")):
        begun = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            code = main(words)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        said = capsys.readouterr()
        assert code in (1, 2), (words, said)
        assert len(said.err.strip().splitlines()) == 1, (words, said)
        assert not EXCEPTION.search(said.err), (words, said)
        assert said.out == "", words
        assert time.monotonic() - begun < SECONDS, words
        tried += 1
    assert tried > 25, "the parsers were looked through"
    assert os.lstat(path).st_ino == before.st_ino, "it is where it was"
