"""`scd-tui open`, up to where the app has it."""

from pathlib import Path
from typing import Any

import pytest
from circuits import ROOT, circuit_of

from scd_tui.cli import main
from scd_tui.graph import Circuit, Edge, Node, NodeId, encode_circuit
from scd_tui.history import Folds, Look, View
from scd_tui.saved import encode_saved

NODE = NodeId("resid_post.1/3@8")
CIRCUIT = circuit_of(Node(ROOT, 0.25, 0.0), Node(NODE, 0.5, 1.0), edges=(Edge(NODE, ROOT, 0.5),))
VIEW = View(
    *(((-1, "place:resid_post.1"),), ("place:resid_post.1",)),
    Look(least=0.1, only=frozenset([NODE])),
    {"token": Folds(((-1, "token:@8"),))},
)


@pytest.mark.parametrize("view", [VIEW, None])
def test_the_app_has_the_circuit_with_how_it_was_looked_at(
    view: View | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[Circuit, View | None]] = []

    def run_app(circuit: Circuit, view: View | None, **_: Any) -> int:
        opened.append((circuit, view))
        return 0

    monkeypatch.setenv("TERM", "xterm-256color")
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("scd_tui.tui.run.run_app", run_app)
    file = tmp_path / "saved.json"
    file.write_bytes(encode_circuit(CIRCUIT) if view is None else encode_saved(CIRCUIT, view))
    assert main(["open", str(file)]) == 0
    assert opened == [(CIRCUIT, view)]


def test_the_model_of_a_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder: the app is told absolute paths, as the worker may be started elsewhere."""
    given: list[str | None] = []

    def run_app(model: str | None, **_: Any) -> int:
        given.append(model)
        return 0

    monkeypatch.setenv("TERM", "xterm-256color")
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("scd_tui.tui.run.run_app", run_app)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    hook = tmp_path / "own" / "blocks.0.hook_mlp_out"
    hook.mkdir(parents=True)
    (hook / "cfg.json").write_text("{}")
    (tmp_path / "mine.toml").write_text(
        '[model]\nfolder = "model"\n[[set]]\nname = "own"\nfolder = "own"\n'
    )
    (tmp_path / "saved.json").write_bytes(encode_circuit(CIRCUIT))
    monkeypatch.chdir(tmp_path)
    assert main(["open", "saved.json", "--model", "mine.toml"]) == 0
    assert main(["open", "saved.json", "--model", "./model", "--dictionaries", "own"]) == 0
    assert main(["open", "saved.json"]) == 0
    assert main(["open", "saved.json", "--model", "nowhere.toml"]) == 2
    assert given == [f"{tmp_path}/mine.toml", f"{tmp_path}/model:{tmp_path}/own", None]
