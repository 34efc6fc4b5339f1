"""The dictionary check at the first load of a set: in small pieces, most wanted dictionaries first.

All dictionaries are read in one pass over a little text, which is not repeated for each. Then each has its
own passes with its site replaced. Between two windows (`between`) others may have the model; nothing that
was read is read again after that. A verdict that would be another one within two standard errors of the
explained variance is not clear: such dictionaries are measured again on more text, after all others.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.gate import Clean, measure, read_sites
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.windows import BATCH, Windows, token_windows, without_sinks
from scd_tui.catalog.texts import bundled_text
from scd_tui.catalog.verdicts import keep_gate, kept_gate
from scd_tui.graph import DictionaryGate, Site
from scd_tui.judge import Measured, Published, judge

LITTLE = {"cpu": 256, "cuda": 1024}
MORE = {"cpu": 1024, "cuda": 4096}
"""Tokens of the bundled text, by device: what a first verdict is on, and one that was not clear.
`scd-tui check` measures on more."""
WITHIN = 2.0
"""Standard errors of the explained variance within which a clear verdict stays the same."""


def is_clear(found: Measured, published: Published | None) -> bool:
    """Whether the verdict is the same anywhere in the interval of the explained variance."""
    error = found.explained_variance_error
    if error is None:
        return True
    room = WITHIN * error
    ends = (
        msgspec.structs.replace(found, explained_variance=found.explained_variance + side * room)
        for side in (-1, 1)
    )
    return len({judge(end, published).passed for end in ends}) == 1


def verdict(found: Measured, published: Published | None) -> DictionaryGate:
    """What a circuit carries of a measurement."""
    return DictionaryGate(
        site=found.site,
        l0=found.l0_mean,
        explained_variance=found.explained_variance,
        explained_variance_error=found.explained_variance_error,
        tokens=found.tokens,
        delta_ce=found.delta_ce,
        ce_recovered=found.ce_recovered,
        passed=judge(found, published).passed,
    )


@dataclass(frozen=True)
class _Read:
    """What one pass over a text found of several dictionaries."""

    windows: Windows
    ce: float
    clean: Mapping[Site, Clean]


@dataclass
class Gating:
    """Measures the dictionaries of a loaded model that nothing is known of, one at a `step`.

    `found`: the verdicts so far, by site; `unclear`: those of them that wait for more text. `seconds`: of
    CPU, all cores together, that the check has taken.
    """

    loaded: LoadedModel
    published: Mapping[Site, Published]
    found: dict[Site, DictionaryGate] = field(default_factory=dict)
    unclear: list[Site] = field(default_factory=list)
    seconds: float = 0.0
    _wanted: tuple[Site, ...] = ()
    _little: _Read | None = None
    _more: _Read | None = None

    @property
    def total(self) -> int:
        return len(self.loaded.dictionaries)

    @property
    def finished(self) -> bool:
        return len(self.found) == self.total and not self.unclear

    def prefer(self, sites: Iterable[Site]) -> None:
        """Measure these before the others."""
        self._wanted = tuple(sites)

    def step(self, between: Callable[[], None] = lambda: None) -> None:
        """Measure the next dictionary, and keep the verdicts when it was the last.

        `between` is called after every window of 64 tokens: it may use the model. What it raises ends the
        step.
        """
        elsewhere = 0.0

        def give_way() -> None:
            nonlocal elsewhere
            begun = time.process_time()
            between()
            elsewhere += time.process_time() - begun

        begun = time.process_time()
        try:
            self._step(give_way)
        finally:
            self.seconds += time.process_time() - begun - elsewhere
        if self.finished:
            keep_gate(self.loaded.identity, self._gate())

    def _step(self, between: Callable[[], None]) -> None:
        dictionaries = self.loaded.dictionaries
        left = [site for site in dictionaries if site not in self.found]
        if left:
            if self._little is None:
                self._little = self._read(LITTLE, dictionaries, between)
            read, site = self._little, self._next(left)
        else:
            if self._more is None:
                some = {site: dictionaries[site] for site in self.unclear}
                self._more = self._read(MORE, some, between)
            read, site = self._more, self._next(self.unclear)
        (measured,) = measure(
            self.loaded.model,
            {site: dictionaries[site]},
            read.windows,
            known=(read.ce, read.clean),
            on_progress=lambda done, total: between(),
        )
        published = self.published.get(site)
        if site in self.unclear:
            self.unclear.remove(site)
        elif not is_clear(measured, published):
            self.unclear.append(site)
        self.found[site] = verdict(measured, published)

    def _next(self, sites: Iterable[Site]) -> Site:
        """The first of these that is wanted; else the last computed, which stands first on the screen."""
        some = list(sites)
        return next((site for site in self._wanted if site in some), some[-1])

    def _read(
        self,
        tokens: Mapping[str, int],
        dictionaries: Mapping[Site, Dictionary],
        between: Callable[[], None],
    ) -> _Read:
        """One pass over so many tokens, and one before it that finds sinks."""
        model = self.loaded.model
        first = model.bos if self.loaded.identity.prepends_bos else None
        count = tokens["cuda" if model.device.type == "cuda" else "cpu"]
        one = 1 if model.device.type == "cpu" else BATCH  # a window takes a CPU a tenth of a second
        windows = Windows(token_windows(model, bundled_text().text, count, first=first), first, one)
        windows = without_sinks(model, windows, self.loaded.dictionaries.values(), between)
        return _Read(windows, *read_sites(model, dictionaries, windows, between))

    def _gate(self) -> tuple[DictionaryGate, ...]:
        return tuple(self.found[site] for site in self.loaded.dictionaries if site in self.found)

    def with_gate(self) -> LoadedModel:
        """The loaded model with the verdicts that there are."""
        identity = msgspec.structs.replace(self.loaded.identity, gate=self._gate())
        return replace(self.loaded, identity=identity)


def begin(
    loaded: LoadedModel, published: Mapping[Site, Published]
) -> tuple[LoadedModel, Gating | None]:
    """The model with the verdicts that are known, and what is to measure them if they are not."""
    if loaded.identity.gate or not loaded.dictionaries:
        return loaded, None
    known = kept_gate(loaded.identity)
    if known:
        identity = msgspec.structs.replace(loaded.identity, gate=known)
        return replace(loaded, identity=identity), None
    return loaded, Gating(loaded, published)
