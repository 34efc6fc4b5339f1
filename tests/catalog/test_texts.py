"""Texts to measure on."""

import sys
from pathlib import Path

import pytest

from scd_tui.catalog.texts import bundled_text, read_text
from scd_tui.demo import corpus
from scd_tui.errors import InputError


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the text was taken from this version's documentation"
)
def test_the_bundled_text_is_long_and_was_held_out_from_training() -> None:
    text = bundled_text().text
    assert len(text) > 50_000
    topics = {d.name: d for d in corpus.documentation(400) if d.name.startswith("topic/")}
    held_out = [d for d in topics.values() if d.split == "held-out"]
    assert held_out
    beginnings = [text.find(d.entries[0][:60]) for d in held_out]
    assert all(at >= 0 for at in beginnings)


def test_a_file_goes_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("é\n", "utf-8")
    assert (read_text(file).name, read_text(file).text) == ("mine.txt", "é\n")


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), (b" \n", "is empty"), (b"\xff", "not UTF-8")]
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "mine.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_text(file)
