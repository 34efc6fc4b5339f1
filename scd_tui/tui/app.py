"""The app: carries messages between the worker, the session and the main screen."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec
from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.driver import Driver
from textual.filter import LineFilter
from textual.message import Message as TextualMessage
from textual.screen import Screen
from textual.widgets import Input

from scd_tui.config import DEFAULT_MODEL, Config, Defaults, cache_path, read_config, state_path
from scd_tui.errors import InputError
from scd_tui.files import write_private
from scd_tui.graph import Circuit, Settings, parse_node
from scd_tui.history import History, View, key_of
from scd_tui.neuronpedia.address import Addresses
from scd_tui.neuronpedia.start import cache_folder
from scd_tui.numbers import counted
from scd_tui.text import visible
from scd_tui.tui.ascii import AsciiFilter
from scd_tui.tui.bindings import all_keys, app_keys, checked_keymap
from scd_tui.tui.choice import Choice
from scd_tui.tui.clipboard import MAXIMUM_OSC52, copy_through_tmux, route
from scd_tui.tui.completions import CompletionList
from scd_tui.tui.fetching import Fetching
from scd_tui.tui.garbage import collect_nothing, collect_what_is_new
from scd_tui.tui.hints import key_sections, shown
from scd_tui.tui.ink import cut, plain
from scd_tui.tui.keeping import Keeper
from scd_tui.tui.labelling import Labelling
from scd_tui.tui.main_screen import MainScreen
from scd_tui.tui.modals import HelpScreen, PromptPicker
from scd_tui.tui.models import Models
from scd_tui.tui.on_screen import around, on_screen
from scd_tui.tui.opening import Opening, offer
from scd_tui.tui.quick_list import LinkScreen, quick_list
from scd_tui.tui.records import FeatureRecords, NoRecords, RecordsOf
from scd_tui.tui.saving import numbered, save
from scd_tui.tui.session import Change, Notice, Session
from scd_tui.tui.store import CircuitStore
from scd_tui.tui.terminal import (
    light_background,
    no_colour,
    over_ssh,
    speaks_unicode,
    switched,
)
from scd_tui.tui.theme import THEMES, theme_name
from scd_tui.tui.thin import thinning
from scd_tui.tui.tree import CircuitTree
from scd_tui.tui.trying import Trying
from scd_tui.tui.walking import Walking
from scd_tui.worker.client import WorkerClient, WorkerExit, WorkerGone
from scd_tui.worker.protocol import Event, Message

if TYPE_CHECKING:
    from scd_tui.catalog.prompts import Prompt
    from scd_tui.comparison import Comparison

GRACE_SECONDS = 2.0
"""How long leaving in order may take after a signal, before the process ends anyway."""


class Worker(Protocol):
    """What the app needs of a `WorkerClient`."""

    @property
    def running(self) -> bool: ...
    async def start(self) -> None: ...
    def send(self, kind: type[Message], **fields: object) -> int: ...
    async def close(self) -> None: ...


WorkerFactory = Callable[[Callable[[Event], None], Callable[[WorkerExit], None]], Worker]


class FromWorker(TextualMessage):
    """An event of a worker, or its end, on its way through the app's own queue."""

    def __init__(self, worker: int, content: Event | WorkerExit) -> None:
        super().__init__()
        self.worker = worker
        self.content = content


class Palette(CommandPalette):
    """The palette with a cursor that does not blink: idle is silent here as elsewhere."""

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False


class ScdApp(Walking, Trying):
    """Circuits behind completions. With a `circuit`, no worker is started until one is asked for;
    `view` is how that was being looked at.

    `on_shown` is called once the first frame has been drawn.
    """

    TITLE = "scd-tui"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = app_keys()
    PAUSE_GC_ON_SCROLL = True

    def __init__(
        self,
        prompt: str | None = None,
        model: str = "demo",
        device: str = "auto",
        circuit: Circuit | None = None,
        *,
        view: View | None = None,
        worker: WorkerFactory,
        records: RecordsOf | None = None,
        fetching: Fetching | None = None,
        colour: bool = True,
        light: bool = False,
        unicode: bool = True,
        config: Config | None = None,
        problem: str = "",
        history: History | None = None,
        save_to: Path | None = None,
        on_shown: Callable[[], None] = lambda: None,
    ) -> None:
        # Without colours, only ANSI mode leaves the terminal's own foreground and background alone.
        super().__init__(ansi_color=None if colour else True)
        self.animation_level = "none"
        config = config or Config()
        self._problems = [problem] if problem else []
        self._configure(config, light if colour else None)
        self._colour = colour
        self._ascii = None if unicode else AsciiFilter()
        self._first_prompt = prompt
        self._save_to = save_to
        self._first_view = view
        self._on_shown = on_shown
        self._new_worker = worker
        self._worker: Worker | None = None
        self._worker_number = 0
        self._old_signals: dict[int, Any] = {}
        self.session = Session(model, device, self._send, self._noticed, circuit)
        if circuit is None:
            self.session.choice = Choice(
                metric=config.defaults.metric, settings=settings_of(config.defaults)
            )
        self.fetching = fetching or Fetching()
        self.labelling = Labelling(
            records or (lambda model: NoRecords()),
            self.session,
            shown=lambda: on_screen(*self.main.circuit_tree.view),
            near=lambda: around(*self.main.circuit_tree.view),
            run=lambda work, group: self.run_worker(work, group=group, exclusive=group == "record"),
            later=self.set_timer,
            on_labels=self._labelled,
            on_record=lambda: self.main.draw_feature_again(),
            page=self.fetching.addresses.page,
        )
        self.keeper = Keeper(
            history or History(Path(), keep=0),
            self.session,
            rows=lambda: self.main.circuit_tree.rows,
            labels=self.labelling.labels,
            later=self.set_timer,
            start=lambda: self.run_worker(self.keeper.write(), group="keeping"),
        )
        self.opening = Opening(self, self.keeper, say=self.session.say, show=self._show)
        self.models = Models(
            self,
            self.session,
            load=self._use,
            run=lambda work: self.run_worker(work, group="download"),
            notice=self._noticed,
        )
        self.main = MainScreen(
            self.session,
            prompt if prompt is not None else self.session.prompt or "",
            self.labelling,
        )

    def _configure(self, config: Config, light: bool | None) -> None:
        """Theme and keys of the configuration; `light` is None where no colours are wanted."""
        for theme in THEMES:
            self.register_theme(theme)
        few = self.console.color_system == "standard"
        wanted = "ansi-dark" if light is None else theme_name(config.theme, light, few)
        if wanted not in self.available_themes:
            self._problems.append(f"there is no theme {visible(config.theme)!r}")
            wanted = theme_name("auto", bool(light), few)
        self.theme = wanted
        keymap, problem = checked_keymap(config.keys)
        self.set_keymap(keymap)
        if problem:
            self._problems.append(f"keys that are not used: {visible(problem)}")

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = super().get_line_filters()
        return filters if self._ascii is None else [*filters, self._ascii]

    def get_driver_class(self) -> type[Driver]:
        return thinning(super().get_driver_class())

    def get_default_screen(self) -> Screen[None]:
        return self.main

    def on_mount(self) -> None:
        self.main.set_class(not self._colour, "-no-color")
        self._listen_for_signals()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """The first frame has been drawn: now start what takes time."""
        self._on_shown()
        main = self.main
        for problem in self._problems:
            self.notify(
                problem, title="Configuration", severity="warning", markup=False, timeout=12
            )
        if self.session.store.circuit is not None:
            main.circuit_tree.show(self.session.store)
            if self._first_view is not None:
                main.circuit_tree.restore(self._first_view)
            main.draw_all()
            self.labelling.look_up_new()
            self._recall()
        else:
            self._start_worker()
        if (reader := self.fetching.start(self, self.labelling.found)) is not None:
            self.labelling.read_with(reader)
        self.run_worker(self._remember(), group="history")

    async def _remember(self) -> None:
        """What was asked in earlier sittings: for the prompt line, and to go on with."""
        entries = await asyncio.to_thread(self.keeper.history.entries)
        self.main.prompt_line.remember(entry.prompt for entry in entries)
        if self._first_prompt is None and self.session.prompt is None:
            self.main.circuit_tree.welcome_back(offer(entries, time.time()))

    def _listen_for_signals(self) -> None:
        """Leave the terminal as it was when told to go, as a job scheduler does.

        A terminal that is gone (a dropped connection) can block the event loop in a write for ever,
        so the handler is not the loop's own, and a timer that needs no loop has the last word.
        """
        loop = asyncio.get_running_loop()

        def leave(number: int, frame: object) -> None:
            last_word = threading.Timer(GRACE_SECONDS, os._exit, (128 + number,))
            last_word.daemon = True
            last_word.start()
            loop.call_soon_threadsafe(lambda: self.exit(return_code=128 + number))

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._old_signals[number] = signal.signal(number, leave)

    # --- the worker ---------------------------------------------------------------------------

    def _send(self, kind: type[Message], **fields: object) -> int:
        if self._worker is None:
            raise WorkerGone("no worker was started")
        return self._worker.send(kind, **fields)

    def _start_worker(self) -> None:
        self.run_worker(self._start(), group="worker", exclusive=True)

    async def _start(self) -> None:
        old, self._worker = self._worker, None
        self._worker_number += 1
        number = self._worker_number
        self.session.starting()
        if old is not None:
            await old.close()
        worker = self._new_worker(
            lambda event: self._post(number, event), lambda how: self._post(number, how)
        )
        try:
            await worker.start()
        except WorkerGone as error:
            self.session.could_not_start(str(error))
            return
        self._worker = worker
        if self._first_prompt is not None:
            prompt, self._first_prompt = self._first_prompt, None
            self.session.complete(prompt)
        self.session.started()

    def _post(self, worker: int, content: Event | WorkerExit) -> None:
        self.post_message(FromWorker(worker, content))

    @on(FromWorker)
    def _from_worker(self, message: FromWorker) -> None:
        if message.worker != self._worker_number:
            return  # the last words of a worker that was replaced
        if isinstance(message.content, WorkerExit):
            self.session.ended(message.content)
        else:
            self.session.handle(message.content)

    async def on_unmount(self) -> None:
        await self.keeper.write()
        for number, old in self._old_signals.items():
            signal.signal(number, old)
        self.labelling.close()
        if self._worker is not None:
            await self._worker.close()

    # --- what the session says ----------------------------------------------------------------

    def _find_labels(self) -> None:
        self.labelling.look_up_new()

    def _noticed(self, notice: Notice) -> None:
        main = self.main
        if not main.is_running:
            return
        if notice.change not in (Change.STATUS, Change.COMPLETIONS):
            self.keeper.touched()
        match notice.change:
            case Change.COMPLETIONS:
                main.draw_completions()
            case Change.CIRCUIT:
                main.close_filter()
                self.keeper.leave()
                main.circuit_tree.show(self.session.store)
                main.draw_completions()
                self.labelling.look_up_new()
            case Change.GREW:
                main.circuit_tree.grew()
                self.labelling.look_up_new()
            case Change.UPSTREAM if notice.node is not None:
                main.circuit_tree.upstream_changed(notice.node)
                self.labelling.look_up_new()
            case Change.VALUES:
                main.circuit_tree.redraw_changed()
                main.draw_feature_again()
            case Change.DETAIL:
                main.draw_feature_again()
        if notice.change in (Change.CIRCUIT, Change.GREW):
            main.draw_circuit_frame()
            self._recall()
        main.draw_lines()

    def _recall(self) -> None:
        """Show what earlier sittings made of the circuit, if its question was asked before."""
        store = self.session.store
        if self.keeper.unknown(store):
            self.run_worker(self._recalled(store), group="recalling")

    async def _recalled(self, store: CircuitStore) -> None:
        if (kept := await self.keeper.recall(store)) is not None:
            self.labelling.learn(kept.circuit)
            self.main.circuit_tree.recalled(store, kept.view)
            self.labelling.look_up_new()
            self.main.draw_lines()

    # --- labels and records -------------------------------------------------------------------

    def _labelled(self) -> None:
        self.main.circuit_tree.labels_changed()
        self.main.draw_lines()

    @on(MainScreen.Rested)
    def _rested(self) -> None:
        """Ask for what is missing about the row under the cursor."""
        self.keeper.touched()
        item = self.main.circuit_tree.current
        if item is not None and item.target is not None:
            self.session.experiments.heads(item.target)
        ref = None if item is None or item.node is None else parse_node(item.node)
        if (
            item is None
            or item.node is None
            or ref is None
            or ref.site is None
            or ref.index is None
        ):
            self.labelling.left()
            return
        self.session.inspect(ref.site, ref.index)
        self.labelling.open(item.node)

    # --- messages of the panes ----------------------------------------------------------------

    @on(Input.Submitted, "#prompt")
    def _prompt_submitted(self, event: Input.Submitted) -> None:
        if not event.value:
            self.session.say("type a prompt first, or choose one: tab, then p", "warn")
            return
        self.main.prompt_line.remember([event.value])
        self.session.complete(event.value)
        self.main.action_pane("circuit")

    @on(CompletionList.Chosen)
    def _target_chosen(self, message: CompletionList.Chosen) -> None:
        self.session.set_target(message.token)

    @on(CompletionList.Contrasted)
    def _contrast_chosen(self, message: CompletionList.Contrasted) -> None:
        if message.token == self.session.target_token:
            self.session.say("that is the target: choose another token to hold it against", "warn")
        elif message.token == self.session.choice.contrast:
            self.session.set_contrast(None)
        else:
            self.session.set_contrast(message.token)

    @on(CircuitTree.Wanted)
    def _upstream_wanted(self, message: CircuitTree.Wanted) -> None:
        self.session.ask_upstream(message.node)

    # --- actions ------------------------------------------------------------------------------

    def action_prompts(self) -> None:
        from scd_tui.catalog.prompts import load_prompt_sets

        try:
            sets = load_prompt_sets()
        except InputError as error:
            self.session.say(visible(str(error)), "warn")
            return
        if not sets:
            self.session.say("no prompt sets are installed", "warn")
            return

        def chosen(prompt: "Prompt | None") -> None:
            if prompt is not None:
                self.main.prompt_line.value = prompt.text
                asked = self.session.choice.anew(
                    prompt.target, prompt.contrast, prompt.contrast_prompt
                )
                self.session.complete(prompt.text, asked)
                self.main.action_pane("circuit")

        self.push_screen(PromptPicker(sets), chosen)

    def action_models(self) -> None:
        self.run_worker(self.models.choose(), group="models", exclusive=True)

    def _use(self, model: str) -> None:
        """Have the worker load another model, and ask it what is on the screen."""
        self.session.use(model)
        self.action_restart()

    def action_metric(self) -> None:
        self.session.next_metric()

    def action_ablate(self) -> None:
        item = self.main.circuit_tree.current
        if item is not None and item.kind in ("pins", "super"):
            self.ablate_set(item)
        elif item is None or item.node is None:
            self.session.say("put the cursor on a feature or an error node first", "warn")
        else:
            self.session.ablate(item.node)

    def action_save(self) -> None:
        moment = self.keeper.moment()
        if moment is None:
            self.session.say("there is no circuit to save yet", "warn")
            return
        folder = self._save_to or Path.cwd()

        def work() -> str:
            path, written = save(folder, moment.circuit(), moment.view())
            return f"saved to {path}" if written else f"already saved, just as it is, to {path}"

        self.run_worker(self._write(work), group="save")

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Save the screen where circuits are saved: behind SSH there is no folder of downloads."""
        folder = Path(path) if path is not None else self._save_to or Path.cwd()
        file = folder / filename if filename else numbered(folder, "scd-tui", ".svg")
        data = self.export_screenshot().encode()

        def work() -> str:
            write_private(file, data)
            return f"saved to {file}"

        self.run_worker(self._write(work), group="save")
        return None

    async def _write(self, work: Callable[[], str]) -> None:
        """Do in a thread what writes a file, and say what it says of that."""
        try:
            told = await asyncio.to_thread(work)
        except OSError as error:
            self.session.say(f"not saved: {visible(str(error))}", "bad")
        else:
            self.session.say(visible(told), "good")

    def action_past(self) -> None:
        self.run_worker(self.opening.choose_past(), group="open")

    def action_open_file(self) -> None:
        folder = self._save_to or Path.cwd()
        self.run_worker(self.opening.choose_file(folder), group="open")

    def action_compare(self) -> None:
        if self.session.store.circuit is None:
            self.session.say("there is no circuit to compare yet", "warn")
            return
        but, folder = key_of(self.session.store.circuit), self._save_to or Path.cwd()
        self.run_worker(self.opening.choose_other(folder, but, self._compare_with), group="open")

    def _compare_with(self, other: Circuit) -> None:
        self.run_worker(self._compare(other), group="open")

    async def _compare(self, other: Circuit) -> None:
        from scd_tui.comparison import compare, name_of
        from scd_tui.tui.compare import CompareScreen

        moment, labels = self.session.store.at_this_moment(), self.labelling.labels()

        def work() -> "tuple[Circuit, Comparison] | None":
            circuit = moment.snapshot()
            if circuit is None:
                return None
            circuit = msgspec.structs.replace(circuit, explanations=labels)
            return circuit, compare(circuit, other)

        def chosen(name: str | None) -> None:
            circuit, nodes = self.session.store.circuit, self.session.store.nodes
            if circuit is None or name is None:
                return
            same = (n for n in nodes if name in (n, name_of(circuit, n, "feature")))
            node = next(same, None)
            if node is None:
                self.session.say(f"{visible(name)} is not in this circuit", "warn")
            else:
                self.main.circuit_tree.jump_to_node(node)

        if (found := await asyncio.to_thread(work)) is not None:
            self.push_screen(CompareScreen(found[0], other, found[1]), chosen)

    def _show(self, circuit: Circuit, view: View | None, given: str, kept: bool) -> None:
        """Show a circuit that was made before, as it was left. `kept`: it comes from the history."""
        self.labelling.learn(circuit)
        self._first_prompt = None
        self.main.prompt_line.value = circuit.prompt
        restart = self.session.open(circuit, given)
        if kept:
            self.keeper.knows(self.session.store)
        if view is not None:
            self.main.circuit_tree.restore(view)
        self.main.action_pane("circuit")
        if restart:
            self.action_restart()

    def action_next_explanation(self) -> None:
        item = self.main.circuit_tree.current
        if item is None or item.node is None or self.labelling.next_explanation(item.node) < 2:
            self.session.say("there is no other explanation of this row", "warn")

    def action_ask_again(self) -> None:
        self.labelling.try_again()

    def action_quick_list(self) -> None:
        circuit = self.session.snapshot()
        pins = () if circuit is None else circuit.marks.pins
        features = self.labelling.on_neuronpedia(pins)
        if circuit is None or not features:
            self.session.say("pin features that are on Neuronpedia first", "warn")
            return
        name = f"{circuit.model.name} {circuit.target.root}"
        link, count = quick_list(self.fetching.addresses, name, features)
        host, pinned = self.fetching.addresses.host, counted(count, "pinned feature")
        about = f"A page of {host} with {pinned}; it takes no key."
        self.push_screen(LinkScreen(link, about, self.copy_to_clipboard))

    def action_copy(self) -> None:
        item = self.main.circuit_tree.current
        if item is not None:
            self.copy_to_clipboard(item.node or item.place)

    def action_copy_feature(self) -> None:
        lines = [visible(plain(line).rstrip()) for line in self.main.feature.lines]
        if lines:
            self._copy_cleaned("\n".join(lines))

    def copy_to_clipboard(self, text: str) -> None:
        """Copy by every route there is, cleaned, and say which."""
        self._copy_cleaned(visible(text))

    def _copy_cleaned(self, cleaned: str) -> None:
        size = len(cleaned.encode())
        if size > MAXIMUM_OSC52:
            most = f"{MAXIMUM_OSC52 // 1000} KB is the most that terminals take"
            self.session.say(f"not copied: {size // 1000} KB, and {most}", "warn")
            return
        super().copy_to_clipboard(cleaned)
        self.run_worker(self._copy(cleaned), group="copy")

    async def _copy(self, text: str) -> None:
        tmux = await copy_through_tmux(text, os.environ)
        what = f"{text.count(chr(10)) + 1} lines" if "\n" in text else cut(text, 40)
        self.session.say(f"copied {what} to {route(tmux)}", "good")

    def action_restart(self) -> None:
        self.session.say("")
        if self._worker is not None and self._worker.running:
            self.session.ended(WorkerExit(None, None, fault="you restarted it"))
        self._start_worker()

    def action_help(self) -> None:
        self.push_screen(HelpScreen(key_sections(self._keymap)))

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action there is; those of a pane are for that pane, wherever one is."""
        yield from super().get_system_commands(screen)
        main = self.main
        if screen is not main:
            return
        panes: dict[str, DOMNode] = {
            "circuit": main.circuit_tree,
            "completions": main.completions,
            "prompt": main.prompt_line,
        }
        own = {one.id for one in self.BINDINGS if isinstance(one, Binding)}
        for section, keys in all_keys():
            for one in keys:
                if one.id in ("app.palette", "app.quit"):
                    continue  # Textual brings its own
                node = panes.get(section) or (self if one.id in own else main)
                if section == "in every pane":
                    node = main.current_pane
                words = one.description[:1].upper() + one.description[1:]
                where = f" ({section})" if section in panes else ""
                run = self._command(node, one.action)
                yield SystemCommand(words, f"key {shown(one, self._keymap)}{where}", run)

    def _command(self, node: DOMNode, action: str) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, action, node)

        return run

    async def action_quit(self) -> None:
        self.exit(0)

    def _fatal_error(self) -> None:
        """Leave after an unexpected exception, with a traceback that shows no values.

        Textual's own prints local variables, and with them prompts and tokens.
        """
        from rich.segment import Segments
        from rich.traceback import Traceback

        self.bell()
        traceback = Traceback(show_locals=False, width=None)
        self._exit_renderables.append(
            Segments(self.console.render(traceback, self.console.options))
        )
        self._close_messages_no_wait()


def settings_of(defaults: Defaults) -> Settings:
    return Settings(
        top=defaults.top,
        edges=defaults.edges,
        completions=defaults.completions,
        method=defaults.method,
    )


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
    configuration says, or as it was last.
    """

    def worker(on_event: Callable[[Event], None], on_exit: Callable[[WorkerExit], None]) -> Worker:
        return WorkerClient(worker_command, on_event=on_event, on_exit=on_exit)

    for name in ("COLUMNS", "LINES"):
        # Exported ones would be believed before the terminal, and resizing would have no effect.
        os.environ.pop(name, None)
    collect_nothing()
    config, problem = read_config()
    history = History(state_path() / "circuits", config.history)
    model = model or config.model or _last_model(history)
    app = ScdApp(
        prompt,
        model,
        device or config.device,
        circuit,
        view=view,
        worker=worker,
        records=_records_of,
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


def _records_of(model: str) -> FeatureRecords:
    """The feature records that lie on this machine for a model, none where there are none."""
    from scd_tui.catalog.models import find
    from scd_tui.neuronpedia.bundled import BundledFeatures

    try:
        features = find(model).features
    except InputError:
        return _made_here(model)
    if features is not None:
        return BundledFeatures(features)
    return _made_here(model)


def _made_here(model: str) -> FeatureRecords:
    """Records that `scd-tui contexts` made of a model, by its reference; none where it made none."""
    folder = cache_path() / "contexts"
    if not folder.is_dir():
        return NoRecords()
    from scd_tui.neuronpedia.local import LocalFeatures

    try:
        return LocalFeatures(folder, model)
    except OSError:
        return NoRecords()
