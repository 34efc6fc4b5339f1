"""The command as a user calls it. In this process where a model is needed, so that torch loads once."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from scd_tui import __version__
from scd_tui.catalog.prompts import prompts_dir
from scd_tui.cli import main
from scd_tui.commands import COMMANDS
from scd_tui.curves import Validation
from scd_tui.export.curves import number
from scd_tui.graph import Circuit, decode_circuit, parse_node
from scd_tui.pruning import pruned

PROMPTS = prompts_dir() / "post.toml"
PROMPT = "When Mary and John went to the store, John gave a drink to"


def command(*words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scd_tui", *words],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def test_help_and_version_come_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from scd_tui.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'textual', 'rich', 'numpy', 'transformers', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in (
        *(f"scd-tui {command} " for command in COMMANDS),
        "--model",
        "--device",
    ):
        assert word in done.stdout
    version = command("--version")
    assert (version.returncode, version.stdout) == (0, f"scd-tui {__version__}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["attribute"], "no prompt was given"),
        (["attribute", "x", "--prompt-file", "-"], "given twice"),
        (["attribute", "x", "--prompt-file", "/nonexistent"], "given twice"),
        (["attribute", "--prompt-file", "/nonexistent"], "/nonexistent cannot be read"),
        (["attribute", "x", "--model", "dmo"], "no model 'dmo': use demo"),
        (
            ["attribute", "Mary", "went"],
            "a prompt is one argument: put quotes around it, 'Mary went'",
        ),
        (["Mary", "went", "home"], "put quotes around it, 'Mary went home'"),
        (
            ["validat", "x.json"],
            "did you mean `scd-tui validate x.json`? A prompt of that word goes",
        ),
        (["Models"], "did you mean `scd-tui models`?"),
        (["docter"], "behind two dashes: `scd-tui -- docter`"),
        (["--device", "cpu", "open", "x.json"], "did you mean `scd-tui open x.json`?"),
        (["plot", "x.json"], "there is no command 'plot', and a prompt is one argument"),
        (["--", "validat", "x"], "put quotes around it, 'validat x'"),
        (["attribute", "x", "--out", "/nonexistent/f"], "its folder does not exist"),
        (["x", "--model", "dmo"], "no model 'dmo': use demo"),
        (["open", "/nonexistent"], "/nonexistent cannot be read: No such file or directory"),
        (["diff", "/nonexistent", "x"], "/nonexistent cannot be read: No such file or directory"),
        (["trust", "/nonexistent.toml"], "cannot be read: No such file"),
        (["check", "dmo"], "no model 'dmo': use demo"),
        (["check", "--text", "/nonexistent"], "/nonexistent cannot be read"),
        (
            ["bench", "--model", "dmo"],
            "no model 'dmo': use demo (or, with random weights, gpt2-shape",
        ),
        (["validate", "/nonexistent"], "/nonexistent cannot be read: No such file or directory"),
        (["validate", str(PROMPTS)], "cannot be opened: not a circuit file"),
    ],
)
def test_a_wrong_call_gets_one_line_and_exit_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("scd-tui")
    assert said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["attribute", "x", "--top", "0"], "argument --top: '0' is no number from 1 on"),
        (["attribute", "x", "--top", "many"], "argument --top: 'many' is no number from 1 on"),
        (["attribute", "x", "--metric", "loss"], "argument --metric: invalid choice: 'loss'"),
        (["attribute", "x", "--node-share", "0"], "--node-share: '0' is no share from 0 to 1"),
        (["open", "x", "--prune", "--edge-share", "1.5"], "'1.5' is no share from 0 to 1"),
        (["open"], "the following arguments are required: FILE"),
        (["check", "--tokens", "0"], "'0' is no number from 1 on"),
        (["bench", "--top", "0"], "'0' is no number from 1 on"),
        (["--nope"], "there is no option --nope"),
    ],
)
def test_arguments_that_do_not_parse_end_with_code_2_and_a_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    command = "scd-tui" if words[0].startswith("-") else f"scd-tui {words[0]}"
    assert line.startswith(f"{command}: ") and said in line
    assert line.endswith(f"({command} --help lists what there is)")


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (
            ["attribute", "--prompt-file", "-"],
            b"caf\xe9",
            "standard input cannot be read: it is",
        ),
        (["attribute", "--prompt-file", "-"], b"", "the prompt is empty"),
        (["attribute", os.fsdecode(b"caf\xe9")], b"", "the prompt is not UTF-8 text"),
        (["attribute", "x", "--target", os.fsdecode(b"\xff")], b"", "the target is not UTF-8 text"),
    ],
)
def test_what_is_no_text_is_a_wrong_call(words: list[str], stdin: bytes, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scd_tui", *words], input=stdin, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith("scd-tui attribute: " + said)
    assert done.stderr.count(b"\n") == 1


def test_output_that_cannot_be_written_is_one_line(saved: Path) -> None:
    def printed(**options) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, "-m", "scd_tui", "open", str(saved), "--print"]
        return subprocess.run(words, stderr=subprocess.PIPE, timeout=60, **options)

    latin = printed(stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert (latin.returncode, latin.stderr) == (0, b"") and b"resid_post.3" in latin.stdout
    if Path("/dev/full").exists():
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            done = printed(stdout=full)
        assert done.returncode == 1
        assert done.stderr == (
            b"scd-tui open: standard output cannot be written: No space left on device\n"
        )
    closed = printed(preexec_fn=lambda: os.close(1))
    assert closed.returncode == 1 and closed.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--", "validat"],
        ["--", "open"],
        ["trust me"],
        ["open the box"],
        ["Hello"],
        ["日本語"],
        ["--prompt-file", str(PROMPTS)],
    ],
)
def test_what_is_a_prompt_goes_to_the_app(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setenv("TERM", "xterm-256color")
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("scd_tui.tui.run.run_app", lambda prompt, **_: asked.append(prompt) or 0)
    assert main(words) == 0
    assert asked == [
        words[-1] if "--prompt-file" not in words else PROMPTS.read_text().rstrip("\n")
    ]


def test_the_app_refuses_a_pipe_and_says_what_works_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = command("Copyright (C", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert "scd-tui attribute" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["", "--target", ")"], "the prompt is empty"),
        (["a" * 2000 + "!? " * 80], "and the model reads 64"),
        ([PROMPT, "--target", " Mary Mary", "--contrast", " John"], "the contrast has 1 token"),
        ([PROMPT, "--target", " Mary", "--contrast", " Mary"], "the contrast is the target itself"),
        ([PROMPT, "--target", " Mary", "--position", "99"], "there is no position 99"),
        ([PROMPT, "--device", "tpu"], "is not a device"),
        ([PROMPT, "--metric", "logp", "--target", " Mary", "--contrast", " John"], "no contrast"),
    ],
)
def test_what_the_model_cannot_do_is_a_wrong_call_too(
    words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["attribute", *words]) == 2
    out, err = capfd.readouterr()
    complaints = [line for line in err.splitlines() if line.startswith("scd-tui attribute: ")]
    assert out == "" and len(complaints) == 1
    assert said in complaints[0]
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "circuit.json"
    assert (
        main(["attribute", PROMPT, "--target", " Mary", "--contrast", " John", "--out", str(path)])
        == 0
    )
    return path


def test_a_saved_circuit_is_whole_and_its_owner_s_alone(saved: Path) -> None:
    circuit = decode_circuit(saved.read_bytes())
    assert circuit.prompt == PROMPT
    assert "".join(token.text for token in circuit.tokens) == PROMPT
    assert circuit.target.target.token.text == " Mary"
    assert circuit.trust is not None and circuit.trust.overall.n == 100
    assert len(circuit.sites) == len(circuit.model.sites) == 12
    assert circuit.explanations
    tops = [n for n in circuit.nodes if n.top and parse_node(n.id).kind != "root"]
    assert all(n.exact is not None for n in tops)
    assert any(parse_node(e.source).kind == "token" for e in circuit.edges)
    assert saved.stat().st_mode & 0o777 == 0o600


def test_json_on_stdout_is_what_is_saved(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attribute", PROMPT, "--target", " Mary", "--contrast", " John", "--json"]) == 0
    printed, kept = json.loads(capsys.readouterr().out), json.loads(saved.read_bytes())
    printed.pop("seconds"), kept.pop("seconds")
    assert printed == kept


def test_the_prompt_can_come_from_a_file(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text(PROMPT + "\n")
    assert main(["attribute", "--prompt-file", str(file), "--json", "--top", "2"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["prompt"] == PROMPT
    per_site = [n for n in printed["nodes"] if n["id"].startswith("mlp_out.1/") and n["top"]]
    assert len(per_site) == 3


def test_a_saved_circuit_is_printed_without_any_model(saved: Path) -> None:
    code = (
        "import sys; from scd_tui.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "assert not {'torch', 'transformers', 'sae_lens'} & set(sys.modules)\n"
        "raise SystemExit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "open", str(saved), "--print"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "' Mary'" in done.stdout and "resid_post.3" in done.stdout and "exact" in done.stdout


def test_a_saved_circuit_is_pruned_as_it_is_printed(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = decode_circuit(saved.read_bytes())
    left = pruned(whole, 0.5, 0.9, summed=True)
    options = ("--prune", "--node-share", "0.5", "--edge-share", "0.9", "--sum-positions")
    assert main(["open", str(saved), "--print", *options]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"to {left.size} of {whole.size} nodes" in out
    assert "by 50% and 90% of influence, each feature at all its positions together" in out
    found = attributed(
        *(capsys, PROMPT, "--target", " Mary", "--contrast", " John"), *options, "--top", "10"
    )
    assert found.pruned == left.pruned
    assert [node.id for node in found.nodes] == [node.id for node in left.nodes]


@pytest.mark.parametrize(
    "how", [["--node-share", "0.5"], ["--edge-share", "0.9"], ["--sum-positions"]], ids=str
)
def test_saying_how_to_prune_is_saying_to_prune(
    saved: Path, how: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["open", str(saved), "--print", *how]) == 0
    alone = capsys.readouterr().out
    assert main(["open", str(saved), "--print", "--prune", *how]) == 0
    assert capsys.readouterr().out == alone and "pruned to" in alone


def test_a_file_that_is_no_circuit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.json"
    file.write_text("{}")
    assert main(["open", str(file)]) == 2
    assert "cannot be opened: not a circuit file" in capsys.readouterr().err


def test_a_saved_circuit_is_validated(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed is what `--json` prints, and all features with their errors are the model."""
    text = tmp_path / "mine.txt"
    text.write_text("The keys that the man holds are in the box. " * 20)
    assert main(["validate", str(saved), "--text", str(text), "--json"]) == 0
    found = msgspec.json.decode(capsys.readouterr().out, type=Validation)
    circuit = decode_circuit(saved.read_bytes())
    assert (found.prompt, found.target) == (PROMPT, circuit.target)
    assert found.metric_value == pytest.approx(circuit.metric_value, rel=1e-5)
    assert found.text == "mine.txt" and 64 <= found.text_tokens < 400
    first = found.columns[0]
    assert (first.nodes, first.baseline, first.errors) == ("features", "zero", True)
    assert first.count == sum(site.active for site in circuit.sites)
    assert first.curve is not None
    assert first.curve.faithfulness[-1] == pytest.approx(1.0, abs=1e-3)
    assert found.notes == (
        f"the metric and the effects of the file's {circuit.size} nodes, computed again, are the same",
    )

    assert main(["validate", str(saved), "--text", str(text)]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    start = rows.index(["faithfulness"]) + 1
    for n, size in enumerate(first.curve.sizes[:-1]):
        values = [c.curve.faithfulness[n] for c in found.columns if c.curve is not None]
        assert rows[start + n] == [str(size), *map(number, values)]
    assert "over " + str(found.text_tokens) + " tokens of mine.txt" in out
    assert "\x1b" not in out and "┤" in out


def test_a_circuit_of_another_revision_is_not_validated(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.json"
    revision = decode_circuit(saved.read_bytes()).model.revision
    file.write_bytes(saved.read_bytes().replace(revision.encode(), b"0123456789ab"))
    assert main(["validate", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "made with revision '0123456789ab' of the model of demo" in err
    assert main(["validate", str(saved), "--text", "/nonexistent"]) == 2
    assert "/nonexistent cannot be read" in capsys.readouterr().err


def test_hostile_prompts_are_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attribute", "[red]a[/] [@click=app.quit]b \x1b[31m", "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "[red]a[/] [@click=app.quit]b \\x1b[31m" in out
    assert "\x1b[31m" not in out


def attributed(capsys: pytest.CaptureFixture[str], *words: str) -> Circuit:
    assert main(["attribute", *words, "--json"]) == 0
    return decode_circuit(capsys.readouterr().out.encode())


def test_a_continuation_and_a_target_of_several_tokens_are_asked_about_after_the_prompt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    two = attributed(capsys, PROMPT, "--target", " Mary.", "--metric", "logp", "--top", "2")
    assert "".join(token.text for token in two.tokens) == PROMPT + " Mary"
    assert (two.forced, two.target.text, len(two.target.positions)) == (1, " Mary.", 2)
    second = attributed(capsys, PROMPT, "--continuation", "2", "--top", "2")
    assert second.tokens == two.tokens
    assert second.target.position == len(second.tokens) - 1
    assert second.target.target == second.completions[0]


def test_each_line_says_after_which_text_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def head(*words: str) -> list[str]:
        assert main(["attribute", *words, "--top", "1"]) == 0
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[:4]]

    two = head(PROMPT, "--target", " Mary.", "--metric", "logp")
    assert two[1:3] == [f"prompt {PROMPT}", "then ' Mary' was put after it"]
    assert two[3].startswith("next after the prompt: ' Mary' 99.9%")
    second = head(PROMPT, "--continuation", "2")
    assert second[2] == "then ' Mary' was put after it"
    assert second[3].startswith("next after the prompt and ' Mary': '.'")
    assert head(PROMPT, "--position", "1")[2].startswith("next after token 1, ' Mary': ' and'")
    assert head(PROMPT)[2].startswith("next ' Mary' 99.9%")


def test_a_prompt_whose_tokens_split_characters_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["attribute", "日本語で😀", "--target", "日本", "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "prompt 日本語で😀"
    assert "metric logit of '日本' (" in "".join(lines)


def test_exact_effects_are_not_held_to_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attribute", "Copyright (C", "--method", "exact", "--top", "1"]) == 0
    (trust,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("trust"))
    assert trust.startswith("trust  effects are exact; 0.") and trust.endswith(" edges")


def test_the_other_settings_are_kept_in_the_file_and_change_what_is_found(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = decode_circuit(saved.read_bytes())
    asked = (PROMPT, "--target", " Mary", "--contrast", " John")
    swapped = "When John and Mary went to the store, John gave a drink to"
    for words, field, value in (
        (["--method", "integrated"], "method", "integrated"),
        (["--freeze-patterns"], "freeze_patterns", True),
        (["--skip-first"], "skip_first", True),
    ):
        found = attributed(capsys, *asked, *words)
        assert getattr(found.settings, field) == value
        assert {n.id: n.effect for n in found.nodes} != {n.id: n.effect for n in plain.nodes}
    assert attributed(capsys, *asked, "--sinks").settings.sinks
    found = attributed(capsys, *asked, "--contrast-prompt", swapped)
    assert found.contrast_prompt == swapped
    assert [t.text for t in found.contrast_tokens[1:4]] == [" John", " and", " Mary"]
    # the names' places differ between the prompts, the word between them does not
    assert {parse_node(n.id).position for n in found.nodes if n.id.startswith("embed/token")} <= {
        1,
        3,
    }


def test_streamed_dictionaries_make_the_same_circuit(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = attributed(capsys, PROMPT, "--target", " Mary", "--contrast", " John", "--stream")
    kept = decode_circuit(saved.read_bytes())
    assert [n.id for n in found.nodes if n.top] == [n.id for n in kept.nodes if n.top]
    effects = {n.id: n.effect for n in kept.nodes}
    assert all(n.effect == pytest.approx(effects[n.id], abs=1e-4) for n in found.nodes if n.top)


def test_the_readme_s_example_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    told = re.search(r"`scd-tui (attribute [^`]*)` begins with\n\n```\n(.*?)\n…\n```", readme, re.S)
    assert told is not None
    assert main(shlex.split(told[1])) == 0
    assert capsys.readouterr().out.splitlines()[: len(told[2].splitlines())] == told[2].splitlines()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
)
def test_memory_that_runs_out_is_said_without_an_exception_s_name(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: object) -> int:
        raise error

    monkeypatch.setattr("scd_tui.commands.models.run", fail)
    assert main(["models"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("scd-tui models: there is not enough memory") and "Error" not in said
