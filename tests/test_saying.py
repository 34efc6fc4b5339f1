"""What is said and printed: no text from outside moves a cursor, changes a colour or fakes a line."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from circuits import ROOT, TARGET, circuit_of
from forked import Forks, Ran
from hostile import HOSTILE, unclean
from msgspec.structs import replace

from scd_tui.commands import COMMANDS
from scd_tui.console import CleanConsole
from scd_tui.graph import Completion, Node, Token, encode_circuit
from scd_tui.saying import as_json, clean_lines, safe_json, say, sentence

LIGHT = [f"scd_tui.commands.{name.replace('-', '_')}" for name in ("app", *COMMANDS)]
NAME = HOSTILE[0].replace("/", "") + "\nscd-tui: \u202e\x9b31m[bold]"
"""Of a file or folder: everything that a path can hold."""


@pytest.fixture(scope="module")
def forks(elsewhere: None) -> Iterator[Forks]:
    with Forks("scd_tui.cli", "scd_tui.console", "rich.table", *LIGHT) as made:
        yield made


@pytest.mark.parametrize("text", HOSTILE)
def test_a_sentence_is_one_line_of_text(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say("scd-tui", text)
    said = capsys.readouterr().err
    assert said.startswith("scd-tui: ") and said.count("\n") == 1 and not unclean(said)
    assert sentence(sentence(text)) == sentence(text)
    assert sentence("é “kept” − 5 %") == "é “kept” − 5 %"
    assert len(sentence("\x1b" * 100_000)) <= 2000


@pytest.mark.parametrize("text", HOSTILE)
def test_json_is_safe_on_a_terminal_and_the_same_data(text: str) -> None:
    value = {text: ["é日本語", text, "\U000e0001\ud83d\ude00"[:1]]}
    assert not unclean(as_json(value)) and json.loads(as_json(value)) == value
    assert json.loads(safe_json(json.dumps("\udcff\x7f", ensure_ascii=False))) == "\udcff\x7f"


def test_a_console_draws_its_own_colours_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    console = CleanConsole(force_terminal=True, color_system="standard", width=500)
    for text in (*HOSTILE[:2], *HOSTILE[3:]):
        console.print(text, style="red")
    printed = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert printed.count("\x1b[31m") == len(HOSTILE) - 1 and "[bold red]markup[/]" in printed
    assert not unclean(printed.replace("\x1b[31m", ""), terminal=True)
    assert clean_lines("a\nb") == "a\nb"


def test_warnings_and_logs_of_libraries_are_lines_of_text(forks: Forks) -> None:
    code = (
        "import scd_tui.commands.config as c, logging, warnings, sys\n"
        f"texts = {HOSTILE!r}\n"
        "def run(words):\n"
        "    for text in texts:\n"
        "        warnings.warn(text)\n"
        "        logging.getLogger('x').warning('%s', text)\n"
        "        logging.getLogger('x').warning(text)\n"
        "    print(texts[0], file=sys.stderr)\n"
        "    print(texts[0])\n"
        "    return 0\n"
        "c.run = run"
    )
    ran = forks.run("config", code=code)
    assert ran.code == 0 and not unclean(ran.out + ran.err)
    assert len(ran.err.splitlines()) == 3 * len(HOSTILE) + 1
    assert logging.getLogRecordFactory() is logging.LogRecord and warnings.showwarning  # here


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose configuration and models are hostile."""
    config = tmp_path / "config" / "scd-tui"
    (config / "models").mkdir(parents=True)
    lines = [f"theme = {toml(HOSTILE[0])}", f"model = {toml(HOSTILE[2])}"]
    lines += ["[keys]", f"{toml(HOSTILE[1])} = {toml(HOSTILE[3])}"]
    (config / "config.toml").write_text("\n".join(lines))
    for n, text in enumerate(HOSTILE):
        name = text.replace("/", "")
        (config / "models" / f"{name}.toml").write_text(
            f'[model]\nrepo = "x/y"\nlicence = {toml(text)}\n[[set]]\nname = {toml(text)}\n'
            * (n % 2)
        )
    return tmp_path


def toml(text: str) -> str:
    """A TOML string; JSON's escapes are its own."""
    return json.dumps(text)


def hostile_circuit() -> bytes:
    """A circuit in which every text is hostile."""
    completion = Completion(Token(7, HOSTILE[0]), 0.5, 1.0)
    made = circuit_of(Node(ROOT, 0.25, 0.25, top=True), edges=())
    return encode_circuit(
        replace(
            made,
            prompt=HOSTILE[2],
            tokens=tuple(Token(n, HOSTILE[n % len(HOSTILE)]) for n in range(9)),
            model=replace(made.model, name=HOSTILE[0], dictionaries=HOSTILE[4], device=HOSTILE[3]),
            target=replace(TARGET, target=completion),
            completions=(completion,),
        )
    )


def test_no_command_lets_anything_through(forks: Forks, home: Path) -> None:
    """Each with hostile names, files, settings and environment, as far as it comes without a model."""
    file = home / f"{NAME}.json"
    file.write_bytes(hostile_circuit())
    other = home / f"{NAME}.toml"
    other.write_text(f"name = {toml(HOSTILE[0])}\n{toml(HOSTILE[1])} = 1")
    folder = home / NAME
    (folder / NAME).mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({text: text for text in HOSTILE}))
    (folder / NAME / "cfg.json").write_text(json.dumps({"hook_name": HOSTILE[0]}))
    paths = [str(path) for path in (file, other, folder)]
    calls = [["config"], ["config", "--path"], ["models"], ["models", "--json"]]
    calls += [
        ["explanations", "--status"],
        ["doctor", "--no-device"],
        ["--print-completion", "zsh"],
    ]
    calls += [["open", paths[0], "--print"], ["diff", paths[0], paths[0]], ["open", paths[0]]]
    calls += [["diff", paths[0], paths[0], "--json"], ["doctor", "--no-device", "--json"]]
    calls += [["attribute", "x", "--model", paths[2], "--dictionaries", paths[2]]]
    for n, command in enumerate(("app", *COMMANDS)):
        words = [] if command == "app" else [command]
        # which would go on to the bundled model and take seconds
        words += ["--model", "/no/such"] if command == "attribute" else []
        texts = (*HOSTILE, *paths, "/no/" + NAME)
        for m in range(3):
            text = texts[(3 * n + m) % len(texts)]
            calls += [[*words, text], [*words, "--model", text], [*words, f"--{text}"]][m : m + 1]
    environment = {
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / NAME),
        "NEURONPEDIA_BASE_URL": HOSTILE[0],
        "HF_ENDPOINT": HOSTILE[1],
        "HF_HOME": str(home / NAME),
        "TERM": HOSTILE[1],
        "LANG": HOSTILE[4],
        "TMUX": HOSTILE[0],
        "TERM_PROGRAM": HOSTILE[5],
    }
    wrong = []
    for words in calls:
        ran = forks.run(*words, env=environment, seconds=20)
        if fault := told(ran):
            wrong.append((words, fault, ran.err[-300:]))
    assert not wrong


def told(ran: Ran) -> str:
    """What is wrong with what was printed and said; "" if nothing."""
    if ran.code not in (0, 1, 2):
        return f"exit code {ran.code}"
    if "Traceback" in ran.err or "SCD_TUI_TRACEBACK" in ran.err:
        return "an exception's name"
    if any(not line.startswith("scd-tui") for line in ran.err.splitlines()):
        return "a line that is no sentence of ours"
    return unclean(ran.out.replace("\t", " ") + ran.err)
