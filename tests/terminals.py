"""A real terminal that tests type at and read the screen of."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 60
"""Until the screen must show what is waited for; the worker's libraries alone take several to load."""


class Terminal:
    """A tmux pane of its own server, on a socket in `folder`."""

    def __init__(self, folder: Path, width: int, height: int, *command: str) -> None:
        self._tmux = ("tmux", "-S", str(folder / "socket"), "-f", os.devnull)
        self._call(
            *("new-session", "-d", "-x", str(width), "-y", str(height)),
            *("-e", "COLORTERM=truecolor", "-c", str(folder)),
            *("; ".join([subprocess.list2cmdline(command), "echo left with $?; exec cat"]),),
        )

    def _call(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        self._call("send-keys", *keys)

    def type(self, text: str) -> None:
        self._call("send-keys", "-l", text)

    def screen(self) -> str:
        return self._call("capture-pane", "-p")

    def clipboard(self) -> str:
        """What was copied last."""
        return self._call("show-buffer")

    def wait(self, *words: str | re.Pattern[str] | Callable[[str], bool]) -> str:
        """The first screen that has all the words; fails with the last one seen."""
        end = time.monotonic() + SECONDS
        while True:
            screen = self.screen()
            missing = [word for word in words if not _has(screen, word)]
            if not missing:
                return screen
            assert time.monotonic() < end, f"no {missing} on the screen:\n{screen}"
            time.sleep(0.1)

    def settle(self, seconds: float = 0.4) -> None:
        """Wait until the screen has been the same for so long."""
        end, before = time.monotonic() + SECONDS, ""
        while (now := self.screen()) != before:
            assert time.monotonic() < end, f"the screen never comes to rest:\n{now}"
            before = now
            time.sleep(seconds)

    def row(self, word: str) -> str:
        """The line of the screen that holds `word`."""
        return next(line for line in self.screen().splitlines() if word in line)

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)


def _has(screen: str, word: str | re.Pattern[str] | Callable[[str], bool]) -> bool:
    if isinstance(word, str):
        return word in screen
    return bool(word.search(screen)) if isinstance(word, re.Pattern) else word(screen)
