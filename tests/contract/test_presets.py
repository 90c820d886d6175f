"""Promises that every preset of a recipe keeps."""

import runpy
from pathlib import Path

import pytest

from cnas.curricula import Progress
from cnas.runs.config import RunConfig

RECIPES = Path(__file__).parents[2] / "recipes"


PRESETS = [
    pytest.param(path.stem, name, preset, id=f"{path.stem}-{name}")
    for path in sorted(RECIPES.glob("*_cl_*.py"))
    for name, preset in runpy.run_path(str(path))["PRESETS"].items()
]


@pytest.mark.parametrize(("recipe", "name", "preset"), PRESETS)
def test_the_weights_are_refreshed_three_times_before_the_last_epoch(recipe, name, preset):
    config = preset()
    curriculum, epochs = config.curriculum, config.trainer.num_train_epochs
    assert curriculum.num_candidates > 0
    between_epochs = sum(curriculum.due(Progress(epoch, epochs, 0)) for epoch in range(epochs))
    assert config.curriculum.refresh == "step" or between_epochs >= 3


@pytest.mark.parametrize(("recipe", "name", "preset"), PRESETS)
def test_a_preset_names_itself_and_is_read_back_from_json(recipe, name, preset):
    config = preset()
    assert (config.recipe, config.preset) == (recipe, name)
    assert RunConfig.from_json(config.to_json()) == config
