"""The `scd-tui` command.

Exit codes: 0, 1 when the run failed, 2 when the call was wrong. Errors are one line on stderr. What is
slow to import is imported by the command that needs it.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from scd_tui.commands import COMMANDS
from scd_tui.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # huggingface_hub tells its hub what it runs beside, unless told not to.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    prefix, command = "scd-tui", "app"
    if words and words[0] in COMMANDS:
        command = words.pop(0)
        prefix = f"scd-tui {command}"
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding gets `?` for what it has no sign for.
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    if sys.stdout is None:
        sys.stderr.write(f"{prefix}: stdout is closed: nothing can be printed\n")
        return 1
    try:
        code: int = import_module(f"scd_tui.commands.{command.replace('-', '_')}").run(words)
        return code
    except InputError as error:
        sys.stderr.write(f"{prefix}: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{prefix}: interrupted\n")
        return 130
    except BrokenPipeError:
        # The reader of our output has left; Python would complain again while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("SCD_TUI_TRACEBACK"):
            raise
        sys.stderr.write(f"{prefix}: {_said(error)}\n")
        return 1


_NO_MEMORY = ("not enough memory", "out of memory", "can't allocate memory")
"""What torch says of memory that ran out, on any device."""


def _said(error: Exception) -> str:
    """What happened, in a line: of a file what it is, of anything else also how to see where."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    first = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, MemoryError) or any(words in first for words in _NO_MEMORY):
        return "there is not enough memory for this: shorten the prompt, or free some memory"
    return f"{type(error).__name__}: {first} (SCD_TUI_TRACEBACK=1 shows where)"
