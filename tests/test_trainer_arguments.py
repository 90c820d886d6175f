"""What a user of `transformers.Trainer` types: it does the same here, or one line says why not, before it begins."""

import threading
from pathlib import Path

import pytest
from tiny_recipe import write_corpus
from transformers import EarlyStoppingCallback, TrainingArguments

from cnas import CurriculumTrainer, RetrainArguments, SearchArguments
from cnas.algorithms import ENAS, RSPS
from cnas.cli.launch import parse
from cnas.curricula import Permuted
from cnas.data import ImageConfig, TextConfig
from cnas.errors import UserError
from cnas.runs.folder import home_folder
from cnas.spaces import EnasRnnSpace

TEXT = TextConfig(vocab_size=60, length=10, search_tokens=600)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("home") / "corpus")


def small(folder, corpus, *, search=None, retrain=None, **options):
    sizes = {"global_batch_size": 5, "learning_rate": 5.0, "num_train_epochs": 1}
    args = SearchArguments(output_dir=str(folder), eval_batch_size=4, **sizes | (search or {}))
    retrain_args = RetrainArguments(model_init_kwargs={"hidden_size": 6}, **sizes | (retrain or {}))
    given = {"args": args, "retrain_args": retrain_args, "train_dataset": corpus, "data_args": TEXT, **options}
    return CurriculumTrainer(EnasRnnSpace(nodes=2, hidden_size=8), "rsps", None, **given)


WRONG = [
    ({"space": EnasRnnSpace}, "space must be a name or a space, e.g. EnasRnnSpace(), got EnasRnnSpace"),
    ({"algorithm": ENAS}, "algorithm must be a name, or e.g. ENAS.Config(), got ENAS"),
    ({"algorithm": SearchArguments()}, "algorithm must be a name, or e.g. ENAS.Config(), got a SearchArguments"),
    ({"args": RetrainArguments()}, "args must be SearchArguments, got a RetrainArguments"),
    ({"args": {"seed": 1}}, "args must be SearchArguments, got a dict"),
    ({"retrain_args": SearchArguments()}, "retrain_args must be RetrainArguments, got a SearchArguments"),
    ({"data_args": {"length": 10}}, "data_args must be a TextConfig or an ImageConfig, got a dict"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_arguments_of_another_kind_are_refused(given, message):
    with pytest.raises(UserError) as refused:
        CurriculumTrainer(**{"space": "enas_rnn", "algorithm": "rsps", "train_dataset": "pydoc", **given})
    assert str(refused.value) == message


def test_training_arguments_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"^args must be SearchArguments, got a TrainingArguments$"):
        CurriculumTrainer("enas_rnn", "rsps", args=TrainingArguments(str(tmp_path)), train_dataset="pydoc")


def test_fields_of_data_arguments_are_checked():
    with pytest.raises(UserError, match=r"^length must be an integer, got '35'$"):
        TextConfig(length="35")
    with pytest.raises(UserError, match=r"^flip must be true or false or none, got 'no'$"):
        ImageConfig(flip="no")


def test_of_data_arguments_what_is_given_counts():
    trainer = CurriculumTrainer(
        "gpt", "pareto", data_args=TextConfig(text_column="story", length=35), train_dataset="x"
    )
    text = trainer.config.text
    assert (text.tokenizer, text.length, text.search_tokens, text.text_column) == ("bpe:4096", 35, 120_000, "story")


def test_a_preset_takes_what_the_trainer_takes():
    trainer = CurriculumTrainer.from_preset(
        "gpt_cl/smoke",
        args=SearchArguments(seed=4),
        retrain_args=RetrainArguments(num_train_epochs=1),
        data_args=TextConfig(length=24),
        curriculum="permuted",
    )
    config, preset = trainer.config, CurriculumTrainer.from_preset("gpt_cl/smoke").config
    assert (config.trainer.seed, config.trainer.optim) == (4, "adamw")
    assert (config.retrain.num_train_epochs, config.retrain.optim) == (1, "adamw")
    assert (config.text.length, config.text.tokenizer) == (24, preset.text.tokenizer)
    assert isinstance(config.curriculum, Permuted)
    assert config.curriculum.num_candidates == preset.curriculum.num_candidates
    assert CurriculumTrainer.from_preset("gpt_cl/smoke", search=RSPS.Config()).config.search == RSPS.Config()
    with pytest.raises(UserError, match=r"^space must be a mapping or an object, got 'enas_rnn'$"):
        CurriculumTrainer.from_preset("gpt_cl/smoke", space="enas_rnn")


def test_a_configuration_takes_callbacks_as_they_are():
    config = CurriculumTrainer.from_preset("ptb_cl_enas/smoke").config
    stops = EarlyStoppingCallback()
    assert CurriculumTrainer.from_config(config, callbacks=[stops]).hooks.callbacks == [stops]


def test_paths_may_be_paths_and_begin_at_home(tmp_path, corpus, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    trainer = small("~/run", corpus)
    assert trainer.folder.path == tmp_path / "run"
    assert trainer.config.data == str(corpus)
    assert home_folder("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


@pytest.mark.parametrize("value", ["runs/x/checkpoints/search/step-100", Path("step-100"), 1])
def test_a_checkpoint_is_not_named(tmp_path, corpus, value):
    for method in ("search", "retrain", "train"):
        with pytest.raises(UserError, match=r"^resume_from_checkpoint must be True, which takes the newest one,"):
            getattr(small(tmp_path / method, corpus), method)(resume_from_checkpoint=value)
    assert not [*tmp_path.iterdir()]


LATE = [
    (
        {"search": {"metric_for_best_model": "accuracy"}},
        "trainer.metric_for_best_model must be one of loss",
    ),
    (
        {"retrain": {"metric_for_best_model": "eval_f1"}},
        "retrain.metric_for_best_model must be one of loss",
    ),
    (
        {
            "retrain": {"eval_strategy": "no", "load_best_model_at_end": False, "nonmonotone": None},
            "callbacks": [EarlyStoppingCallback()],
        },
        "retrain.eval_strategy must be epoch for an EarlyStoppingCallback, got 'no'",
    ),
]


@pytest.mark.parametrize(("given", "message"), LATE, ids=lambda value: value if isinstance(value, str) else "")
def test_what_would_fail_late_is_said_before_anything_is_written(tmp_path, corpus, given, message):
    with pytest.raises(UserError) as refused:
        small(tmp_path / "run", corpus, **given).train()
    assert str(refused.value).startswith(message)
    assert not (tmp_path / "run").exists()


def test_a_metric_of_the_users_own_is_known_when_it_is_computed(tmp_path, corpus):
    retrain = {"metric_for_best_model": "mine", "greater_is_better": True}
    trainer = small(tmp_path / "run", corpus, retrain=retrain, compute_metrics=lambda _: {"mine": 1.0})
    trainer.train()
    assert trainer.evaluate()["eval_mine"] == 1.0


def test_a_mistyped_architecture_leaves_the_trainer_as_it_was(tmp_path, corpus):
    trainer = small(tmp_path / "run", corpus)
    with pytest.raises(UserError, match="architecture '0 1 1 nonsense'"):
        trainer.retrain("0 1 1 nonsense")
    assert trainer.config.architecture is None


def test_nothing_is_retrained_in_no_epochs(tmp_path, corpus):
    with pytest.raises(UserError, match=r"^retrain_args.num_train_epochs must be at least 1 to train a network, got 0"):
        small(tmp_path / "run", corpus, retrain={"num_train_epochs": 0}).retrain("0 1 1 2")


def test_images_of_ones_own_are_retrained_and_those_of_the_table_are_looked_up():
    assert parse(None, ["--space", "nats"])[0].retrain.num_train_epochs == 0
    assert CurriculumTrainer("nats", "gdas", train_dataset="digits").config.retrain.num_train_epochs == 200
    assert CurriculumTrainer.from_preset("nats_cl/paper").config.retrain.num_train_epochs == 0


def test_a_run_outside_of_the_main_thread_leaves_signals_alone(tmp_path, corpus):
    trainer, failures = small(tmp_path / "run", corpus), []

    def run():
        try:
            trainer.train()
        except Exception as problem:
            failures.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failures
    assert trainer.result is not None


def test_what_is_cut_of_a_text_is_said(tmp_path, corpus, capsys):
    trainer = small(tmp_path / "run", corpus)
    trainer.search()
    whole = trainer.task.data.splits["train"]["tokens"]
    assert f"tokens in use: search 600 of {whole:,}" in capsys.readouterr().out.splitlines()


def test_a_warm_up_that_never_ends_is_said(tmp_path, corpus, capsys):
    small(tmp_path / "run", corpus, search={"warmup_steps": 99}, retrain={"warmup_steps": 1}).search()
    line = "warning: trainer.warmup_steps is 99, and there are 11 steps"
    assert [each for each in capsys.readouterr().out.splitlines() if "warmup" in each] == [line]


def test_of_several_processes_the_main_one_writes(tmp_path, corpus, monkeypatch):
    trainer = small(tmp_path / "run", corpus)
    trainer.train()
    monkeypatch.setenv("RANK", "1")
    assert trainer.save_model(tmp_path / "copy") is None
    assert trainer.push_to_hub("ada/cell") is None
    assert not (tmp_path / "copy").exists()
    monkeypatch.setenv("RANK", "0")
    assert trainer.save_model(tmp_path / "copy") == tmp_path / "copy"


def test_sizes_of_the_network_are_no_less_part_of_a_preset():
    own = RetrainArguments(model_init_kwargs={"hidden_size": 6})
    config = CurriculumTrainer.from_preset("ptb_cl_enas/smoke", retrain_args=own).config
    assert config.network.hidden_size == 6
    images = CurriculumTrainer.from_preset("nats_cl/smoke", data_args={"train_images": 40}).config
    assert images.images.train_images == 40
