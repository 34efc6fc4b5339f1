"""What the original code could not see: edges that cross positions, on tasks where it is known which.

The bundled model's bracket, repetition and indirect-object prompts each have one earlier position
that attention must read from. The edges into what attention writes at the last position should say so,
and taking that position's strongest feature out should move the metric as the edges' scores say.
"""

from collections.abc import Callable

import pytest
import torch

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.attribute import Attribution, Reading, Scores, attribute, read, strongest
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.trust import strongest_features
from scd_tui.catalog.prompts import Prompt, prompts_dir, read_prompt_set
from scd_tui.graph import NodeId, NodeRef, Settings, Site, parse_node

OPENING, CLOSING = "([{", ")]}"


def opening_bracket(texts: list[str], target: str) -> set[int]:
    """The position of the innermost bracket that is still open."""
    still_open: list[int] = []
    for position, text in enumerate(texts):
        for character in text:
            if character in OPENING:
                still_open.append(position)
            elif character in CLOSING and still_open:
                still_open.pop()
    return {still_open[-1]}


def earlier_occurrence(texts: list[str], target: str) -> set[int]:
    """Where the last token stood before, and the token after it, which is what comes next again."""
    found = [p for p, text in enumerate(texts[:-1]) if text == texts[-1]]
    return {p + step for p in found for step in (0, 1)}


def indirect_object(texts: list[str], target: str) -> set[int]:
    """The name that is the answer, and the token after it."""
    return {p + step for p, text in enumerate(texts) if text == target for step in (0, 1)}


def attention_writes_at_the_end(reading: Reading, site: Site, scores: Scores) -> tuple[NodeId, ...]:
    """The circuit's nodes, as the app selects them, in what attention writes at the last position."""
    if site.kind != "attn_out":
        return ()
    last = len(scores.errors) - 1
    nodes = strongest(Settings().top)(reading, site, scores)
    return tuple(node for node in nodes if parse_node(node).position == last)


def weight_by_position(attribution: Attribution) -> torch.Tensor:
    """`[pos]`: Σ|w| of the edges into the selected attention nodes, by where they come from."""
    total = torch.zeros(len(attribution.reading.cut.tokens))
    for nodes in attribution.selected.values():
        for node in nodes:
            for place, scores in attribution.edges[node].items():
                total += scores.errors.abs() + scores.leaves.abs()
                if isinstance(place, Site):
                    positions = attribution.reading.encoded[place].positions
                    total.index_add_(0, positions, scores.features.abs())
    return total


def attribution_of(demo: LoadedModel, prompt: Prompt) -> Attribution:
    tokens = demo.model.prompt(prompt.text)
    reading = read(demo.model, tokens, demo.dictionaries)
    target = resolve_target(
        demo.model,
        tokens,
        reading.cut.logits.detach(),
        target=prompt.target,
        contrast=prompt.contrast,
    )
    return attribute(reading, target, attention_writes_at_the_end)


def strongest_at(attribution: Attribution, position: int) -> NodeRef:
    found = strongest_features(attribution, 100_000)
    return next(node for node in found if node.position == position)


def positions_read(
    demo: LoadedModel, name: str
) -> list[tuple[Attribution, Prompt, list[str], int]]:
    """For each prompt of a set the attribution, the token texts and the largest earlier position."""
    found = []
    for prompt in read_prompt_set(prompts_dir() / f"{name}.toml").prompts:
        attribution = attribution_of(demo, prompt)
        largest = int(weight_by_position(attribution)[:-1].argmax())
        texts = [token.text for token in attribution.reading.cut.tokens]
        found.append((attribution, prompt, texts, largest))
    return found


@pytest.mark.parametrize(
    ("name", "expected", "share"),
    [
        ("brackets", opening_bracket, 0.8),
        ("repeated", earlier_occurrence, 0.8),
        ("indirect_objects", indirect_object, 0.6),
    ],
)
def test_attention_reads_from_the_position_that_holds_the_answer(
    demo: LoadedModel, name: str, expected: Callable[[list[str], str], set[int]], share: float
) -> None:
    found = positions_read(demo, name)
    right = sum(largest in expected(texts, p.target) for _, p, texts, largest in found)
    assert right >= share * len(found), f"{right} of {len(found)}"


@pytest.mark.parametrize("name", ["brackets", "repeated", "indirect_objects"])
def test_taking_out_that_position_s_strongest_feature_moves_the_metric_as_predicted(
    demo: LoadedModel, name: str
) -> None:
    """In the predicted direction nearly always; by between half and twice as much in half of them."""
    found = positions_read(demo, name)
    right_way = near = 0
    for attribution, _, _, largest in found:
        node = strongest_at(attribution, largest)
        (measured,) = exact_effects(demo.model, attribution.reading, attribution.target, [node])
        ratio = measured[node] / attribution.effect(node.id)
        right_way += ratio > 0
        near += 0.5 <= ratio <= 2
    assert right_way >= 0.9 * len(found), f"{right_way} of {len(found)} in the right direction"
    assert near >= 0.5 * len(found), f"{near} of {len(found)} by half to twice as much"
