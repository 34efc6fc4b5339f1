import pytest
import torch
from attributing import metric_value
from tiny import PROMPT

from scd_tui.attribution.attribute import Reading
from scd_tui.attribution.metric import resolve_target, warnings
from scd_tui.attribution.model import LanguageModel
from scd_tui.errors import InputError
from scd_tui.graph import Completion, Metric, Target, Token, parse_node

LAST = -1
"""Stands for the id of the prompt's last token."""


@pytest.fixture
def logits(reading: Reading) -> torch.Tensor:
    return reading.cut.logits.detach()


def resolve(model: LanguageModel, reading: Reading, **wanted) -> Target:
    return resolve_target(model, reading.cut.tokens, reading.cut.logits.detach(), **wanted)


def test_the_metrics_are_their_definitions(
    tiny_model: LanguageModel, reading: Reading, logits: torch.Tensor
) -> None:
    last = logits[-1].double()
    expected = {
        "diff": last[7] - last[11],
        "logp": last.softmax(0)[7].log(),
        "logit": last[7] - last.sum() / len(last),
    }
    for metric, value in expected.items():
        contrast = 11 if metric == "diff" else None
        target = resolve(tiny_model, reading, target=7, contrast=contrast, metric=metric)
        assert float(metric_value(target, logits)) == pytest.approx(float(value), abs=1e-5)


def test_without_a_contrast_the_likeliest_other_token_is_taken_and_said_to_be_so(
    tiny_model: LanguageModel, reading: Reading, logits: torch.Tensor
) -> None:
    first, second = logits[-1].topk(2).indices.tolist()
    chosen = resolve(tiny_model, reading, target=first)
    assert chosen.contrast is not None and chosen.contrast.token.id == second
    assert chosen.contrast_is_default
    other = resolve(tiny_model, reading, target=second)
    assert other.contrast is not None and other.contrast.token.id == first
    named = resolve(tiny_model, reading, target=first, contrast=second)
    assert not named.contrast_is_default


def test_probabilities_are_those_of_the_position(
    tiny_model: LanguageModel, reading: Reading, logits: torch.Tensor
) -> None:
    target = resolve(tiny_model, reading, target=7, metric="logp", position=2)
    assert target.position == 2
    assert target.target.probability == pytest.approx(float(logits[2].softmax(0)[7]))
    assert resolve(tiny_model, reading, target=7, position=-1).position == len(logits) - 1


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"target": "the cat"}, "2 tokens"),
        ({"target": "question"}, "with a leading space, ' question'"),
        ({"target": ""}, "the target is empty"),
        ({"target": 99_999}, "there is no token 99999"),
        ({"target": -1}, "there is no token -1"),
        ({"target": 7, "contrast": "the cat"}, "the contrast 'the cat' is 2 tokens"),
        ({"target": 7, "contrast": 7}, "the contrast is the target itself"),
        ({"target": 7, "contrast": 8, "metric": "logp"}, "logp has no contrast"),
        ({"target": 7, "metric": "loss"}, "there is no metric 'loss'"),
        ({"target": 7, "position": 9}, "positions 0 to 8"),
        ({"target": 7, "position": -10}, "positions 0 to 8"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_sentence(
    tiny_model: LanguageModel, reading: Reading, wanted: dict, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        resolve(tiny_model, reading, **wanted)
    assert "\n" not in str(caught.value)


def test_a_saturated_log_probability_is_warned_of() -> None:
    sure = Completion(Token(1, "x"), 0.99, 3.0)
    assert "diff says more" in warnings(Target("logp", 0, sure))[0]
    assert not warnings(Target("logp", 0, Completion(Token(1, "x"), 0.5, 3.0)))
    assert not warnings(Target("diff", 0, sure, Completion(Token(2, "y"), 0.01, 1.0)))


@pytest.mark.parametrize("metric", ["diff", "logp", "logit"])
def test_a_target_of_several_tokens_is_the_sum_over_them_each_where_it_is_read(
    tiny_model: LanguageModel, reading: Reading, logits: torch.Tensor, metric: Metric
) -> None:
    ids = [token.id for token in reading.cut.tokens]
    wanted = (ids[-2], ids[-1], 7)
    against = (9, 10, 11) if metric == "diff" else None
    target = resolve(tiny_model, reading, target=wanted, contrast=against, metric=metric)
    assert target.positions == (len(ids) - 3, len(ids) - 2, len(ids) - 1)
    expected = 0.0
    for at, token, other in zip(target.positions, wanted, (9, 10, 11), strict=True):
        here = logits[at].double()
        expected += {
            "diff": float(here[token] - here[other]),
            "logp": float(here.log_softmax(0)[token]),
            "logit": float(here[token] - here.mean()),
        }[metric]
    assert float(metric_value(target, logits)) == pytest.approx(expected, abs=1e-4)
    assert parse_node(target.root).position == target.position


def test_each_token_of_several_is_held_against_the_likeliest_other_where_it_is_read(
    varied_model: LanguageModel,
) -> None:
    tokens = varied_model.prompt(PROMPT)
    logits = varied_model.forward(varied_model.ids(tokens))[0].detach()
    target = resolve_target(varied_model, tokens, logits, target=(tokens[-1].id, 7))
    assert target.contrast_is_default
    contrasts = []
    for step, here in zip(target.steps, logits[-2:], strict=True):
        best = [i for i in here.argsort(descending=True).tolist() if i != step.target.token.id]
        assert step.contrast is not None
        contrasts.append(step.contrast.token.id)
        assert contrasts[-1] == best[0]
        for one in (step.target, step.contrast):
            assert one.probability == pytest.approx(float(here.softmax(0)[one.token.id]))
    assert len(set(contrasts)) == 2


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"target": (1, 7)}, "follows the prompt: leave out the position"),
        (
            {"target": (LAST, 7), "contrast": (8,)},
            "the contrast has 1 token and the target 2 tokens",
        ),
        ({"target": (LAST, 7), "contrast": (LAST, 7)}, "the contrast is the target itself"),
        ({"target": ()}, "the target is empty"),
    ],
)
def test_several_tokens_that_do_not_fit_are_refused(
    tiny_model: LanguageModel, reading: Reading, wanted: dict, reason: str
) -> None:
    last_id = reading.cut.tokens[-1].id
    wanted = {k: tuple(last_id if i == LAST else i for i in v) for k, v in wanted.items()}
    with pytest.raises(InputError, match=reason):
        resolve(tiny_model, reading, **wanted)
