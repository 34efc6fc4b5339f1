"""The app: carries messages between the worker, the session and the main screen."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from textual import on
from textual.binding import BindingType
from textual.driver import Driver
from textual.filter import LineFilter
from textual.message import Message as TextualMessage
from textual.screen import Screen
from textual.widgets import Input

from scd_tui.config import Config, Defaults
from scd_tui.drafts import Drafts
from scd_tui.errors import InputError
from scd_tui.graph import Circuit, NodeId, Settings, parse_node
from scd_tui.history import History, View
from scd_tui.leaving import SIGNALS
from scd_tui.text import visible
from scd_tui.tui.ascii import AsciiFilter
from scd_tui.tui.bindings import app_keys, checked_keymap
from scd_tui.tui.choice import Choice
from scd_tui.tui.completions import CompletionList
from scd_tui.tui.damaged import damaged_files, tell_of_files
from scd_tui.tui.drafting import Drafting
from scd_tui.tui.exporting import Exporting
from scd_tui.tui.fetching import Fetching
from scd_tui.tui.hints import key_sections
from scd_tui.tui.in_turn import InTurn
from scd_tui.tui.keeping import Keeper
from scd_tui.tui.labelling import Labelling
from scd_tui.tui.main_screen import MainScreen
from scd_tui.tui.modals import HelpScreen, PromptPicker
from scd_tui.tui.models import Models
from scd_tui.tui.notices import Change, Notice
from scd_tui.tui.on_screen import around, on_screen
from scd_tui.tui.opening import Opening, offer
from scd_tui.tui.painted import painting
from scd_tui.tui.palette import Commands
from scd_tui.tui.records import NoRecords, RecordsOf
from scd_tui.tui.reopening import Reopening
from scd_tui.tui.session import Session
from scd_tui.tui.silence import TICK_SECONDS, Silence
from scd_tui.tui.store import CircuitStore
from scd_tui.tui.theme import THEMES, theme_name
from scd_tui.tui.tree import CircuitTree
from scd_tui.tui.trying import Trying
from scd_tui.tui.walking import Walking
from scd_tui.worker.client import WorkerExit, WorkerGone
from scd_tui.worker.protocol import Alive, Event, Message

if TYPE_CHECKING:
    from scd_tui.catalog.prompts import Prompt

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


class ScdApp(InTurn, Walking, Trying, Reopening, Exporting, Commands):
    """Circuits behind completions. With a `circuit`, no worker is started until one is asked for;
    `view` is how that was being looked at, and `given` where its model is, if the user says so.

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
        given: str = "",
        drafts: Drafts | None = None,
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
        self._silence = Silence()
        self._old_signals: dict[int, Any] = {}
        self.session = Session(model, device, self._send, self._noticed, circuit)
        if circuit is not None:
            self.session.lies(circuit.model, given)
        else:
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
            merged=self._merged,
        )
        self.drafting = Drafting(
            drafts or Drafts(None),
            later=self.set_timer,
            start=lambda: self.run_worker(self.drafting.write(), group="drafts"),
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
        return painting(super().get_driver_class())

    def get_default_screen(self) -> Screen[None]:
        return self.main

    def on_mount(self) -> None:
        self.main.set_class(not self._colour, "-no-color")
        self._listen_for_signals()
        self.set_interval(TICK_SECONDS, self._listen_for_life)
        self.app_resume_signal.subscribe(self, self._resumed)
        self.call_after_refresh(self._begin)

    def _resumed(self, app: object) -> None:
        """Back from the shell, the terminal has none of what was drawn."""
        self.action_redraw()

    def on_resize(self) -> None:
        """A terminal may shift or drop cells when its size changes."""
        self._forget_painted()

    def _forget_painted(self) -> None:
        forget = getattr(self._driver, "forget", None)
        if forget is not None:  # tests have a driver that draws nothing
            forget()

    def action_redraw(self) -> None:
        """Write the whole screen again, over what others wrote on it."""
        self._forget_painted()
        self.refresh()

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
        circuit = self.session.store.circuit
        entries = await asyncio.to_thread(self.keeper.history.entries)
        tell_of_files(self, await asyncio.to_thread(damaged_files, self.keeper.history))
        if circuit is not None:
            given = await self.keeper.reference_of(circuit.model, entries)
            self.session.lies(circuit.model, given)
        prompts = [entry.prompt for entry in entries]
        self.main.prompt_line.remember(prompts)
        await self.drafting.take_over(prompts, self._notes_of)
        unfinished = self.drafting.prompts()
        self.main.prompt_line.remember(unfinished)
        if self._first_prompt is None and self.session.prompt is None:
            lines = [*self.drafting.offer(), *offer(entries, time.time())]
            self.main.circuit_tree.welcome_back(lines)
        elif unfinished:
            words = "An unfinished prompt was left: ↑ in the prompt line goes on with it."
            self.notify(words, title="Prompt", markup=False)

    def _notes_of(self, key: str) -> Mapping[NodeId, str]:
        """The notes on a past circuit. Reads a file."""
        try:
            return self.keeper.history.load(key).circuit.marks.notes
        except InputError:
            return {}

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
            self.drafting.write_now()
            loop.call_soon_threadsafe(lambda: self.exit(return_code=128 + number))

        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks for
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
        self._silence.heard()
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
            return
        self._silence.heard()
        if self.session.silent:
            self._listen_for_life()
        if not isinstance(message.content, Alive):
            self.session.handle(message.content)

    def _listen_for_life(self) -> None:
        """Say that the worker is silent, and again that it is not."""
        self.session.silent_for(self._silence.tick())

    async def on_unmount(self) -> None:
        await self.keeper.write()
        self.drafting.close(in_order=not self.return_code)
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
        if notice.change in (Change.CIRCUIT, Change.GREW) and not self.session.partial:
            self.drafting.question_done(self.session.prompt or "", given_up=False)
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
            given = await self.keeper.reference_of(kept.circuit.model, [kept.entry])
            self.session.lies(kept.circuit.model, given)
            self.main.circuit_tree.recalled(store, kept.view)
            self.labelling.look_up_new()
            self.main.draw_lines()

    def _merged(self, store: CircuitStore, circuit: Circuit) -> None:
        """Show what another app did to a circuit that this one has too."""
        if not self.main.is_running:
            return
        self.labelling.learn(circuit)
        self.main.circuit_tree.recalled(store, None)
        if store is self.session.store:
            self.labelling.look_up_new()
            self.main.draw_lines()
            self.main.draw_feature_again()

    # --- labels and records -------------------------------------------------------------------

    def _labelled(self) -> None:
        self.main.circuit_tree.labels_changed()
        self.main.draw_lines()

    @on(MainScreen.Rested)
    def _rested(self) -> None:
        """Ask for what is missing about the row under the cursor."""
        self.keeper.touched()
        self.session.watch(on_screen(*self.main.circuit_tree.view))
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

    @on(Input.Changed, "#prompt")
    def _prompt_typed(self, event: Input.Changed) -> None:
        # without dictionaries nothing comes after the completions that are here already
        circuit = self.session.store.circuit
        answered = circuit is not None and circuit.prompt == event.value
        answered |= self.session.lacks_dictionaries and self.session.prompt == event.value
        self.drafting.prompt_typed("" if answered else event.value)

    @on(Input.Submitted, "#prompt")
    def _prompt_submitted(self, event: Input.Submitted) -> None:
        if not event.value:
            self.session.say("type a prompt first, or choose one: tab, then p", "warn")
            return
        self.main.prompt_line.remember([event.value])
        self.drafting.prompt_asked(event.value)
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

    def action_prompt_contrast(self) -> None:
        """Hold the target against the token of the prompt that is likeliest to come next."""
        offered = self.session.offered_contrast
        if offered is None:
            words = (
                "no other token of the prompt is among the likeliest ten: c or t name a contrast"
            )
            self.session.say(words, "warn")
        else:
            self.session.set_contrast(offered.token.id)

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

    def action_next_explanation(self) -> None:
        item = self.main.circuit_tree.current
        if item is None or item.node is None or self.labelling.next_explanation(item.node) < 2:
            self.session.say("there is no other explanation of this row", "warn")

    def action_ask_again(self) -> None:
        self.labelling.try_again()

    def action_restart(self) -> None:
        if self._worker is not None and self._worker.running:
            self.session.ended(WorkerExit(None, None, fault="you restarted it"))
        self.session.say("")
        self._start_worker()

    def action_help(self) -> None:
        self.push_screen(HelpScreen(key_sections(self._keymap)))

    def action_help_quit(self) -> None:
        """What ctrl+c does where nothing is selected: say how to leave, as this app is left."""
        self.session.say("q leaves the app")

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
