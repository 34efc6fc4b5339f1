"""The README's tour, taken key by key in a real terminal: what it says is what the screen says."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminals import Terminal

from scd_tui.graph import decode_circuit

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
TOUR = README[README.index("## A ten-minute tour") : README.index("## What else it does")]
PROMPT = "When Mary and John went to the store, John gave a drink to"

NODE = re.compile(r"[a-z]\w*(\.\d+)?/\w+@\d+")

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
    names = {"enter": "Enter", "esc": "Escape"}
    return [names.get(key, key) for key in re.findall(r"`([^`]+)`", step(number).split(":")[0])]


def told(number: int) -> list[str]:
    """What a step says that is to be seen: all that it has in bold code."""
    return re.findall(r"\*\*`([^`]+)`\*\*", step(number))


def take(terminal: Terminal, number: int) -> None:
    before = terminal.screen()
    assert any(word not in before for word in told(number)), f"step {number} shows nothing new"
    for key in keys_of(number):
        if len(key) > 1 and not key[0].isupper():
            terminal.type(key)
            terminal.wait(key)
        else:
            terminal.press(key)
        # keys pressed while an answer is on its way would be about another row
        terminal.settle()
    # a node that is named is the one under the cursor, and what is said of it stands in its pane
    terminal.wait(*(f"─ {word} ─" if NODE.fullmatch(word) else word for word in told(number)))


def test_the_tour_is_told_as_it_is_seen(terminal: Terminal, folder: Path) -> None:
    assert PROMPT in step(1)
    terminal.wait("trust", *told(1))
    last = len(re.findall(r"^\d+\. ", TOUR, re.MULTILINE))
    assert last >= 8
    for number in range(2, last + 1):
        take(terminal, number)
    (file,) = folder.glob("circuit-demo-*.json")
    circuit = decode_circuit(file.read_bytes())
    effects = {node.id: (node.effect, node.exact) for node in circuit.nodes}
    largest = max(
        (node for node in circuit.nodes if node.id.startswith("resid_post.0/") and node.top),
        key=lambda node: abs(node.effect),
    )
    assert largest.id == "resid_post.0/626@1", "the strongest node of its site, as the tour says"
    assert effects[largest.id] == pytest.approx((-3.697, -3.320), abs=1e-3)
    for name in re.findall(r"`([a-z_]+[.\d]*/\w+@\d+)`", TOUR):
        assert name in effects, f"{name} was walked, and is not in the file"
