"""One way out for sentences: what this program says on stderr, and how other text is made safe to print.

File names, settings and messages of libraries are quoted in sentences, and all of them can hold control
characters. `say` writes one line of text that can move no cursor and fakes no second line. `as_json` writes
data that is safe on a terminal and reads back as the same data.
"""

import os
import re
import sys
from contextlib import suppress
from typing import Any

from scd_tui.text import is_unsafe, visible

_LONGEST = 2000
"""Characters of a sentence, of which the middle goes first."""
_END = 400


def sentence(text: str) -> str:
    """`text` in one line, with every control character spelled out, and not too long to be read."""
    # a long one is cut before and after, since spelling out makes it longer
    return _cut(visible(_cut(text)))


def _cut(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - _END - 3]} … {text[-_END:]}"


def say(prefix: str, text: str) -> None:
    """Write a sentence as one line to stderr, after the command that says it.

    Nothing is said where stderr is closed or full: nobody is left to be told.
    """
    if sys.stderr is None:
        return
    with suppress(OSError):
        sys.stderr.write(f"{prefix}: {sentence(text)}\n")
        sys.stderr.flush()


def put(line: str) -> None:
    """Print one line of text for a reader, whatever it quotes, to stdout."""
    sys.stdout.write(visible(line) + "\n")


def clean_lines(text: str) -> str:
    """Lines of text with every control character but the newlines spelled out."""
    if text.replace("\n", "").isprintable():
        return text
    return "\n".join(map(visible, text.split("\n")))


def clean_messages() -> None:
    """Have the warnings and log records of libraries be one line each, which may quote a file."""
    import logging
    import warnings

    def record(*args: Any, **fields: Any) -> logging.LogRecord:
        made = plain(*args, **fields)
        with suppress(Exception):  # a message that does not fit its arguments is logging's to tell
            made.msg, made.args = sentence(made.getMessage()), ()
        return made

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        say("scd-tui", f"a library warns: {message}")

    plain = logging.getLogRecordFactory()
    logging.setLogRecordFactory(record)
    warnings.showwarning = show


def as_json(value: object) -> str:
    """One line of JSON, in which what a terminal would obey is escaped: the same data to a reader."""
    import msgspec  # not at the start of every command

    return safe_json(msgspec.json.encode(value).decode()) + "\n"


def safe_json(text: str) -> str:
    """JSON with the control and format characters of its strings escaped. The data stays the same."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _BEYOND_ASCII.sub(_escaped, text)


_BEYOND_ASCII = re.compile("[\x7f-\U0010ffff]")


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if not is_unsafe(character):
        return character
    # UTF-16, as JSON has it: two escapes for what lies beyond the first plane
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))


def reason(error: OSError) -> str:
    """Why the system refused, in its own words."""
    if error.strerror:
        return error.strerror
    return os.strerror(error.errno) if error.errno else "the system refuses it"
