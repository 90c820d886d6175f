"""Grid files: which runs they ask for, and what is wrong with those that are wrong."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from forked import TINY
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.sweeps import Grid, read_grid
from cnas.sweeps.grid import words
from cnas.sweeps.random_cells import references_of

ROOT = Path(__file__).parents[2]
GRIDS = sorted((ROOT / "recipes" / "grids").glob("*.yaml"))


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.name)
def test_the_grids_that_come_along_can_be_read(file):
    grid = read_grid(file)
    assert len(grid.searches) >= 5
    assert all(RunConfig.from_json(job.config.to_json()) == job.config for job in grid.jobs)


BLOCKS = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "sweeps.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("block", "count"), [*zip(BLOCKS, [12, 18], strict=True)], ids=["one recipe", "parts"])
def test_the_grids_of_the_documentation_can_be_read(block, count, tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(block.replace("../", f"{ROOT / 'recipes'}/"), "utf-8")
    assert len(read_grid(file).searches) == count


def test_a_plain_run_has_no_k_and_is_there_once(grid_file, tiny):
    grid = read_grid(grid_file(grid={"seed": [1, 2], "curriculum": [False, True], "curriculum.k": [1, 3]}))
    found = [(job.config.seed, job.config.curriculum and job.config.curriculum.num_candidates) for job in grid.jobs]
    assert found == [(1, None), (1, 1), (1, 3), (2, None), (2, 1), (2, 3)]
    assert grid.searches[2].config == tiny
    assert grid.searches[0].about == "seed 1, curriculum False"
    assert grid.searches[2].about == "seed 1, curriculum True, curriculum.k 3"


def test_no_judges_are_the_plain_run(grid_file):
    grid = read_grid(grid_file(grid={"curriculum.k": [0, 3]}))
    assert [job.config.curriculum is None for job in grid.searches] == [True, False]
    assert grid.searches[0].config == read_grid(grid_file(flags={"curriculum": False})).searches[0].config


def test_folders_bear_the_hash_of_the_configuration_and_equal_runs_are_one(grid_file, tiny):
    grid = read_grid(grid_file(grid={"seed": [1, 1], "trainer.num_train_epochs": [3, 4]}))
    assert len(grid.jobs) == 2
    assert grid.searches[0].name == f"tiny_recipe-tiny-s1-{tiny.hash}"
    assert [job.name for job in grid.jobs] == [job.config.default_folder.name for job in grid.jobs]


def test_parts_share_what_they_do_not_say_themselves(grid_file):
    parts = [{}, {"grid": {"curriculum": [False]}}, {"flags": {"seed": 7, "trainer.num_train_epochs": 9}}]
    grid = read_grid(grid_file(flags={"trainer.num_train_epochs": 5}, grid={"seed": [1, 2]}, parts=parts))
    found = [
        (job.config.seed, job.config.trainer.num_train_epochs, bool(job.config.curriculum)) for job in grid.searches
    ]
    assert found == [(1, 5, True), (2, 5, True), (1, 5, False), (2, 5, False), (7, 9, True)]


def test_random_cells_are_trained_once_for_each_training_and_seed(grid_file, tiny):
    axes = {
        "seed": [1, 2],
        "curriculum": [False, True],
        "trainer.num_train_epochs": [3, 4],
        "retrain.num_train_epochs": [3, 5],
    }
    grid = read_grid(grid_file(grid=axes, random=2))
    assert len(grid.searches) == 16
    found = {(job.config.seed, job.config.retrain.num_train_epochs) for job in grid.references}
    assert len(grid.references) == 2 * len(found) == 8
    for job in grid.references:
        assert job.config.curriculum is None
        assert job.config.space.parse(job.config.architecture).to_str() == job.config.architecture
    assert [job.config.seed for job in grid.jobs] == [1] * 12 + [2] * 12


def test_a_given_architecture_needs_no_random_ones(tiny):
    fixed = replace(tiny, architecture="0 1 1 2")
    assert references_of([fixed], 3) == []
    assert len(references_of([fixed, tiny], 3)) == 3


@given(axes=st.fixed_dictionaries({}, optional={
    "seed": st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
    "search.learning_rate": st.lists(st.floats(0.001, 1), min_size=1, max_size=3, unique=True),
    "curriculum.refresh": st.lists(st.sampled_from(["epoch", "step"]), min_size=1, max_size=2, unique=True),
    "network.decoder_bias": st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
}))  # fmt: skip
@settings(derandomize=True, deadline=None, max_examples=8)
def test_every_combination_is_one_run_with_these_values(axes, tmp_path_factory):
    file = tmp_path_factory.mktemp("grid") / "grid.yaml"
    file.write_text(yaml.safe_dump({"recipe": str(TINY), "preset": "tiny", "grid": axes}), "utf-8")
    grid = read_grid(file)
    expected = 1
    for values in axes.values():
        expected *= len(values)
    assert len({job.config.hash for job in grid.jobs}) == len(grid.jobs) == expected
    flat = [job.config.to_json() for job in grid.jobs]
    for name, values in axes.items():
        part, _, field = name.rpartition(".")
        found = [config[part or "trainer"][field] for config in flat]
        assert {value: found.count(value) for value in values} == dict.fromkeys(values, expected // len(values))


@given(st.dictionaries(
    st.sampled_from(["seed", "report_to", "trainer.num_train_epochs", "curriculum.k"]), st.integers(1, 99), max_size=4
))  # fmt: skip
@settings(derandomize=True, deadline=None, max_examples=8)
def test_flags_mean_what_they_mean_on_a_command_line(flags):
    import tiny_recipe

    typed = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    parsed = [tiny_recipe.parse(argv)[0] for argv in (words(flags), typed)]
    assert parsed[0] == parsed[1]


OWN = """
from cnas.errors import UserError
RECIPE = "tiny_recipe"
def check(config):
    if config.seed > 1:
        raise UserError("seed must be at most 1")
"""


def test_a_recipe_s_own_check_is_asked(tmp_path):
    (tmp_path / "own.py").write_text(OWN, "utf-8")
    file = tmp_path / "grid.yaml"
    file.write_text("recipe: own.py\npreset: tiny\ngrid: {seed: [1]}\n", "utf-8")
    assert len(read_grid(file).jobs) == 1
    file.write_text("recipe: own.py\npreset: tiny\ngrid: {seed: [1, 2]}\n", "utf-8")
    with pytest.raises(UserError, match="seed must be at most 1"):
        read_grid(file)


def test_a_preset_may_be_named_in_full_instead_of_a_recipe(grid_file, tmp_path):
    by_recipe = read_grid(grid_file(grid={"seed": [1, 2]}))
    values = yaml.safe_load((tmp_path / "tiny.yaml").read_text("utf-8"))
    del values["recipe"]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values | {"preset": "tiny_recipe/tiny"}), "utf-8")
    assert read_grid(tmp_path / "tiny.yaml").jobs == by_recipe.jobs


def test_settings_of_executors_are_kept_by_name(grid_file):
    grid = read_grid(grid_file(slurm={"minutes": 30}, local={"threads": 2}))
    assert isinstance(grid, Grid)
    assert grid.executors == {"slurm": {"minutes": 30}, "local": {"threads": 2}}


BAD = {
    "seed: [1]": "seed is no key; allowed: recipe, preset, flags, grid, random, parts, local, ray, slurm",
    "[1]": "the file must be a mapping, got [1]",
    "": "the file must be a mapping, got None",
    "recipe: [": "it is not YAML: ",
    "preset: a\npreset: b": "key 'preset' is there twice in",
    "!!python/object/apply:os.getcwd []": "it is not YAML: could not determine a constructor",
    "recipe: 3": "relative to the grid file, or preset e.g. ptb_cl_enas/smoke, got 3",
    "preset: tiny": "relative to the grid file, or preset e.g. ptb_cl_enas/smoke, got None",
    "preset: tiny_recipe/tinny": "got 'tiny_recipe/tinny'; did you mean tiny_recipe/tiny?",
    "recipe: nowhere.py": "nowhere.py is no file; its path is relative to the grid file",
    "recipe: broken.py": "broken.py cannot be read: SyntaxError: ",
    "recipe: empty.py": "empty.py has no RECIPE or PRESETS",
    "TINY\npreset: huge": "preset must be one of tiny, got 'huge'",
    "TINY\npreset: true": "preset must be the name of a preset, got True",
    "TINY\nrandom: -1": "random must be a number of cells, at least 0, got -1",
    "TINY\nrandom: 99": "random must be at most 32, the architectures of enas_rnn, got 99",
    "TINY\ngrid: [seed]": "grid must be a mapping, got ['seed']",
    "TINY\ngrid: {seed: 1}": "grid.seed must be a list of values, got 1",
    "TINY\ngrid: {seed: []}": "grid.seed must be a list of values, got []",
    "TINY\ngrid: {seed: [one]}": "seed must be an integer, got 'one'",
    "TINY\ngrid: {seed: [{a: 1}]}": "grid.seed[0] must be a number, a text, true, false, null",
    "TINY\ngrid: {seed: [2020-01-01]}": "grid.seed[0] must be a number, a text",
    "TINY\ngrid: {sead: [1]}": "unknown flag --sead; did you mean --seed?",
    "TINY\nflags: {curriculum.kk: 1}": "unknown flag --curriculum.kk; did you mean --curriculum.k?",
    "TINY\nflags: {--seed: 1}": "flags: '--seed' is no flag; write it without dashes before it",
    "TINY\nflags: {1: 1}": "flags: 1 is no flag",
    "TINY\nflags: {output-dir: x}": "flags.output-dir is set by the sweep itself",
    "TINY\nflags: {help: true}": "flags.help is set by the sweep itself",
    "TINY\nflags: {stop-after: 9m}": "flags.stop-after is set by the sweep itself",
    "TINY\nflags: {trainer.stop_after: 9m}": "flags.trainer.stop_after is set by the sweep itself",
    "TINY\nflags: {no-curriculum: true}": "flags.no-curriculum is set by the sweep itself",
    "TINY\nflags: {log-with: a, log_with: b}": "flags.log_with is there twice",
    "TINY\nflags: {seed: 1}\ngrid: {seed: [1]}": "flags.seed is in grid too; leave it in one of them",
    "TINY\ngrid: {curriculum: [3]}": "grid.curriculum[0] must be true or false, got 3; its fields are",
    "TINY\nflags: {curriculum: false, curriculum.k: 3}": "curriculum.k is given, but no run has a curriculum",
    "TINY\ngrid: {mixed_precision: [no, bf16]}": "unknown flag --no-mixed-precision; ",
    "TINY\ngrid: {row: [a]}": "grid.row must be left out: the preset is one run, got 'a'",
    "TINY\nparts: []": "parts must be a list of mappings with recipe, preset, flags, grid, random, got []",
    "TINY\nparts: [{gird: {}}]": "parts[0].gird is no key; allowed: recipe, preset, flags, grid, random",
    "TINY\nparts: [{flags: 3}]": "parts[0].flags must be a mapping, got 3",
    "TINY\nlocal: 3": "local must be a mapping, got 3",
    "TINY\nTOO MANY": "grid must have at most 10,000 combinations, got 1,000,000",
}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_grid_is_one_line_that_names_the_key(text, tmp_path):
    (tmp_path / "empty.py").touch()
    (tmp_path / "broken.py").write_text("def", "utf-8")
    axis = [*range(100)]
    many = f"grid: {{seed: {axis}, trainer.num_train_epochs: {axis}, retrain.num_train_epochs: {axis}}}"
    preset = "" if "preset:" in text else "\npreset: tiny"
    file = tmp_path / "grid.yaml"
    file.write_text(text.replace("TINY", f"recipe: {TINY}{preset}").replace("TOO MANY", many), "utf-8")
    with pytest.raises(UserError) as caught:
        read_grid(file)
    message = str(caught.value)
    assert message.startswith(f"grid {file}: ")
    assert BAD[text] in message
    assert "\n" not in message


def test_words_of_yaml_that_are_no_words_are_explained(grid_file):
    with pytest.raises(UserError, match="YAML reads no, off, yes and on as booleans, so quote them"):
        read_grid(grid_file(grid={"mixed_precision": [False, "bf16"]}))
    assert len(read_grid(grid_file(grid={"mixed_precision": ["no", "bf16"]})).jobs) == 2


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=re.escape(f"grid {tmp_path / 'x.yaml'}: it cannot be read: No such file")):
        read_grid(tmp_path / "x.yaml")


def test_rows_of_a_table_can_be_chosen(tmp_path):
    recipe = ROOT / "recipes" / "ptb_table3.py"
    file = tmp_path / "rows.yaml"
    common = f"recipe: {recipe}\npreset: smoke\n"
    file.write_text(f"{common}grid: {{row: [enas-cl, enas], curriculum.k: [2, 3]}}\n", "utf-8")
    assert [job.about for job in read_grid(file).jobs] == [
        "row enas-cl, curriculum.k 2",
        "row enas-cl, curriculum.k 3",
        "row enas",
    ]
    for rest, words_ in (
        ("grid: {row: [enas, dart]}\n", "grid.row must be among enas, enas-cl, .*, got 'dart'"),
        ("grid: {row: [enas], curriculum: [true]}\n", "curriculum is true, but enas has none to switch on"),
    ):
        file.write_text(common + rest, "utf-8")
        with pytest.raises(UserError, match=words_):
            read_grid(file)
