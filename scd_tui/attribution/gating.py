"""The load gate at the first load of a set, dictionary by dictionary, so that it can be interrupted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from scd_tui.attribution.gate import measure
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.windows import Windows, token_windows, without_sinks
from scd_tui.catalog.texts import bundled_text
from scd_tui.catalog.verdicts import keep_gate, kept_gate
from scd_tui.graph import DictionaryGate, Site
from scd_tui.judge import Measured, Published, judge

TOKENS = {"cpu": 512, "cuda": 2048}
"""Of the bundled text. `scd-tui check` measures on more; what it takes to tell a dictionary that works
from one that does not is seen on few, and a CPU takes a minute for a hundred of them."""


def verdict(found: Measured, published: Published | None) -> DictionaryGate:
    """What a circuit carries of a measurement."""
    return DictionaryGate(
        site=found.site,
        l0=found.l0_mean,
        explained_variance=found.explained_variance,
        delta_ce=found.delta_ce,
        ce_recovered=found.ce_recovered,
        passed=judge(found, published).passed,
    )


@dataclass
class Gating:
    """Measures the dictionaries of a loaded model that nothing is known of, one at a `step`."""

    loaded: LoadedModel
    published: Mapping[Site, Published]
    found: list[DictionaryGate] = field(default_factory=list)
    windows: Windows | None = None

    @property
    def total(self) -> int:
        return len(self.loaded.dictionaries)

    @property
    def finished(self) -> bool:
        return len(self.found) == self.total

    def step(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Measure the next one, and keep the verdicts when it was the last.

        What `on_progress` raises ends the step, which can be tried again.
        """
        model, identity = self.loaded.model, self.loaded.identity
        if self.windows is None:
            first = model.bos if identity.prepends_bos else None
            tokens = TOKENS["cuda" if model.device.type == "cuda" else "cpu"]
            ids = token_windows(model, bundled_text().text, tokens, first=first)
            self.windows = without_sinks(
                model, Windows(ids, first), self.loaded.dictionaries.values()
            )
        site, dictionary = list(self.loaded.dictionaries.items())[len(self.found)]
        (measured,) = measure(model, {site: dictionary}, self.windows, on_progress=on_progress)
        self.found.append(verdict(measured, self.published.get(site)))
        if self.finished:
            keep_gate(identity, tuple(self.found))

    def with_gate(self) -> LoadedModel:
        """The loaded model with the verdicts that there are."""
        identity = msgspec.structs.replace(self.loaded.identity, gate=tuple(self.found))
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
