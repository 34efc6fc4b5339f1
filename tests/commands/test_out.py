"""`--out` of every command that has one: found from their parsers, so that a new one is tried too."""

import argparse
import os
import stat
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from tiny import write_dictionaries, write_model

from scd_tui.cli import main
from scd_tui.commands import COMMANDS
from scd_tui.graph import decode_circuit


def _outs(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions
        if any("out" in name for name in action.option_strings) and action.nargs != 0
    ]


def commands_with_out() -> dict[str, str]:
    """Each command that writes where it is told to, with the kind of place that it wants."""
    found = {}
    for name in ("app", *COMMANDS):
        module = import_module(f"scd_tui.commands.{name.replace('-', '_')}")
        if outs := _outs(module.make_parser()):
            assert [action.option_strings for action in outs] == [["--out"]]
            found[name] = str(outs[0].metavar)
    return found


def test_these_are_all_and_each_wants_a_file_or_a_folder() -> None:
    assert commands_with_out() == {"attribute": "FILE", "replicate-post": "DIR"}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each of them needs besides."""
    folder = tmp_path_factory.mktemp("model")
    model, dictionaries = folder / "model", folder / "dictionaries"
    write_model(model)
    write_dictionaries(dictionaries, 3, 32)
    which = ["--model", str(model), "--dictionaries", str(dictionaries)]
    return {
        "attribute": ["attribute", "the cat sat", "--no-gate", *which],
        "replicate-post": ["replicate-post", *which],
    }


FILES = [name for name, kind in commands_with_out().items() if kind == "FILE"]
FOLDERS = [name for name, kind in commands_with_out().items() if kind == "DIR"]


@pytest.mark.parametrize("command", FILES)
def test_a_file_is_written_to_where_its_path_leads(
    command: str,
    words: dict[str, list[str]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    link, target, pipe = tmp_path / "link", tmp_path / "target", tmp_path / "pipe"
    link.symlink_to("target")
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    printed = {}
    for out in (link, pipe, "/dev/null", "/dev/stdout", "-"):
        assert main([*words[command], "--out", str(out)]) == 0
        sys.stdout.flush()
        printed[str(out)] = capfd.readouterr().out
    reader.join()
    assert link.is_symlink() and stat.S_ISFIFO(pipe.lstat().st_mode)
    tree = printed["/dev/null"]
    whole = decode_circuit(target.read_bytes())
    assert decode_circuit(got[0]).nodes == whole.nodes
    assert decode_circuit(printed["-"].encode()).nodes == whole.nodes, "and no tree"
    assert printed[str(link)] == tree != "" and printed["/dev/stdout"].endswith(tree)
    assert decode_circuit(printed["/dev/stdout"].removesuffix(tree).encode()).nodes == whole.nodes


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("command", FILES)
@pytest.mark.parametrize("make", [_folder, _loop, None])
def test_what_is_no_file_is_refused_before_the_model_is_loaded(
    command: str,
    words: dict[str, list[str]],
    make: Callable[[Path], None] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "it" if make is not None else tmp_path / "none" / "it"
    if make is not None:
        make(path)
    monkeypatch.setattr(f"scd_tui.commands.{command.replace('-', '_')}.load_model", None)
    for out in (str(path), f"{path}/"):
        try:
            code = main([*words[command], "--out", out])
        except SystemExit as left:
            code = int(str(left.code))
        assert code == 2
        said = capsys.readouterr().err
        assert "cannot be written: " in said or "names a folder" in said
        assert "Traceback" not in said and said.strip().count("\n") <= 2


@pytest.mark.parametrize("command", FILES)
def test_what_took_long_is_printed_though_the_disk_is_full(
    command: str, words: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words[command], "--out", "/dev/full"]) == 1
    printed = capsys.readouterr()
    assert "resid_post.2" in printed.out
    assert printed.err.splitlines()[-1].endswith("there is no room on the disk")


@pytest.mark.parametrize("command", FOLDERS)
@pytest.mark.parametrize("name", ["file", "file/in", "pipe", "loop", "nowhere", "taken"])
def test_what_is_no_folder_is_refused_before_the_model_is_loaded(
    command: str,
    words: dict[str, list[str]],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("none")
    (tmp_path / "taken" / "report.md").mkdir(parents=True)
    monkeypatch.setattr(f"scd_tui.commands.{command.replace('-', '_')}.load_model", None)
    assert main([*words[command], "--out", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(tmp_path / name) in said
    assert "a file is in the way" in said or "is a folder" in said
    assert (tmp_path / "file").read_bytes() == b"old" and not (tmp_path / "none").exists()
