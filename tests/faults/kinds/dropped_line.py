"""A line that drops while one types: at random moments, by signals, and by a terminal that goes away.

The app runs on a pseudo-terminal of its own on the bundled model. What had been typed a second before
must be offered at the next start.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
from trial import Field, Kind, Tried, state_folders
from tui.samples import circuit

from scd_tui.drafts import Drafts
from scd_tui.graph import encode_circuit
from scd_tui.history import History

ENDS = ("SIGHUP", "SIGTERM", "SIGKILL", "closed")
WHAT = ("given", "prompt", "note", "question")
CHARACTERS = "abc de' \"[b]é漢%$&"
SECONDS = 60.0
SAVED_SECONDS = 1.5
"""After the last key; half of a second is what the app may take."""


class Terminal:
    """The app on a pseudo-terminal, and what a user sees there."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self._screen = pyte.Screen(140, 40)
        self._stream = pyte.ByteStream(self._screen)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(environment["HOME"])
            os.execve(sys.executable, [sys.executable, "-m", "scd_tui", *words], environment)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))

    def read(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self._stream.feed(os.read(self.fd, 1 << 16))
                except OSError:
                    return

    def until(self, *words: bytes) -> bool:
        end = time.monotonic() + SECONDS
        while not all(word.decode() in "\n".join(self._screen.display) for word in words):
            if time.monotonic() > end:
                return False
            self.read(0.1)
        return True

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())
        self.read(0.05)

    def end(self, how: str) -> bool:
        """End it; returns whether it was gone soon."""
        if how == "closed":
            os.close(self.fd)
        else:
            os.kill(self.pid, getattr(signal, how))
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
            if how != "closed":
                self.read(0.05)
            else:
                time.sleep(0.05)
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return False
        if how != "closed":
            os.close(self.fd)
        return True


def run(field: Field) -> Iterator[Tried]:
    numbers = field.random("dropped-line")
    saved = field.folder / "circuit.json"
    saved.write_bytes(encode_circuit(circuit()))
    number = 0
    while not field.over:
        for what in WHAT:
            for how in ENDS:
                number += 1
                if number > 400 or field.over:
                    return
                text = "".join(numbers.choice(CHARACTERS) for _ in range(numbers.randint(3, 40)))
                text = f"x{text.strip()}y"
                yield _one(field, number, what, how, text, saved, numbers.random())


def _one(
    field: Field,
    number: int,
    what: str,
    how: str,
    text: str,
    saved: Path,
    moment: float,
) -> Tried:
    environment = field.home(f"home{number}", TERM="xterm-256color", PYTHONUTF8="1")
    name = f"{what} {text!r}, {how}"
    words = {"given": [text], "prompt": []}.get(what, ["open", str(saved)])
    terminal = Terminal(environment, *words)
    if what == "given":
        drafts = state_folders(environment)["state"] / "scd-tui" / "drafts"
        end = time.monotonic() + SECONDS
        while not list(drafts.glob("*.json")) and time.monotonic() < end:
            terminal.read(0.02)
        terminal.read(moment * 2)  # while the screen is drawn and the model is loaded
    elif not terminal.until(b"resid_post 3" if what != "prompt" else b"Prompt"):
        terminal.end("SIGKILL")
        return Tried(name, "the app never came up")
    else:
        terminal.read(0.5)
        if what in ("note", "question"):
            # to the first node below the root, or into the panel's contrast prompt
            for key in ["j", "j", "n"] if what == "note" else ["t", "\t", "\t"]:
                terminal.type(key)
                terminal.read(0.3)
        for character in text:
            terminal.type(character)
        terminal.read(SAVED_SECONDS + moment)
    gone = terminal.end(how)
    lost = "" if gone else "it did not leave"
    state = state_folders(environment)["state"] / "scd-tui"
    found = Drafts(state / "drafts")
    found.take_over()
    texts = [one.text for one in found._left]
    kept = any(one.prompt == text for one in History(state / "circuits").entries())
    if not lost and not kept and not any(text in one or _quoted(text) in one for one in texts):
        lost = f"only {texts} is offered"
    return Tried(name, lost)


def _quoted(text: str) -> str:
    """As it stands in the JSON of a question."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


KINDS = (Kind("dropped-line", "lines that drop while one types", run, 300),)
