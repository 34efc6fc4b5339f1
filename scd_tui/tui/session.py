"""What the app knows and has asked: requests out, events in, and one change notice for each.

No Textual here. The session sends through a function it is given and tells a listener what is new;
the screen reads its state. The newest attribution wins: an older one is cancelled, and what it says
after that is dropped. Nothing that was shown is lost to a request that fails.
"""

from collections.abc import Callable, Iterable
from typing import Literal, Protocol

import msgspec

from scd_tui.contrasts import contrast_in_prompt
from scd_tui.graph import (
    METRICS,
    Circuit,
    Completion,
    Marks,
    Metric,
    ModelIdentity,
    NodeId,
    Removal,
    Site,
    Token,
    parse_node,
)
from scd_tui.text import visible
from scd_tui.tui.choice import Choice, choice_of
from scd_tui.tui.experiments import Experiments
from scd_tui.tui.notices import Busy, Change, Fetching, Level, Notice
from scd_tui.tui.shown import Shown, Turns
from scd_tui.tui.store import NO_MARKS, CircuitStore
from scd_tui.wording import without_dictionaries
from scd_tui.worker.client import WorkerExit, WorkerGone
from scd_tui.worker.protocol import (
    Ablate,
    Ablated,
    Attribute,
    Attributed,
    Cancel,
    Complete,
    Completed,
    Event,
    Failed,
    Gated,
    Inspect,
    Inspected,
    Load,
    Loaded,
    Measured,
    Message,
    Progress,
    ProtocolError,
    SiteDone,
    Trusted,
    Upstream,
    UpstreamFound,
    Wanted,
    Watch,
)

Phase = Literal["none", "starting", "loading", "ready", "gone"]
"""`none`: no worker was wanted, as for a circuit from a file."""

Refused = Callable[[str], None]
"""Is told why no circuit was made of a question."""
Asked = tuple[str, Choice, Refused | None]
"""A question of a prompt."""

NOT_HERE = "not in this file: R starts the model to compute it"


class Send(Protocol):
    def __call__(self, kind: type[Message], **fields: object) -> int: ...


class Session:
    """State of one sitting. `model` and `device` are what a worker is asked to load."""

    def __init__(
        self,
        model: str,
        device: str,
        send: Send,
        listener: Callable[[Notice], None],
        circuit: Circuit | None = None,
    ) -> None:
        self.wanted_model = model if circuit is None else circuit.model.reference
        self.device = device
        self._send = send
        self._listener = listener
        self.phase: Phase = "starting" if circuit is None else "none"
        self.model: ModelIdentity | None = None
        self.prompt: str | None = None
        self.tokens: tuple[Token, ...] = ()
        self.completions: tuple[Completion, ...] = ()
        self.choice = Choice()
        self.store = CircuitStore()
        self.partial = False
        self.exit: WorkerExit | None = None
        self.silent = 0
        """Seconds without a sign of life of a worker from which something is expected."""
        self.busy: Busy | None = None
        self.message = ""
        self.level: Level = "info"
        self.measured: tuple[int, int] | None = None
        self.check: Gated | None = None
        self._watched: tuple[Site, ...] = ()
        self._circuit_request: int | None = None
        self._making: int | None = None
        self._completing: int | None = None
        self._loading: int | None = None
        self._loaded_by: int | None = None
        self._identity: ModelIdentity | None = None
        self.fetching: Fetching | None = None
        self._before: tuple[CircuitStore, int | None] | None = None
        self._shown: Shown | None = None
        self._turns = Turns()
        # What was asked of which circuit: another may be shown when the answer comes.
        self._upstream: dict[int, tuple[CircuitStore, NodeId]] = {}
        self._ablations: dict[int, tuple[CircuitStore, NodeId]] = {}
        self._inspections: dict[int, tuple[CircuitStore, str]] = {}
        self._waiting: Asked | None = None
        self._asked: Asked = ("", Choice(), None)
        self._refused: Refused | None = None
        self._again = False
        self._given_up = False
        self.experiments = Experiments(self, lambda: self._notice(Change.VALUES))
        self._given: dict[tuple[str, ...], str] = {}
        self._has = self.wanted_model  # the model that the worker has, or was asked to load
        if circuit is not None:
            self._open(circuit)

    def given(self, model: ModelIdentity) -> str:
        """How just this model was named when it was loaded; "" if that is not known."""
        return self._given.get(_exactly(model), "")

    def lies(self, model: ModelIdentity, given: str) -> None:
        """Where a circuit's model lay when it was loaded last, for when it is wanted."""
        if not given:
            return
        self._given.setdefault(_exactly(model), given)
        if self.phase == "none" and self.model == model:
            self.wanted_model = self._named(model)

    def open(
        self,
        circuit: Circuit,
        given: str = "",
        base: Callable[[CircuitStore], Marks] = lambda store: NO_MARKS,
    ) -> bool:
        """Show a circuit that was made before. The worker makes it again, if it has its model.

        `given` is how its model was named then, if that is known: a folder has no name to find it by.
        `base` says which marks it and one that was shown before began from, if it is the same question.
        Returns whether another model is to be loaded for that: the worker is to be started again.
        """
        self.lies(circuit.model, given)
        self._stop_making()
        other = self.wanted_model != self._named(circuit.model)
        before = self._shown
        if before is not None:
            before = msgspec.structs.replace(before, request=self._circuit_request)
        self._circuit_request, self._waiting, self._given_up = None, None, False
        self.measured, self.partial = None, False
        self._open(circuit, base)
        if before is not None:
            self._turns.leave(before, self.store)
        self._notice(Change.CIRCUIT)
        self._notice(Change.COMPLETIONS)
        self.say("")
        if other:
            return self.phase != "none"
        if self.phase in ("starting", "loading"):
            self._waiting = (circuit.prompt, self.choice, None)
        elif self.phase == "ready":
            self.complete(circuit.prompt, self.choice)
        return False

    def _open(
        self,
        circuit: Circuit,
        base: Callable[[CircuitStore], Marks] = lambda store: NO_MARKS,
    ) -> None:
        self.model, self.wanted_model = circuit.model, self._named(circuit.model)
        self.prompt, self.tokens = circuit.prompt, circuit.tokens
        self.completions = circuit.completions
        self.choice = choice_of(circuit)
        earlier = self._turns.find(circuit, self._shown)
        if earlier is None:
            self.store = CircuitStore.of(circuit)
        else:
            self.store = earlier
            earlier.recall(circuit, base(earlier))
        self._shown = self._as_shown()

    def _named(self, model: ModelIdentity) -> str:
        """What is to be loaded for a circuit's model: just what the worker was asked for, if that is it."""
        if given := self.given(model):
            return given
        has = self._identity
        if has is None:  # not loaded yet: a name alone stands for the usual set
            return self._has if self._has == model.name else model.reference
        return self._has if has.reference == model.reference else model.reference

    def use(self, model: str) -> None:
        """Want another model: the worker is to be started again, and then asked the same prompt."""
        self._stop_making()
        if self.prompt is not None:
            # a token of one vocabulary is another, or none, of the next
            self._waiting = (self.prompt, self.choice.anew(), None)
        self.wanted_model = model

    # --- what the screen asks of it -----------------------------------------------------------

    @property
    def metric(self) -> Metric:
        return self.choice.metric

    @property
    def target_token(self) -> int | None:
        """Vocabulary id of the token that the shown circuit explains, if it is of this prompt.

        Without dictionaries, of the token that was chosen.
        """
        circuit = self.store.circuit
        if circuit is None and self.lacks_dictionaries:
            return self._listed(self.choice.target)
        if circuit is None or circuit.prompt != self.prompt:
            return None
        return circuit.target.target.token.id

    @property
    def contrast_token(self) -> int | None:
        circuit = self.store.circuit
        if circuit is None and self.lacks_dictionaries:
            return self._contrast_alone()
        if self.target_token is None or circuit is None or circuit.target.contrast is None:
            return None
        return circuit.target.contrast.token.id

    def _listed(self, wanted: Wanted) -> int | None:
        """The id of a token among the completions, by its id or its text."""
        found = (c.token.id for c in self.completions if wanted in (c.token.id, c.token.text))
        return next(found, None)

    def _contrast_alone(self) -> int | None:
        """What the target is held against without a circuit: as chosen, or the likeliest other token."""
        target = self._listed(self.choice.target)
        chosen = self._listed(self.choice.contrast)
        if target is None or self.metric != "diff" or chosen is not None:
            return chosen if self.metric == "diff" else None
        return next((c.token.id for c in self.completions if c.token.id != target), None)

    @property
    def lacks_dictionaries(self) -> bool:
        """Whether the worker's model has none, so that no circuit can be made."""
        loaded = self._identity
        return self.phase == "ready" and loaded is not None and not loaded.dictionaries

    @property
    def offered_contrast(self) -> Completion | None:
        """A token of the prompt that is a better contrast than the likeliest, of the shown circuit."""
        circuit = self.store.circuit
        if circuit is None or circuit.prompt != self.prompt:
            return None
        return contrast_in_prompt(circuit)

    @property
    def not_loaded(self) -> bool:
        """Whether the worker could not load the model that was wanted."""
        return self.phase == "loading" and self._loading is None

    @property
    def running(self) -> bool:
        """Whether a request is unfinished."""
        return self.phase not in ("none", "gone") and self._unfinished

    @property
    def _unfinished(self) -> bool:
        """Whether `cancel` would end anything, be it only what waits for a worker."""
        return bool(
            self._making
            or self._completing
            or self._upstream
            or self._ablations
            or self._waiting
            or self.experiments.requests
        )

    # --- the worker's life --------------------------------------------------------------------

    def starting(self) -> None:
        """The worker's process is being started."""
        self.phase = "starting"
        self.exit, self.silent = None, 0
        self.busy = Busy(0, "starting the worker")
        self._notice(Change.STATUS)

    def started(self) -> None:
        """The process is there: ask it to load the model."""
        self.phase, self._has, self._identity = "loading", self.wanted_model, None
        number = self._request(Load, model=self.wanted_model, device=self.device)
        self._loading = number
        if number is not None:
            self.busy = Busy(number, f"loading {visible(self.wanted_model)}")
        self._notice(Change.STATUS)

    def ended(self, how: WorkerExit) -> None:
        """The worker is gone. All that is shown stays; what it was doing is to be asked again."""
        unfinished = self._unfinished or self._loading is not None
        if self._completing is not None:
            self._waiting = self._asked
        elif self._making is not None and self.prompt is not None:
            self._waiting = (self.prompt, self.choice, self._refused)
        self.phase, self.exit, self.busy, self.silent = "gone", how, None, 0
        self._forget_requests("the worker stopped: R starts it again")
        what = " with a request unfinished" if unfinished else ""
        self.say(f"the worker {how.reason}{what}: R starts it again", "bad")
        self._notice(Change.STATUS)

    def silent_for(self, seconds: int) -> None:
        """The worker has given no sign of life for so long; 0 where there is nothing to worry about."""
        loads = self.phase == "starting" or self._loading is not None
        expected = loads or self.running or self.measured is not None
        silent = seconds if expected and self.phase not in ("none", "gone") else 0
        if silent != self.silent:
            self.silent = silent
            self._notice(Change.STATUS)

    def could_not_start(self, why: str) -> None:
        self.ended(WorkerExit(None, None, (why,), fault="it could not be started"))

    def _forget_requests(self, why: str) -> None:
        self._circuit_request = self._making = self._completing = self._loading = None
        self._ablations.clear()
        self._inspections.clear()
        self.experiments.forget()
        # What there is of an unfinished circuit stays on the screen until it is cancelled.
        if self._before is not None:
            self._before = (self._before[0], None)
        self._turns.forget_requests()
        self._clear_pending(why)

    def _clear_pending(self, why: str) -> None:
        for store in {store for store, _ in self._upstream.values()}:
            for node in store.clear_pending(why):
                if store is self.store:
                    self._notice(Change.UPSTREAM, node)
        self._upstream.clear()

    # --- requests -----------------------------------------------------------------------------

    def complete(
        self, prompt: str, choice: Choice | None = None, refused: Refused | None = None
    ) -> None:
        """Ask for completions of `prompt` and then for the circuit behind one of them."""
        asked = (prompt, choice or self.choice.anew(), refused)
        self._given_up = False
        if self.phase == "none" or self.phase == "gone":
            self._waiting = asked
            self.say("no worker is running: R starts it, and this request with it", "warn")
            return
        if self.phase == "ready" and self._has != self.wanted_model:
            self._waiting = asked
            other = f"the worker has {visible(self._has)}"
            self.say(f"{other}: R loads {visible(self.wanted_model)}, and runs this", "warn")
            return
        if self.phase != "ready":
            self._waiting = asked
            self.say("asked for; it runs as soon as the model is loaded", "info")
            return
        self._stop_making()
        number = self._request(Complete, prompt=prompt, count=asked[1].settings.completions)
        if number is None:
            return
        self._completing = number
        self._waiting = None
        self._asked = asked
        self.busy = Busy(number, "completing")
        self.say("")

    def attribute(self, choice: Choice, refused: Refused | None = None) -> None:
        """Ask for the circuit behind a completion of the prompt; the newest request wins."""
        if self.prompt is None:
            self.say_no_prompt()
            return
        if self.phase != "ready" or self._has != self.wanted_model:
            self.complete(self.prompt, choice, refused)
            return
        if self.lacks_dictionaries:
            self._without_circuit(choice, refused)
            return
        self._stop_making()
        number = self._request(
            Attribute,
            prompt=self.prompt,
            target=choice.target,
            contrast=choice.contrast if choice.metric == "diff" else None,
            metric=choice.metric,
            position=choice.position,
            continuation=choice.continuation,
            contrast_prompt=choice.contrast_prompt,
            settings=choice.settings,
        )
        if number is None:
            return
        self.choice, self._refused, self._given_up = choice, refused, False
        self._again = self._is_shown(choice)
        self._making = number
        self.busy = Busy(number, "attributing")
        self.say("")

    def _without_circuit(self, choice: Choice, refused: Refused | None) -> None:
        """Show the completions alone, and say what a circuit needs."""
        self.choice, self.busy = choice, None
        if self.store.circuit is not None:  # another model's
            before = self._shown
            self.store = CircuitStore(self.tokens)
            if before is not None:
                before = msgspec.structs.replace(before, request=self._circuit_request)
                self._turns.leave(before, self.store)
            self._shown, self._circuit_request, self.measured = None, None, None
            self._notice(Change.CIRCUIT)
        self._notice(Change.COMPLETIONS)
        why = self.no_dictionaries
        self.say(why, "warn")
        if refused is not None:
            refused(why)

    @property
    def no_dictionaries(self) -> str:
        """What a circuit needs that the loaded model lacks, and how to bring it."""
        name = self._identity.name if self._identity is not None else self.wanted_model
        return visible(without_dictionaries(name))

    def say_no_prompt(self) -> None:
        """Say why there is no prompt yet to ask anything of."""
        if self._completing is not None:
            self.say("the prompt is still being read", "warn")
        elif self._waiting is None:
            self.say("type a prompt first", "warn")
        elif self.phase in ("starting", "loading"):
            self.say("the model is still being loaded", "warn")
        else:
            self.say("the prompt waits for the model: R loads it", "warn")

    def _is_shown(self, choice: Choice) -> bool:
        """Whether this is the circuit on the screen: making it again changes no row of it."""
        circuit = self.store.circuit
        if circuit is None or circuit.prompt != self.prompt or not self._is_loaded(circuit):
            return False  # numbers of another model, whatever was asked of it
        if choice.metric != "diff":
            choice = msgspec.structs.replace(choice, contrast=None)
        return choice_of(circuit) == choice

    def set_target(self, target: str | int) -> None:
        """Explain another completion of the same prompt; a chosen contrast stays, if it can."""
        contrast = self.choice.contrast
        if contrast == target or isinstance(contrast, tuple):
            contrast = None
        self.attribute(msgspec.structs.replace(self.choice, target=target, contrast=contrast))

    def set_contrast(self, contrast: str | int | None) -> None:
        """Hold the target against this token; None is the likeliest other again."""
        self.attribute(msgspec.structs.replace(self.choice, contrast=contrast, metric="diff"))

    def next_metric(self) -> None:
        metric = METRICS[(METRICS.index(self.metric) + 1) % len(METRICS)]
        self.attribute(msgspec.structs.replace(self.choice, metric=metric))

    # --- questions asked before ---------------------------------------------------------------

    def _as_shown(self) -> Shown:
        return Shown(
            *(self.store, self._circuit_request, self.prompt or ""),
            *(self.tokens, self.completions, self.choice),
        )

    @property
    def earlier(self) -> bool:
        """Whether there is a circuit to go back to."""
        return bool(self._turns.past)

    @property
    def later(self) -> bool:
        return bool(self._turns.future)

    def back(self) -> bool:
        """Show the circuit before this one again. Returns whether there was one."""
        return self.earlier and self._turn(self._turns.back)

    def forward(self) -> bool:
        """Undo `back`. Returns whether there was anything to undo."""
        return self.later and self._turn(self._turns.forward)

    def _turn(self, to: Callable[[Shown | None], Shown]) -> bool:
        self._stop_making()
        before = self._shown
        if before is not None:
            before = msgspec.structs.replace(before, request=self._circuit_request)
        shown = to(before)
        self._shown = shown
        self.store, self._circuit_request = shown.store, shown.request
        if shown.store.circuit is not None:
            self.model = shown.store.circuit.model
            self.wanted_model = self._named(self.model)
        self.prompt, self.tokens = shown.prompt, shown.tokens
        self.completions, self.choice = shown.completions, shown.choice
        self.measured, self.partial = None, False
        if self._loading is None:
            self.busy = None
        self._notice(Change.CIRCUIT)
        self._notice(Change.COMPLETIONS)
        self.say("")
        return True

    def ask_upstream(self, node: NodeId) -> None:
        """Ask for the edges into a node, unless they are known or have been asked for."""
        if self.store.upstream_state(node) not in ("unknown", "failed"):
            return
        if self._circuit_request is None:
            self.store.mark_failed(node, self.why_not("compute it"))
        else:
            number = self._request(Upstream, circuit=self._circuit_request, node=node)
            if number is not None:
                self._upstream[number] = self.store, node
                self.store.mark_pending(node)
        self._notice(Change.UPSTREAM, node)

    def ablate(self, node: NodeId) -> None:
        """Measure what removing a node really does."""
        kind = parse_node(node).kind
        if kind in ("token", "pos"):
            self.say("embeddings are not ablated to zero: no text has none", "warn")
        elif kind == "root":
            self.say("the metric itself cannot be removed: choose a feature or an error", "warn")
        elif self._circuit_request is None:
            self.say(self.why_not("measure it"), "warn")
        elif (self.store, node) not in self._ablations.values():
            number = self._request(Ablate, circuit=self._circuit_request, node=node)
            if number is not None:
                self._ablations[number] = self.store, node
                self.busy = Busy(number, f"ablating {node}")
                self.say("")

    @property
    def checking(self) -> bool:
        """Whether the dictionary check of the loaded model goes on."""
        model = self.model
        if self.phase != "ready" or model is None:
            return False
        unclear = self.check is not None and self.check.unclear > 0
        return unclear or len(model.gate) < len(model.sites)

    def watch(self, nodes: Iterable[NodeId]) -> None:
        """Have the dictionaries of these nodes checked before the others, if any are to be checked."""
        if not self.checking:
            return
        sites = tuple(
            dict.fromkeys(s for node in nodes if (s := parse_node(node).site) is not None)
        )
        if sites and sites != self._watched and self._request(Watch, sites=sites) is not None:
            self._watched = sites

    def inspect(self, site: Site, index: int) -> None:
        """Ask for a feature's activations on the prompt, once."""
        key = f"{site}/{index}"
        if (
            self._circuit_request is None
            or key in self.store.activations
            or (self.store, key) in self._inspections.values()
        ):
            return
        number = self._request(Inspect, circuit=self._circuit_request, site=site, index=index)
        if number is not None:
            self._inspections[number] = self.store, key

    def cancel(self) -> bool:
        """Give up on what runs. Returns whether anything did."""
        if not self._unfinished:
            return False
        self._given_up |= bool(self._making or self._completing or self._waiting)
        self._waiting = None
        asked = (*self._upstream, *self._ablations, *self.experiments.requests)
        for number in (self._making, self._completing, *asked):
            if number is not None:
                self._request(Cancel, request=number)
        self._completing = None
        self._ablations.clear()
        self.experiments.forget()
        self._clear_pending("cancelled: enter asks again")
        self._drop_partial()
        self._from_shown()
        if self._loading is None:
            self.busy = None
        self.say("cancelled", "info")
        return True

    def redo(self) -> None:
        """After a restart: what was waiting, or else the circuit that is shown.

        What was cancelled is not asked again, and ids of tokens are those of one model.
        """
        shown = self._shown
        if self._waiting is not None:
            self.complete(*self._waiting)
        elif not self._given_up:
            if self.prompt is not None:
                self.complete(self.prompt, self.choice)
        elif shown is not None and self._is_loaded(shown.store.circuit):
            self.complete(shown.prompt, shown.choice)

    def _is_loaded(self, circuit: Circuit | None) -> bool:
        """Whether the worker has just the model of a circuit."""
        if circuit is None or self._identity is None:
            return False
        return _exactly(circuit.model) == _exactly(self._identity)

    def _from_shown(self) -> None:
        """Have the next question differ from that of the circuit that is shown."""
        shown = self._shown
        if shown is not None and shown.store is self.store and shown.prompt == self.prompt:
            self.choice = shown.choice

    def snapshot(self) -> Circuit | None:
        return self.store.snapshot()

    def say(self, message: str, level: Level = "info") -> None:
        """Show one sentence until the next."""
        self.message, self.level = message, level
        self._notice(Change.STATUS)

    def why_not(self, what: str) -> str:
        if self.phase == "none":
            return NOT_HERE
        if self.phase == "gone":
            return f"the worker stopped: R starts it again to {what}"
        if self.not_loaded:
            named = visible(self.wanted_model)
            return f"{named} was not loaded: R tries it again, scd-tui --model says where it is"
        if self._making is not None or self._waiting is not None or self.phase != "ready":
            return "the circuit is still being made: enter again in a moment"
        return "this circuit is not in the worker: ctrl+r makes it again"

    def _stop_making(self) -> None:
        """The newest request wins: what an older one still says is dropped."""
        for number in (self._making, self._completing):
            if number is not None:
                self._request(Cancel, request=number)
        self._completing = None
        self._drop_partial()

    def _drop_partial(self) -> None:
        """Give up the circuit that is being made and show the one before it again."""
        self._making = None
        if self._before is not None:
            self.store, self._circuit_request = self._before
            self._before = None
            self.partial = False
            self._notice(Change.CIRCUIT)

    @property
    def circuit_request(self) -> int | None:
        """The worker's number for the circuit that is shown; None where it has it not."""
        return self._circuit_request

    def request(self, kind: type[Message], stage: str = "", **fields: object) -> int | None:
        """Send a request; `stage` is what the progress line says until it is `done`."""
        number = self._request(kind, **fields)
        if number is not None and stage:
            self.busy = Busy(number, stage)
            self.say("")
        return number

    def done(self, request: int) -> None:
        """The progress line has no more to say of a request."""
        if self.busy is not None and self.busy.request == request:
            self.busy = None
            self._notice(Change.STATUS)

    def _request(self, kind: type[Message], **fields: object) -> int | None:
        try:
            return self._send(kind, **fields)
        except WorkerGone:
            self.say("no worker is running: R starts it", "warn")
        except UnicodeEncodeError:
            self.say("the text holds bytes that are not UTF-8: type it again", "warn")
        except ProtocolError as error:
            self.say(visible(str(error)), "warn")
        return None

    # --- events -------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Take in one message of the worker."""
        if self.experiments.handle(event) and not isinstance(event, Progress):
            return
        match event:
            case Progress():
                self._progress(event)
            case Loaded():
                self._loaded(event)
            case Gated() if event.request == self._loaded_by:
                self._gated(event)
            case Completed() if event.request == self._completing:
                self._completed(event)
            case SiteDone() if event.request == self._making:
                self._site(event)
            case Attributed() if event.request == self._making:
                self._attributed(event)
            case Measured() if event.request == self._circuit_request:
                self._measured(event)
            case Trusted() if event.request == self._circuit_request:
                self.store.trust = event.trust
                self.measured = None
                self._notice(Change.DETAIL)
                self._notice(Change.STATUS)
            case UpstreamFound() if asked := self._upstream.pop(event.request, None):
                store, node = asked
                store.add_upstream(node, event.nodes, event.edges)
                if store is self.store:
                    self._notice(Change.UPSTREAM, node)
            case Ablated() if ablated := self._ablations.pop(event.request, None):
                self._ablated(event, ablated[0])
            case Inspected() if inspected := self._inspections.pop(event.request, None):
                store, key = inspected
                store.activations[key] = event.activations
                self._notice(Change.DETAIL)
            case Failed():
                self._failed(event)
            case _:
                pass  # an answer to a request that was given up

    def _progress(self, event: Progress) -> None:
        current = (self._loading, self._making, self._completing)
        asked = (*self._ablations, *self.experiments.requests)
        if event.request in current or event.request in asked:
            self.busy = Busy(event.request, visible(event.stage), event.done, event.total)
            self._notice(Change.STATUS)

    def _loaded(self, event: Loaded) -> None:
        self.phase, self.model, self._identity = "ready", event.model, event.model
        self.check, self._watched = None, ()
        self._loading, self.busy, self._loaded_by = None, None, event.request
        self._given[_exactly(event.model)] = self._has
        self.say("")
        self.redo()
        if event.notes:
            self.say(visible("; ".join(event.notes)), "warn")

    def _gated(self, event: Gated) -> None:
        """Verdicts on the dictionaries: also for the circuit that is shown, if it is of this model."""
        if self.model is None:
            return
        before = self.model
        self.check = event
        self.model = msgspec.structs.replace(before, gate=event.gate)
        circuit = self.store.circuit
        if circuit is not None and msgspec.structs.replace(circuit.model, gate=()) == (
            msgspec.structs.replace(before, gate=())
        ):
            notes = tuple(dict.fromkeys((*circuit.notes, *event.notes)))
            self.store.circuit = msgspec.structs.replace(circuit, model=self.model, notes=notes)
            self._notice(Change.DETAIL)
        if event.notes:
            self.say(visible("; ".join(event.notes)), "warn")
        elif not self.checking and not self.message:
            passed = sum(one.passed is True for one in event.gate)
            words = f"dictionary check: {passed} of {event.total} passed"
            self.say(f"{words}, {event.seconds:.0f} s of CPU, once for these dictionaries")
        self._notice(Change.STATUS)

    def _completed(self, event: Completed) -> None:
        self._completing = None
        self.prompt, self.choice, refused = self._asked
        self.tokens, self.completions = event.tokens, event.completions
        self._notice(Change.COMPLETIONS)
        choice = self.choice
        if choice.target is None and not choice.elsewhere and self.completions:
            choice = msgspec.structs.replace(choice, target=self.completions[0].token.id)
        self.attribute(choice, refused)

    def _site(self, event: SiteDone) -> None:
        if self._again:
            return
        if self._before is None:
            self._before = (self.store, self._circuit_request)
            sources = self.model.sources if self.model is not None else {}
            self.store = CircuitStore(self.tokens, sources=sources)
            self._circuit_request = None
            self.partial = True
            self.measured = None
            self.store.add_site(event.summary, event.nodes)
            self._notice(Change.CIRCUIT)
        else:
            self.store.add_site(event.summary, event.nodes)
            self._notice(Change.GREW)

    def _attributed(self, event: Attributed) -> None:
        again = self._again and event.circuit.target.root == self.store.root
        earlier = None if again else self._turns.find(event.circuit, self._shown)
        fresh = not again and (self._before is None or earlier is not None)
        if earlier is not None:
            if self._before is not None:  # marks can be put on what is in the making, too
                earlier.marks = self.store.marks.after(earlier.marks)
            self.store = earlier
        elif fresh:
            self.store = CircuitStore()
        self.store.finish(event.circuit)
        self.tokens = event.circuit.tokens
        self.completions = event.circuit.completions
        answered = choice_of(event.circuit)
        if self.metric != "diff":
            # For when the metric is diff again.
            answered = msgspec.structs.replace(answered, contrast=self.choice.contrast)
        self.choice = answered
        self._circuit_request, self._making, self._before = event.request, None, None
        if not again and self._shown is not None:
            self._turns.leave(self._shown, self.store)
        self._shown = self._as_shown()
        self.partial, self.busy, self.measured = False, None, None
        self._notice(Change.CIRCUIT if fresh else Change.GREW)
        self._notice(Change.COMPLETIONS)
        if event.circuit.target.saturated:
            self.say("p is near 1, where the gradient of logp fades: diff says more (M)", "warn")
        else:
            self._notice(Change.STATUS)

    def _measured(self, event: Measured) -> None:
        self.store.add_exact(event.exact)
        self.measured = (event.done, event.total) if event.done < event.total else None
        self._notice(Change.VALUES)
        self._notice(Change.STATUS)

    def _ablated(self, event: Ablated, store: CircuitStore) -> None:
        store.add_removal(Removal((event.node,), event.outcome))
        if self.busy is not None and self._making is None:
            self.busy = None
        self._notice(Change.VALUES)
        self._notice(Change.DETAIL, event.node)
        self.experiments.tell(store, event.node, event.outcome)

    def _failed(self, event: Failed) -> None:
        why = visible(event.message)
        level: Level = "warn" if event.kind == "input" else "bad"
        if self.busy is not None and self.busy.request == event.request:
            self.busy = None
        if (of := self._upstream.pop(event.request, None)) is not None:
            store, node = of
            store.mark_failed(node, why)
            if store is self.store:
                self._notice(Change.UPSTREAM, node)
        elif event.request == self._loading:
            self._loading = None
            circuit = self.store.circuit
            if circuit is not None and self._has == self._named(circuit.model):
                how = "scd-tui --model, with where it is now, then o goes on with this"
                why = f"{how} ({why})"
            self.say(f"the model was not loaded: {why}", "bad")
        elif event.request in (self._making, self._completing):
            refused = self._refused if event.request == self._making else self._asked[2]
            self._completing = None
            self._drop_partial()
            self._from_shown()
            self.say(why, level)
            if refused is not None and event.kind != "cancelled":
                refused(why)
        else:
            asked = self._ablations.pop(event.request, None) is not None
            quiet = self._inspections.pop(event.request, None) is not None
            if asked or (not quiet and event.kind == "internal"):
                self.say(why, level)
        self._notice(Change.STATUS)

    def _notice(self, change: Change, node: NodeId | None = None) -> None:
        self._listener(Notice(change, node))


def _exactly(model: ModelIdentity) -> tuple[str, ...]:
    """What tells a model and its dictionaries from all others, whatever they are called."""
    return (model.name, model.revision, model.dictionaries, model.dictionaries_revision)
