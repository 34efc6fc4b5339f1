from collections import deque

import msgspec
from tui.samples import (
    COMPLETIONS,
    LEAVES,
    MODEL,
    PROMPT,
    SITES,
    TOKENS,
    FakeWorker,
    circuit,
    edges_into,
    site_nodes,
    summary,
)
from tui.scripted import answer

from scd_tui.graph import Circuit, Marks, Settings, parse_node
from scd_tui.tui.choice import Choice
from scd_tui.tui.ink import plain
from scd_tui.tui.lines import header
from scd_tui.tui.notices import Change, Notice
from scd_tui.tui.session import NOT_HERE, Session
from scd_tui.worker import protocol as p
from scd_tui.worker.client import WorkerExit


class Sitting:
    """A session on a worker double, with what it noticed."""

    def __init__(self, answering: bool = False, opened: Circuit | None = None) -> None:
        self.notices: list[Notice] = []
        self._events: deque[p.Event] = deque()
        self._worker = FakeWorker(
            self._events.append,
            lambda how: self._session.ended(how),
            answer if answering else None,
        )
        self._session = Session("demo", "auto", self._worker.send, self.notices.append, opened)

    def _pump(self) -> None:
        """Answers arrive later than the request returns, as from a real worker."""
        while self._events:
            self._session.handle(self._events.popleft())

    @property
    def session(self) -> Session:
        self._pump()
        return self._session

    @property
    def worker(self) -> FakeWorker:
        self._pump()
        return self._worker

    def start(self) -> "Sitting":
        self.session.starting()
        self.worker.running = True
        self.session.started()
        self._pump()
        return self

    def ready(self) -> "Sitting":
        self.start()
        self.session.handle(p.Loaded(request=1, model=MODEL))
        return self

    def changes(self) -> list[Change]:
        return [notice.change for notice in self.notices]

    def last(self) -> p.Request:
        return self.worker.sent[-1]


def completed(sitting: Sitting) -> None:
    sitting.session.complete(PROMPT)
    number = sitting.last().request
    sitting.session.handle(p.Completed(request=number, tokens=TOKENS, completions=COMPLETIONS))


def site_done(sitting: Sitting, number: int, site: int) -> None:
    done = p.SiteDone(request=number, summary=summary(SITES[site]), nodes=site_nodes(SITES[site]))
    sitting.session.handle(done)


def test_what_there_is_no_prompt_for_is_told_truly() -> None:
    sitting = Sitting().start()
    sitting.session.next_metric()
    assert sitting.session.message == "type a prompt first"
    sitting.session.complete(PROMPT)
    sitting.session.next_metric()
    assert sitting.session.message == "the model is still being loaded"
    sitting.session.handle(p.Loaded(request=1, model=MODEL))
    sitting.session.next_metric()
    assert sitting.session.message == "the prompt is still being read"
    sitting.worker.die()
    sitting.session.next_metric()
    assert sitting.session.message == "the prompt waits for the model: R loads it"


def test_a_prompt_given_before_the_model_is_loaded_runs_once_it_is() -> None:
    sitting = Sitting()
    sitting.start()
    sitting.session.complete(PROMPT)
    assert [type(request) for request in sitting.worker.sent] == [p.Load]
    sitting.session.handle(p.Loaded(request=1, model=MODEL))
    assert isinstance(sitting.last(), p.Complete)


def test_completions_are_followed_by_the_circuit_of_the_likeliest() -> None:
    sitting = Sitting().ready()
    completed(sitting)
    request = sitting.last()
    assert isinstance(request, p.Attribute)
    assert (request.target, request.contrast, request.metric) == (100, None, "diff")


def test_a_prompt_of_a_set_asks_for_its_own_target_and_contrast() -> None:
    sitting = Sitting().ready()
    sitting.session.complete(PROMPT, Choice(" Mary", " John"))
    number = sitting.last().request
    sitting.session.handle(p.Completed(request=number, tokens=TOKENS, completions=COMPLETIONS))
    request = sitting.last()
    assert isinstance(request, p.Attribute)
    assert (request.target, request.contrast) == (" Mary", " John")


def test_sites_are_shown_as_they_come_and_the_circuit_completes_them() -> None:
    sitting = Sitting().ready()
    completed(sitting)
    number = sitting.last().request
    site_done(sitting, number, -1)
    site_done(sitting, number, -2)
    assert sitting.session.partial
    assert sitting.changes()[-2:] == [Change.CIRCUIT, Change.GREW]
    assert len(sitting.session.store.nodes) == 20
    sitting.session.handle(p.Attributed(request=number, circuit=circuit()))
    assert not sitting.session.partial
    assert sitting.session.store.root == circuit().target.root
    assert sitting.session.target_token == 100


def test_the_newest_attribution_wins() -> None:
    sitting = Sitting().ready()
    completed(sitting)
    old = sitting.last().request
    site_done(sitting, old, -1)
    sitting.session.set_target(101)
    assert sitting.worker.of(p.Cancel) == [p.Cancel(request=old)]
    new = sitting.last().request
    before = len(sitting.session.store.nodes)
    site_done(sitting, old, -2)
    sitting.session.handle(p.Attributed(request=old, circuit=circuit()))
    sitting.session.handle(p.Failed(request=old, kind="cancelled", message="cancelled"))
    assert len(sitting.session.store.nodes) == before
    made = circuit(COMPLETIONS[1], COMPLETIONS[0])
    sitting.session.handle(p.Attributed(request=new, circuit=made))
    assert sitting.session.target_token == 101


def test_a_target_that_is_not_one_token_costs_nothing() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    store = sitting.session.store
    sitting.session.attribute(Choice(" not one token"))
    assert sitting.session.store is store
    assert "2 tokens" in sitting.session.message
    assert sitting.session.choice == Choice(100)
    sitting.session.ask_upstream(site_nodes(SITES[0])[0].id)
    assert isinstance(sitting.last(), p.Upstream)


def test_cancelling_shows_the_circuit_before_and_marks_what_was_asked() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    store = sitting.session.store
    sitting.worker.answer = None
    sitting.session.set_target(101)
    site_done(sitting, sitting.last().request, -1)
    assert sitting.session.store is not store
    assert sitting.session.cancel()
    assert sitting.session.store is store
    node = site_nodes(SITES[0])[0].id
    sitting.session.ask_upstream(node)
    assert store.upstream_state(node) == "pending"
    assert sitting.session.cancel()
    assert store.upstream_state(node) == "failed"
    assert "cancelled" in store.failure(node)
    assert not sitting.session.cancel()


def test_edges_are_asked_for_once_and_can_be_asked_for_again() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    sitting.worker.answer = None
    node = site_nodes(SITES[0])[0].id
    sitting.session.ask_upstream(node)
    sitting.session.ask_upstream(node)
    (request,) = sitting.worker.of(p.Upstream)
    sitting.session.handle(p.Failed(request=request.request, kind="internal", message="no\x1b"))
    assert sitting.session.store.failure(node) == "no\\x1b"
    sitting.session.ask_upstream(node)
    again = sitting.last().request
    found = p.UpstreamFound(request=again, node=node, nodes=LEAVES, edges=edges_into(node, 0))
    sitting.session.handle(found)
    assert sitting.session.store.upstream_state(node) == "known"
    assert sitting.notices[-1] == Notice(Change.UPSTREAM, node)


def test_measurements_fill_in_exact_effects_and_trust() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    node = site_nodes(SITES[3])[0].id
    assert sitting.session.store.nodes[node].exact is not None
    sitting.session.ablate(node)
    assert sitting.session.store.nodes[node].exact == 1.21
    assert sitting.session.store.trust is not None
    snapshot = sitting.session.snapshot()
    assert snapshot is not None and snapshot.trust == sitting.session.store.trust
    assert {n.id: n.exact for n in snapshot.nodes}[node] == 1.21


def test_embeddings_and_the_root_are_not_ablated() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    for node in (LEAVES[0].id, circuit().target.root):
        sitting.session.ablate(node)
        assert sitting.session.level == "warn"
    assert not sitting.worker.of(p.Ablate)


def test_the_metric_goes_round_and_only_diff_has_a_contrast() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    sitting.session.set_contrast(102)
    metrics = []
    for _ in range(3):
        sitting.session.next_metric()
        request = sitting.last()
        assert isinstance(request, p.Attribute)
        metrics.append((request.metric, request.contrast))
    assert metrics == [("logp", None), ("logit", None), ("diff", 102)]


def test_a_dead_worker_leaves_all_on_the_screen_and_a_new_one_does_it_again() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    store = sitting.session.store
    opened = site_nodes(SITES[0])[0].id
    sitting.session.ask_upstream(opened)
    sitting.worker.answer = None
    pending = site_nodes(SITES[1])[0].id
    sitting.session.ask_upstream(pending)
    sitting.worker.die(tail=("last words",))
    assert sitting.session.phase == "gone"
    assert sitting.session.store is store
    assert store.upstream_state(pending) == "failed"
    assert "SIGKILL with a request unfinished: R starts it again" in sitting.session.message
    sitting.worker.answer = answer
    sitting.start()
    assert sitting.session.phase == "ready"
    assert sitting.session.store is store, "the same circuit, made again, keeps its rows"
    assert store.upstream_state(opened) == "known"
    sitting.session.ask_upstream(pending)
    assert sitting.session.store.upstream_state(pending) == "known"


def test_a_request_that_died_with_the_worker_runs_on_the_next() -> None:
    sitting = Sitting().ready()
    sitting.session.complete(PROMPT)
    sitting.session.ended(WorkerExit(None, "SIGKILL"))
    sitting.worker.answer = answer
    sitting.start()
    assert sitting.session.store.circuit is not None


EXACT = Choice(100, settings=Settings(method="exact"))


def test_what_is_cancelled_while_the_model_loads_is_not_asked() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    store = sitting.session.store
    sitting.worker.answer = None
    sitting.session.attribute(EXACT)
    site_done(sitting, sitting.last().request, -1)
    sitting.worker.die()
    assert sitting.session.partial, "what there was of it stays on the screen"
    sitting.start()
    assert sitting.session.cancel()
    assert sitting.session.store is store and not sitting.session.partial
    sitting.worker.answer = answer
    sitting.session.handle(p.Loaded(request=sitting.last().request, model=MODEL))
    request = sitting.worker.of(p.Attribute)[-1]
    assert isinstance(request, p.Attribute)
    assert (request.target, request.settings) == (100, Settings()), "only what is shown"
    assert sitting.session.store is store
    sitting.session.ask_upstream(site_nodes(SITES[0])[0].id)
    assert isinstance(sitting.last(), p.Upstream), "and it can be asked about"


def test_what_is_cancelled_is_not_asked_after_a_restart_nor_the_start_of_the_next_question() -> (
    None
):
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    sitting.worker.answer = None
    sitting.session.attribute(EXACT)
    assert sitting.session.cancel()
    sitting.session.next_metric()
    request = sitting.last()
    assert isinstance(request, p.Attribute)
    assert (request.metric, request.settings) == ("logp", Settings())
    assert sitting.session.cancel()
    sitting.session.ended(WorkerExit(None, None, fault="you restarted it"))
    sitting.worker.answer = answer
    sitting.start()
    assert sitting.session.choice == Choice(100)


def test_another_prompt_that_is_cancelled_while_the_model_loads_leaves_the_circuit_shown() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    store = sitting.session.store
    sitting.worker.answer = None
    sitting.session.complete("another")
    number = sitting.last().request
    sitting.session.handle(p.Completed(request=number, tokens=TOKENS, completions=COMPLETIONS))
    assert isinstance(sitting.last(), p.Attribute)
    sitting.worker.die()
    sitting.start()
    assert sitting.session.cancel()
    sitting.worker.answer = answer
    sitting.session.handle(p.Loaded(request=sitting.last().request, model=MODEL))
    assert sitting.session.prompt == PROMPT and sitting.session.store is store


def test_the_first_prompt_that_is_cancelled_while_the_model_loads_leaves_nothing_to_ask() -> None:
    sitting = Sitting().start()
    sitting.session.complete(PROMPT)
    assert sitting.session.cancel()
    sitting.session.handle(p.Loaded(request=1, model=MODEL))
    assert [type(request) for request in sitting.worker.sent] == [p.Load]


def test_a_circuit_of_another_model_is_not_asked_of_the_one_loaded_after_a_cancel() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    sitting.worker.answer = None
    sitting.session.use("gpt2")
    sitting.session.ended(WorkerExit(None, None, fault="you restarted it"))
    sitting.start()
    assert sitting.session.cancel()
    other = msgspec.structs.replace(MODEL, name="gpt2")
    sitting.session.handle(p.Loaded(request=sitting.last().request, model=other))
    assert isinstance(sitting.last(), p.Load), "its tokens have other ids there"


def test_a_circuit_from_a_file_is_read_without_a_worker() -> None:
    sitting = Sitting(opened=circuit())
    node = site_nodes(SITES[0])[0].id
    sitting.session.ask_upstream(node)
    assert sitting.session.store.failure(node) == NOT_HERE
    sitting.session.ablate(node)
    assert sitting.session.message == NOT_HERE
    assert not sitting.worker.sent
    sitting.worker.answer = answer
    sitting.start()
    assert sitting.session.store.upstream_state(circuit().target.root) == "known"
    sitting.session.ask_upstream(node)
    assert sitting.session.store.upstream_state(node) == "known"


def test_a_prompt_that_is_no_unicode_is_one_sentence() -> None:
    sitting = Sitting().ready()

    def refuse(kind: type[p.Message], **fields: object) -> int:
        "\udcff".encode()
        return 0

    sitting.session._send = refuse
    sitting.session.complete("\udcff")
    assert "UTF-8" in sitting.session.message


def test_a_model_that_cannot_be_loaded_is_said() -> None:
    sitting = Sitting().start()
    sitting.session.handle(p.Failed(request=1, kind="memory", message="it needs 10 GB"))
    assert sitting.session.message == "the model was not loaded: it needs 10 GB"
    assert sitting.session.busy is None


def test_the_same_question_to_another_model_makes_another_circuit() -> None:
    """Numbers of two models in one circuit would be nobody's."""
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    first, target = sitting.session.store, sitting.session.choice
    sitting.session.wanted_model = "other"
    sitting.start().session.complete(PROMPT, target)
    assert sitting.session.store is not first


def test_the_same_question_asked_again_is_the_same_circuit_wherever_one_has_been() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    first = sitting.session.store
    node = site_nodes(SITES[0])[0].id
    sitting.session.ask_upstream(node)
    sitting.session.ablate(node)
    first.marks = Marks(pins=(node,))
    sitting.session.set_target(101)
    second = sitting.session.store
    assert second is not first and not second.marks.pins
    sitting.session.set_target(100)
    assert sitting.session.store is first and first.marks == Marks(pins=(node,))
    assert first.upstream_state(node) == "known"
    assert sitting.session.back() and sitting.session.store is second
    assert not sitting.session.back(), "each circuit is there once"
    assert sitting.session.forward() and sitting.session.store is first
    # What was the contrast all along is chosen: nothing of the question has changed.
    sitting.session.set_contrast(101)
    assert sitting.session.store is first and first.marks.pins
    assert sitting.session.back() and sitting.session.store is second
    changed = msgspec.structs.replace(Choice(100), settings=Settings(top=3))
    sitting.worker.answer = None
    sitting.session.attribute(changed)
    made = msgspec.structs.replace(circuit(), settings=Settings(top=3))
    sitting.session.handle(p.Attributed(request=sitting.last().request, circuit=made))
    assert sitting.session.store is not first and not sitting.session.store.marks.pins


def test_an_answer_is_of_the_circuit_that_it_was_asked_of() -> None:
    """Also when another is shown by the time that it comes."""
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    first, site = sitting.session.store, SITES[0]
    node = site_nodes(site)[0].id
    sitting.session.set_target(101)
    second = sitting.session.store
    exact = second.nodes[node].exact
    assert sitting.session.back()
    sitting.worker.answer = None
    sitting.session.ask_upstream(node)
    sitting.session.ablate(node)
    sitting.session.inspect(site, parse_node(node).index or 0)
    asked = sitting.worker.sent[-3:]
    assert sitting.session.forward() and sitting.session.store is second
    for request in asked:
        answer(sitting.worker, request)
    assert sitting.session.store is second and second.nodes[node].exact == exact
    assert second.upstream_state(node) == "unknown" and not second.activations
    assert not second.removals
    assert first.upstream_state(node) == "known" and first.activations
    assert first.nodes[node].exact == 1.21
    # one that is given up on can be asked again where one comes back to
    assert sitting.session.back()
    other = site_nodes(site)[1].id
    sitting.session.ask_upstream(other)
    assert sitting.session.forward() and sitting.session.cancel()
    assert first.upstream_state(other) == "failed"


def test_marks_on_a_circuit_in_the_making_join_those_that_it_had() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    first, nodes = sitting.session.store, [node.id for node in site_nodes(SITES[-1])]
    first.marks = Marks(pins=(nodes[0],), notes={nodes[0]: "old", nodes[1]: "old"})
    sitting.session.set_target(101)
    sitting.worker.answer = None
    sitting.session.set_target(100)
    making = sitting.last().request
    site_done(sitting, making, -1)
    assert sitting.session.store is not first
    sitting.session.store.marks = Marks(pins=(nodes[2],), notes={nodes[1]: "new"})
    sitting.session.handle(p.Attributed(request=making, circuit=circuit()))
    assert sitting.session.store is first
    assert first.marks.pins == (nodes[0], nodes[2])
    assert first.marks.notes == {nodes[0]: "old", nodes[1]: "new"}


def test_going_back_shows_the_circuit_before_with_all_that_was_learned_of_it() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    first = sitting.session.store
    assert not sitting.session.back()
    sitting.session.set_target(101)
    sitting.session.next_metric()
    assert sitting.session.choice == Choice(101, metric="logp")
    third = sitting.session.store
    asked = len(sitting.worker.sent)
    assert sitting.session.back() and sitting.session.back() and not sitting.session.back()
    assert sitting.session.store is first
    assert sitting.session.choice == Choice(100)
    assert sitting.changes()[-3:] == [Change.CIRCUIT, Change.COMPLETIONS, Change.STATUS]
    assert len(sitting.worker.sent) == asked, "nothing is computed again"
    node = site_nodes(SITES[0])[0].id
    sitting.session.ask_upstream(node)
    assert sitting.session.store.upstream_state(node) == "known", "and its worker still knows it"
    assert sitting.session.forward() and sitting.session.forward()
    assert sitting.session.store is third and sitting.session.metric == "logp"
    assert sitting.session.back()
    sitting.session.set_target(102)
    assert not sitting.session.forward(), "another question ends the way forward"


def test_a_circuit_from_before_the_worker_died_is_made_again_before_it_is_asked() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    sitting.session.set_target(101)
    sitting.worker.die()
    sitting.start()
    assert sitting.session.back()
    sitting.session.ask_upstream(site_nodes(SITES[0])[0].id)
    assert "ctrl+r" in sitting.session.store.failure(site_nodes(SITES[0])[0].id)


def test_going_back_gives_up_the_circuit_that_is_being_made() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    first = sitting.session.store
    sitting.session.set_target(101)
    sitting.worker.answer = None
    sitting.session.set_target(102)
    making = sitting.last().request
    site_done(sitting, making, -1)
    assert sitting.session.back()
    assert sitting.session.store is first
    assert p.Cancel(request=making) in sitting.worker.sent
    sitting.session.handle(p.Attributed(request=making, circuit=circuit()))
    assert sitting.session.store is first


def test_a_question_is_sent_with_all_that_was_chosen() -> None:
    sitting = Sitting(answering=True).start()
    sitting.session.complete(PROMPT)
    asked = Choice(
        " way", " only", "diff", 4, None, "another", Settings(top=3, method="integrated")
    )
    sitting.session.attribute(asked)
    request = sitting.last()
    assert isinstance(request, p.Attribute)
    sent = {name: getattr(request, name) for name in Choice.__struct_fields__}
    assert Choice(**sent) == asked
    sitting.session.attribute(Choice(continuation=3))
    assert sitting.last().target is None, "the worker knows what is said there"  # type: ignore[union-attr]


def test_verdicts_on_the_dictionaries_reach_the_circuit_that_is_shown_and_saved() -> None:
    import msgspec

    sitting = Sitting()
    sitting.start()
    bare = msgspec.structs.replace(MODEL, gate=())
    sitting.session.handle(p.Loaded(request=1, model=bare))
    completed(sitting)
    number = sitting.last().request
    made = msgspec.structs.replace(circuit(), model=bare)
    sitting.session.handle(p.Attributed(request=number, circuit=made))
    first = msgspec.structs.replace(MODEL.gate[0], passed=False)
    gate = (first, *MODEL.gate[1:])
    sitting.session.handle(p.Gated(request=9, gate=gate, total=12, notes=("of another model",)))
    assert sitting.session.model == bare
    sitting.session.handle(p.Gated(request=1, gate=gate, total=12, notes=("1 failed",)))
    assert sitting.session.model is not None and sitting.session.model.gate == gate
    assert sitting.session.message == "1 failed" and sitting.session.level == "warn"
    saved = sitting.session.snapshot()
    assert saved is not None and saved.model.gate == gate and "1 failed" in saved.notes


def test_what_is_on_the_screen_is_checked_first_and_the_check_says_what_it_costs() -> None:
    sitting = Sitting()
    sitting.start()
    session = sitting.session
    session.handle(p.Loaded(request=1, model=msgspec.structs.replace(MODEL, gate=())))
    assert session.checking
    nodes = [site_nodes(site)[0].id for site in (SITES[3], SITES[3], SITES[5])]
    session.watch(nodes)
    session.watch(nodes)
    watched = [one for one in sitting.worker.sent if isinstance(one, p.Watch)]
    assert [one.sites for one in watched] == [(SITES[3], SITES[5])], "once for the same sites"
    session.handle(p.Gated(request=1, gate=MODEL.gate, total=12, unclear=1, seconds=30.0))
    assert session.checking, "one of them waits for more text"
    assert "gate … 12/12, 30 s of CPU" in plain(header(session, 140))
    session.say("")
    session.handle(p.Gated(request=1, gate=MODEL.gate, total=12, seconds=36.2))
    assert session.message.startswith("dictionary check: 12 of 12 passed, 36 s of CPU")
    assert not session.checking and "gate ✓ 12/12" in plain(header(session, 140))
    session.watch([site_nodes(SITES[0])[0].id])
    assert len([one for one in sitting.worker.sent if isinstance(one, p.Watch)]) == 1
