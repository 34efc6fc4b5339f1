"""From a call of the command to the app: configuration, history, worker, records."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from scd_tui.config import DEFAULT_MODEL, cache_path, read_config, state_path
from scd_tui.drafts import drafts_in
from scd_tui.errors import InputError
from scd_tui.graph import Circuit
from scd_tui.history import History, View
from scd_tui.neuronpedia.address import Addresses
from scd_tui.neuronpedia.start import cache_folder
from scd_tui.tui.app import ScdApp, Worker
from scd_tui.tui.fetching import Fetching
from scd_tui.tui.garbage import collect_nothing, collect_what_is_new
from scd_tui.tui.records import FeatureRecords, NoRecords
from scd_tui.tui.terminal import light_background, no_colour, over_ssh, speaks_unicode, switched
from scd_tui.worker.client import WorkerClient, WorkerExit
from scd_tui.worker.protocol import Event


def run_app(
    prompt: str | None = None,
    model: str | None = None,
    device: str | None = None,
    circuit: Circuit | None = None,
    worker_command: Sequence[str] | None = None,
    *,
    view: View | None = None,
    offline: bool = False,
) -> int:
    """Run the app until it is left, and return its exit code.

    `offline`: nothing is fetched from Neuronpedia, this time. What is not given is as the
    configuration says, or as it was last. With a `circuit`, `model` says where its model is.
    """

    def worker(on_event: Callable[[Event], None], on_exit: Callable[[WorkerExit], None]) -> Worker:
        return WorkerClient(worker_command, on_event=on_event, on_exit=on_exit)

    for name in ("COLUMNS", "LINES"):
        # Exported ones would be believed before the terminal, and resizing would have no effect.
        os.environ.pop(name, None)
    collect_nothing()
    config, problem = read_config()
    history = History(state_path() / "circuits", config.history)
    drafts = drafts_in(state_path(), kept=config.history > 0)
    if prompt:
        drafts.put("prompt", prompt)
        with suppress(OSError):  # before anything takes time
            drafts.save()
    given = (model or "") if circuit is not None else ""
    model = model or config.model or _last_model(history)
    app = ScdApp(
        prompt,
        model,
        device or config.device,
        circuit,
        view=view,
        worker=worker,
        records=records_of,
        fetching=Fetching(
            Addresses.of(os.environ),
            cache_folder(cache_path()),
            fetch=config.neuronpedia and not offline,
            told=state_path() / "neuronpedia-told",
        ),
        colour=not no_colour(os.environ),
        light=light_background(os.environ),
        unicode=switched(config.unicode, speaks_unicode(os.environ)),
        config=config,
        problem=problem,
        history=history,
        given=given,
        drafts=drafts,
        on_shown=collect_what_is_new,
    )
    app.run(mouse=switched(config.mouse, not over_ssh(os.environ)))
    return app.return_code or 0


def _last_model(history: History) -> str:
    """The model that was used last, if there still is one of that name."""
    model = history.last_model() or DEFAULT_MODEL
    if model == DEFAULT_MODEL:
        return model
    from scd_tui.catalog.models import find

    try:
        find(model)
    except InputError:
        return DEFAULT_MODEL
    return model


def records_of(model: str) -> FeatureRecords:
    """The feature records that lie on this machine for a model, none where there are none."""
    from scd_tui.catalog.models import find
    from scd_tui.neuronpedia.bundled import BundledFeatures

    try:
        features = find(model).features
    except InputError:
        return made_here(model)
    if features is not None:
        return BundledFeatures(features)
    return made_here(model)


def made_here(model: str) -> FeatureRecords:
    """Records that `scd-tui contexts` made of a model, by its reference; none where it made none."""
    folder = cache_path() / "contexts"
    if not folder.is_dir():
        return NoRecords()
    from scd_tui.neuronpedia.local import LocalFeatures

    try:
        return LocalFeatures(folder, model)
    except OSError:
        return NoRecords()
