"""Keys in bursts, and all keys at random, typed into the app in a terminal.

The same seed presses the same keys: what was pressed before a loss is in the log, the last of it also
with the loss. Nothing leaves the machine, and every file goes into the field's own folder.
"""

import random
import string
import time
from collections import deque
from collections.abc import Iterator

from keyboard import LEAVING, bound_keys, keys_for, pasted, sent
from pty_app import PtyApp
from trial import Field, Kind, Tried

PROMPT = "The boats that the man likes"
SIZES = ((80, 24), (140, 40))
KEPT = 40
"""Writes that are told again with a loss."""
LOOK_EVERY = 20
"""Writes between two looks whether the app still answers."""
HELP = "─ Help ─"
"""The title of the help dialog, in its frame."""
DIALOGS_AT_MOST = 8
"""Screens that can be open or wait to be opened, one after the other."""
ATTEMPTS = 3
"""How often it is tried to get an answer before the app counts as frozen."""
WORDS = 1500
"""Characters of the screen that are told with a loss."""
MEMORY_SECONDS = 10.0
NOBODY = "http://127.0.0.1:9"
"""An address that refuses: models and explanations are asked for here, and come from nowhere."""

MAY_LEAVE = LEAVING.union(keys_for("command_palette"))
DIALOGS = keys_for(
    *("help", "command_palette", "prompts", "target", "models", "open_file", "past", "compare"),
    *("quick_list", "scale", "curve", "note", "unite"),
)
"""The keys that open a dialog."""
ANSWERS = (
    *("enter", "enter", "enter", "escape", "escape", "tab", "shift+tab", "q", "y", "c"),
    *("up", "down", "left", "right", "space", "backspace", "delete", "pagedown", "home", "end"),
)
"""What is pressed in dialogs."""
STATES: dict[str, tuple[str, ...]] = {
    "circuit": ("escape", "escape", "2"),
    "first row": ("escape", "escape", "2", "g"),
    "node": ("escape", "escape", "2", "C", "g", "j", "l", "j"),
    "edge": ("escape", "escape", "2", "C", "g", "j", "l", "j", "enter", "j", "j"),
    "pinned": ("escape", "escape", "2", "C", "g", "j", "l", "j", "a", "j", "a"),
    "grouped": ("escape", "escape", "2", "g", "v"),
    "filter": ("escape", "escape", "2", "slash", "e"),
    "completions": ("escape", "escape", "1", "j"),
    "feature": ("escape", "escape", "3", "j"),
    "prompt": ("escape", "escape", "i"),
    "running": ("escape", "escape", "i", "h", "e", "enter"),
    "another metric": ("escape", "escape", "M"),
    "loading": ("escape", "escape", "R"),
    "comparison": ("escape", "escape", "D", "enter"),
    "dialog": ("escape", "escape", "question_mark"),
    "any": (),
}
"""From where dialogs are opened, and the keys that lead there."""


class Sitting:
    """One app after another, as a random hand needs them; each is told apart in the log."""

    def __init__(self, field: Field, name: str, size: tuple[int, int]) -> None:
        self._field, self._name, self._size = field, name, size
        self._folder = field.folder / name
        self._folder.mkdir()
        self._number = 0
        self._writes: deque[str] = deque(maxlen=KEPT)
        self._remembered = 0.0
        self._unlooked = 0
        self._may_leave = False
        self.app = self._start()

    def _start(self) -> PtyApp:
        self._number += 1
        self._writes.clear()
        self._may_leave = False
        closed = {"HF_ENDPOINT": NOBODY, "HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1"}
        pages = {"NEURONPEDIA_BASE_URL": NOBODY, "NEURONPEDIA_BULK_URL": NOBODY}
        # a past circuit from the second app on; the first prompt is typed in every other
        words = (PROMPT,) if self._number % 2 else ()
        home = self._field.home(f"{self._name}-home", **closed, **pages)
        app = PtyApp(self._folder, home, self._size, *words)
        app.until(lambda screen: ("resid_post" if words else "type a prompt") in screen)
        return app

    def press(self, random: random.Random, keys: tuple[str, ...], data: bytes) -> Tried:
        """Send all of it in one write, and see what came of it."""
        if not self.app.alive:
            self.app.close()
            self.app = self._start()
        what = f"{self._name} app {self._number}: {' '.join(keys)}"
        self._writes.append(" ".join(keys))
        # a key may wait for what the keys ahead of it do, and the palette has a command that quits
        self._may_leave |= b"q" in data or bool(MAY_LEAVE.intersection(keys))
        self.app.write(data)
        self.app.read(0.03, random.choice((0.05, 0.3, 1.0)))
        self._unlooked += 1
        lost = self.app.lost(self._may_leave)
        if not lost and self._unlooked >= LOOK_EVERY and self.app.alive:
            self._unlooked = 0
            lost = self._frozen()
        if time.monotonic() - self._remembered > MEMORY_SECONDS:
            self._remembered = time.monotonic()
            if (read := self.app.memory()) is not None:
                what += f" (app {read[0]:.1f} MB, worker {read[1]:.1f} MB)"
        if lost:
            lost += f"; seed {self._field.seed}, before that: {' | '.join(self._writes)}"
            self.app.close()
        return Tried(what, lost)

    def resize(self, columns: int, lines: int) -> Tried:
        self._writes.append(f"resized to {columns}x{lines}")
        self.app.resize(columns, lines)
        self.app.read(0.05, 1)
        return Tried(f"{self._name} app {self._number}: resized to {columns}x{lines}")

    def _frozen(self) -> str:
        """Whether keys change nothing any more: out of everything, help opens and closes again.

        Tried three times: escapes that a busy app reads together close one dialog, so that what comes
        after them may be typed into a line of text.
        """
        self.app.resize(*self._size)
        lost = ""
        for _ in range(ATTEMPTS):
            lost = self._help()
            if not lost or not self.app.alive:
                break
        return self.app.lost(self._may_leave) or (lost if self.app.alive else "")

    def _help(self) -> str:
        """Open and close help; what does not happen, in words."""
        # a dialog that waited for another opens when that is closed
        for key in (*["escape"] * DIALOGS_AT_MOST, "2"):
            self.app.write(sent(key))
            self.app.read(0.25, 3)
        for key, shown in (("question_mark", True), ("escape", False)):
            self.app.write(sent(key))
            if not self.app.until(lambda screen, wanted=shown: (HELP in screen) == wanted):
                what = f"after {key} help is {'not ' * shown}on the screen"
                return f"{what}: {' '.join(self.app.screen().split())[:WORDS]}"
        self.app.read(0.05, 0.5)
        return ""

    def end(self) -> Tried:
        """Leave as a user does: the process ends, and the terminal is as it was."""
        fault = f"{self._name} app {self._number}: q at the end"
        if self.app.alive and not self.app.lost():
            self._frozen()
            self.app.write(sent("q"))
            end = time.monotonic() + 10
            while self.app.alive and time.monotonic() < end:
                self.app.read(0.05, 0.2)
            lost = "q does not end the app" if self.app.alive else self.app.lost(may_leave=True)
            self.app.close()
            return Tried(fault, lost)
        self.app.close()
        return Tried(fault)


def _text(random: random.Random) -> str:
    """A short text: letters mostly, sometimes what no keyboard has."""
    odd = "\u00e9\u4e2d\U0001f600\u0301\u202e\u200b"
    signs = string.printable.strip() + " " if random.random() < 0.9 else odd
    return "".join(random.choice(signs) for _ in range(random.randint(1, 12)))


def dialogs(field: Field) -> Iterator[Tried]:
    """Every dialog from every state, and joined keys into it: in one write, from the state on."""
    sittings = [Sitting(field, f"{c}x{lines}", (c, lines)) for c, lines in SIZES]
    draw = field.random("dialogs")
    while not field.over:
        turns = [(state, opens) for state in STATES for opens in DIALOGS]
        draw.shuffle(turns)
        for state, opens in turns:
            sitting = draw.choice(sittings)
            keys = (*STATES[state], *(opens,) * draw.choice((1, 1, 1, 2)))
            joined = draw.random() < 0.5
            if not joined:
                yield sitting.press(draw, keys, b"".join(map(sent, keys)))
                keys = ()
            keys += tuple(draw.choice(ANSWERS) for _ in range(draw.randint(1, 8)))
            data = b"".join(map(sent, keys))
            if draw.random() < 0.3:
                text = _text(draw)
                how = pasted if draw.random() < 0.3 else str.encode
                end = tuple(draw.choice(ANSWERS[:7]) for _ in range(draw.randint(0, 3)))
                data += how(text) + b"".join(map(sent, end))
                keys += (repr(text), *end)
            yield sitting.press(draw, keys, data)
            if field.over:
                break
    for sitting in sittings:
        yield sitting.end()


def random_keys(field: Field, sitting: Sitting, size: tuple[int, int]) -> Iterator[Tried]:
    """All keys that are bound, text, pastes and other sizes, at random, until the time is over."""
    draw = field.random(f"{size[0]}x{size[1]}")
    keys = sorted(set(bound_keys()) - LEAVING)
    # what starts processes anew, or ends work, is rarer than what moves
    rare = {"R", "ctrl+r", "O", "m"}
    while not field.over:
        dice = draw.random()
        if dice < 0.01:
            columns, lines = draw.randint(20, 160), draw.randint(5, 50)
            yield sitting.resize(columns, lines)
        elif dice < 0.03:
            yield sitting.resize(*size)
        elif dice < 0.08:
            text = _text(draw)
            data = pasted(text) if draw.random() < 0.3 else text.replace("q", "k").encode()
            yield sitting.press(draw, (repr(text),), data)
        else:
            some = [draw.choice(keys) for _ in range(draw.choice((1, 1, 1, 2, 4, 8)))]
            some = [key for key in some if key not in rare or draw.random() < 0.1]
            if some:
                yield sitting.press(draw, tuple(some), b"".join(map(sent, some)))


def all_keys_at(field: Field, size: tuple[int, int]) -> Iterator[Tried]:
    """All keys at random in a terminal of this size, and `q` at the end."""
    sitting = Sitting(field, f"{size[0]}x{size[1]}", size)
    yield from random_keys(field, sitting, size)
    yield sitting.end()


def narrow(field: Field) -> Iterator[Tried]:
    return all_keys_at(field, SIZES[0])


def wide(field: Field) -> Iterator[Tried]:
    return all_keys_at(field, SIZES[1])


KINDS = (
    Kind("keys-dialogs", "joined keys into every dialog", dialogs, 600),
    Kind("keys-80x24", "all bound keys at random, 80x24", narrow, 600),
    Kind("keys-140x40", "all bound keys at random, 140x40", wide, 600),
)
