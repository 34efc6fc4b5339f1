import asyncio
import sys

import pytest

from scd_tui.doctor import worker as module
from scd_tui.doctor.worker import worker


def of(code: str):
    return asyncio.run(worker("auto", (sys.executable, "-c", code)))


def test_a_worker_that_dies_is_told_with_its_last_words() -> None:
    one = of("import sys; print('libtorch is broken', file=sys.stderr); sys.exit(3)")
    assert one.state == "problem"
    assert one.says == "it exited with code 3; its last words: libtorch is broken"


def test_one_that_cannot_be_started_is_told() -> None:
    one = asyncio.run(worker("auto", ("/nonexistent/worker",)))
    assert one.state == "problem" and one.says.startswith("cannot start the worker")


def test_one_that_never_answers_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.3)
    assert "no answer within" in of("import time; time.sleep(60)").says


def test_one_that_cannot_load_is_told() -> None:
    code = (
        "import os, sys\n"
        "from scd_tui.worker.protocol import Failed, frame\n"
        "failed = Failed(request=1, kind='input', message='there is no device cuda:7: use auto or cpu')\n"
        "sys.stdout.buffer.write(frame(failed)); sys.stdout.flush(); sys.stdin.read()"
    )
    one = of(code)
    assert one.state == "problem" and "no device cuda:7" in one.says
