"""The front door: `CurriculumTrainer` from its arguments to a model folder, at sizes of a second or two."""

import json

import pytest
import torch
from datasets import Dataset, DatasetDict
from rounding import EXACT
from tiny_recipe import write_corpus
from transformers import EarlyStoppingCallback

from cnas import CurriculumTrainer, RetrainArguments, SearchArguments
from cnas.data import TextConfig
from cnas.errors import UserError
from cnas.spaces import EnasRnnSpace
from cnas.training.arguments import ArgumentNameError
from cnas.training.metrics_log import read, stable

SPACE = {"nodes": 2, "hidden_size": 8}
TEXT = TextConfig(vocab_size=60, length=10, search_tokens=600)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("home") / "corpus")


def small(folder, data, *, epochs=3, retrained=1, **options):
    """A trainer whose whole run takes a second or two."""
    sizes = {"global_batch_size": 5, "learning_rate": 5.0}
    args = SearchArguments(output_dir=str(folder), num_train_epochs=epochs, eval_batch_size=4, **sizes)
    retrain = RetrainArguments(num_train_epochs=retrained, model_init_kwargs={"hidden_size": 6}, **sizes)
    given = {"args": args, "retrain_args": retrain, "train_dataset": data, "data_args": TEXT, **options}
    return CurriculumTrainer(EnasRnnSpace(**SPACE), "rsps", **given)


@pytest.fixture(scope="module")
def ended(corpus, tmp_path_factory):
    """A trainer that has searched and retrained, with what it returned."""
    trainer = small(tmp_path_factory.mktemp("runs") / "done", str(corpus))
    found = trainer.search()
    before = trainer.evaluate()
    return trainer, found, before, trainer.retrain()


@pytest.fixture
def done(ended):
    """The same, after the state that accelerators share was forgotten, as it is before every test."""
    vars(ended[0]).pop("accelerator", None)
    return ended


def test_a_search_tells_what_it_found_and_how(done):
    _, found, _, _ = done
    assert [row["epoch"] for row in found.history] == [1, 2, 3]
    assert found.metrics["steps"] == found.steps == found.history[-1]["step"]
    assert found.metrics["valid_loss"] == found.valid["valid_loss"]


def test_the_best_are_ranked_by_their_loss_with_shared_weights(done):
    trainer, found, _, _ = done
    rows = [stable(row) for row in read(trainer.folder.path / "metrics.jsonl")]
    best = found.top(4)
    losses = [each.loss for each in best]
    assert losses == sorted(losses)
    assert len({each.architecture for each in best}) == 4
    assert best[0].loss <= found.valid["valid_loss"] + EXACT
    assert all(each.parameters > 0 and each.flops > 0 for each in best)
    # Looking at a search leaves the run as it is.
    assert [stable(row) for row in read(trainer.folder.path / "metrics.jsonl")] == rows
    for count in (0, trainer.config.space.size + 1):
        with pytest.raises(UserError, match=f"got {count}$"):
            found.top(count)


def test_looking_at_a_search_leaves_callbacks_alone(corpus, tmp_path, capsys):
    patience = EarlyStoppingCallback(early_stopping_patience=4)
    trainer = small(tmp_path / "run", str(corpus), epochs=1, callbacks=[patience])
    found = trainer.search()
    patience.early_stopping_patience_counter = 3
    found.top(2)
    trainer.evaluate()
    assert "warning" not in capsys.readouterr().out
    assert patience.early_stopping_patience_counter == 3


def test_the_network_is_measured_after_the_retraining_and_the_subnet_before(done):
    trainer, found, before, network = done
    assert before["eval_loss"] == pytest.approx(found.valid["valid_loss"], rel=EXACT)
    after = trainer.evaluate()
    assert after.keys() == {"eval_loss", "eval_perplexity"}
    assert after["eval_perplexity"] == trainer.result.retrain.valid_perplexity
    assert network.config.hidden_size == 6
    other = trainer.evaluate({"validation": Dataset.from_dict({"text": ["w1 w3 w9", "w2 w6"]})}, "other")
    assert other.keys() == {"other_loss", "other_perplexity"}
    assert other["other_loss"] != after["eval_loss"]


def test_a_new_process_finds_search_network_and_figures(done, corpus):
    trainer, found, _, network = done
    again = small(trainer.folder.path, str(corpus))
    known = again.search(resume_from_checkpoint=True)
    assert (known.architecture, known.metrics, known.history) == (found.architecture, found.metrics, found.history)
    loaded = again.retrain()
    for name, value in network.state_dict().items():
        # A model folder has one row more, for padding.
        assert torch.equal(loaded.state_dict()[name][: len(value)].cpu(), value.cpu()), name
    assert again.evaluate() == trainer.evaluate()
    assert again.train(resume_from_checkpoint=True) == trainer.result


def test_stages_are_the_whole_run_to_the_bit(done, corpus, tmp_path):
    trainer, _, _, network = done
    whole = small(tmp_path / "whole", str(corpus))
    result = whole.train()
    assert result.architecture == trainer.result.architecture
    assert result.retrain.valid_perplexity == trainer.result.retrain.valid_perplexity
    rows = [[stable(row) for row in read(each.folder.path / "metrics.jsonl")] for each in (trainer, whole)]
    assert rows[0] == rows[1]
    for name, value in whole.retrain().state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_retraining_in_a_new_process_goes_on_from_the_search(corpus, tmp_path):
    found = small(tmp_path / "run", str(corpus), epochs=1).search()
    network = small(tmp_path / "run", str(corpus), epochs=1).retrain()
    assert type(network).__name__.endswith("ForCausalLM")
    result = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))
    assert result["architecture"]["string"] == str(found.architecture)


def test_a_given_architecture_is_trained_without_a_search(corpus, tmp_path):
    trainer = small(tmp_path / "run", str(corpus))
    with pytest.raises(UserError, match=r"holds no finished search; call search first$"):
        trainer.retrain()
    trainer.retrain("0 1 1 2")
    assert trainer.result.search is None
    with pytest.raises(UserError, match=r"is given, so nothing is searched; use retrain$"):
        trainer.search()


def test_another_architecture_than_the_found_one_needs_another_folder(done):
    trainer, found, _, _ = done
    other = next(text for text in ("0 1 1 2", "0 2 0 3") if text != str(found.architecture))
    with pytest.raises(UserError, match=f"has found '{found.architecture}'; train '{other}' in another output_dir$"):
        trainer.retrain(other)


def test_model_and_card_can_be_taken_elsewhere(done, tmp_path):
    trainer, _, _, network = done
    copy = trainer.save_model(tmp_path / "copy")
    assert (copy / "config.json").read_bytes() == (trainer.folder.path / "model" / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"is there already; name a new folder$"):
        trainer.save_model(copy)
    card = trainer.create_model_card(licence="mit").read_text("utf-8")
    assert "license: mit" in card
    # The network is that of the folder, whose embedding has a row for padding, and nothing is dropped in it.
    assert network.num_parameters() - network.config.hidden_size == trainer.result.retrain.parameters
    assert not network.training
    assert network.config.pad_token_id is not None


def test_data_in_memory_is_the_data_of_the_files(done, corpus, tmp_path):
    trainer, found, _, _ = done
    splits = {name: (corpus / f"{name}.txt").read_text("utf-8").splitlines() for name in ("train", "valid", "test")}
    names = {"train": "train", "valid": "validation", "test": "test"}
    data = DatasetDict({names[name]: Dataset.from_dict({"text": lines}) for name, lines in splits.items()})
    memory = small(tmp_path / "memory", data)
    assert memory.search().architecture == found.architecture
    memory.retrain()
    assert memory.result.retrain.test_perplexity == trainer.result.retrain.test_perplexity
    assert memory.config.data == f"dataset:{trainer.result.dataset.fingerprint}"
    with pytest.raises(UserError, match="was a Dataset of a Python script"):
        CurriculumTrainer.from_config(memory.config, tmp_path / "new").train()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda folder, data: small(folder, None), "train_dataset must be a name, a path, a Dataset"),
        (lambda folder, data: CurriculumTrainer("enas_rn", "rsps", train_dataset=data), "did you mean enas_rnn"),
        (lambda folder, data: CurriculumTrainer("enas_rnn", "rspss", train_dataset=data), "did you mean rsps"),
        (lambda folder, data: CurriculumTrainer("enas_rnn", "rsps", "uncertain", train_dataset=data), "uncertainty"),
        (
            lambda folder, data: CurriculumTrainer("enas_rnn", "rsps", 3, train_dataset=data),
            "curriculum must be a name",
        ),
        (lambda folder, data: SearchArguments(per_device_train_batch_size=8), "the number of devices must not change"),
        (lambda folder, data: SearchArguments(gradient_accumulation_steps=8), "a step is one global batch"),
        (lambda folder, data: SearchArguments(learning_rat=1.0), "did you mean learning_rate"),
        (
            lambda folder, data: SearchArguments(learning_rate="fast"),
            "learning_rate must be a finite number, got 'fast'",
        ),
        (lambda folder, data: CurriculumTrainer.from_preset("ptb_cl_enas/smok"), "ptb_cl_enas/smoke"),
        (lambda folder, data: CurriculumTrainer.from_preset("ptb_cl_enas/smoke", sed=1), "sed is no field"),
        (
            lambda folder, data: small(folder, data, retrain_args=RetrainArguments(model_init_kwargs={"hidden": 3})),
            "did you mean hidden_size",
        ),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(call, line, corpus, tmp_path):
    with pytest.raises(ValueError, match=line) as raised:
        call(tmp_path / "run", str(corpus))
    assert "\n" not in str(raised.value)
    assert not [*tmp_path.iterdir()]


def test_a_name_that_is_no_argument_is_a_type_error():
    with pytest.raises(TypeError):
        SearchArguments(max_steps=3)
    assert issubclass(ArgumentNameError, UserError)


def test_a_folder_that_holds_something_is_refused(corpus, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="already holds files"):
        small(tmp_path / "run", str(corpus)).search()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_what_is_left_open_is_what_was_published_for_the_space(corpus):
    darts = CurriculumTrainer("darts_rnn", "darts_v1", train_dataset=str(corpus)).config
    assert (darts.trainer.num_train_epochs, darts.trainer.global_batch_size) == (50, 256)
    images = CurriculumTrainer("nats", "gdas", args=SearchArguments(seed=3), train_dataset="digits").config
    assert (images.trainer.learning_rate, images.trainer.nesterov, images.trainer.seed) == (0.025, True, 3)
    assert images.curriculum.unit == "sample"
    plain = CurriculumTrainer("nats", "gdas", None, train_dataset="digits").config
    assert plain.curriculum is None
