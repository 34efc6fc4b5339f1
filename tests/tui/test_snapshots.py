"""The main screens as they look, at the three sizes: a change of any is seen, and looked at.

The snapshots are text (`picture`): a difference in a review shows what moved, and what has another
style. `pytest tests/tui/test_snapshots.py --snapshot-update` takes them anew.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.pilot import Pilot
from tui.driving import press, settle
from tui.picture import picture
from tui.samples import COMPLETIONS, SITES, Records, circuit, other_circuit, site_nodes
from tui.screen import make_app

from scd_tui.catalog.choice import Choice
from scd_tui.history import History, View
from scd_tui.neuronpedia.records import Activation, Explanation, FeatureRecord, Histogram
from scd_tui.tui import app as app_module
from scd_tui.tui import models, opening
from scd_tui.tui.app import ScdApp

SIZES = ((80, 24), (120, 35), (200, 60))
NARROW = ((80, 24),)
Size = tuple[int, int]
NOW = 1_767_225_600.0
"""The time that it is, in seconds since 1970, however long a sitting takes."""


class Described(Records):
    """Records with all that a record can have."""

    def record(self, source: str, index: int) -> FeatureRecord | None:
        record = super().record(source, index)
        assert record is not None
        text = "The clerk, who had been asked twice, gave Mary the only key to the old store and"
        tokens = tuple(f" {word}" for word in text.split(" ")) * 3
        other = tuple(float(n % 9 == 6) * (1 + n / 40) for n in range(len(tokens)))
        return msgspec.structs.replace(
            record,
            activation_histogram=Histogram(
                tuple(n / 2 for n in range(24)), tuple(1000 / (n + 1) ** 2 for n in range(24))
            ),
            explanations=(
                *record.explanations,
                Explanation("names after a comma", "np_max-act-logits", "gpt-4o-mini"),
            ),
            activations=(
                *record.activations,
                Activation(tokens, other, 2.0, 33),
                Activation(tokens, other[::-1], 1.5, 11),
            ),
        )


def past(folder: Path) -> History:
    """Circuits of the last days."""
    ages = iter((3.4 * 86_400, 5.5 * 3600, 12.5 * 60))
    history = History(folder, clock=lambda: NOW - next(ages, 0))
    long = "When Mary and John went to the store with their friends from the village, John gave a drink to"
    held = long.replace("Mary and John", "John and Mary")
    made = circuit(COMPLETIONS[0], prompt=long)
    history.save(msgspec.structs.replace(made, contrast_prompt=held), View())
    history.save(circuit(COMPLETIONS[2], COMPLETIONS[1], metric="logp", prompt="The only"), View())
    history.save(other_circuit(), View())
    return history


def to_choose_from(device: str) -> list[Choice]:
    """Models in every state, on no machine in particular."""
    return [
        Choice(reference="demo:topk", state="bundled", size=12_300_000, memory=190_000_000,
               fits=True, runs="resident on cpu"),
        Choice(reference="gpt2-small:v5-32k", state="partly", size=7_760_000_000,
               memory=4_800_000_000, fits=True, runs="resident on cpu",
               about="OpenAI's TopK dictionaries of GPT-2 small", labels=True, licence="MIT",
               sites={"attn_out": 12, "mlp_out": 12, "resid_post": 12},
               repositories=("openai-community/gpt2", "jbloom/GPT2-Small-OAI-v5-32k-attn-out-SAEs")),
        Choice(reference="gemma-2-2b:gemma-scope-res-16k", state="absent", size=24_100_000_000,
               memory=31_000_000_000, fits=False, runs="does not fit", gated=True),
        Choice(reference="mine", state="broken", why="mine.toml: there is no key 'dictionary'"),
    ]  # fmt: skip


# --- the sittings: each is one app, driven from screen to screen -----------------------------------

Screens = AsyncIterator[tuple[str, tuple[Size, ...]]]
"""The name of what is on the screen now, and the sizes at which it is looked at."""


async def walking(app: ScdApp, pilot: Pilot[int]) -> Screens:
    tree = app.main.circuit_tree
    await press(pilot, "g", "j", "j", "enter", "j", "j", "enter")
    assert tree.jump_to_node(site_nodes(SITES[-2])[1].id)
    await press(pilot, "enter", "h", "j")
    yield "circuit", SIZES
    await press(pilot, "3")
    yield "feature pane", NARROW
    await press(pilot, "1", "j")
    yield "completions pane", NARROW
    await press(pilot, "2", "x")
    yield "ablated", SIZES
    await press(pilot, "3", *["pagedown"] * 2)
    yield "ablated feature pane end", NARROW
    await press(pilot, "2", "g")
    yield "metric", SIZES
    await press(pilot, "j")
    yield "site", NARROW
    await press(pilot, "j", "d", "c")
    yield "edge that was cut", SIZES
    await press(pilot, "g", "v")
    yield "by token", SIZES
    await press(pilot, "v")
    yield "by effect", SIZES
    await press(pilot, "v", "e", *["minus"] * 5, "S", "S", "slash", *"77")
    yield "filter with nodes hidden", SIZES


async def marking(app: ScdApp, pilot: Pilot[int]) -> Screens:
    await press(pilot, "g", "j", "j", "a", "j", "a", "U", *"both", "enter")
    assert app.main.circuit_tree.jump_to_node(site_nodes(SITES[-1])[3].id)
    await press(pilot, "a", "n", *"see 43", "enter")
    yield "note", SIZES
    await press(pilot, "g", "j", "right", "A", "right")
    yield "pins", SIZES
    await press(pilot, "n")
    yield "asking for a note", NARROW
    await press(pilot, "escape", "h", "V")
    yield "curve", SIZES
    await press(pilot, "escape", "j", "asterisk", "right", "right", "right")
    yield "scaling", SIZES


async def asking(app: ScdApp, pilot: Pilot[int]) -> Screens:
    await press(pilot, "t", *" wa")
    yield "settings", SIZES
    await press(pilot, "escape", "question_mark")
    yield "help", SIZES
    await press(pilot, "G")
    yield "help end", NARROW
    await press(pilot, "escape", "colon", *"abl")
    yield "palette", SIZES
    await press(pilot, "escape")
    await app.keeper.write()
    await press(pilot, "o")
    yield "past circuits", SIZES
    await press(pilot, "escape", "D", "enter")
    yield "comparison", SIZES
    await press(pilot, "f", "o", "G")
    yield "comparison of sums end", NARROW
    await press(pilot, "escape", "m")
    yield "models", SIZES
    await press(pilot, *"v5", "enter")
    yield "download", NARROW
    await press(pilot, "escape", "p")
    yield "prompts", SIZES


async def one(app: ScdApp, pilot: Pilot[int]) -> Screens:
    await press(pilot, "g", "j", "j", "enter")
    yield "circuit", SIZES


async def nothing_yet(app: ScdApp, pilot: Pilot[int]) -> Screens:
    yield "at the start", SIZES


SITTINGS: dict[str, tuple[Callable[[ScdApp, Pilot[int]], Screens], dict[str, Any]]] = {
    "walking": (walking, {}),
    "marking": (marking, {}),
    "asking": (asking, {}),
    "start": (nothing_yet, {"prompt": None}),
    "light": (one, {"light": True}),
    "without colour": (one, {"colour": False}),
    "ascii": (one, {"unicode": False}),
}


class Text(SingleFileSnapshotExtension):
    """A file a picture."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.mark.parametrize("sitting", SITTINGS)
def test_screens(sitting: str, snapshot: SnapshotAssertion, tmp_path: Path) -> None:
    snapshot = snapshot.use_extension(Text)
    taken = asyncio.run(pictures(sitting, tmp_path))
    changed = [name for name, text in taken.items() if snapshot(name=name) != text]
    for name in changed:
        assert snapshot(name=name) == taken[name], f"changed: {', '.join(changed)}"


async def pictures(sitting: str, folder: Path) -> dict[str, str]:
    """Every screen of a sitting at its sizes, by name."""
    screens, options = SITTINGS[sitting]
    found: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_all", to_choose_from)
        for module in (app_module, opening):
            patch.setattr(module, "time", SimpleNamespace(time=lambda: NOW))
        app = make_app(history=past(folder / "past"), records=Described(), **options)
        async with app.run_test(size=SIZES[1]) as pilot:
            await settle(pilot)
            async for name, sizes in screens(app, pilot):
                # As few changes of size as there can be: each draws everything again.
                for size in sorted(sizes, key=lambda size: size != tuple(app.size)):
                    if tuple(app.size) != size:
                        await pilot.resize_terminal(*size)
                        await settle(pilot)
                    found["{}-{}x{}".format(name.replace(" ", "-"), *size)] = picture(app)
    return found
