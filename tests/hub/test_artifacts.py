"""What a run leaves beside its model: read back from the folder."""

import getpass
import json
import re
from pathlib import Path

import pytest
import yaml
from card_result import ENAS, result, run_result
from huggingface_hub import ModelCard
from huggingface_hub import parse_eval_result_entries as parse
from launching import launch

from cnas.errors import UserError
from cnas.hub.artifacts import describe_run
from cnas.hub.metadata import eval_results
from cnas.hub.model_kind import IMAGE_CLASSIFIER, LANGUAGE_MODEL
from cnas.hub.run_files import commits

GIVEN = ("--architecture", "0 1 1 2", "--retrain.num-train-epochs", "1")


def describe(folder, space, changes=None, **options):
    folder.mkdir()
    settings = {"space": space, "paper": ENAS, "kind": LANGUAGE_MODEL, **options}
    describe_run(folder, run_result(**(changes or {})), **settings)
    return (folder / "README.md").read_text("utf-8")


def test_a_run_is_described_by_files_that_the_card_shows(tmp_path, space):
    card = describe(tmp_path / "run", space)
    (place,) = re.findall(r"!\[[^]]+\]\((.+?)\)", card)
    assert (tmp_path / "run" / place).read_text("utf-8").rstrip().endswith("</svg>")
    assert (tmp_path / "run" / "cell.txt").read_text("utf-8") in card
    assert ModelCard.load(tmp_path / "run" / "README.md").data.model_name == "run"
    assert f"Search space: {space.paper.authors}" in card
    assert f"Search algorithm: {ENAS.authors}" in card
    assert ENAS.authors not in describe(tmp_path / "given", space, {"search": None})


def test_evaluation_results_are_in_the_format_of_the_hub(tmp_path, space):
    describe(tmp_path / "run", space)
    (path,) = (tmp_path / "run" / ".eval_results").iterdir()
    assert path.name == "ptb_text_only.yaml"
    (entry,) = parse(yaml.safe_load(path.read_text("utf-8")))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("ptb-text-only/ptb_text_only", "perplexity", 94.2)
    assert entry.notes == "perplexity (per word), test split; one seed (3), not a mean"


def test_evaluation_results_of_several_seeds_say_what_the_model_has_and_what_the_mean_is():
    others = [run_result(seed=4, retrain={"test_perplexity": 96.2})]
    (text,) = eval_results(run_result(), LANGUAGE_MODEL, others).values()
    (entry,) = yaml.safe_load(text)
    assert entry["value"] == 94.2
    assert entry["notes"].endswith("the model of seed 3; over 2 seeds 95.20 ± 1.41 (mean, std)")


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {**result()["dataset"], "name": "pydoc"}},
        {"dataset": {**result()["dataset"], "used": {"test": 500}}},
        {"retrain": {"valid_perplexity": 98.0}},
        {"retrain": {"test_perplexity": None}},
    ],
)
def test_there_is_no_evaluation_result_of_data_off_the_hub_nor_of_a_part_of_it(changes):
    assert eval_results(run_result(**changes), LANGUAGE_MODEL) == {}
    assert eval_results(run_result(), IMAGE_CLASSIFIER) == {}


def test_another_experiment_is_no_further_seed(tmp_path, space):
    with pytest.raises(UserError, match="differ in the seed alone"):
        describe(tmp_path / "run", space, others=[run_result(seed=4, algorithm="rsps")])


@pytest.fixture(scope="module")
def placed(home):
    """A run whose data was typed as an absolute path."""
    ended = launch(home, "--data", str(home / "corpus"), "--output-dir", "placed", *GIVEN).wait()
    assert (ended.code, ended.err) == (0, ""), ended
    return home / "placed"


def test_nothing_that_is_pushed_names_a_place_or_a_person(home, placed):
    assert str(home) in (placed / "config.json").read_text("utf-8")
    found, left_out = commits(placed, include_checkpoints=True)
    files = {name: source for commit in found for name, source in commit.files.items()}
    assert {"README.md", "result.json", "figures/cell.svg", "config.json", "model.safetensors"} <= files.keys()
    assert left_out == []
    private = [str(home), str(Path.home()), home.name, *(part for part in home.parts if getpass.getuser() in part)]
    for name, source in files.items():
        content = source.read_bytes()
        assert not [place for place in private if place.encode() in content], name
        assert not re.search(rb"(?<![\w.])/(tmp|home|root|Users)/", content), name


def test_the_card_of_a_run_has_its_settings_and_the_data_by_its_last_name(placed):
    card = (placed / "README.md").read_text("utf-8")
    config = json.loads((placed / "config.json").read_text("utf-8"))
    assert "| Data | corpus |" in card
    assert f"| retrain.global_batch_size | {config['retrain']['global_batch_size']} |" in card
    assert f"| network.hidden_size | {config['network']['hidden_size']} |" in card
    assert ModelCard.load(placed / "README.md").data.eval_results[0].dataset_name == "corpus"
