from tui.samples import MODEL, PROMPT, FakeWorker, circuit
from tui.scripted import answer

from scd_tui.tui.ink import plain, width_of
from scd_tui.tui.lines import header, last_words, prompt_count, status
from scd_tui.tui.session import Session
from scd_tui.worker import protocol as p
from scd_tui.worker.client import WorkerExit

HINTS = (("enter", "unfold"), ("x", "ablate"), ("?", "help"))


def session() -> Session:
    events: list[p.Event] = []
    worker = FakeWorker(events.append, lambda how: None, answer)
    made = Session("demo", "auto", worker.send, lambda notice: None)
    made.starting()
    worker.running = True
    made.started()
    made.complete(PROMPT)
    while events:
        made.handle(events.pop(0))
    return made


def test_the_top_line_keeps_the_trust_longest() -> None:
    made = session()
    wide = plain(header(made, 120))
    assert all(word in wide for word in ("demo · topk · cpu", "gate ✓ 12/12", "explained", "0.81"))
    narrow = plain(header(made, 44))
    assert "trust 0.81, signs 96%" in narrow and "gate" not in narrow
    assert all(width_of(header(made, width)) == width for width in range(1, 130))


def test_a_failed_gate_is_counted() -> None:
    import msgspec

    made = session()
    first = msgspec.structs.replace(MODEL.gate[0], passed=False)
    made.model = msgspec.structs.replace(MODEL, gate=(first, *MODEL.gate[1:]))
    assert "gate ✗ 11/12" in plain(header(made, 120))
    made.model = msgspec.structs.replace(MODEL, gate=MODEL.gate[:3])
    assert "gate … 3/12" in plain(header(made, 120)), "the others are being measured"


def test_hints_give_way_to_what_is_said() -> None:
    made = session()
    assert plain(status(made, HINTS, 80)).rstrip().endswith("enter unfold  x ablate  ? help")
    made.say("x" * 40)
    line = plain(status(made, HINTS, 60))
    assert "x" * 40 in line and "? help" in line and "unfold" not in line
    made.handle(p.Progress(request=1, stage="overdue", done=1, total=2))
    assert "overdue" not in plain(status(made, HINTS, 80)), "a request that is over has no progress"


def test_a_dead_worker_leaves_its_last_words() -> None:
    made = session()
    assert last_words(made, 80) == []
    made.ended(WorkerExit(1, None, ("one", "two", "three", "four")))
    lines = [plain(line) for line in last_words(made, 80)]
    assert "exited with code 1" in lines[0] and lines[-1].strip() == "four" and len(lines) == 4
    assert made.store.circuit is not None and made.store.circuit.prompt == circuit().prompt


def test_a_prompt_longer_than_the_dictionaries_texts_stays_marked() -> None:
    import msgspec

    made = session()
    count = len(made.tokens)
    assert plain(prompt_count(made)) == f"{count}/64 tokens "
    made.model = msgspec.structs.replace(MODEL, training_context=count)
    assert plain(prompt_count(made)) == f"{count}/64 tokens "
    made.model = msgspec.structs.replace(MODEL, training_context=count - 1)
    assert prompt_count(made) == [(f"{count} tokens, trained on {count - 1} ", "warn")]
