"""The `scd-tui` command.

Exit codes: 0, 1 when the run failed or its output could not be written, 2 when the call was wrong, 128 and
the signal's number when a signal ended it (130 after ctrl+c). Errors are one line on stderr. What is slow
to import is imported by the command that needs it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from scd_tui.leaving import Leaving, exit_code, number_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Without `argv` it is this process's command: signals and standard streams are seen to as well.
    """
    if argv is not None:
        return _run(list(argv))
    leaving = Leaving()
    try:
        leaving.listen()
        leaving.begin()
        from scd_tui.streams import mend

        mend()
        from scd_tui.saying import clean_messages

        clean_messages()
        code = _run(sys.argv[1:], leaving)
    except KeyboardInterrupt as error:
        # between two steps of ours, or again on the way out
        leaving.number = leaving.number or number_of(error)
        code = exit_code(leaving.number)
    return leaving.finish(code)


def _run(words: list[str], leaving: Leaving | None = None) -> int:
    # huggingface_hub tells its hub what it runs beside, unless told not to.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from scd_tui.commands import COMMANDS

    prefix, command = "scd-tui", "app"
    if words and words[0] in COMMANDS:
        command = words.pop(0)
        prefix = f"scd-tui {command}"
    code = _said(prefix, lambda: _command(command, words), leaving)
    if leaving is None:
        return code
    if code == 0:
        return _said(prefix, _flushed, leaving)
    with suppress(OSError):  # the exit code says already that something failed
        sys.stdout.flush()
    return code


def _command(name: str, words: list[str]) -> int:
    from importlib import import_module

    try:
        code: int = import_module(f"scd_tui.commands.{name.replace('-', '_')}").run(words)
    except SystemExit as end:  # of argparse, after --help or --version
        return end.code if isinstance(end.code, int) else 0
    return code


def _flushed() -> int:
    """Exit code 0 when all that was printed is written. Raises OSError when it could not be."""
    from scd_tui.streams import whole

    sys.stdout.flush()
    out = whole(sys.stdout)
    if out is not None and out.failed is not None:
        raise out.failed  # somebody made something else of it
    return 0


def _said(prefix: str, run: Callable[[], int], leaving: Leaving | None) -> int:
    """The exit code of `run`, with what it raises told in one line."""
    from scd_tui.errors import InputError
    from scd_tui.saying import say

    try:
        code = run()
        failed: BaseException | None = None
    except KeyboardInterrupt as error:
        number = number_of(error)
        if leaving is not None:
            leaving.number = leaving.number or number
        return _interrupted(prefix, number)
    except BaseException as error:  # a panic of a library in Rust is not an Exception
        code, failed = 1, error
    if leaving is not None and leaving.number is not None:
        # a library swallowed the interrupt, or made something else of it
        return _interrupted(prefix, leaving.number)
    if failed is None:
        return code
    if isinstance(failed, InputError):
        say(prefix, str(failed))
        return failed.exit_code
    if isinstance(failed, OSError) and _is_of_stdout(failed):
        if not isinstance(failed, BrokenPipeError):  # then its reader has left, and knows
            say(prefix, _why_not_written(failed))
        return 1
    if not isinstance(failed, OSError | MemoryError) and os.environ.get("SCD_TUI_TRACEBACK"):
        raise failed
    say(prefix, _words(failed))
    return 1


def _interrupted(prefix: str, number: int) -> int:
    """What ctrl+c is answered with; of other signals whoever sent them needs no word."""
    import signal

    from scd_tui.saying import say
    from scd_tui.streams import whole

    if (out := whole(sys.stdout)) is not None:
        out.drop()  # its reader may never read on
    if number == signal.SIGINT:
        say(prefix, "interrupted")
    return exit_code(number)


def _is_of_stdout(error: OSError) -> bool:
    from scd_tui.streams import whole

    out = whole(sys.stdout)
    return isinstance(error, BrokenPipeError) if out is None else out.failed is error


def _why_not_written(error: OSError) -> str:
    import errno

    from scd_tui.saying import reason

    if error.errno == errno.EBADF:
        return "standard output is closed: nothing can be printed"
    return f"standard output cannot be written: {reason(error)}"


_NO_MEMORY = ("not enough memory", "out of memory", "can't allocate memory")
"""What torch says of memory that ran out, on any device."""


def _words(error: BaseException) -> str:
    """What happened, in a line: of a file what it is, of anything else also how to see where."""
    if isinstance(error, OSError):
        from scd_tui.saying import reason

        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error if error.errno is None else reason(error)}"
    first = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, MemoryError) or any(words in first for words in _NO_MEMORY):
        return "there is not enough memory for this: shorten the prompt, or free some memory"
    return f"{type(error).__name__}: {first} (SCD_TUI_TRACEBACK=1 shows where)"
