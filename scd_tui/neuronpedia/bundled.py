"""Reader of the feature records that ship with the bundled model.

The files are those that `scd_tui.demo.features` writes: a token stream shared by all records, the
text of every token, and one gzipped file of JSON lines a source. Nothing is read before it is
asked for. What is kept of a source is its raw lines and where each begins, not decoded objects.
"""

from __future__ import annotations

import gzip
import re
import sys
from array import array
from pathlib import Path

import msgspec

from scd_tui.decoding import decode_json
from scd_tui.neuronpedia.records import (
    Activation,
    Explanation,
    FeatureRecord,
    Histogram,
    distinct,
)
from scd_tui.reading import RECORDS, read_bytes

_SOURCE = re.compile(r"[A-Za-z0-9_-]+\Z")
_INDEX = re.compile(rb'"index":"(\d+)"')


class _Explanation(msgspec.Struct):
    description: str
    typeName: str = ""
    explanationModelName: str = ""


class _Stretch(msgspec.Struct):
    offset: int
    length: int
    at: list[int]
    values: list[float]


class _Labelled(msgspec.Struct):
    explanations: list[_Explanation] = []


class _Stored(_Labelled):
    modelId: str = ""
    layer: str = ""
    index: str = ""
    maxActApprox: float = 0.0
    frac_nonzero: float = 0.0
    pos_str: list[str] = []
    pos_values: list[float] = []
    neg_str: list[str] = []
    neg_values: list[float] = []
    freq_hist_data_bar_heights: list[float] = []
    freq_hist_data_bar_values: list[float] = []
    logits_hist_data_bar_heights: list[float] = []
    logits_hist_data_bar_values: list[float] = []
    activations: list[_Stretch] = []


class _Source:
    """One source's lines: the unpacked bytes, and the stretch of each index in them."""

    def __init__(self, path: Path) -> None:
        self._data = gzip.decompress(read_bytes(path, RECORDS))
        self._lines: dict[int, tuple[int, int]] = {}
        start = 0
        while (end := self._data.find(b"\n", start)) >= 0:
            # the keys are written in a fixed order, the index among the first
            found = _INDEX.search(self._data, start, end)
            if found:
                self._lines[int(found.group(1))] = (start, end)
            start = end + 1

    def line(self, index: int) -> bytes | None:
        """The JSON of one feature, or None."""
        stretch = self._lines.get(index)
        return None if stretch is None else self._data[stretch[0] : stretch[1]]


class BundledFeatures:
    """Records of the bundled model's features, by source id ("2-mlp") and index.

    `directory` holds the files; one that is not there, or lacks a source, knows no feature. A
    file that cannot be read as what it should be raises ValueError. `name` says what they are.
    """

    def __init__(self, directory: Path, name: str = "ships with scd-tui") -> None:
        self.name = name
        self._directory = directory
        self._sources: dict[str, _Source | None] = {}
        self._stream: array[int] | None = None
        self._vocabulary: list[str] | None = None
        self._label = msgspec.json.Decoder(_Labelled)
        self._record = msgspec.json.Decoder(_Stored)

    def label(self, source: str, index: int) -> str | None:
        """The feature's explanation in one line, or None where nothing is known of it."""
        line = self._line(source, index)
        if line is None:
            return None
        explanations = self._label.decode(line).explanations
        return explanations[0].description if explanations else None

    def record(self, source: str, index: int) -> FeatureRecord | None:
        """All that is known of the feature, or None."""
        line = self._line(source, index)
        if line is None:
            return None
        stored = self._record.decode(line)
        return FeatureRecord(
            model_id=stored.modelId,
            source=stored.layer,
            index=int(stored.index),
            max_activation=stored.maxActApprox,
            density=stored.frac_nonzero,
            positive_logits=tuple(zip(stored.pos_str, stored.pos_values, strict=False)),
            negative_logits=tuple(zip(stored.neg_str, stored.neg_values, strict=False)),
            activation_histogram=Histogram(
                tuple(stored.freq_hist_data_bar_values), tuple(stored.freq_hist_data_bar_heights)
            ),
            logit_histogram=Histogram(
                tuple(stored.logits_hist_data_bar_values),
                tuple(stored.logits_hist_data_bar_heights),
            ),
            explanations=tuple(
                Explanation(e.description, e.typeName, e.explanationModelName)
                for e in stored.explanations
            ),
            activations=distinct([self._activation(s) for s in stored.activations]),
        )

    def _line(self, source: str, index: int) -> bytes | None:
        if source not in self._sources:
            path = self._directory / f"{source}.jsonl.gz"
            # a source id is never a path: it may come from a file that somebody sent
            known = _SOURCE.match(source) is not None and path.is_file()
            try:
                self._sources[source] = _Source(path) if known else None
            except (OSError, EOFError) as error:
                raise ValueError(f"unreadable feature records: {path}") from error
        found = self._sources[source]
        return None if found is None else found.line(index)

    def _activation(self, stretch: _Stretch) -> Activation:
        tokens = self._tokens(stretch.offset, stretch.length)
        values = [0.0] * len(tokens)
        for position, value in zip(stretch.at, stretch.values, strict=True):
            values[position] = value
        best = max(range(len(values)), key=values.__getitem__)
        return Activation(tokens, tuple(values), values[best], best)

    def _tokens(self, offset: int, length: int) -> tuple[str, ...]:
        if self._stream is None:
            stream = array("H")
            stream.frombytes(
                gzip.decompress(read_bytes(self._directory / "stream.bin.gz", RECORDS))
            )
            if sys.byteorder == "big":
                stream.byteswap()
            self._stream = stream
        if self._vocabulary is None:
            text = read_bytes(self._directory / "vocabulary.json", RECORDS)
            self._vocabulary = decode_json(text, list[str])
        return tuple(self._vocabulary[i] for i in self._stream[offset : offset + length])
