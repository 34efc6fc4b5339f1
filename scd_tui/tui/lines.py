"""The lines at the top and the bottom of the screen, from the session's state."""

from collections.abc import Sequence

from scd_tui.graph import Circuit, Trust
from scd_tui.numbers import counted, in_bytes, meter, percent
from scd_tui.text import visible
from scd_tui.tui.ink import Ink, Line, Span, between, width_of, wrap
from scd_tui.tui.notices import Fetching
from scd_tui.tui.session import Session

PROGRESS_CELLS = 12
DEATH_LINES = 4
"""Lines that a dead worker's last words may take."""


def header(session: Session, width: int) -> list[Span]:
    """The top line: what is loaded, and how far it can be believed.

    Where there is no room for all, the trust stays longest.
    """
    left: list[Span] = [(" scd ", "key"), (" ", "text")]
    model = session.model
    if model is None:
        left.append((visible(session.wanted_model), "name"))
        return between(left, [*_worker(session), (" ", "text")], width)
    left.append((visible(model.name), "name"))
    dictionaries = visible(model.dictionaries) or "no dictionaries"
    more: Span = (f" · {dictionaries} · {visible(model.device)}", "dim")
    circuit = session.store.circuit
    others = [
        _gate(session),
        _explained(circuit),
        _worker(session),
        _trust(session.store.trust, circuit),
    ]
    others = [part for part in others if part]
    for sinks in (_sinks(circuit), _sinks(circuit, brief=True)):
        parts = [sinks, *others] if sinks else others
        if width_of(left) + 2 + _joined_width(parts) <= width:
            break
    while parts and width_of(left) + 2 + _joined_width(parts) > width:
        parts = parts[1:]
    right: list[Span] = [(" ", "text")]
    for part in parts:
        right += [(" · ", "dim"), *part] if len(right) > 1 else part
    return between([*left, more], [*right, (" ", "text")], width, keep_right=True)


def _joined_width(parts: Sequence[Sequence[Span]]) -> int:
    """Of parts with a separator between each two."""
    return sum(width_of(part) for part in parts) + 3 * max(0, len(parts) - 1)


def _worker(session: Session) -> list[Span]:
    if session.phase == "gone":
        return [("worker stopped", "bad")]
    if session.phase == "none":
        return [("from a file", "dim")]
    if session.not_loaded:
        return [("model not loaded: R tries it again", "warn")]
    if session.phase in ("starting", "loading"):
        return [("loading model…", "dim")]
    return []


def _gate(session: Session) -> list[Span]:
    gates = session.model.gate if session.model is not None else ()
    measured = [gate for gate in gates if gate.passed is not None]
    checking = session.checking
    if not measured and not checking:
        return []
    passed = sum(1 for gate in measured if gate.passed)
    total = max(len(measured), len(session.model.sites) if session.model is not None else 0)
    if passed < len(measured):
        sign: Span = ("✗", "bad")
    else:
        done = len(measured) == total and not checking
        sign = ("✓", "good") if done else ("…", "dim")
    spans: list[Span] = [("gate ", "dim"), sign, (f" {passed}/{total}", "text")]
    if checking and session.check is not None:
        spans.append((f", {session.check.seconds:.0f} s of CPU", "dim"))
    return spans


def _explained(circuit: Circuit | None) -> list[Span]:
    if circuit is None:
        return []
    return [("explained ", "dim"), (percent(circuit.share_explained), "text")]


def _sinks(circuit: Circuit | None, *, brief: bool = False) -> list[Span]:
    """`position 0 left out, 150× the norm`; in brief `@0 left out`."""
    left_out = [sink for sink in circuit.sinks if sink.left_out] if circuit is not None else []
    if not left_out:
        return []
    numbers = [str(sink.position) for sink in left_out]
    if brief:
        at = f"@{numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} positions"
        return [(f"{at} left out", "dim")]
    where = f"position {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} positions"
    ratios = [sink.ratio for sink in left_out if sink.ratio is not None]
    norm = f", {min(ratios):.0f}× the norm" if ratios else ""
    return [(f"{where} left out{norm}", "dim")]


def _trust(trust: Trust | None, circuit: Circuit | None) -> list[Span]:
    if trust is None:
        return []
    if circuit is not None and circuit.settings.method == "exact":
        return [("effects ", "dim"), ("exact", "good")]  # which is what trust compares with
    scores = trust.overall
    if scores.abs_spearman is None:
        return [("trust ", "dim"), (f"n/a of {scores.n}", "text")]
    ink: Ink = "good" if scores.abs_spearman >= 0.6 else "warn"
    spans: list[Span] = [("trust ", "dim"), (f"{scores.abs_spearman:.2f}", ink)]
    if scores.sign_agreement is not None:
        spans += [(", signs ", "dim"), (percent(scores.sign_agreement), "text")]
    return spans


def status(
    session: Session,
    hints: Sequence[tuple[str, str]],
    width: int,
    behind: Sequence[Span] = (),
) -> list[Span]:
    """The bottom line: what runs, what there is to say, and as many key hints as have room.

    `behind` is what runs behind the screen.
    """
    left: list[Span] = [(" ", "text")]
    busy = session.busy
    if busy is not None:
        left.append((busy.stage, "text"))
        if busy.total:
            left += [
                (f" {busy.done}/{busy.total} ", "text"),
                (meter(busy.done, busy.total, PROGRESS_CELLS), "towards"),
            ]
        left.append(("…  " if not busy.total else "  ", "dim"))
    elif session.fetching is not None:
        left += [*download_progress(session.fetching), ("  ", "text")]
    elif session.measured is not None:
        done, total = session.measured
        left += [
            (f"measuring trust {done}/{total} ", "dim"),
            (meter(done, total, PROGRESS_CELLS), "dim"),
            ("  ", "text"),
        ]
    left += behind
    if session.message:
        inks: dict[str, Ink] = {"info": "text", "good": "good", "warn": "warn", "bad": "bad"}
        left.append((session.message, inks[session.level]))
    while hints and width_of(left) + width_of(key_hints(hints)) >= width:
        hints = hints[1:]
    return between(left, key_hints(hints), width)


def download_progress(fetching: Fetching) -> list[Span]:
    """What is being downloaded, and how much of it has come."""
    name = visible(fetching.reference)
    if fetching.stage == "looking":
        return [(f"downloading {name}: looking, {counted(fetching.done, 'file')}", "text")]
    if not fetching.total:
        return [(f"downloading {name}: {visible(fetching.stage)}", "text")]
    amount = f"{in_bytes(fetching.done)} of {in_bytes(fetching.total)} "
    return [
        (f"downloading {name} {amount}", "text"),
        (meter(fetching.done, fetching.total, PROGRESS_CELLS), "towards"),
    ]


def key_hints(hints: Sequence[tuple[str, str]]) -> list[Span]:
    right: list[Span] = []
    for key, words in hints:
        right += [(key, "key"), (f" {words}  ", "dim")]
    return right


def last_words(session: Session, width: int) -> list[Line]:
    """Why the worker ended, with the last lines of its stderr, or how long it has been silent.

    Nothing while it is heard.
    """
    if session.exit is None:
        return _silent(session.silent, width) if session.silent else []
    lines: list[Line] = [
        (
            (" The worker ", "text"),
            (session.exit.reason, "bad"),
            (". What you see is kept. ", "text"),
            ("R", "key"),
            (" starts it again.", "text"),
        )
    ]
    tail = session.exit.stderr_tail[-(DEATH_LINES - 1) :]
    return [wrap(lines[0], width)[0], *(((f"   {line}", "dim"),) for line in tail)]


def _silent(seconds: int, width: int) -> list[Line]:
    """What to do about a worker that gives no sign of life."""
    spans: Line = (
        (" No sign of life from the worker", "bad"),
        (f" for {seconds} s: it was stopped, or is stuck. What you see is kept. ", "text"),
        ("R", "key"),
        (" ends it, starts another and asks again.", "text"),
    )
    return wrap(spans, width)


def prompt_count(session: Session) -> list[Span]:
    """How long the prompt is, and how long it may be; or how long the dictionaries' texts were, if less."""
    count = len(session.tokens)
    if not count:
        return []
    model = session.model
    trained = model.training_context if model is not None else None
    if trained is not None and count > trained:
        return [(f"{counted(count, 'token')}, trained on {trained} ", "warn")]
    of = f"/{model.context}" if model is not None and model.context else ""
    return [(f"{count}{of} {'token' if count == 1 and not of else 'tokens'} ", "dim")]
