"""How this process ends: its exit code, whatever it is interrupted in and wherever its output goes.

A signal is raised once as `Signalled`, so that what is under way is cleared up. Libraries can swallow that
exception, or turn it into one of their own: the number is remembered, the exception is raised again a
little later, and soon after the process ends without asking. When everything is done and written the
process ends at once, since Python takes a while to take itself apart and complains if it is disturbed.
"""

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

AGAIN_SECONDS = 0.7
"""After a signal, until it is raised once more."""
GRACE_SECONDS = 2.0
"""After a signal, until the process ends whatever it does."""
_KILLING_SECONDS = 1.0
"""That ending other processes may take."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signalled(KeyboardInterrupt):
    """A signal that ends this process came; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def number_of(error: BaseException) -> int:
    """The signal that an exception tells of: Python's own exception stands for ctrl+c."""
    return error.number if isinstance(error, Signalled) else signal.SIGINT


def exit_code(number: int) -> int:
    """What a shell says of a process that a signal ended: 130 after ctrl+c."""
    return 128 + number


def kill_children() -> None:
    """End all processes that this one started, and those that they started."""
    with suppress(Exception):  # nobody is left to be told, and no library may be able to help
        import psutil

        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()


def leave_now(number: int) -> None:
    """End this process and those that it started, whatever they wait for."""
    # not by `threading`, whose lock may be held by what was interrupted
    _thread.start_new_thread(_leave_after, (_KILLING_SECONDS, number))
    kill_children()
    os._exit(exit_code(number))


def _leave_after(seconds: float, number: int) -> None:
    time.sleep(seconds)
    os._exit(exit_code(number))


class Leaving:
    """The end of one process. `listen` comes first, `finish` last."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that came first."""
        self._code: int | None = None
        self._again = False

    def listen(self) -> None:
        """Hear the signals that end a process, unless it was started to ignore them, as by nohup."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._hear)

    def begin(self) -> None:
        """What takes longer than `listen`."""
        atexit.register(self._end)  # the first that is registered is the last that is called
        self._hooks = sys.unraisablehook, threading.excepthook
        sys.unraisablehook = self._unraisable
        threading.excepthook = self._in_thread

    def finish(self, code: int) -> int:
        """All is done and written: from here on a signal ends the process at once. Returns the code."""
        self._code = code
        self.listen()  # an event loop that has ended puts Python's own handlers back
        return code

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._code is not None:
            os._exit(exit_code(number))
        if self.number is None:
            self.number = number
            with suppress(RuntimeError):  # no thread can be started
                _thread.start_new_thread(self._insist, ())
        elif self._again:
            self._again = False
        else:
            leave_now(number)
        raise Signalled(number)

    def _insist(self) -> None:
        """See to it, in a thread, that the process ends after a signal."""
        assert self.number is not None
        time.sleep(AGAIN_SECONDS)
        if self._code is None:
            self._again = True
            signal.pthread_kill(threading.main_thread().ident or 0, self.number)
        time.sleep(GRACE_SECONDS - AGAIN_SECONDS)
        leave_now(self.number)

    def _end(self) -> None:
        if self._code is None:
            return  # an exception is on its way out
        if self.number is not None:
            kill_children()
        os._exit(self._code)

    # What a disturbed library says after a signal interests nobody.

    def _unraisable(self, what: Any) -> None:
        if self.number is None and not isinstance(what.exc_value, KeyboardInterrupt):
            self._hooks[0](what)

    def _in_thread(self, what: Any) -> None:
        if self.number is None:
            self._hooks[1](what)
