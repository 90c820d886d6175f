"""Networks with the weights that a search has left for them: trained from there, or written as they are."""

import json
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard
from launching import launch_ranks
from outcome import outcome
from tiny_gpt import tiny
from tiny_recipe import tiny as recurrent
from tiny_recipe import write_corpus
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from cnas.cli.main import main
from cnas.errors import Stopped, UserError
from cnas.runs.config import RunConfig
from cnas.runs.pipeline import finished_search
from cnas.runs.result import RunResult
from cnas.trainer import CurriculumTrainer


def starting(start, **changes):
    config = tiny()
    return replace(config, retrain=replace(config.retrain, start=start, **changes))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("text") / "corpus")


@pytest.fixture(scope="module")
def config(corpus):
    return replace(starting("supernet"), data=str(corpus))


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "inherited"
    CurriculumTrainer.from_config(config, folder).train()
    return folder


def searched(config, folder):
    """The search of a run, as it is looked at afterwards."""
    trainer = CurriculumTrainer.from_config(config, folder)
    return trainer.task, finished_search(trainer.task, trainer._looking())


def test_what_it_begins_with_is_what_the_supernet_has(run, config):
    task, loop = searched(config, run)
    result = RunResult.load(run)
    expected = loop.figures(task.config.space.parse(result.architecture.string), task.evaluation())
    found = result.retrain.inherited
    assert found["valid_perplexity"] == pytest.approx(expected["perplexity"], rel=1e-5)
    assert found.keys() == {"valid_perplexity", "valid_word_perplexity", "valid_nats_per_byte"}
    assert result.retrain.valid_perplexity < found["valid_perplexity"]
    card = (run / "README.md").read_text("utf-8")
    assert "| Training of the network, from weights that the search has left for it | 2 epochs, 38 steps" in card
    assert f"| Validation with these weights, before it | perplexity {found['valid_perplexity']:.2f}, " in card


def test_the_first_step_starts_from_these_weights(config, run, tmp_path):
    still = {"learning_rate": 1e-12, "final_learning_rate": 0.0, "num_train_epochs": 1}
    figures = {}
    for start in ("supernet", "new"):
        changed = replace(config, retrain=replace(config.retrain, start=start, **still))
        CurriculumTrainer.from_config(changed, tmp_path / start).train()
        figures[start] = RunResult.load(tmp_path / start).retrain
    same, new = figures["supernet"], figures["new"]
    assert same.valid_perplexity == pytest.approx(same.inherited["valid_perplexity"], rel=1e-6)
    assert same.inherited == RunResult.load(run).retrain.inherited
    assert new.inherited == {}
    assert new.valid_perplexity > 1.05 * same.valid_perplexity


class Signal(TrainerCallback):
    """A signal to this process after so many steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_step_end(self, args, state, control, **kwargs):
        self.steps -= 1
        if not self.steps:
            signal.raise_signal(signal.SIGTERM)


def test_a_run_that_was_stopped_goes_on_exactly_in_new_processes(config, run, tmp_path):
    folder = tmp_path / "stopped"
    CurriculumTrainer.from_config(config, folder).search()
    with pytest.raises(Stopped, match="of the retrain"):
        CurriculumTrainer.from_config(config, folder, callbacks=[Signal(7)]).retrain()
    shutil.rmtree(folder / "checkpoints" / "search")  # nothing of it is needed once the training has begun
    assert main(["retrain", str(folder)]) == 0
    shutil.copytree(run / "checkpoints" / "search", folder / "checkpoints" / "search")
    assert outcome(folder) == outcome(run)


def test_a_search_whose_checkpoints_are_gone_leaves_no_weights(config, tmp_path):
    folder = tmp_path / "gone"
    CurriculumTrainer.from_config(config, folder).search()
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(UserError, match=r"has no checkpoints of its search any more$"):
        CurriculumTrainer.from_config(config, folder).retrain()


def test_what_has_no_such_weights_is_refused_before_any_work(config, corpus, tmp_path, capsys):
    other = recurrent()
    other = replace(other, data=str(corpus), retrain=replace(other.retrain, start="supernet"))
    given = replace(config, architecture="w8 d1 h1 m16")
    for wrong, said in (
        (other, "retrain.start must be new with space enas_rnn, whose networks cannot take the weights of its"),
        (given, "retrain.start must be new where the run does not search itself, since its architecture is given"),
    ):
        with pytest.raises(UserError, match=rf"^{said}.*, got 'supernet'$"):
            CurriculumTrainer.from_config(wrong, tmp_path / "refused").train()
        assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("text", ["w8 d1 h1 m16", "w16 d2 h2 m24"])
def test_any_network_is_written_with_its_part_of_the_supernet(text, run, config, capsys):
    before = sorted(path for path in run.rglob("*") if path.is_file())
    assert main(["extract", str(run), text]) == 0
    folder = run / "extracted" / text.replace(" ", "-")
    assert capsys.readouterr().out == f"{folder}\n"
    model, tokenizer = (auto.from_pretrained(folder) for auto in (AutoModelForCausalLM, AutoTokenizer))
    task, loop = searched(config, run)
    architecture = task.config.space.parse(text)
    expected = task.config.space.inherited(loop.parts.supernet, architecture).state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())
    ours = AutoTokenizer.from_pretrained(run / "model")
    assert tokenizer.get_vocab() == ours.get_vocab()
    card = (folder / "README.md").read_text("utf-8")
    assert "**inherited weights**: it was not trained by itself" in card
    assert f"`{text}`, with {sum(each.numel() for each in model.parameters()):,} parameters" in card
    measured = loop.figures(architecture, task.evaluation())["perplexity"]
    (value,) = [entry.metric_value for entry in ModelCard.load(folder / "README.md").data.eval_results]
    assert value == pytest.approx(measured, rel=1e-5)
    assert f"| perplexity (per token) | {value:.2f} |" in card
    assert "| nats per byte | " in card
    shutil.rmtree(run / "extracted")
    assert sorted(path for path in run.rglob("*") if path.is_file()) == before


def test_what_cannot_be_extracted_is_one_line_and_code_2(run, corpus, tmp_path, capsys):
    given = tmp_path / "given"
    shutil.copytree(run, given, ignore=shutil.ignore_patterns("checkpoints"))
    other = replace(recurrent(), data=str(corpus))
    (tmp_path / "recurrent").mkdir()
    (tmp_path / "recurrent" / "config.json").write_text(json.dumps(other.to_json()))
    for words, said in (
        ([tmp_path, "w8 d1 h1 m16"], "which has no config.json"),
        ([run, "w8 d1 h1 m17"], "mlp must be one of 16, 24"),
        ([run, "w8 d1 h1 m16", corpus], "is there already, and nothing is overwritten"),
        ([given, "w8 d1 h1 m16"], "has no checkpoints of its search any more"),
        ([tmp_path / "recurrent", "0 0 1 1"], "the networks of space enas_rnn cannot take the weights"),
    ):
        assert main(["extract", *map(str, words)]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1), words
        assert said in captured.err
    assert not (run / "extracted").exists()


def rank(values, folder):
    """A whole run in one of several processes."""
    trainer = CurriculumTrainer.from_config(RunConfig.from_json(values), folder)
    trainer.train()
    trainer.close()
    return 0


@pytest.mark.distributed
def test_two_processes_begin_with_the_same_weights(config, run, tmp_path):
    for ended in [each.wait() for each in launch_ranks(tmp_path, 2, rank, config.to_json(), tmp_path / "pair")]:
        assert ended.code == 0, ended.err
    one, pair = (RunResult.load(folder).retrain for folder in (run, tmp_path / "pair"))
    assert pair.inherited == pytest.approx(one.inherited, rel=1e-4)
    assert pair.valid_perplexity == pytest.approx(one.valid_perplexity, rel=1e-3)
