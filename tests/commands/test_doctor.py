"""The command in a process of its own: what it says is held to what the system says."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import torch
from forked import hears
from neuronpedia.loopback import running
from terminals import Terminal

from scd_tui import __version__
from scd_tui.config import config_path, state_path

Findings = dict[str, dict]


def doctor(*words: str, code: int = 0, **env: str) -> Findings:
    """Its findings by section and name."""
    done = subprocess.run(
        [sys.executable, "-m", "scd_tui", "doctor", "--json", *words],
        capture_output=True, text=True, timeout=120, env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, ""), (done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert report["version"] == __version__
    return {
        section["name"]: {one["name"]: one for one in section["findings"]}
        for section in report["sections"]
    }


def test_the_whole_of_it_is_what_the_system_says() -> None:
    state_path().joinpath("circuits").mkdir(parents=True, mode=0o700)
    state_path().joinpath("circuits", "a.jsonl").write_bytes(b"x" * 321)
    found = doctor(HF_HOME=str(state_path() / "hf"), LANG="C", LC_ALL="", LC_CTYPE="")
    assert set(found) == {"terminal", "folders", "network", "software", "device"}
    assert found["terminal"]["terminal"]["facts"]["terminal"] is False
    assert found["terminal"]["signs"]["facts"] == {"unicode": True}
    kept = found["folders"]["past circuits"]["facts"]
    assert (kept["path"], kept["bytes"], kept["files"], kept["mode"]) == (
        *(str(state_path() / "circuits"), 321, 1, 0o700),
    )
    free = shutil.disk_usage(state_path()).free
    assert abs(kept["free"] - free) < 0.2 * free
    downloads = found["folders"]["downloads"]["facts"]
    assert downloads["path"] == str(state_path() / "hf" / "hub") and not downloads["exists"]
    assert found["software"]["packages"]["facts"]["torch"] == version("torch")
    device = found["device"]
    assert device["processors"]["facts"]["cpus"] == os.cpu_count()
    assert device["memory"]["facts"]["total"] == psutil.virtual_memory().total
    assert device["torch"]["facts"]["cuda"] == torch.version.cuda
    worker = device["worker"]
    assert worker["state"] == "ok", worker
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert worker["facts"]["device"].startswith(expected)
    assert 0 < worker["facts"]["first_answer"] <= worker["facts"]["loaded"]


def test_what_is_wrong_with_the_configuration_is_told_and_stops_nothing() -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text("theme = 3")
    found = doctor("--no-device", NO_COLOR="1")
    assert "cannot be used" in found["folders"]["its contents"]["says"]
    assert found["terminal"]["colours"]["facts"]["colours"] is None
    assert "device" not in found
    config_path().write_text('theme = "no-such"\nmouse = "on"')
    found = doctor("--no-device", SSH_CONNECTION="10.0.0.1 1 10.0.0.2 22")
    assert found["folders"]["its contents"]["says"] == "there is no theme 'no-such'"
    assert found["terminal"]["mouse"]["facts"] == {"mouse": True}


@pytest.mark.skipif(sys.platform != "linux", reason="there is a folder that root cannot write to")
def test_a_state_folder_that_cannot_be_written_is_told() -> None:
    found = doctor("--no-device", XDG_STATE_HOME="/proc")
    assert found["folders"]["past circuits"]["state"] == "warn"
    assert not found["folders"]["past circuits"]["facts"]["writable"]


def test_what_stops_the_app_is_exit_code_1() -> None:
    found = doctor("--no-device", code=1, NEURONPEDIA_BASE_URL="http://example.org")
    assert found["network"]["neuronpedia"]["state"] == "problem"


@pytest.mark.parametrize("seconds", [0, 0.4, 1.5])
def test_ctrl_c_ends_it_and_what_it_started(seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "scd_tui", "doctor"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not hears(process.pid, signal.SIGTERM) and process.poll() is None:
        time.sleep(0.001)  # until then Python itself is starting
    time.sleep(seconds)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130 and err in (b"", b"scd-tui doctor: interrupted\n")
    end = time.monotonic() + 10
    while any(map(_runs, children)):
        assert time.monotonic() < end, children
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    """Not so one that ended and that nobody has asked about: its parent is gone."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_the_network_is_used_when_it_is_asked_for_and_not_before() -> None:
    with running() as service:
        env = {
            "NEURONPEDIA_BASE_URL": service.url,
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "NO_PROXY": "*",
        }
        assert "network, asked" not in doctor("--no-device", **env)
        assert service.requests == []
        found = doctor("--no-device", "--network", **env)["network, asked"]
        assert found["neuronpedia asked"]["facts"]["reached"] is True
        assert found["hub asked"]["state"] == "warn"
        assert len(service.requests) == 1


@pytest.mark.skipif(
    shutil.which("tmux") is None and "CI" not in os.environ, reason="tmux is not installed"
)
def test_in_tmux_it_is_read_off_the_screen(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("scd-tui")
    terminal = Terminal(tmp_path, 90, 50, str(program), "doctor", "--no-device")
    try:
        screen = terminal.wait("left with 0")
    finally:
        terminal.close()
    words = " ".join(screen.split())
    assert "ok size 90×50" in words
    assert "by tmux, and to the terminal (OSC 52)" in words and "set-clipboard external" in words
    assert "24-bit colours (COLORTERM=truecolor)" in words
    assert "nothing stops the app, " in words
    assert max(map(len, screen.splitlines())) <= 90
