"""A benchmark's fixed set is ranked after some epochs, both ways, resumably, and the search does not notice."""

import json
import shutil
from dataclasses import replace

import made_up_table
import pytest
import torch
from accelerate import Accelerator
from transformers import TrainerCallback

from cnas.benchmarks import nats
from cnas.cli.launch import main
from cnas.errors import Stopped, UserError
from cnas.runs import rankings
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.runs.hooks import Hooks
from cnas.runs.pipeline import search_loop
from cnas.runs.rankings import load_rankings
from cnas.runs.task import load_task
from cnas.training.context import RunContext

FEW = 24
SIZES = ["--images.search-images", "64", "--images.valid-images", "32", "--images.train-images", "64"]
SIZES += ["--images.test-images", "48", "--trainer.num-train-epochs", "3", "--trainer.eval-batch-size", "32"]
ARGV = ["--preset", "smoke", "--algorithm", "rsps", *SIZES, "--retrain.num-train-epochs", "0", "--no-curriculum"]


@pytest.fixture(scope="module", autouse=True)
def few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nats, "FIXED", FEW)
        patch.setattr(rankings, "CHUNK", 10)
        yield


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return str(made_up_table.save(tmp_path_factory.mktemp("table") / "table.parquet", made_up_table.columns()))


@pytest.fixture(scope="module")
def ranked(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("ranked") / "run"
    assert main("nats_cl", [*ARGV, "--output-dir", str(folder), "--table", table, "--rank-every", "2"]) == 0
    return folder


@pytest.fixture
def search(table, tmp_path):
    """(the parts of a search at its beginning, what ranks)."""
    config = RunConfig.from_preset("nats_cl/smoke", "rsps")
    task = load_task(replace(config, table=table))
    ranker = task.ranker(RunFolder(tmp_path))
    context = RunContext(Accelerator(cpu=True), tmp_path, 1, "same")
    return search_loop(task, context, ranker=ranker), ranker


def test_they_are_there_for_every_second_epoch_and_the_first_and_the_last(ranked):
    untrained, found = load_rankings(ranked)[:2], load_rankings(ranked)[2:]
    assert [each.epoch for each in untrained] == [0, 0]
    assert [(each.epoch, each.scoring) for each in found] == [
        (2, "published"),
        (2, "batch_statistics"),
        (3, "published"),
        (3, "batch_statistics"),
    ]
    assert all(len(each.losses) == FEW for each in found)
    assert found[2].losses != found[3].losses
    result = json.loads((ranked / "result.json").read_text("utf-8"))
    assert result["benchmark"]["ranked"] == FEW
    assert json.loads((ranked / "search.json").read_text("utf-8"))["supernet_losses"] == dict(found[2].losses)


def test_before_the_first_epoch_nothing_was_learned(table, tmp_path):
    task = load_task(replace(RunConfig.from_preset("nats_cl/smoke", "rsps"), table=table, rank_every=1))
    ranker, context = task.ranker(RunFolder(tmp_path)), RunContext(Accelerator(cpu=True), tmp_path, 1, "same")
    loop = search_loop(task, context, Hooks(callbacks=[Ends()]), ranker)
    ranker.after_epoch(loop, 0, last=True)
    new = [each.losses for each in load_rankings(tmp_path)]
    ranker.forget()
    loop.train()
    assert [each.losses for each in load_rankings(tmp_path) if each.epoch == 0] == new


def test_a_search_that_was_stopped_before_its_first_step_goes_on_ranking(table, tmp_path, monkeypatch):
    task = load_task(replace(RunConfig.from_preset("nats_cl/smoke", "rsps"), table=table, rank_every=1))
    ranker, context = task.ranker(RunFolder(tmp_path)), RunContext(Accelerator(cpu=True), tmp_path, 1, "same")
    loop, calls = search_loop(task, context, ranker=ranker), iter((None, None, None, Stopped("now")))

    def between():
        if (problem := next(calls)) is not None:
            raise problem

    monkeypatch.setattr(loop, "between", between)
    with pytest.raises(Stopped, match="at step 0 of the search; go on with --resume"):
        loop.train()
    kept = json.loads((tmp_path / "rankings" / "epoch-0000.json").read_text("utf-8"))["scorings"]["published"]
    again = search_loop(task, context, Hooks(callbacks=[Ends()]), ranker)
    assert again.resume()
    again.train()
    found = json.loads((tmp_path / "rankings" / "epoch-0000.json").read_text("utf-8"))["scorings"]
    assert found["published"] == kept  # to the second: it was not scored again
    assert len(found["batch_statistics"]["losses"]) == FEW


def test_the_search_does_not_notice(ranked, tmp_path):
    assert main("nats_cl", [*ARGV, "--output-dir", str(tmp_path / "run")]) == 0

    def rows(folder):
        found = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
        return [{name: value for name, value in row.items() if "seconds" not in name} for row in found]

    assert rows(ranked) == rows(tmp_path / "run")
    found = [json.loads((folder / "search.json").read_text("utf-8")) for folder in (ranked, tmp_path / "run")]
    assert found[0]["string"] == found[1]["string"]


def test_every_architecture_has_the_loss_that_it_has_alone(search):
    loop, ranker = search
    ranker.after_epoch(loop, 1, last=True)
    published, batch = load_rankings(ranker.home.path)
    valid, index = ranker.batches, ranker.index
    for text in ranker.architectures[::5]:
        routing = [loop.parts.space.parse(text)]
        assert published.losses[text] == pytest.approx(float(loop.scorer.validation(routing, valid, index)[0]))
        with loop.parts.supernet.scored_by("batch_statistics"):
            assert batch.losses[text] == pytest.approx(float(loop.scorer.validation(routing, valid, index)[0]))


def test_a_pass_that_was_stopped_goes_on_where_it_was(search, monkeypatch):
    loop, ranker = search
    calls = 0

    def between():
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Stopped("stopped between two updates")

    monkeypatch.setattr(loop, "between", between)
    with pytest.raises(Stopped):
        ranker.after_epoch(loop, 1, last=True)
    assert [each.scoring for each in load_rankings(ranker.home.path)] == ["published"]
    saved = json.loads((ranker.home.path / "rankings" / "epoch-0001.json").read_text("utf-8"))
    assert len(saved["scorings"]["published"]["losses"]) == FEW
    ranker.after_epoch(loop, 1, last=True)
    stopped = load_rankings(ranker.home.path)
    assert calls == 4 + 3  # of two scorings three groups each, the stopped one once more
    (ranker.home.path / "rankings" / "epoch-0001.json").unlink()
    ranker.after_epoch(loop, 1, last=True)
    assert [each.losses for each in load_rankings(ranker.home.path)] == [each.losses for each in stopped]


def test_what_an_attempt_that_was_given_up_has_left_is_no_ranking(search):
    loop, ranker = search
    ranker.after_epoch(loop, 1, last=True)
    truth = [each.losses for each in load_rankings(ranker.home.path)]
    file = ranker.home.path / "rankings" / "epoch-0001.json"
    values = json.loads(file.read_text("utf-8"))
    values["step"] -= 1
    values["scorings"] = {name: {**passed, "losses": [1.0] * FEW} for name, passed in values["scorings"].items()}
    file.write_text(json.dumps(values), "utf-8")
    ranker.after_epoch(loop, 1, last=True)
    assert [each.losses for each in load_rankings(ranker.home.path)] == truth
    shutil.copy(file, file.with_stem("epoch-0007"))
    assert len(load_rankings(ranker.home.path)) == 4
    ranker.after_epoch(loop, 1, last=True)
    assert [each.losses for each in load_rankings(ranker.home.path)] == truth
    ranker.forget()
    assert list((ranker.home.path / "rankings").iterdir()) == []


NO_NUMBERS = {"epoch": 1, "scorings": {"published": {"losses": ["none"] * FEW}}}


@pytest.mark.parametrize("values", [{}, {"scorings": []}, {"scorings": {"published": {}}}, NO_NUMBERS])
def test_a_file_that_no_run_writes_is_refused(search, values):
    loop, ranker = search
    ranker.after_epoch(loop, 1, last=True)
    (ranker.home.path / "rankings" / "epoch-0001.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(UserError, match=r"epoch-0001\.json is not what a run writes"):
        load_rankings(ranker.home.path)


def test_the_epoch_after_which_a_callback_ends_the_search_is_ranked(table, tmp_path):
    task = load_task(replace(RunConfig.from_preset("nats_cl/smoke", "rsps"), table=table))
    ranker, context = task.ranker(RunFolder(tmp_path)), RunContext(Accelerator(cpu=True), tmp_path, 1, "same")
    found = search_loop(task, context, Hooks(callbacks=[Ends()]), ranker).train()
    assert found.epochs == 1
    assert {each.epoch for each in load_rankings(tmp_path)} == {1}


class Ends(TrainerCallback):
    """Ends the training when the first epoch has been measured."""

    def on_evaluate(self, args, state, control, **kwargs):
        control.should_training_stop = True


def test_nothing_is_ranked_between(search):
    loop, ranker = search
    ranker.after_epoch(loop, 1, last=False)
    assert load_rankings(ranker.home.path) == []


def test_batch_statistics_are_those_of_a_norm_in_training_and_leave_no_trace(search):
    supernet = search[0].parts.supernet
    norms = [each for each in supernet.modules() if getattr(each, "running_mean", None) is not None]
    images = torch.randn(8, norms[0].num_features, 4, 4, generator=torch.Generator().manual_seed(1))
    before = [each.clone() for each in norms[0].buffers()]
    norms[0].eval()
    with supernet.scored_by("batch_statistics"):
        found = norms[0](images)
    assert all(torch.equal(one, other) for one, other in zip(before, norms[0].buffers(), strict=True))
    assert not torch.allclose(found, norms[0](images))
    norms[0].train()
    torch.testing.assert_close(found, norms[0](images))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rank-every", "2"], "rank_every is 2, but there is no table"),
        (["--rank-every", "0", "--table", "x.parquet"], "rank_every must be at least 1 or none, got 0"),
    ],
)
def test_what_cannot_be_asked_for(flags, message, capsys):
    assert main("nats_cl", [*ARGV, *flags]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_scoring(search):
    with pytest.raises(UserError, match="scoring must be one of published, batch_statistics, got 'median'"):
        search[0].parts.supernet.scored_by("median").__enter__()
