"""The README's tour, taken key by key in a real terminal: what it says is what the screen says.

Its pictures are taken on the way. `pytest --snapshot-update tests/test_tour.py` takes them anew.
"""

import html
import os
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from terminals import Terminal

from scd_tui.attribution.circuit import strongest_edges
from scd_tui.attribution.experiments import remove_together
from scd_tui.attribution.explain import Explanation, ablate, explain
from scd_tui.attribution.load import load
from scd_tui.catalog.models import DEFAULT_MODEL, find
from scd_tui.catalog.prompts import load_prompt_sets
from scd_tui.graph import decode_circuit, parse_node

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
TOUR = README[README.index("## A ten-minute tour") : README.index("## What else it does")]
PROMPT, AGAINST = "list [ girl [ cup [ white ] ]", "list { girl [ cup [ white ] ]"
WAY = (
    *("resid_post.3/791@8", "mlp_out.3/84@8", "attn_out.3/377@8"),
    *("resid_post.2/91@1", "resid_post.1/862@1", "resid_post.0/427@1"),
)
PICTURES = {4: "explorer", 5: "tour-edge", 9: "tour-together"}
"""What is taken after which step."""

NODE = re.compile(r"[a-z]\w*(\.\d+)?/\w+@\d+")
KEYS = {"enter": "Enter", "esc": "Escape", "tab": "Tab"}

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None and "CI" not in os.environ, reason="tmux is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def terminal(folder: Path) -> Iterator[Terminal]:
    program = Path(sys.executable).with_name("scd-tui")
    terminal = Terminal(folder, 140, 40, str(program), "--offline", PROMPT)
    yield terminal
    terminal.close()


def step(number: int) -> str:
    """The text of a step of the tour."""
    found = re.search(rf"^{number}\. (.*?)(?=^\d+\. |\Z)", TOUR, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the tour has no step {number}"
    return found[1]


def keys_of(number: int) -> list[str]:
    """The keys that a step begins with, as tmux calls them; longer ones are typed."""
    return [KEYS.get(key, key) for key in re.findall(r"`([^`]+)`", step(number).split(":")[0])]


def told(number: int) -> list[str]:
    """What a step says that is to be seen: all that it has in bold code."""
    return re.findall(r"\*\*`([^`]+)`\*\*", step(number))


def take(terminal: Terminal, number: int) -> None:
    before = terminal.screen()
    assert any(word not in before for word in told(number)), f"step {number} shows nothing new"
    for key in keys_of(number):
        if key not in KEYS.values() and len(key) > 1:
            terminal.type(key)
            terminal.wait(key)
        else:
            terminal.press(key)
        # keys pressed while an answer is on its way would be about another row
        terminal.settle()
    # a node that is named is the one under the cursor, and what is said of it stands in its pane
    terminal.wait(*(f"─ {word} ─" if NODE.fullmatch(word) else word for word in told(number)))


def lines_of(picture: str) -> list[str]:
    """The lines of text in a picture of the screen, without what is a matter of time."""
    rows: dict[float, dict[float, str]] = defaultdict(dict)
    for x, y, text in re.findall(
        r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', picture
    ):
        rows[float(y)][float(x)] = html.unescape(text).replace("\xa0", " ").rstrip()
    return [" ".join(row[x] for x in sorted(row)) for _, row in sorted(rows.items())]


def picture(terminal: Terminal, folder: Path, name: str, renew: bool) -> None:
    """Have the app save its screen, and hold that to what the README shows."""
    terminal.press(":")
    terminal.settle()
    terminal.type("screenshot")
    terminal.settle()
    terminal.press("Enter")
    path = folder / "scd-tui.svg"
    terminal.wait(path.name, lambda _: path.exists())
    taken = path.read_text("utf-8")
    path.unlink()
    kept = ROOT / "tests" / "tui" / "screenshots" / f"{name}.svg"
    if renew:
        kept.write_text(taken, "utf-8")
    assert f"({kept.relative_to(ROOT).as_posix()})" in README
    assert lines_of(taken) == lines_of(kept.read_text("utf-8")), f"{name}.svg shows another screen"


def test_the_tour_is_told_as_it_is_seen(
    terminal: Terminal, folder: Path, request: pytest.FixtureRequest
) -> None:
    assert f'"{PROMPT}"' in step(1) and AGAINST in keys_of(2)
    terminal.wait("trust", *told(1))
    last = len(re.findall(r"^\d+\. ", TOUR, re.MULTILINE))
    assert last >= 10
    renew = request.config.getoption("--snapshot-update", False)
    for number in range(2, last + 1):
        take(terminal, number)
        if number in PICTURES:
            picture(terminal, folder, PICTURES[number], renew)
    (file,) = folder.glob("circuit-demo-*.json")
    circuit = decode_circuit(file.read_bytes())
    assert circuit.contrast_prompt == AGAINST and set(circuit.marks.pins) == set(WAY)
    known = {node.id for node in circuit.nodes}
    edges = {(edge.source, edge.target) for edge in circuit.edges}
    way = (circuit.target.root, *WAY, "embed/token@1")
    assert set(way) <= known
    assert set(zip(way[1:], way[:-1], strict=True)) <= edges, "the way is of one piece"


@pytest.fixture(scope="module")
def asked() -> Explanation:
    sets = {one.name: one.prompts for one in load_prompt_sets()}
    (prompt,) = (one for one in sets["Brackets"] if one.text == PROMPT)
    assert prompt.contrast_prompt == AGAINST
    loaded = load(find(DEFAULT_MODEL), torch.device("cpu"), lambda *_: None)
    return explain(
        *(loaded, PROMPT),
        target=prompt.target,
        contrast=prompt.contrast,
        contrast_prompt=AGAINST,
    )


def strongest_way(explanation: Explanation) -> tuple[str, ...]:
    """From the metric along the strongest edge into each node, to where nothing leads further."""
    way: list[str] = [explanation.attribution.target.root]
    while edges := strongest_edges(explanation.attribution, way[-1], 5):
        way.append(max(edges, key=lambda edge: abs(edge.weight)).source)
        if parse_node(way[-1]).kind in ("token", "pos"):
            break
    return tuple(way[1:])


def says(explanation: Explanation, log_probabilities: torch.Tensor) -> str:
    return explanation.loaded.model.token(int(log_probabilities.argmax())).text


def test_the_way_is_that_of_the_strongest_edges_and_no_node_of_it_decides_alone(
    asked: Explanation,
) -> None:
    """What the tour says of ablations, by the engine itself."""
    assert strongest_way(asked) == (*WAY, "embed/token@1")
    for node in WAY:
        trial = ablate(asked, node)
        assert says(asked, trial.changed) == says(asked, trial.clean) == " ]"
        assert trial.predicted == pytest.approx(trial.exact, rel=0.15)
    together = remove_together(asked, WAY)
    assert says(asked, together.changed) == " }"
    assert (together.predicted, together.exact) == pytest.approx((1.799, 2.167), abs=1e-3)
