"""Runs on a `Dataset` and with a tokenizer of a Python script: finished, gone on with, compared, never confused."""

import json
from dataclasses import replace

import datasets
import pytest
from tiny_recipe import tiny, write_corpus
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from cnas.errors import UserError
from cnas.reports.comparison import load_runs
from cnas.reports.record import read_run
from cnas.reports.seeds import compare_records
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.runs.result import RunResult
from cnas.runs.task import load_task
from cnas.trainer import CurriculumTrainer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("text") / "corpus")
    lines = {split: (folder / f"{split}.txt").read_text("utf-8").splitlines() for split in ("train", "valid")}
    train, evaluated = (datasets.Dataset.from_dict({"text": rows}) for rows in lines.values())
    return {"train_dataset": train, "eval_dataset": evaluated}


def tokenizer(last="w39"):
    names = ["<unk>", "<end>", *(f"w{index}" for index in range(39)), last]
    backend = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<end>")


def short(seed=1, **changes):
    config = tiny().with_seed(seed)
    trainer = replace(config.trainer, num_train_epochs=1)
    return replace(config, trainer=trainer, retrain=replace(config.retrain, num_train_epochs=1), **changes)


def build(folder, data, config=None, **more):
    return CurriculumTrainer.from_config(config or short(), folder, **data, **more)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Two finished runs without a test split that differ in the curriculum; one was searched and trained apart."""
    home = tmp_path_factory.mktemp("runs")
    build(home / "with", data).search()
    build(home / "with", data).retrain()
    build(home / "without", data, short(curriculum=None)).train()
    return home


def test_a_run_without_a_test_split_has_no_test_figures_and_is_compared_by_its_validation(finished):
    runs = load_runs([finished / "with", finished / "without"])
    result = runs[0].result
    assert result.dataset.name == runs[0].config["data"] == f"dataset:{result.dataset.fingerprint}"
    assert (result.metrics("test"), result.primary.value) == ({}, result.metrics("valid")["perplexity"])
    assert [measure.name for measure in runs[0].primary_measures] == ["validation perplexity"]
    card = (finished / "with" / "README.md").read_text("utf-8")
    assert f"| dataset:{result.dataset.fingerprint} | validation | perplexity (per word) |" in card
    assert "| test |" not in card
    report = (finished / "with" / "report.html").read_text("utf-8")
    assert "Validation perplexity" in report
    assert "Test perplexity" not in report
    found = compare_records([read_run(run.folder) for run in runs])
    assert found.tables


def test_a_run_whose_test_figure_is_no_number_is_not_taken_for_one_without_a_test_split(finished, tmp_path):
    result = json.loads((finished / "with" / "result.json").read_text("utf-8"))
    result["dataset"]["used"]["test"] = 5
    assert RunResult.from_json(result).primary is None


def test_the_configuration_of_such_a_run_alone_says_what_to_do(finished, data):
    config = RunConfig.from_json(json.loads((finished / "with" / "config.json").read_text("utf-8")))
    with pytest.raises(UserError, match=r"was a Dataset of a Python script: give it there, as train_dataset"):
        load_task(config)
    assert build(finished / "with", data, config).train(resume_from_checkpoint=True).seed == 1
    other = {**data, "train_dataset": data["train_dataset"].select(range(100))}
    with pytest.raises(UserError, match="holds a run on other data"):
        build(finished / "with", other, config).train(resume_from_checkpoint=True)


def test_a_tokenizer_of_a_script_belongs_to_the_run(data, tmp_path):
    folder = tmp_path / "run"
    build(folder, data, processing_class=tokenizer()).search()
    config = RunConfig.from_json(RunFolder(folder).read_json("config.json"))
    assert config.text.tokenizer.startswith("fast:")
    with pytest.raises(UserError, match="was one of a Python script: give it there, as processing_class"):
        build(folder, data, config).train(resume_from_checkpoint=True)
    for other in ({"processing_class": tokenizer("last")}, {}):
        with pytest.raises(UserError, match=r"text\.tokenizer is 'fast:[0-9a-f]{16}' there"):
            build(folder, data, **other).train(resume_from_checkpoint=True)
    (folder / "search.json").unlink()  # as if the search was stopped: its checkpoints say what data it was on
    result = build(folder, data, processing_class=tokenizer()).train(resume_from_checkpoint=True)
    assert result.dataset.fingerprint == build(folder, data, processing_class=tokenizer()).task.fingerprint
    assert build(folder, data, config, processing_class=tokenizer()).train(resume_from_checkpoint=True) == result
    assert AutoTokenizer.from_pretrained(folder / "model").encode("w1 w39") == tokenizer().encode("w1 w39")
