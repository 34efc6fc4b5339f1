"""How the bundled model is taught."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scd_tui.demo.recipe import Guide, Recipe
from scd_tui.demo.streams import Lesson
from scd_tui.demo.training import guidance, overlooked, schedule

GUIDE = Guide("answers", layer=0, heads=(0, 2))


def lesson(looks: list[int]) -> Lesson:
    answers = np.array([looks])
    return Lesson.of(
        np.zeros_like(answers), np.zeros(answers.shape, dtype=np.float32), answers=answers
    )


def attention(at: int, spent: float) -> torch.Tensor:
    """One window, three heads, four positions; head 1 never looks anywhere near."""
    found = torch.full((1, 3, 4, 4), (1 - spent) / 3)
    found[..., at] = spent
    found[:, 1] = 0.0
    return found


def test_a_guided_head_loses_the_logarithm_of_what_it_lacks() -> None:
    lost = overlooked(attention(1, 0.3), lesson([-1, -1, -1, 1]), GUIDE)
    assert float(lost) == pytest.approx(math.log(0.9 / 0.3), abs=1e-3)


def test_a_guided_head_that_looks_is_left_alone() -> None:
    assert float(overlooked(attention(1, 0.95), lesson([-1, -1, -1, 1]), GUIDE)) == 0.0


def test_nothing_is_asked_where_there_is_nothing_to_look_at() -> None:
    assert float(overlooked(attention(1, 0.1), lesson([-1, -1, -1, -1]), GUIDE)) == 0.0


def test_every_place_counts_alike_whatever_part_it_is_in() -> None:
    one = overlooked(attention(2, 0.3), lesson([-1, -1, 2, -1]), GUIDE)
    two = overlooked(attention(2, 0.3), lesson([-1, -1, 2, 2]), GUIDE)
    assert float(two) == pytest.approx(2 * float(one))


def test_guidance_ends_before_training_does() -> None:
    recipe = Recipe()
    assert guidance(0, recipe) == guidance(recipe.guided_steps, recipe) == recipe.guide_weight
    end = recipe.guided_steps + recipe.guide_fading_steps
    assert guidance(end, recipe) == guidance(recipe.model_steps, recipe) == 0.0
    assert end < recipe.model_steps
    assert 0 < guidance(end - 1, replace(recipe)) < recipe.guide_weight


def test_the_rate_warms_up_and_cools_down() -> None:
    rates = [schedule(step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates.index(max(rates)) in range(40, 60)
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)
