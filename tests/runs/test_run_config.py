"""The complete configuration: JSON and back, its hash, its flags."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.runs.flags import OneLineParser
from cnas.runs.run_flags import add_run_flags, with_run_flags

NAMES = {
    "smoke": "ptb_cl_enas/smoke",
    "cpu": "ptb_cl_enas/cpu",
    "paper": "ptb_cl_enas/paper",
    "tiny": "tiny_recipe/tiny",
}
PRESETS = {name: partial(RunConfig.from_preset, preset) for name, preset in NAMES.items()}


def with_flags(config, *argv):
    parser = OneLineParser()
    add_run_flags(config, parser)
    return with_run_flags(config, parser.parse_args(list(argv)))


def through_text(config):
    return RunConfig.from_json(json.loads(json.dumps(config.to_json())))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("curriculum", [True, False])
def test_a_preset_survives_its_json(name, curriculum):
    config = PRESETS[name]()
    if not curriculum:
        config = replace(config, curriculum=None)
    assert through_text(config) == config
    assert through_text(config).hash == config.hash
    assert config.preset == name


def test_the_presets_are_different_runs():
    assert len({make().hash for make in PRESETS.values()}) == len(PRESETS)


def leaves(values, path=()):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def changed(values, path):
    """A copy with another value of the right type at ``path``."""
    copy = json.loads(json.dumps(values))
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = another(path[-1], place[path[-1]])
    return copy


CHOICES = {"refresh": "step", "weight_decay_on": "matrices", "unit": "token", "penalised_output": "dropped"}
CHOICES |= {"start": "supernet"}
TEXTS = {
    "report_to": ["tensorboard"],
    "logging_dir": "elsewhere",
    "lr_scheduler_type": "cosine_by_epoch",
    "table": "table.parquet",
    "architecture": "0 1 1 2",
    "recipe": "other",
    "preset": "other",
    "data": "other",
    "tokenizer": "bpe:300",
    "text_column": "other",
    "optim": "Adagrad",
    "optim_args": "dampening=0.1",
    "metric_for_best_model": "perplexity",
    "greater_is_better": True,
    "curriculum": "loss",
    "limit": "parameters<=1",
}


def another(name, value):
    if name in CHOICES | TEXTS:
        return (CHOICES | TEXTS)[name]
    if isinstance(value, bool):
        return not value
    if value is None or isinstance(value, int):
        return (value or 0) + 2
    if isinstance(value, list):
        return [another(name, each) for each in value]
    if isinstance(value, str):
        return {"epoch": "no"}[value]
    return value / 2 if value else 0.25


FIXED = {("version",), ("space", "name"), ("search", "name"), ("curriculum", "name")}
# What has no value of its own: images where there is text, and Nesterov's momentum without a momentum.
FIXED |= {("images",), ("trainer", "nesterov"), ("retrain", "nesterov")}
# What is refused beside the settings of the preset: averaging needs SGD and validation, a search has no best weights.
FIXED |= {("retrain", "optim"), ("retrain", "eval_strategy")}
FIXED |= {("trainer", "eval_strategy"), ("trainer", "load_best_model_at_end")}
# What is refused alone: the losses of trained paths are there in each step, and a price needs a limit.
FIXED |= {("curriculum", "source"), ("search", "cost_weight")}


def test_every_field_counts_in_the_hash():
    # What is ranked is ranked by a table.
    values = PRESETS["paper"]().to_json() | {"table": "tss.parquet"}
    paths = [path for path, _ in leaves(values) if path not in FIXED]
    assert len(paths) > 60
    hashes = {path: RunConfig.from_json(changed(values, path)).hash for path in paths}
    assert len({*hashes.values(), RunConfig.from_json(values).hash}) == len(paths) + 1
    assert replace(PRESETS["paper"](), curriculum=None).hash not in hashes.values()


def test_the_default_folder_tells_recipe_preset_seed_and_hash():
    config = with_flags(PRESETS["tiny"](), "--seed", "7")
    assert config.default_folder == Path("runs") / f"tiny_recipe-tiny-s7-{config.hash}"


FLAGS = [
    (("--seed", "9"), lambda config: config.seed, 9),
    (("--data", "some/folder"), lambda config: config.data, "some/folder"),
    (("--architecture", "0 1 1 2"), lambda config: config.architecture, "0 1 1 2"),
    (("--architecture", "none"), lambda config: config.architecture, None),
    (("--mixed-precision", "bf16"), lambda config: config.trainer.mixed_precision, "bf16"),
    (("--mixed_precision=bf16",), lambda config: config.trainer.mixed_precision, "bf16"),
    (("--text.search-tokens", "50"), lambda config: config.text.search_tokens, 50),
    (("--space.nodes", "3"), lambda config: config.space.nodes, 3),
    (("--space.hidden_size", "16"), lambda config: config.space.hidden_size, 16),
    (("--network.decoder-bias",), lambda config: config.network.decoder_bias, True),
    (("--no-network.decoder-bias",), lambda config: config.network.decoder_bias, False),
    (("--search.learning-rate", "1e-4"), lambda config: config.search.learning_rate, 1e-4),
    (("--trainer.max-grad-norm", "1"), lambda config: config.trainer.max_grad_norm, 1.0),
    (("--trainer.save-steps", "none"), lambda config: config.trainer.save_steps, None),
    (("--curriculum.k", "0"), lambda config: config.curriculum.num_candidates, 0),
    (("--curriculum.unit", "token"), lambda config: config.curriculum.unit, "token"),
    (("--retrain.average-from", "none"), lambda config: config.retrain.average_from, None),
]


@pytest.mark.parametrize(("argv", "get", "value"), FLAGS, ids=[" ".join(argv) for argv, _, _ in FLAGS])
def test_a_flag_changes_its_field_and_nothing_else(argv, get, value):
    before = PRESETS["tiny"]()
    after = with_flags(before, *argv)
    assert get(after) == value
    assert type(get(after)) is type(value)
    differing = [path for path, found in leaves(after.to_json()) if dict(leaves(before.to_json()))[path] != found]
    assert len(differing) == (get(before) != value)
    assert (after.hash == before.hash) == (get(before) == value)


def test_no_flag_changes_nothing():
    for make in PRESETS.values():
        assert with_flags(make()) == make()


def test_every_field_has_a_flag():
    parser = OneLineParser()
    config = PRESETS["tiny"]()
    add_run_flags(config, parser)
    known = {option for action in parser._actions for option in action.option_strings}
    fields = [path for path, _ in leaves(config.to_json()) if path not in FIXED | {("recipe",), ("preset",)}]
    assert {f"--{'.'.join(path)}".replace("_", "-") for path in fields} <= known
    assert {f"--{'.'.join(path).replace('_', '-')}" for path in fields} <= known


@pytest.mark.parametrize("prefix", ["space", "network"])
def test_a_wrong_value_is_named_with_its_section(prefix):
    with pytest.raises(UserError, match=rf"^{prefix}\.hidden_size must be at least 1, got 0$"):
        with_flags(PRESETS["tiny"](), f"--{prefix}.hidden-size", "0")
