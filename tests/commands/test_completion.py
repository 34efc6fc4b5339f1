"""The scripts, read by the shells that they are for."""

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from scd_tui.catalog.models import names
from scd_tui.cli import main
from scd_tui.commands import COMMANDS


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A file with the script for a shell."""

    def of(shell: str) -> Path:
        assert main(["--print-completion", shell]) == 0
        path = tmp_path / f"_scd-tui.{shell}"
        path.write_text(capsys.readouterr().out)
        return path

    return of


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_its_arguments(command: str) -> None:
    made = import_module(f"scd_tui.commands.{command.replace('-', '_')}").make_parser()
    assert made.prog == f"scd-tui {command}" and made.description


def in_bash(script: Path, folder: Path, *words: str) -> set[str]:
    """What bash offers in place of the last word."""
    code = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        $(complete -p scd-tui | sed 's/.*-F \\([^ ]*\\).*/\\1/') scd-tui "${!#}" "${@:$#-1:1}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", str(script), "scd-tui", *words],
        capture_output=True, text=True, cwd=folder, timeout=20,
    )  # fmt: skip
    assert done.stderr == "", done.stderr
    return set(done.stdout.split())


def test_bash_offers_commands_options_values_models_and_files(script, tmp_path: Path) -> None:
    path = script("bash")
    (tmp_path / "mary.json").touch()
    assert in_bash(path, tmp_path, "va") == {"validate"}
    assert set(COMMANDS) <= in_bash(path, tmp_path, "")
    assert "--print-completion" in in_bash(path, tmp_path, "--print")
    assert in_bash(path, tmp_path, "attribute", "--met") == {"--metric", "--method"}
    assert in_bash(path, tmp_path, "attribute", "--metric", "") == {"diff", "logp", "logit"}
    assert in_bash(path, tmp_path, "check", "gpt2") == {"gpt2-small"}
    assert in_bash(path, tmp_path, "download", "") >= set(names())
    assert "mary.json" in in_bash(path, tmp_path, "validate", "ma")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_offers_commands(script, tmp_path: Path) -> None:
    """In a zsh of its own, typed at: its completion runs in no other way."""
    from terminals import Terminal

    path = script("zsh")
    folder = tmp_path / "functions"
    folder.mkdir()
    path.rename(folder / "_scd-tui")
    (tmp_path / ".zshrc").write_text(
        f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -u; PS1='> '\n"
    )
    terminal = Terminal(tmp_path, 100, 40, "env", f"ZDOTDIR={tmp_path}", "zsh", "-i")
    try:
        terminal.wait(">")
        terminal.type("scd-tui valid")
        terminal.press("Tab")
        terminal.wait("scd-tui validate")
        terminal.press("C-u")
        terminal.type("scd-tui attribute x --metr")
        terminal.press("Tab")
        terminal.wait("--metric")
        terminal.press("Tab")
        terminal.wait("logp", "logit")
    finally:
        terminal.close()


def test_the_library_is_not_loaded_for_help() -> None:
    code = (
        "import sys; from scd_tui.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert 'shtab' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
