"""Configurations from anywhere: config.json, grid files and command lines."""

import json
import random

import pytest
import tiny_recipe
import yaml
from damage import damaged_bytes, damaged_json
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import Counted

from cnas.runs.config import RunConfig
from cnas.sweeps import grid_file

YAML_PIECES = [
    *"[]{}:,-&*!|>%@`'\"#?\n \t~=<",
    "<<: *a\n",
    "&a [",
    "*a",
    "!!python/object/apply:os.system",
    "!!binary",
    "!!timestamp",
    "0x" + "f" * 6000,
    "1:30",
    "012",
    "1e-3",
    "2001-99-99",
    ".inf",
    "on",
    "grid:\n",
    "  seed: [1, 2]\n",
    "recipe: tiny_recipe.py\n",
    "flags:\n",
    "  data: pydoc\n",
    "random: 3\n",
    "parts:\n",
    "- flags: {seed: 1}\n",
    "\x00",
    "\u202e",
    "\ud800",
]
VALUES = [
    "",
    "0",
    "-1",
    "1e999",
    "nan",
    "none",
    "9" * 5000,
    "../x",
    "a,b",
    "true",
    "\x00",
    "\ud800",
    "=",
    "0x10",
    "1_0",
]


def test_a_config_json_is_read_back_exactly_or_refused(budget, measured):
    whole, counted = tiny_recipe.tiny().to_json(), Counted()

    def read(values):
        config = RunConfig.from_json(json.loads(json.dumps(values)))
        assert RunConfig.from_json(config.to_json()) == config
        assert config.hash == RunConfig.from_json(values).hash

    for case in range(budget(300, 12_000)):
        values = damaged_json(whole, random.Random(case)) if case else whole
        counted.add(lambda values=values: read(values))
    counted.both()
    measured(str(counted))


def test_the_bytes_of_a_config_json_are_read_or_refused(tmp_path, budget, measured):
    file, counted = tmp_path / "config.json", Counted()
    whole = json.dumps(tiny_recipe.tiny().to_json()).encode()
    for case in range(budget(100, 4_000)):
        file.write_bytes(damaged_bytes(whole, random.Random(case)) if case else whole)
        counted.add(lambda: tiny_recipe.parse(["--config", str(file)]))
    counted.both()
    measured(str(counted))


def test_a_grid_file_is_read_or_refused(tmp_path, budget, measured):
    file, counted = tmp_path / "grid.yaml", Counted()
    plain = {
        "recipe": "tiny_recipe.py",
        "preset": "tiny",
        "grid": {"seed": [1, 2]},
        "flags": {"data": "x"},
        "random": 1,
    }
    for case in range(budget(150, 4_000)):
        values = damaged_json(plain, random.Random(case)) if case else plain
        file.write_bytes(yaml.safe_dump(values, sort_keys=False).encode("utf-8", "surrogatepass"))
        counted.add(lambda: grid_file.read(file))

    @settings(derandomize=True, deadline=None, max_examples=budget(150, 6_000), database=None)
    @given(st.lists(st.sampled_from(YAML_PIECES), max_size=12).map("".join))
    def words(text):
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        counted.add(lambda: grid_file.read(file))

    words()
    counted.both()
    measured(str(counted))


@pytest.fixture
def flag_names():
    """Every flag of the tiny recipe."""
    parts = tiny_recipe.tiny().to_json()
    nested = [f"{part}.{name}" for part, values in parts.items() if isinstance(values, dict) for name in values]
    return [name.replace("_", "-") for name in [*parts, *nested]]


def test_a_command_line_is_read_or_refused(flag_names, budget, measured):
    counted = Counted()

    def read(argv):
        config, folder, _ = tiny_recipe.parse(argv)
        assert RunConfig.from_json(config.to_json()) == config
        assert folder == config.default_folder

    word = st.builds(
        "{}{}={}".format,
        st.sampled_from(["--", "--no-", "-", ""]),
        st.sampled_from(flag_names),
        st.sampled_from(VALUES) | st.integers(0, 40).map(str) | st.text(max_size=8),
    )

    @settings(derandomize=True, deadline=None, max_examples=budget(40, 800), database=None)
    @given(st.lists(word, max_size=2))
    def words(argv):
        counted.add(lambda: read(argv))

    words()
    counted.both()
    measured(str(counted))


def test_a_reader_that_takes_any_number_is_found(monkeypatch):
    """A mutant: any number will do."""
    monkeypatch.setattr("cnas.fields._is_finite", lambda value: isinstance(value, int | float))
    whole = tiny_recipe.tiny().to_json()

    def read(values):
        config = RunConfig.from_json(values)
        assert RunConfig.from_json(config.to_json()) == config

    def fuzzed():
        counted = Counted()
        for case in range(300):
            counted.add(lambda case=case: read(damaged_json(whole, random.Random(case))))

    with pytest.raises((AssertionError, OverflowError)):
        fuzzed()
