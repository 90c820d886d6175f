"""A run whose search keeps to measured milliseconds: measured once, and read from its folder ever after."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from launching import launch_ranks
from outcome import saved, timeless
from test_gpt_run import Signal, tiny
from tiny_recipe import write_corpus

from cnas.algorithms import Pareto
from cnas.errors import Stopped, UserError
from cnas.runs import pipeline
from cnas.runs.latency import measured_task, read_latency
from cnas.runs.result import RunResult
from cnas.runs.task import load_task
from cnas.spaces import GptSpace
from cnas.trainer import CurriculumTrainer

LIMIT = "latency_ms<=4,parameters<=1e9"


def tiny_search(corpus, **fields):
    return replace(tiny(data=str(corpus)), search=Pareto.Config(**fields))


def fake(self, device, length):
    """A layer takes 1 ms and another one for each head and each 8 of its MLP above 16; all else takes 0.5 ms."""
    blocks = dict.fromkeys([f"w{width}" for width in self.width], 0.5)
    for width in self.width:
        for heads in self.heads:
            blocks |= {f"w{width} h{heads} m{mlp}": float(heads) + (mlp - 16) / 8 for mlp in self.mlp}
    return {"dtype": "float32", "cache_tokens": length // 2, "repetitions": 1, "blocks": blocks}


def refuse(self, device, length):
    raise AssertionError("measured a second time")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("text") / "corpus")


@pytest.fixture
def measure(monkeypatch):
    """Puts another measurement in place of the space's own."""

    def put(function):
        monkeypatch.setattr(GptSpace, "measure", function)

    put(fake)
    return put


def stored(folder, name):
    return json.loads((folder / name).read_text("utf-8"))


def left(folder):
    return timeless(stored(folder, "search.json")), saved(folder / "checkpoints" / "search")


@pytest.fixture(scope="module")
def searched(corpus, tmp_path_factory):
    """(folder, result) of a search that was not stopped."""
    folder = tmp_path_factory.mktemp("runs") / "limited"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GptSpace, "measure", fake)
        return folder, CurriculumTrainer.from_config(tiny_search(corpus, limit=LIMIT), folder).search()


def test_a_limit_on_milliseconds_chooses_and_the_front_has_them(searched):
    folder, result = searched
    record = read_latency(folder)
    assert (record.dtype, record.cache_tokens, record.threads) == ("float32", 4, torch.get_num_threads())
    assert record.setting == f"a token at batch 1 with 4 in the cache, float32 on {record.device}, 1 thread"
    assert record.environment["device"] == "cpu"
    space = tiny().space.measured(record.blocks)
    within = [one for one in space.all() if space.costs(one)["latency_ms"] <= 4]
    assert result.valid["scored"] == len(within) == 10
    for point in result.front:
        assert point.costs["latency_ms"] == space.costs(space.parse(point.architecture))["latency_ms"] <= 4
    assert result.architecture.to_str() == result.front[0].architecture


def test_a_search_that_is_over_is_asked_with_what_was_measured(searched, corpus, measure):
    measure(refuse)
    trainer = CurriculumTrainer.from_config(tiny_search(corpus, limit=LIMIT), searched[0])
    result = trainer.search(resume_from_checkpoint=True)
    assert len(result.top(3)) == 3
    assert trainer.evaluate()["eval_loss"] > 0


def test_a_search_that_goes_on_does_not_measure_again(searched, corpus, measure, tmp_path, capsys):
    config = tiny_search(corpus, limit=LIMIT)
    with pytest.raises(Stopped):
        CurriculumTrainer.from_config(config, tmp_path, callbacks=[Signal(13)]).search()
    line = r"latency_ms: 1.5 to 6.5, of a token at batch 1 with 4 in the cache, float32 on "
    assert line in (said := capsys.readouterr().out)
    assert "elsewhere" not in said
    measure(refuse)
    record = stored(tmp_path, "latency.json")
    (tmp_path / "latency.json").write_text(json.dumps(record | {"device": "Abacus", "threads": 3}))
    CurriculumTrainer.from_config(config, tmp_path).search(resume_from_checkpoint=True)
    assert f"{line}Abacus, 3 threads; it was measured elsewhere, and is kept" in capsys.readouterr().out
    assert left(tmp_path) == left(searched[0])


def test_a_search_whose_measurement_is_lost_does_not_go_on_with_another(corpus, measure, tmp_path):
    config = tiny_search(corpus, costs=("latency_ms",))
    with pytest.raises(Stopped):
        CurriculumTrainer.from_config(config, tmp_path, callbacks=[Signal(13)]).search()
    (tmp_path / "latency.json").unlink()
    with pytest.raises(UserError, match=r"has no latency.json any more, and with another one its search is another"):
        CurriculumTrainer.from_config(config, tmp_path).search(resume_from_checkpoint=True)
    assert not (tmp_path / "latency.json").exists()


def test_nothing_is_measured_where_no_milliseconds_are_asked_for(corpus, measure, tmp_path):
    measure(refuse)
    task = load_task(tiny_search(corpus, limit="parameters<=1e9"))
    assert measured_task(task, tmp_path) is task
    assert pipeline.measure_latency(task, None, None) is task


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"limit": "latency_ms<=1.2"},
            r"^search.limit is latency_ms<=1.2, which no architecture of gpt meets: the smallest is w8 d1 h1 m16 with "
            r"1.5 latency_ms, the largest w16 d2 h2 m24 with 6.5 latency_ms$",
        ),
        ({"limit": "latency_ms<=1.5", "candidates": 5}, r"^curriculum.num_candidates must be at most 2, the number of"),
    ],
)
def test_a_limit_that_leaves_too_little_is_refused_right_after_measuring(corpus, measure, tmp_path, fields, message):
    count = fields.pop("candidates", 2)
    config = tiny_search(corpus, **fields)
    config = replace(config, curriculum=replace(config.curriculum, num_candidates=count))
    with pytest.raises(UserError, match=message):
        CurriculumTrainer.from_config(config, tmp_path).train()
    assert read_latency(tmp_path) is not None
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": "two"}, r"latency\.json: threads must be"),
        ({"blocks": {"w8": -1.0}}, r"latency\.json: blocks\.w8 must be"),
    ],
)
def test_a_damaged_measurement_is_one_line(searched, tmp_path, changes, message):
    (tmp_path / "latency.json").write_text(json.dumps(stored(searched[0], "latency.json") | changes))
    with pytest.raises(UserError, match=message) as caught:
        read_latency(tmp_path)
    assert "\n" not in str(caught.value)
    assert read_latency(tmp_path / "empty") is None


def test_the_result_has_the_milliseconds_of_what_was_found(corpus, measure, tmp_path):
    measure(fake)
    CurriculumTrainer.from_config(tiny_search(corpus, limit=LIMIT), tmp_path).train()
    result = RunResult.load(tmp_path)
    assert set(result.architecture.costs) == {"parameters", "flops", "latency_ms"}
    (point,) = [each for each in result.search.front if each.architecture == result.architecture.string]
    assert point.costs["latency_ms"] == result.architecture.costs["latency_ms"]


def test_what_is_really_measured_is_within_its_own_limit(corpus, tmp_path):
    config = replace(tiny(data=str(corpus)), search=Pareto.Config(costs=("latency_ms",), limit="latency_ms<=1e4"))
    result = CurriculumTrainer.from_config(config, tmp_path).search()
    blocks = read_latency(tmp_path).blocks
    assert all(0 < time < 1e4 for time in blocks.values())
    space = config.space.measured(blocks)
    assert {point.architecture: point.costs for point in result.front} == {
        point.architecture: {"latency_ms": space.costs(space.parse(point.architecture))["latency_ms"]}
        for point in result.front
    }


def search_on_ranks(corpus: str, folder: str) -> int:
    """What each process of a search is left with."""
    trainer = CurriculumTrainer.from_config(tiny_search(Path(corpus), limit="latency_ms<=1e4"), folder)
    trainer.search()
    space = measured_task(trainer.task, Path(folder)).config.space
    costs = [space.costs(one)["latency_ms"] for one in space.all()]
    (Path(folder).parent / f"costs-{trainer.accelerator.process_index}.json").write_text(json.dumps(costs))
    trainer.close()
    return 0


@pytest.mark.distributed
def test_two_processes_search_with_the_times_of_one(corpus, tmp_path):
    for ended in [
        rank.wait() for rank in launch_ranks(tmp_path, 2, search_on_ranks, str(corpus), str(tmp_path / "run"))
    ]:
        assert ended.code == 0, ended.err
    one, other = (json.loads((tmp_path / f"costs-{rank}.json").read_text()) for rank in range(2))
    assert one == other
    assert stored(tmp_path / "run", "search.json")["string"]
