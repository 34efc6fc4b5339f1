"""The worker's answers, in this process: a pipe for its stdin, a list for its stdout."""

import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import PROMPT, write_dictionaries, write_model

from scd_tui.attribution import neighbours
from scd_tui.attribution.experiments import cut_edge, remove_together
from scd_tui.attribution.explain import explain, measured_circuit
from scd_tui.attribution.gate import measure
from scd_tui.attribution.load import load
from scd_tui.catalog.models import ModelSpec, from_folders
from scd_tui.errors import InputError
from scd_tui.graph import Circuit, NodeRef, Site, parse_node
from scd_tui.judge import Measured
from scd_tui.worker import answers, protocol
from scd_tui.worker.answers import Server
from scd_tui.worker.inbox import Inbox
from scd_tui.worker.protocol import Message


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = tmp_path_factory.mktemp("spec")
    return from_folders(
        "tiny", write_model(folder / "model"), write_dictionaries(folder / "dictionaries", 3, 32)
    )


class Desk:
    """A server to put requests to. `seen` is called with every message as it is sent."""

    def __init__(self) -> None:
        read, self._write = os.pipe()
        self._stream = os.fdopen(read, "rb", buffering=0)
        self.sent: list[Message] = []
        self.seen = lambda message: None
        self.inbox = Inbox(self._stream)
        self._reader = threading.Thread(target=self.inbox.read_forever)
        self._reader.start()

    def put(self, *requests: protocol.Request) -> None:
        for request in requests:
            os.write(self._write, protocol.frame(request))

    def run(self) -> list[Message]:
        """Serve what was put until all of it, and the background, is done; return what was sent."""

        def send(message: Message) -> None:
            self.sent.append(protocol.decode_event(protocol.frame(message)[protocol.PREFIX :]))
            self.seen(message)
            if isinstance(message, protocol.Trusted) and message.trust.edges is not None:
                self.finish()

        Server(self.inbox, send).run()
        self.finish()
        self._reader.join()
        return self.sent

    def finish(self) -> None:
        if self._write >= 0:
            self.put(protocol.Shutdown(request=0))
            os.close(self._write)
            self._write = -1

    def only(self, kind: type[Message], request: int | None = None) -> Message:
        (found,) = self.all(kind, request)
        return found

    def all(self, kind: type[Message], request: int | None = None) -> list[Message]:
        return [m for m in self.sent if isinstance(m, kind) and request in (None, m.request)]


@pytest.fixture
def desk(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    def find(name: str) -> ModelSpec:
        if name != "tiny":
            raise InputError(f"there is no model {name!r}")
        return spec

    monkeypatch.setattr(answers, "find", find)
    desk = Desk()
    yield desk
    desk.finish()


LOAD = protocol.Load(request=1, model="tiny", device="cpu")
ATTRIBUTE = protocol.Attribute(request=2, prompt=PROMPT, target=7)


@pytest.fixture(scope="module")
def expected(spec: ModelSpec) -> Circuit:
    return measured_circuit(explain(load(spec, torch.device("cpu")), PROMPT, target=7))


def test_an_attribution_streams_sites_then_the_circuit_then_measurements_then_trust(
    desk: Desk, expected: Circuit
) -> None:
    desk.put(LOAD, ATTRIBUTE)
    kinds = [type(message).__name__ for message in desk.run()]
    loaded = desk.only(protocol.Loaded)
    assert loaded.model == expected.model
    stages = desk.all(protocol.Progress, 1)
    assert [p.done for p in stages] == sorted(p.done for p in stages)
    assert stages[-1].done == stages[-1].total == 10

    sites = desk.all(protocol.SiteDone)
    assert [s.summary for s in sites] == list(expected.sites)
    attributed = desk.only(protocol.Attributed)
    assert attributed.circuit.nodes == tuple(
        msgspec.structs.replace(node, exact=None) for node in expected.nodes
    )
    assert attributed.circuit.edges == expected.edges
    nodes_alone, whole = (message.trust for message in desk.all(protocol.Trusted))
    assert whole == expected.trust
    assert nodes_alone == msgspec.structs.replace(whole, edges=None)
    order = [kinds.index(k) for k in ("Loaded", "SiteDone", "Attributed", "Measured", "Trusted")]
    assert order == sorted(order)
    measured = {n: v for m in desk.all(protocol.Measured) for n, v in m.exact.items()}
    assert measured.keys() >= {n.id for n in expected.nodes if n.exact is not None}
    for node in expected.nodes:
        if node.exact is not None:
            assert measured[node.id] == pytest.approx(node.exact, abs=1e-5)


def test_tokens_and_completions(desk: Desk, expected: Circuit) -> None:
    desk.put(
        LOAD,
        protocol.Tokenize(request=2, text=PROMPT),
        protocol.Complete(request=3, prompt=PROMPT),
        protocol.Shutdown(request=0),
    )
    desk.run()
    assert desk.only(protocol.Tokenized).tokens == expected.tokens
    completed = desk.only(protocol.Completed)
    assert completed.tokens == expected.tokens
    assert [c.token for c in completed.completions] == [c.token for c in expected.completions]


def test_a_model_with_a_weight_that_is_not_finite_is_named_and_the_worker_lives_on(
    desk: Desk, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.1.ln_1.weight"][3] = torch.inf
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    spoiled = replace(spec, model=folder)
    monkeypatch.setattr(answers, "find", {"tiny": spec, "spoiled": spoiled}.__getitem__)
    desk.put(
        protocol.Load(request=1, model="spoiled", device="cpu"),
        protocol.Load(request=2, model="tiny", device="cpu"),
        protocol.Complete(request=3, prompt=PROMPT),
        protocol.Shutdown(request=0),
    )
    desk.run()
    failed = desk.only(protocol.Failed)
    assert (failed.kind, failed.request) == ("input", 1)
    assert "h.1.ln_1.weight holds NaN or infinity" in failed.message
    assert desk.only(protocol.Completed).completions


def test_upstream_ablation_and_activations_of_a_circuit(desk: Desk, expected: Circuit) -> None:
    top = next(n for n in expected.nodes if parse_node(n.id).site == Site(2, "resid_post"))
    features = [n for n in expected.nodes if parse_node(n.id).kind == "feature"]
    node = features[0].id
    ref = parse_node(node)
    asked = {
        3: protocol.Upstream(request=3, circuit=2, node=node),
        4: protocol.Ablate(request=4, circuit=2, node=node),
        5: protocol.Inspect(request=5, circuit=2, site=ref.site, index=ref.index),
        6: protocol.Upstream(request=6, circuit=2, node="embed/token@0"),
    }
    desk.put(LOAD, ATTRIBUTE, *asked.values())
    desk.run()
    assert top.effect
    found = desk.only(protocol.UpstreamFound, 3)
    assert found.edges == tuple(e for e in expected.edges if e.target == node)
    assert {n.id for n in found.nodes} == {e.source for e in found.edges}
    assert desk.only(protocol.UpstreamFound, 6).edges == ()

    ablated = desk.only(protocol.Ablated).outcome
    assert ablated.predicted == pytest.approx(features[0].effect)
    assert ablated.exact == pytest.approx(features[0].exact, abs=1e-5)
    assert all(s.shift > 0 for s in ablated.promoted)
    assert all(s.shift < 0 for s in ablated.suppressed)
    assert [s.shift for s in ablated.promoted] == sorted(
        (s.shift for s in ablated.promoted), reverse=True
    )
    inspected = desk.only(protocol.Inspected)
    assert len(inspected.activations) == len(expected.tokens)
    assert inspected.activations[ref.position] == pytest.approx(features[0].activation)


def test_what_a_reader_tries_is_answered_as_the_engine_does(
    desk: Desk, spec: ModelSpec, expected: Circuit
) -> None:
    explanation = explain(load(spec, torch.device("cpu")), PROMPT, target=7)
    attribution = explanation.attribution
    nodes = tuple(n.id for n in expected.nodes if parse_node(n.id).kind == "feature")[:4]
    edge = next(e for e in expected.edges if parse_node(e.target).site == Site(2, "attn_out"))
    asked = (
        protocol.Remove(request=3, circuit=2, nodes=nodes),
        protocol.CutEdge(request=4, circuit=2, source=edge.source, target=edge.target),
        protocol.Scale(request=5, circuit=2, node=nodes[0], factors=(0.0, 1.0, 3.0), count=4),
        protocol.Neighbour(request=6, circuit=2, node=nodes[0], way="below"),
        protocol.Neighbour(request=7, circuit=2, node="embed/token@3", way="later"),
        protocol.Neighbour(request=8, circuit=2, node="embed/token@0", way="earlier"),
        protocol.Heads(request=9, circuit=2, node=edge.target, sources=(edge.source,)),
        protocol.Curves(request=10, circuit=2, nodes=nodes),
    )
    desk.put(LOAD, ATTRIBUTE, *asked)
    desk.run()
    removed, trial = desk.only(protocol.Removed), remove_together(explanation, nodes)
    assert removed.nodes == nodes
    assert removed.outcome.predicted == pytest.approx(trial.predicted, abs=1e-5)
    assert removed.outcome.exact == pytest.approx(trial.exact, abs=1e-5)
    likeliest = removed.outcome.completions[0]
    assert likeliest.token.id == int(trial.changed.argmax())
    assert likeliest.probability == pytest.approx(float(trial.changed.max().exp()), abs=1e-5)
    assert all(s.shift > 0 for s in removed.outcome.promoted)
    cut = desk.only(protocol.EdgeWasCut)
    assert (cut.source, cut.target) == (edge.source, edge.target)
    assert cut.outcome.predicted == pytest.approx(edge.weight, abs=1e-5)
    assert cut.along == pytest.approx(
        cut_edge(explanation, edge.source, edge.target).along, abs=1e-5
    )
    scaled = desk.only(protocol.Scaled)
    assert scaled.factors == (0.0, 1.0, 3.0)
    assert scaled.values[1] == pytest.approx(expected.metric_value, abs=1e-4)
    assert [c.token for c in scaled.completions[1]] == [c.token for c in expected.completions[:4]]
    below = desk.only(protocol.NeighbourFound, 6)
    thread = neighbours.thread(attribution, nodes[0], -1)
    assert thread is not None and below.found is not None
    assert (below.found.id, below.cosine) == (thread.node, pytest.approx(thread.cosine))
    assert below.found.effect == pytest.approx(attribution.effect(thread.node))
    later = desk.only(protocol.NeighbourFound, 7)
    assert later.found is not None and later.found.id == "embed/token@4"
    assert desk.only(protocol.NeighbourFound, 8).found is None
    heads = desk.only(protocol.HeadsFound)
    assert {head.layer for head in heads.heads} == {2}
    assert sum(head.weights[0] for head in heads.heads) == pytest.approx(edge.weight, abs=1e-5)
    curves = desk.only(protocol.CurvesFound)
    assert {column.order for column in curves.columns} == {"chosen", "effect", "random"}
    assert desk.all(protocol.Progress, 10)


def test_the_vocabulary_and_a_continuation_are_asked_of_the_worker(
    desk: Desk, spec: ModelSpec
) -> None:
    desk.put(
        LOAD,
        protocol.Suggest(request=2, text=" ca", count=3),
        protocol.Continue(request=3, prompt=PROMPT, count=4),
        protocol.Continue(request=4, prompt=PROMPT, count=10_000),
        protocol.Shutdown(request=0),
    )
    desk.run()
    suggested = desk.only(protocol.Suggested)
    assert suggested.text == " ca" and 0 < len(suggested.tokens) <= 3
    assert all(token.text.strip().lower().startswith("ca") for token in suggested.tokens)
    model = load(spec, torch.device("cpu")).model
    expected = model.continued(model.prompt(PROMPT), 4)[-4:]
    assert tuple(c.token for c in desk.only(protocol.Continued, 3).completions) == expected
    whole = desk.only(protocol.Continued, 4).completions
    assert len(whole) == model.context - len(model.prompt(PROMPT)) + 1, "as far as it can read"


def test_names_from_outside_that_are_none_are_refused(desk: Desk) -> None:
    nodes = ("mlp_out.0/error@0", "x/[red]")
    desk.put(
        LOAD,
        ATTRIBUTE,
        protocol.Remove(request=3, circuit=2, nodes=nodes),
        protocol.CutEdge(request=4, circuit=2, source=nodes[1], target=nodes[0]),
        protocol.CutEdge(request=5, circuit=2, source=nodes[0], target=nodes[1]),
        protocol.Heads(request=6, circuit=2, node=nodes[0], sources=nodes),
        protocol.Curves(request=7, circuit=2, nodes=nodes),
        protocol.Scale(request=8, circuit=2, node=nodes[0], factors=(1.0,) * 65),
        protocol.Curves(request=9, circuit=2, nodes=nodes[:1]),
    )
    desk.run()
    failed = {f.request: f for f in desk.all(protocol.Failed)}
    assert failed.keys() == {3, 4, 5, 6, 7, 8, 9}
    assert all(f.kind == "input" for f in failed.values())
    assert all("not a node name" in failed[n].message for n in (3, 4, 5, 6, 7))
    assert "1 to 64 factors" in failed[8].message and "pin some" in failed[9].message


def test_requests_come_before_background_measurements(desk: Desk) -> None:
    """A request that arrives while ablations go on is answered before the next batch."""

    def ask(message: Message) -> None:
        if isinstance(message, protocol.Measured) and not desk.all(protocol.Completed):
            desk.put(protocol.Complete(request=50 + len(desk.sent), prompt=PROMPT))

    desk.seen = ask
    desk.put(LOAD, ATTRIBUTE)
    desk.run()
    kinds = [type(m) for m in desk.sent]
    assert kinds.index(protocol.Completed) < kinds.index(protocol.Trusted)


def test_a_cancelled_attribution_stops_between_two_sites_and_the_next_one_works(desk: Desk) -> None:
    def cancel(message: Message) -> None:
        if isinstance(message, protocol.SiteDone) and message.request == 2:
            desk.put(protocol.Cancel(request=2))
            while not desk.inbox.is_cancelled(2):
                pass

    desk.seen = cancel
    again = protocol.Attribute(request=3, prompt=PROMPT, target=7)
    desk.put(LOAD, ATTRIBUTE, again)
    desk.run()
    assert len(desk.all(protocol.SiteDone, 2)) == 1
    assert desk.only(protocol.Failed).kind == "cancelled"
    assert desk.only(protocol.Attributed).request == 3
    assert {message.request for message in desk.all(protocol.Trusted)} == {3}


def test_a_damaged_dictionary_is_an_answer_and_the_next_request_is_served(
    desk: Desk, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, folder = next(iter(spec.dictionaries.items()))
    assert isinstance(folder, Path)
    damaged = shutil.copytree(folder, tmp_path / folder.name)
    (damaged / "sae_weights.safetensors").write_bytes(b"")
    found = {"tiny": spec, "damaged": replace(spec, dictionaries={site: damaged})}
    monkeypatch.setattr(answers, "find", found.__getitem__)
    desk.put(protocol.Load(request=7, model="damaged", device="cpu"), LOAD, ATTRIBUTE)
    desk.run()
    failed = desk.only(protocol.Failed)
    assert (failed.request, failed.kind) == (7, "input")
    assert f"the dictionary in {damaged} cannot be loaded: sae_weights.saf" in failed.message
    assert desk.only(protocol.Attributed).request == 2


def test_cancelled_measurements_end_without_a_trust(desk: Desk) -> None:
    def cancel(message: Message) -> None:
        if isinstance(message, protocol.Measured):
            desk.put(protocol.Cancel(request=2))
            while not desk.inbox.is_cancelled(2):
                pass
        if isinstance(message, protocol.Failed):
            desk.finish()

    desk.seen = cancel
    desk.put(LOAD, ATTRIBUTE)
    desk.run()
    assert len(desk.all(protocol.Measured)) == 1
    assert desk.only(protocol.Failed).kind == "cancelled"
    assert not desk.all(protocol.Trusted)


def test_a_bad_request_gets_its_sentence_and_the_worker_goes_on(desk: Desk) -> None:
    absent = NodeRef("feature", 0, Site(0, "mlp_out"), 999).id
    desk.put(
        protocol.Complete(request=1, prompt="the"),
        protocol.Load(request=2, model="nonesuch"),
        protocol.Load(request=3, model="tiny", device="tpu"),
        protocol.Load(request=4, model="tiny", device="cpu"),
        protocol.Complete(request=5, prompt=""),
        protocol.Attribute(request=6, prompt=PROMPT, target="the cat", contrast=7),
        protocol.Upstream(request=7, circuit=99, node=absent),
        protocol.Attribute(request=8, prompt=PROMPT, target=7),
        protocol.Upstream(request=9, circuit=8, node=absent),
        protocol.Ablate(request=10, circuit=8, node="embed/pos@1"),
        protocol.Inspect(request=11, circuit=8, site=Site(9, "mlp_out"), index=0),
        protocol.Upstream(request=12, circuit=8, node="nonsense"),
    )
    desk.run()
    failed = {f.request: f for f in desk.all(protocol.Failed)}
    said = {
        1: "no model is loaded yet",
        2: "no model 'nonesuch'",
        3: "use auto, cpu, cuda or cuda:N",
        5: "the prompt is empty",
        6: "the contrast has 1 token and the target 2 tokens",
        7: "no longer in memory",
        9: "is not active in this prompt",
        10: "only features and errors",
        11: "no dictionary at mlp_out.9",
        12: "not a node name",
    }
    assert failed.keys() == said.keys()
    for number, words in said.items():
        assert failed[number].kind == "input"
        assert words in failed[number].message
    assert {message.request for message in desk.all(protocol.Trusted)} == {8}


def test_a_fault_inside_is_reported_as_one_and_survived(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(answers, "strongest_edges", broken)
    desk.put(
        LOAD,
        ATTRIBUTE,
        protocol.Upstream(request=3, circuit=2, node="embed/token@0"),
        protocol.Complete(request=4, prompt=PROMPT),
    )
    desk.run()
    failed = desk.only(protocol.Failed)
    assert (failed.kind, failed.message) == ("internal", "ZeroDivisionError: on purpose")
    assert "Traceback" in capsys.readouterr().err
    assert desk.only(protocol.Completed)


def test_memory_that_runs_out_says_what_would_fit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("tried to allocate 20 GiB\nmore")

    monkeypatch.setattr(answers, "explain", full)
    desk.put(LOAD, ATTRIBUTE, protocol.Shutdown(request=0))
    desk.run()
    failed = desk.only(protocol.Failed)
    assert failed.kind == "memory"
    assert "--device cpu (tried to allocate 20 GiB)" in failed.message


def test_only_the_last_circuits_are_kept(desk: Desk) -> None:
    count = answers.KEPT_CIRCUITS + 1
    requests = [
        protocol.Attribute(request=10 + n, prompt="the cat", target=n) for n in range(count)
    ]
    asked = [
        protocol.Upstream(request=30 + n, circuit=10 + n, node="embed/token@0")
        for n in range(count)
    ]
    desk.put(LOAD, *requests, *asked)
    desk.run()
    assert [f.request for f in desk.all(protocol.Failed)] == [30]
    assert [u.request for u in desk.all(protocol.UpstreamFound)] == [
        30 + n for n in range(1, count)
    ]


def test_a_closed_pipe_ends_the_worker_in_the_middle_of_its_work(desk: Desk) -> None:
    """An app that is gone (a dropped connection) must not leave a process on the device."""

    def hang_up(message: Message) -> None:
        if isinstance(message, protocol.SiteDone):
            os.close(desk._write)
            desk._write = -1
            desk.inbox.closed.wait(5)

    desk.seen = hang_up
    desk.put(LOAD, ATTRIBUTE)
    desk.run()
    assert len(desk.all(protocol.SiteDone)) == 1
    assert not desk.all(protocol.Attributed)


def test_dictionaries_of_which_nothing_is_known_are_measured_in_the_background_once(
    desk: Desk,
) -> None:
    def seen(message: Message) -> None:
        if isinstance(message, protocol.Gated):
            if len(message.gate) == 2:
                # what is asked meanwhile does not wait for the rest
                desk.put(protocol.Complete(request=2, prompt=PROMPT))
            elif len(message.gate) == message.total:
                desk.put(protocol.Load(request=3, model="tiny", device="cpu"))
        elif isinstance(message, protocol.Loaded) and message.request == 3:
            desk.finish()

    desk.seen = seen
    desk.put(LOAD)
    sent = desk.run()
    gated = [m for m in sent if isinstance(m, protocol.Gated)]
    assert [len(m.gate) for m in gated] == list(range(1, 10))
    assert {(m.request, m.total) for m in gated} == {(1, 9)}
    # random weights explain nothing, and a circuit's reader is told
    assert not any(one.passed for one in gated[-1].gate)
    assert gated[-1].notes[0].startswith("9 of 9 dictionaries failed the load gate")
    completed = sent.index(desk.only(protocol.Completed))
    assert sent.index(gated[1]) < completed < sent.index(gated[-1])
    again = desk.only(protocol.Loaded, 3)
    assert again.model.gate == gated[-1].gate


def test_a_request_in_the_middle_of_a_dictionary_is_answered_there_and_nothing_is_done_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Site] = []
    answered: list[bool] = []

    def measured(
        model: object, dictionaries: Mapping[Site, object], *rest: Any, **options: Any
    ) -> Iterator[Measured]:
        begun.extend(dictionaries)
        told, count = options.pop("on_progress"), 0

        def on_progress(done: int, total: int) -> None:
            nonlocal count
            count += 1
            if len(begun) == 2 and count == 3:
                desk.put(ATTRIBUTE, protocol.Watch(request=3, sites=(Site(1, "mlp_out"),)))
                while not desk.inbox.waiting:
                    time.sleep(0.001)
                told(done, total)
                answered.append(any(isinstance(m, protocol.Trusted) for m in desk.sent))
            else:
                told(done, total)

        yield from measure(model, dictionaries, *rest, on_progress=on_progress, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("scd_tui.attribution.gating.measure", measured)
    finish, desk.finish = desk.finish, lambda: None  # type: ignore[method-assign]
    desk.seen = lambda message: (
        finish()
        if isinstance(message, protocol.Gated) and len(message.gate) == message.total
        else None
    )
    desk.put(LOAD)
    desk.run()
    finish()
    assert answered == [True], "the circuit, and its exact effects, before the next window"
    assert len(begun) == len(set(begun)) == 9, "no dictionary is begun again"
    assert begun[2] == Site(1, "mlp_out"), "what is on the screen comes next"
    assert not desk.all(protocol.Failed)


def test_another_model_is_loaded_in_the_middle_of_a_check(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = False

    def seen(message: Message) -> None:
        nonlocal put
        if isinstance(message, protocol.Gated) and not put:
            put = True
            desk.put(protocol.Load(request=5, model="tiny", device="cpu"))
        if isinstance(message, protocol.Gated) and message.request == 5:
            desk.finish()

    desk.seen = seen
    desk.put(LOAD)
    desk.run()
    gated = desk.all(protocol.Gated)
    assert [(m.request, len(m.gate)) for m in gated][:2] == [(1, 1), (5, 1)]  # type: ignore[attr-defined]
