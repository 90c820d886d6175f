"""Promises that every preset keeps, and how presets are found and put together."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cnas import algorithms, presets, spaces
from cnas.curricula import Progress
from cnas.errors import UserError
from cnas.runs.choices import published
from cnas.runs.config import RunConfig
from cnas.studies import read_plan

NAMES = [name for name in presets.names() if not name.startswith("tiny_recipe/")]
SEARCHES = [name for name in NAMES if "_cl" in name]
SPACE = {"space": {"name": "enas_rnn"}}


@pytest.mark.parametrize("name", SEARCHES)
def test_the_weights_are_refreshed_three_times_before_the_last_epoch(name):
    config = RunConfig.from_preset(name)
    curriculum, epochs = config.curriculum, config.trainer.num_train_epochs
    assert curriculum.num_candidates > 0
    between_epochs = sum(curriculum.due(Progress(epoch, epochs, 0)) for epoch in range(epochs))
    assert config.curriculum.refresh == "step" or between_epochs >= 3


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_names_itself_and_is_read_back_from_json(name):
    config = RunConfig.from_preset(name)
    assert f"{config.recipe}/{config.preset}" == name
    assert RunConfig.from_json(config.to_json()) == config


def test_every_recipe_has_the_three_presets():
    recipes = ("nats_cl", "nats_train", "ptb_cl_darts", "ptb_cl_enas")
    published = [f"{recipe}/{preset}" for recipe in recipes for preset in ("cpu", "paper", "smoke")]
    others = ["gpt_cl/cpu", "gpt_cl/small", "gpt_cl/smoke", "nats_cl/own", "ptb_cl_enas/gpu", "ptb_train/cpu"]
    assert sorted([*others, *published]) == NAMES


def test_the_preset_for_a_gpu_is_what_the_gate_has_tried_and_trains_as_the_benchmark_does():
    gpu, cells = RunConfig.from_preset("ptb_cl_enas/gpu", "rsps"), RunConfig.from_preset("ptb_train/cpu")
    tried = read_plan(Path(__file__).parents[2] / "recipes" / "studies" / "ptb_gate.yaml").configs["rsps"]
    assert (gpu.space, gpu.text.search_tokens) == (tried.space, tried.text.search_tokens)
    assert replace(gpu.trainer, seed=1, given=None) == replace(tried.trainer, seed=1, given=None)
    assert (gpu.retrain, gpu.network, gpu.text.train_tokens) == (cells.retrain, cells.network, cells.text.train_tokens)


@pytest.mark.parametrize("algorithm", algorithms.names())
@pytest.mark.parametrize("name", SEARCHES)
def test_a_preset_takes_any_algorithm(name, algorithm):
    config = RunConfig.from_preset(name, algorithm)
    assert (config.algorithm, f"{config.recipe}/{config.preset}") == (algorithm, name)
    assert config.to_json() | {"search": None} == RunConfig.from_preset(name).to_json() | {"search": None}


def test_settings_of_an_algorithm_are_those_of_the_one_that_is_chosen():
    small = {"updates": 10, "samples": 20, "derive_samples": 20}
    enas = RunConfig.from_preset("nats_cl/cpu", "enas").to_json()["search"]
    assert enas.items() >= (small | {"controller_size": 32, "reward_scale": 1.0}).items()
    assert RunConfig.from_preset("nats_cl/paper", "enas").search.updates == 50
    spos = RunConfig.from_preset("nats_cl/smoke", "spos").search
    assert (spos.generations, spos.population, spos.leaders) == (1, 12, 10)
    # The settings that a preset has for its own algorithm are no other's.
    assert RunConfig.from_preset("ptb_cl_enas/cpu", "rsps").search == algorithms.default_config("rsps")
    own = {**SPACE, "algorithms": {"enas": {"updates": 3, "samples": 4}}, "search": {"name": "enas", "samples": 5}}
    search = RunConfig.assemble(own).search
    assert (search.updates, search.samples) == (3, 5)


def test_what_is_left_out_has_the_default_of_its_class():
    config = RunConfig.assemble(SPACE | {"search": {"name": "rsps"}, "trainer": {"seed": 3}})
    assert (config.recipe, config.preset, config.seed) == ("enas_rnn-rsps", "custom", 3)
    assert config.space == spaces.EnasRnnSpace()
    assert (config.curriculum.name, config.curriculum.unit, config.images) == ("uncertainty", "sequence", None)
    images = RunConfig.assemble({"space": {"name": "nats"}, "search": {"name": "rsps"}})
    assert (images.text, images.curriculum.unit) == (None, "sample")
    assert RunConfig.assemble({**SPACE, "search": {"name": "rsps"}, "curriculum": None}).curriculum is None
    other = RunConfig.assemble({**SPACE, "search": {"name": "rsps"}, "curriculum": {"name": "loss"}})
    assert other.curriculum.name == "loss"


@pytest.mark.parametrize("space", spaces.names())
def test_a_space_alone_starts_from_what_was_published(space):
    preset = RunConfig.from_preset(spaces.space_class(space).published)
    config = published(space)
    assert (config.recipe, config.preset) == (f"{space}-{preset.algorithm}", "custom")
    named = {"recipe": None, "preset": None}
    assert config.to_json() | named == preset.to_json() | named
    assert published(space, "rsps").search == algorithms.default_config("rsps")


WRONG = [
    ({"spice": {}}, "spice is no entry; allowed: data, architecture, table, rank_every, text,"),
    ({"spice": {}}, "did you mean space?"),
    ({"space": None}, "space must be a mapping, got None"),
    ({"space": {}}, "space must be a mapping with a name"),
    ({"space": {"name": "enasrnn"}}, "one of darts_rnn, enas_rnn, gpt, nats, got 'enasrnn'; did you mean enas_rnn?"),
    ({"search": {"name": "enass"}}, "got 'enass'; did you mean enas?"),
    ({"search": {"name": "enas", "update": 3}}, "search.update is not a field, got 3; allowed: limit, controller_size"),
    ({"search": {"name": "enas", "update": 3}}, "did you mean updates?"),
    ({"trainer": {"num_train_epoch": 3}}, "did you mean num_train_epochs?"),
    ({"trainer": {"seed": "one"}}, "trainer.seed must be an integer, got 'one'"),
    ({"images": {}}, "images must be left out, since the space enas_rnn reads text"),
    ({"algorithms": 3}, "algorithms must be a mapping, got 3"),
    ({"algorithms": {"enas": 3}}, "algorithms.enas must be a mapping, got 3"),
    ({"version": 2}, "version must be 3, got 2"),
    ({"preset": "a b"}, "preset must be 1 to 64 letters"),
]


@pytest.mark.parametrize(("entries", "message"), WRONG, ids=str)
def test_a_wrong_entry_is_one_line_that_names_it(entries, message):
    with pytest.raises(UserError) as caught:
        RunConfig.assemble({**SPACE, "search": {"name": "enas"}, **entries})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preset_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(
        UserError, match=r"preset must be one of .*, got 'ptb_cl_enas/smok'; did you mean ptb_cl_enas/smoke"
    ):
        presets.find("ptb_cl_enas/smok")


FILES = {
    "base: nats_cl/cpu\ntrainer: {learning_rate: 1e-3}": None,
    "base: nats_cl/huge": "preset must be one of",
    "base: [1]": "base must be the name of a preset, got [1]",
    "[1]": "it must be a mapping, got [1]",
    "data: a\ndata: b": "key 'data' is there twice",
    "a: &x 1\nb: *x": "alias *x: write it out",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_of_a_user_may_have_a_base(text, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(text, "utf-8")
    if FILES[text] is None:
        config = RunConfig.assemble(presets.read(file))
        cpu = RunConfig.from_preset("nats_cl/cpu")
        assert (config.trainer.learning_rate, config.space, config.recipe) == (1e-3, cpu.space, "nats-gdas")
        return
    with pytest.raises(UserError) as caught:
        presets.read(file)
    assert FILES[text] in str(caught.value)
    assert str(caught.value).startswith(str(file))


def distribution(folder, name, point):
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[cnas.presets]\n{point}\n", "utf-8")


def test_presets_of_another_distribution_are_found(tmp_path, monkeypatch):
    package = tmp_path / "foreign_presets"
    package.mkdir()
    (package / "tiny.yaml").write_text("base: ptb_cl_enas/smoke\nspace: {hidden_size: 9}\n", "utf-8")
    distribution(tmp_path, "foreign", "foreign = foreign_presets")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    config = RunConfig.from_preset("foreign/tiny")
    assert (config.recipe, config.space.hidden_size) == ("foreign", 9)
    assert json.loads(json.dumps(config.to_json()))["preset"] == "tiny"


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("ptb_cl_enas = json", "there are presets of that name already"),
        ("broken = no_such_package", "presets broken of broken cannot be read: ModuleNotFoundError: "),
    ],
)
def test_a_distribution_that_is_wrong_is_one_line(point, message, tmp_path, monkeypatch):
    distribution(tmp_path, "broken", point)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(UserError, match=message):
        presets.names()
