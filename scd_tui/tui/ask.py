"""The panel of all that can be asked of a prompt: applied at once."""

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar, cast

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from scd_tui.contrasts import contrast_in_prompt
from scd_tui.errors import InputError
from scd_tui.graph import METHODS, METRICS, Circuit, Completion, Method, Metric, Settings
from scd_tui.numbers import probability
from scd_tui.text import visible
from scd_tui.tui.bindings import key
from scd_tui.tui.choice import Choice
from scd_tui.tui.data_input import DataInput
from scd_tui.tui.dialogs import Dialog
from scd_tui.tui.fields import Cycle, Named, TokenInput
from scd_tui.tui.ink import Line, Span, fit, wrap
from scd_tui.tui.paint import quoted
from scd_tui.tui.view import Bar
from scd_tui.worker.protocol import Wanted

_Default = TypeVar("_Default", int, None)
YES_NO = ("no", "yes")
SHOWN_CONTINUATION = 8

Suggest = Callable[[str, Callable[[Sequence[str]], None]], None]
"""Asks for tokens that begin with a text, and hands them on when they come."""
Continuation = Callable[[Callable[[Sequence[Completion]], None]], None]


class Texts(msgspec.Struct, frozen=True):
    """A choice as it stands in the panel's fields."""

    target: str = ""
    contrast: str = ""
    contrast_prompt: str = ""
    position: str = ""
    continuation: str = ""
    metric: Metric = "diff"
    method: Method = "gradient"
    top: str = ""
    edges: str = ""
    skip_first: bool = False
    freeze_patterns: bool = False
    sinks: bool = False


def texts_of(choice: Choice, circuit: Circuit | None) -> Texts:
    """What the fields say of a choice; `circuit` is the one that answers it, if there is one."""
    target = contrast = ""
    if circuit is not None:
        target = circuit.target.text
        if not circuit.target.contrast_is_default:
            contrast = circuit.target.contrast_text
    settings = choice.settings
    return Texts(
        target=target,
        contrast=contrast,
        contrast_prompt=choice.contrast_prompt or "",
        position="" if choice.position is None else str(choice.position),
        continuation="" if choice.continuation is None else str(choice.continuation),
        metric=choice.metric,
        method=settings.method,
        top=str(settings.top),
        edges=str(settings.edges),
        skip_first=settings.skip_first,
        freeze_patterns=settings.freeze_patterns,
        sinks=settings.sinks,
    )


def chosen(old: Choice, before: Texts, now: Texts) -> Choice:
    """The choice that the fields ask for. Raises InputError on what is no number.

    Tokens that were not touched stay the ids that they are. Where the place changed that the target is
    read at and the target did not, it is what the model says there.
    """
    moved = (now.position, now.continuation) != (before.position, before.continuation)

    def token(text: str, was: str, value: Wanted) -> Wanted:
        if text != was:
            return text or None
        return None if moved else value

    settings = msgspec.structs.replace(
        old.settings,
        top=_number(now.top, "top nodes", Settings().top, least=1),
        edges=_number(now.edges, "edges", Settings().edges, least=1),
        method=now.method,
        skip_first=now.skip_first,
        freeze_patterns=now.freeze_patterns,
        sinks=now.sinks,
    )
    position = _number(now.position, "position", None)
    continuation = _number(now.continuation, "continuation", None, least=1)
    if position is not None and continuation is not None:
        raise InputError("a continuation follows the prompt: leave out the position, or it")
    return Choice(
        target=token(now.target, before.target, old.target),
        contrast=token(now.contrast, before.contrast, old.contrast),
        metric=now.metric,
        position=position,
        continuation=continuation,
        contrast_prompt=now.contrast_prompt or None,
        settings=settings,
    )


def _number(text: str, name: str, default: _Default, least: int | None = None) -> int | _Default:
    if not text.strip():
        return default
    try:
        number: int | None = int(text)
    except ValueError:
        number = None
    if number is None or (least is not None and number < least):
        wanted = "a whole number" if least is None else f"a number from {least} on"
        raise InputError(f"{name}: {visible(text)!r} is not {wanted}")
    return number


class AskScreen(Dialog[tuple[Choice, Texts] | None]):
    """Every setting of the question, to change as many as one likes and ask once.

    `typed` is what a question said that was refused, and `problem` why. `changed` is told of every change.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        key("modal.close", "escape", "close", "close", "esc"),
    ]

    def __init__(
        self,
        choice: Choice,
        circuit: Circuit | None,
        positions: int,
        suggest: Suggest,
        continuation: Continuation,
        *,
        typed: Texts | None = None,
        problem: str = "",
        changed: Callable[[Texts], None] = lambda texts: None,
    ) -> None:
        super().__init__()
        self._choice = choice
        self._before = texts_of(choice, circuit)
        self._in_prompt = None if circuit is None else contrast_in_prompt(circuit)
        self._typed = typed or self._before
        self._problem = problem
        self._tell = changed
        self._positions = positions
        self._suggest = suggest
        self._continuation = continuation

    def compose(self) -> ComposeResult:
        texts = self._typed
        last = f"0 to {self._positions - 1}; empty: after the prompt" if self._positions else ""
        with Vertical(classes="dialog ask") as dialog:
            dialog.border_title = Content("Explain which token, and how?")
            dialog.border_subtitle = Content("enter asks · tab next field · esc closes")
            hint = "empty: the likeliest; a leading space counts; #1234: by id"
            yield Named("target", TokenInput(texts.target, hint, name="target"))
            yield Bar(name="offer-target")
            hint = "empty: the likeliest other token"
            if self._in_prompt is not None:
                hint += f"; in the prompt: {quoted(visible(self._in_prompt.token.text))}"
            yield Named("contrast", TokenInput(texts.contrast, hint, name="contrast"))
            yield Bar(name="offer-contrast")
            for title, name, hint in (
                ("contrast prompt", "contrast_prompt", "empty: none; as many tokens as the prompt"),
                ("position", "position", last),
                ("continuation", "continuation", "empty: its first token; N: its Nth"),
            ):
                yield Named(title, DataInput(getattr(texts, name), hint, name=name))
            yield Bar(name="continued")
            yield Named("metric", Cycle(METRICS, texts.metric, name="metric"))
            yield Named("method", Cycle(METHODS, texts.method, name="method"))
            yield Named("nodes a site", DataInput(texts.top, name="top"))
            yield Named("edges a site", DataInput(texts.edges, name="edges"))
            for title, name in (
                ("skip position 0", "skip_first"),
                ("freeze patterns", "freeze_patterns"),
                ("sinks count", "sinks"),
            ):
                value = YES_NO[getattr(texts, name)]
                yield Named(title, Cycle(YES_NO, value, name=name))
            yield Bar(name="ask-problem")

    def on_mount(self) -> None:
        self.query_one("#target", TokenInput).focus()
        self._continuation(self._continued)
        if self._problem:
            self.call_after_refresh(self._say, self._problem)

    def _field(self, name: str) -> str:
        return self.query_one(f"#{name}", DataInput).value

    def _word(self, name: str) -> str:
        return self.query_one(f"#{name}", Cycle).value

    def texts(self) -> Texts:
        """What the fields say now."""
        return Texts(
            **{
                name: self._field(name)
                for name in (
                    *("target", "contrast", "contrast_prompt", "position"),
                    *("continuation", "top", "edges"),
                )
            },
            metric=cast(Metric, self._word("metric")),
            method=cast(Method, self._word("method")),
            skip_first=self._word("skip_first") == "yes",
            freeze_patterns=self._word("freeze_patterns") == "yes",
            sinks=self._word("sinks") == "yes",
        )

    def _continued(self, said: Sequence[Completion]) -> None:
        """Below its field, what the model says next, with the number of each token."""
        if not self.is_running:
            return
        spans: list[Span] = [(" " * 18, "text")]
        for number, completion in enumerate(said[:SHOWN_CONTINUATION], 1):
            spans += [
                (f"{number} ", "key"),
                (f"{quoted(visible(completion.token.text))} ", "token"),
                (f"{probability(completion.probability)}  ", "dim"),
            ]
        bar = self.query_one("#continued", Bar)
        bar.show(fit(spans, max(20, bar.size.width)))

    # --- completion over the vocabulary -------------------------------------------------------

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        field = event.input
        if self.is_running and (texts := self.texts()) != self._before:
            self._tell(texts)
        if not isinstance(field, TokenInput):
            return
        retyped = field.retyped()
        self._draw_offer(field)
        typed = field.typed
        if retyped and typed:
            self._suggest(typed, lambda tokens: self._offer(field, typed, tokens))

    def _offer(self, field: TokenInput, typed: str, tokens: Sequence[str]) -> None:
        if self.is_running:
            field.offer(typed, tokens)
            self._draw_offer(field)

    def _draw_offer(self, field: TokenInput) -> None:
        tokens, at = field.offered
        line: Line = ()
        if tokens:
            line = (
                (" " * 17 + "↓", "key"),
                *(
                    (f" {visible(text)!r}", "peak" if index == at else "token")
                    for index, text in enumerate(tokens)
                ),
            )
        self.query_one(f"#offer-{field.id}", Bar).show(line)

    # --- the end ------------------------------------------------------------------------------

    def _say(self, problem: str) -> None:
        bar = self.query_one("#ask-problem", Bar)
        lines = wrap([(problem, "warn")], max(20, bar.size.width))
        bar.styles.height = max(1, len(lines))
        bar.show(*lines)

    @on(Input.Submitted)
    @on(Cycle.Submitted)
    def _submitted(self) -> None:
        texts = self.texts()
        try:
            choice = chosen(self._choice, self._before, texts)
        except InputError as error:
            self._say(visible(str(error)))
        else:
            self.dismiss((choice, texts))

    def action_close(self) -> None:
        self.dismiss(None)
