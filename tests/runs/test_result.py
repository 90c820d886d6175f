"""``result.json`` as a typed value: what is kept, what is refused, and what is told of the measurements."""

import copy
import json
import re
from pathlib import Path

import pytest

from cnas.errors import UserError
from cnas.runs.measures import ACCURACY, PERPLEXITY, Primary
from cnas.runs.result import RunResult

PUBLISHED = sorted((Path(__file__).parents[2] / "docs" / "results").glob("**/result.json"))
VALUES = {
    "recipe": "ptb_cl_enas",
    "space": "enas_rnn",
    "algorithm": "enas",
    "curriculum": {"name": "uncertainty", "k": 5, "refresh": "epoch", "unit": "sequence"},
    "seed": 3,
    "dataset": {
        "name": "ptb_text_only",
        "fingerprint": "0123456789abcdef",
        "splits": {"train": {"sentences": 3, "tokens": 900, "from": "train"}, "test": 82},
        "used": {"train": 600, "test": 82},
    },
    "architecture": {"space": "enas_rnn", "string": "0 0 1 1 1 3"},
    "search": {"epochs": 30, "steps": 1500, "seconds": 12.25, "valid": {"valid_perplexity": 99.0}},
    "retrain": {"epochs": 20, "parameters": 123456, "valid_perplexity": 98.126, "test_perplexity": 94.2},
    "environment": {"python": "3.11.7", "threads": 1},
}


def changed(dotted, value):
    values = copy.deepcopy(VALUES)
    *path, last = dotted.split(".")
    inner = values
    for key in path:
        inner = inner[key]
    inner[last] = value
    return values


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.parent.name)
def test_every_published_result_is_loaded_and_saved_as_it_was(file, tmp_path):
    result = RunResult.load(file.parent)
    result.save(tmp_path)
    assert (tmp_path / "result.json").read_text("utf-8") == file.read_text("utf-8")
    # A gate only ranks: it trains no cell, and the chosen one need not be in the table.
    assert (result.primary is None) == (file.parent.parent.name == "ptb-gate")


def test_there_are_published_results():
    assert len(PUBLISHED) > 30


@pytest.mark.parametrize("place", ["later", "retrain.later", "search.later", "dataset.later", "curriculum.later"])
def test_what_a_newer_version_adds_is_kept(place, tmp_path):
    values = changed(place, {"deep": [1, None, "text"]})
    RunResult.from_json(values).save(tmp_path)
    assert json.loads((tmp_path / "result.json").read_text("utf-8")) == values
    assert RunResult.load(tmp_path) == RunResult.from_json(values)


WRONG = [
    ("seed", "1", "seed must be a valid integer, got '1'"),
    ("seed", True, "seed must be a valid integer, got True"),
    ("seed", 10**400, "seed must be less than"),
    ("space", None, "space must be a valid string, got None"),
    ("space", "", "space must"),
    ("dataset", [1], "dataset must be a valid dictionary, got [1]"),
    ("dataset.splits.train", [1], "dataset.splits.train must be"),
    ("dataset.splits.train.tokens", None, "dataset.splits.train.tokens must be a valid"),
    ("dataset.used.test", -1, "dataset.used.test must be greater than or equal to 0, got -1"),
    ("architecture.string", 3, "architecture.string must be a valid string, got 3"),
    ("curriculum", 5, "curriculum must be"),
    ("curriculum.k", "5", "curriculum.k must be a valid integer, got '5'"),
    ("search.valid.valid_loss", "low", "search.valid.valid_loss must be a valid number, got 'low'"),
    ("retrain.test_perplexity", "94.2", "retrain.test_perplexity must be a valid number, got '94.2'"),
    ("retrain.test_perplexity", float("nan"), "retrain.test_perplexity must be"),
    ("retrain.test_perplexity", float("inf"), "retrain.test_perplexity must be"),
    ("retrain.test_perplexity", -1.0, "retrain.test_perplexity must be greater than or equal to 0, got -1.0"),
    ("retrain.test_perplexity", 10**400, "retrain.test_perplexity must be a valid number, got 1000"),
    ("retrain.epochs", 1.5, "retrain.epochs must be a valid integer, got 1.5"),
    ("benchmark", {"test_accuracy": 90.0}, "benchmark.dataset is missing"),
    ("environment", "3.11", "environment must be a valid dictionary, got '3.11'"),
]


@pytest.mark.parametrize(("dotted", "value", "words"), WRONG)
def test_a_value_of_the_wrong_type_is_refused_with_file_field_value_and_what_is_allowed(dotted, value, words, tmp_path):
    file = tmp_path / "result.json"
    file.write_text(json.dumps(changed(dotted, value)), "utf-8")
    with pytest.raises(UserError, match=f"^{re.escape(f'{file}: {words}')}[^\n]*$") as caught:
        RunResult.load(tmp_path)
    assert len(str(caught.value)) < len(str(file)) + 160


@pytest.mark.parametrize("name", ["space", "seed", "dataset", "architecture"])
def test_what_every_result_has_is_missed_by_name(name):
    with pytest.raises(UserError, match=rf"^result\.json: {name} is missing$"):
        RunResult.from_json({key: value for key, value in VALUES.items() if key != name})


@pytest.mark.parametrize("name", ["recipe", "algorithm", "curriculum", "search", "retrain", "benchmark", "environment"])
def test_what_is_optional_may_be_missing(name):
    result = RunResult.from_json({key: value for key, value in VALUES.items() if key != name})
    assert not getattr(result, name)
    assert name not in result.to_json()


def test_an_unfinished_run_has_no_result(tmp_path):
    assert RunResult.load_if_finished(tmp_path) is None
    with pytest.raises(UserError, match=r"has no result\.json, so it is not finished"):
        RunResult.load(tmp_path)
    (tmp_path / "result.json").write_text("[" * 100_000, "utf-8")
    with pytest.raises(UserError, match="nested too deeply"):
        RunResult.load(tmp_path)


def test_a_result_cannot_be_changed():
    result = RunResult.from_json(VALUES)
    with pytest.raises(ValueError, match="frozen"):
        result.seed = 4


def test_metrics_are_those_of_a_split_that_are_known():
    result = RunResult.from_json(changed("retrain.valid_perplexity", None))
    assert (result.metrics("valid"), result.metrics("test")) == ({}, {"perplexity": 94.2})
    assert RunResult.from_json(changed("retrain.test_f1", 0.5)).metrics("test")["f1"] == 0.5
    assert RunResult.from_json(changed("retrain", None)).metrics("test") == {}


LOOKED_UP = {"dataset": "cifar10", "test_accuracy": 94.37}


@pytest.mark.parametrize(
    ("changes", "metric", "primary"),
    [
        ({}, PERPLEXITY, Primary("perplexity", 94.2, False)),
        ({"retrain": {"test_accuracy": 91}}, ACCURACY, Primary("accuracy", 91.0, True)),
        ({"retrain": {"test_accuracy": 91}, "benchmark": LOOKED_UP}, ACCURACY, Primary("accuracy", 91.0, True)),
        ({"retrain": None, "benchmark": LOOKED_UP}, ACCURACY, Primary("accuracy", 94.37, True)),
        ({"retrain": None, "search": {"valid": {"valid_accuracy": 30.0}}}, ACCURACY, None),
        ({"retrain": {"test_perplexity": None}}, PERPLEXITY, None),
        ({"retrain": {"test_perplexity": 1e300}}, PERPLEXITY, None),
        ({"retrain": None, "search": None}, PERPLEXITY, None),
    ],
)
def test_the_metric_is_that_of_what_was_measured(changes, metric, primary):
    searched = {} if "search" in changes else {"search": {"valid": {}}}
    result = RunResult.from_json(VALUES | searched | changes)
    assert (result.metric, result.primary) == (metric, primary)


def test_a_split_of_which_the_beginning_was_used():
    data = RunResult.from_json(VALUES).dataset
    assert [data.first_part(split) for split in ("train", "test", "validation")] == [(600, 900), None, None]
