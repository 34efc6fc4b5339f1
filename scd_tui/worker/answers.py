"""Answers to requests: one at a time, with background work between them."""

import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec
import torch

from scd_tui.attribution.attribute import Attribution
from scd_tui.attribution.circuit import node_record, site_nodes, site_summary, strongest_edges
from scd_tui.attribution.explain import (
    Explanation,
    ablate,
    cautions,
    explain,
    measure,
    measure_edges,
)
from scd_tui.attribution.gating import Gating, begin
from scd_tui.attribution.load import LoadedModel, load
from scd_tui.attribution.memory import give_back, ran_out
from scd_tui.attribution.numerics import choose_device
from scd_tui.attribution.room import NoRoom, asked_of, require_forward
from scd_tui.attribution.trust import trust
from scd_tui.attribution.vocabulary import beginning_with
from scd_tui.catalog.models import find
from scd_tui.errors import InputError
from scd_tui.graph import NodeRef, Site, Trust
from scd_tui.whereabouts import remember
from scd_tui.worker import protocol
from scd_tui.worker.experiments import answer, check_names, outcome_of
from scd_tui.worker.inbox import Inbox
from scd_tui.worker.protocol import Message

KEPT_CIRCUITS = 4
"""Circuits that can still be asked about. Each holds the autograd graph of its prompt."""


class Cancelled(Exception):
    """The request being answered is no longer wanted."""


class _Abandoned(Exception):
    """A request came that ends what is done in the background."""


class Server:
    """Answers requests. `send` must be safe to call from the thread that calls `answer`."""

    def __init__(self, inbox: Inbox, send: Callable[[Message], None]) -> None:
        self._inbox = inbox
        self._send = send
        self._loaded: LoadedModel | None = None
        self._circuits: OrderedDict[int, Explanation] = OrderedDict()
        self._background: tuple[int, Iterator[None]] | None = None
        self._gating: tuple[int, Gating] | None = None
        self._next: protocol.Request | None = None

    def run(self) -> None:
        """Serve until a shutdown; one request at a time, background work between them."""
        while True:
            idle = self._background is None and self._gating is None
            request, self._next = self._next, None
            if request is None:
                request = self._inbox.take(wait=idle)
            if isinstance(request, protocol.Shutdown):
                return
            if request is not None:
                self._guarded(request.request, lambda request=request: self._answer(request))  # type: ignore[misc]
            elif self._background is not None:
                self._step_background()
            else:
                self._step_gating()

    def _step_background(self) -> None:
        assert self._background is not None
        number, steps = self._background

        def step() -> None:
            self._check(number)
            if next(steps, self) is self:
                self._background = None

        if not self._guarded(number, step):
            self._background = None

    def _step_gating(self) -> None:
        """Check one more dictionary of those just loaded; all else is done in the middle of it."""
        assert self._gating is not None
        number, gating = self._gating

        def step() -> None:
            try:
                gating.step(self._give_way)
            except _Abandoned:
                return
            self._loaded = gating.with_gate()
            identity = self._loaded.identity
            self._send(
                protocol.Gated(
                    request=number,
                    gate=identity.gate,
                    total=gating.total,
                    unclear=len(gating.unclear),
                    seconds=gating.seconds,
                    notes=cautions(identity, 0),
                )
            )
            if gating.finished:
                self._gating = None

        if not self._guarded(number, step):
            self._gating = None

    def _give_way(self) -> None:
        """Answer what waits and do all other background work; then the check goes on where it was.

        Raises _Abandoned, and holds the request, where another model or the end is wanted.
        """
        while self._inbox.waiting or self._background is not None:
            request = self._inbox.take(wait=False)
            if isinstance(request, protocol.Load | protocol.Shutdown):
                self._next = request
                raise _Abandoned
            # the check measures without gradients
            with torch.enable_grad():
                if request is not None:
                    self._guarded(request.request, lambda request=request: self._answer(request))  # type: ignore[misc]
                elif self._background is not None:
                    self._step_background()

    def _guarded(self, number: int, work: Callable[[], None]) -> bool:
        """Run `work`; turn what it raises into a `Failed`. Returns whether it went well."""
        try:
            work()
        except Cancelled:
            self._send(protocol.Failed(request=number, kind="cancelled", message="cancelled"))
        except InputError as error:
            self._send(protocol.Failed(request=number, kind="input", message=str(error)))
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            self._send(
                protocol.Failed(
                    request=number,
                    kind="memory",
                    message="the device is out of memory: free some of it, or start with "
                    f"--device cpu ({str(error).splitlines()[0]})",
                )
            )
        except Exception as error:
            if ran_out(error):
                give_back(torch.device("cpu"))
                self._send(
                    protocol.Failed(
                        request=number,
                        kind="memory",
                        message="main memory ran out: free some of it, or shorten the prompt",
                    )
                )
                return False
            traceback.print_exc(file=sys.stderr)
            self._send(
                protocol.Failed(
                    request=number, kind="internal", message=f"{type(error).__name__}: {error}"
                )
            )
        else:
            return True
        return False

    def _check(self, number: int) -> None:
        if self._inbox.closed.is_set() or self._inbox.is_cancelled(number):
            raise Cancelled

    # --- requests ---------------------------------------------------------------------------

    def _answer(self, request: protocol.Request) -> None:
        self._check(request.request)
        if isinstance(request, protocol.OfCircuit):
            check_names(request)
        match request:
            case protocol.Load():
                self._load(request)
            case protocol.Tokenize():
                tokens = self._model.model.tokenize(request.text)
                self._send(protocol.Tokenized(request=request.request, tokens=tokens))
            case protocol.Complete():
                self._complete(request)
            case protocol.Attribute():
                self._attribute(request)
            case protocol.Upstream():
                self._upstream(request)
            case protocol.Ablate():
                self._ablate(request)
            case protocol.Inspect():
                self._inspect(request)
            case protocol.Watch():
                if self._gating is not None:
                    self._gating[1].prefer(request.sites)
            case protocol.Suggest():
                found = beginning_with(self._model.model.every_token, request.text, request.count)
                self._send(
                    protocol.Suggested(request=request.request, text=request.text, tokens=found)
                )
            case protocol.Continue():
                self._continue(request)
            case (
                protocol.Remove()
                | protocol.CutEdge()
                | protocol.Scale()
                | protocol.Neighbour()
                | protocol.Heads()
                | protocol.Curves()
            ):
                self._send(
                    answer(
                        self._circuit(request.circuit),
                        request,
                        lambda done, total: self._progress(request.request, "curves", done, total),
                    )
                )
            case protocol.Cancel() | protocol.Shutdown():
                raise AssertionError("handled where requests are read")

    @property
    def _model(self) -> LoadedModel:
        if self._loaded is None:
            raise InputError("no model is loaded yet")
        return self._loaded

    def _circuit(self, number: int) -> Explanation:
        if number not in self._circuits:
            raise InputError("that circuit is no longer in memory: make it again")
        self._circuits.move_to_end(number)
        return self._circuits[number]

    def _progress(self, number: int, stage: str, done: int, total: int) -> None:
        self._check(number)
        self._send(protocol.Progress(request=number, stage=stage, done=done, total=total))

    def _load(self, request: protocol.Load) -> None:
        try:
            device = choose_device(request.device)
        except ValueError as error:
            raise InputError(str(error)) from None
        number = request.request
        self._circuits.clear()
        self._background = self._gating = None
        spec = find(request.model)
        loaded = load(
            spec, device, lambda stage, done, total: self._progress(number, stage, done, total)
        )
        with suppress(OSError):  # a saved circuit then needs --model to be computed again
            remember(loaded.identity, spec.given)
        self._loaded, gating = begin(loaded, spec.published)
        self._gating = None if gating is None else (number, gating)
        self._send(
            protocol.Loaded(request=number, model=self._loaded.identity, notes=self._loaded.notes)
        )

    def _complete(self, request: protocol.Complete) -> None:
        model = self._model.model
        tokens = model.prompt(request.prompt)
        require_forward(model, len(tokens))
        completions = model.completions(model.next_token_logits(tokens), request.count)
        self._send(
            protocol.Completed(request=request.request, tokens=tokens, completions=completions)
        )

    def _attribute(self, request: protocol.Attribute) -> None:
        number, loaded = request.request, self._model
        total = len(loaded.dictionaries)
        done = 0

        def on_site(attribution: Attribution, site: Site) -> None:
            nonlocal done
            done += 1
            self._check(number)
            self._send(
                protocol.SiteDone(
                    request=number,
                    summary=site_summary(attribution, site),
                    nodes=site_nodes(attribution, site),
                )
            )
            self._progress(number, "edges", done, total)

        self._progress(number, "reading the prompt", 0, total)
        explanation = self._with_room(
            lambda: explain(
                loaded,
                request.prompt,
                target=request.target,
                contrast=request.contrast,
                metric=request.metric,
                position=request.position,
                continuation=request.continuation,
                contrast_prompt=request.contrast_prompt,
                settings=request.settings,
                on_site=on_site,
                on_progress=lambda done, total: self._progress(number, "effects", done, total),
            )
        )
        self._circuits[number] = explanation
        while len(self._circuits) > KEPT_CIRCUITS:
            self._circuits.popitem(last=False)
        self._send(protocol.Attributed(request=number, circuit=explanation.circuit))
        self._background = (number, self._measure(number, explanation))

    def _with_room(self, work: Callable[[], Explanation]) -> Explanation:
        """Do work, for which earlier circuits are given up, the oldest first, where memory is short.

        Raises NoRoom, and gives none up, where all of them together would not be enough.
        """
        while True:
            try:
                return work()
            except NoRoom as error:
                held = {number: self._held(one) for number, one in self._circuits.items()}
                if error.needed > error.free + sum(held.values()) or not held:
                    raise
            oldest, _ = self._circuits.popitem(last=False)
            if self._background is not None and self._background[0] == oldest:
                self._background = None
            give_back(self._model.model.device)

    def _held(self, explanation: Explanation) -> int:
        """Bytes that a circuit holds, roughly."""
        circuit = explanation.circuit
        asked = asked_of(
            *(explanation.loaded.model, explanation.loaded.dictionaries),
            prompts=2 if circuit.contrast_tokens else 1,
        )
        return asked.held(len(circuit.tokens))

    def _measure(self, number: int, explanation: Explanation) -> Iterator[None]:
        """Ablate the strongest nodes, a batch a step, then tell the trust."""
        exact: dict[NodeRef, float] = {}
        start = time.perf_counter()
        for batch, done, total in measure(explanation):
            exact.update(batch)
            self._send(
                protocol.Measured(
                    request=number,
                    exact={node.id: value for node, value in batch.items()},
                    done=done,
                    total=total,
                )
            )
            yield
        found = trust(explanation.attribution, exact)
        self._trusted(number, found, start)
        for edges in measure_edges(explanation):
            if edges is not None:
                self._trusted(number, msgspec.structs.replace(found, edges=edges), start)
            yield

    def _trusted(self, number: int, found: Trust, start: float) -> None:
        seconds = time.perf_counter() - start
        self._send(protocol.Trusted(request=number, trust=found, seconds=seconds))

    def _upstream(self, request: protocol.Upstream) -> None:
        attribution = self._circuit(request.circuit).attribution
        edges = strongest_edges(attribution, request.node, request.count)
        nodes = tuple(node_record(attribution, edge.source) for edge in edges)
        self._send(
            protocol.UpstreamFound(
                request=request.request, node=request.node, nodes=nodes, edges=edges
            )
        )

    def _ablate(self, request: protocol.Ablate) -> None:
        explanation = self._circuit(request.circuit)
        trial = ablate(explanation, request.node)
        outcome = outcome_of(explanation.loaded.model, trial, request.count)
        self._send(protocol.Ablated(request=request.request, node=request.node, outcome=outcome))

    def _continue(self, request: protocol.Continue) -> None:
        """What the model says next; each token is looked for with a progress of its own."""
        model = self._model.model
        tokens, said = model.prompt(request.prompt), []
        count = min(request.count, model.context - len(tokens) + 1)
        require_forward(model, len(tokens) + count - 1)
        for n in range(count):
            self._check(request.request)
            (best,) = model.completions(model.next_token_logits(tokens), 1)
            said.append(best)
            tokens = (*tokens, best.token)
            self._progress(request.request, "continuing", n + 1, count)
        self._send(protocol.Continued(request=request.request, completions=tuple(said)))

    def _inspect(self, request: protocol.Inspect) -> None:
        reading = self._circuit(request.circuit).attribution.reading
        if request.site not in reading.encoded:
            raise InputError(f"there is no dictionary at {request.site}")
        self._send(
            protocol.Inspected(
                request=request.request,
                site=request.site,
                index=request.index,
                activations=tuple(reading.activations(request.site, request.index).tolist()),
            )
        )
