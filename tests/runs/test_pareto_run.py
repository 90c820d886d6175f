"""A run whose result is a front: what it leaves, and who chooses."""

import json
from dataclasses import replace

import pytest
from test_gpt_run import tiny
from tiny_recipe import write_corpus

from cnas.algorithms import Pareto
from cnas.cli import launch
from cnas.errors import UserError
from cnas.runs.result import RunResult
from cnas.runs.task import load_task
from cnas.trainer import CurriculumTrainer
from cnas.types import FrontPoint


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("text") / "corpus")


def config(corpus, **fields):
    return replace(tiny(data=str(corpus)), search=Pareto.Config(**fields))


@pytest.fixture(scope="module")
def searched(corpus, tmp_path_factory):
    """(folder, result) of a search without a limit."""
    folder = tmp_path_factory.mktemp("runs") / "front"
    return folder, CurriculumTrainer.from_config(config(corpus), folder).search()


def stored(folder, name="search.json"):
    return json.loads((folder / name).read_text("utf-8"))


def copied(folder, place):
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(".lock"):
            target = place / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return place


def test_without_a_limit_the_front_is_the_result(searched, corpus):
    folder, result = searched
    assert result.architecture is None
    assert result.valid == {"scored": 16.0, "front": float(len(result.front))}
    space = replace(config(corpus).space, vocab_size=280)
    for point in result.front:
        assert point.costs == {"parameters": space.costs(space.parse(point.architecture))["parameters"]}
    pairs = [(point.loss, point.costs["parameters"]) for point in result.front]
    assert pairs == sorted(pairs)
    assert sorted((cost for _, cost in pairs), reverse=True) == [cost for _, cost in pairs]
    found = stored(folder)
    assert found["string"] is None
    assert tuple(FrontPoint(**point) for point in found["search"]["front"]) == result.front
    known = {each.architecture: each for each in result.scored}
    assert len(known) == len(result.scored) == space.size
    assert {each.architecture: each.loss for each in result.front}.items() <= {
        name: each.loss for name, each in known.items()
    }.items()
    assert all(each.costs == space.costs(space.parse(each.architecture)) for each in result.scored)
    assert 0 < sum(each.random for each in result.scored) <= 16
    best = sorted(result.scored, key=lambda each: each.loss)[:3]
    assert [(each.architecture.to_str(), each.parameters, each.flops) for each in result.top(3)] == [
        (each.architecture, each.costs["parameters"], each.costs["flops"]) for each in best
    ]


def test_then_somebody_must_choose(searched, corpus, tmp_path):
    folder = copied(searched[0], tmp_path / "run")
    trainer = CurriculumTrainer.from_config(config(corpus), folder)
    message = r"^the search has found a front of \d+ architectures, and there is no search.limit that chooses: go on"
    with pytest.raises(UserError, match=message):
        trainer.train(resume_from_checkpoint=True)
    with pytest.raises(UserError, match=message):
        CurriculumTrainer.from_config(config(corpus), folder).evaluate()
    assert not (folder / "result.json").exists()


def test_a_flag_picks_and_the_run_goes_on(searched, corpus, tmp_path):
    (folder, result), place = searched, tmp_path / "run"
    pick = result.front[-1].architecture
    copied(folder, place)
    (tmp_path / "config.json").write_text(json.dumps(config(corpus).to_json()), "utf-8")
    words = ["--config", str(tmp_path / "config.json"), "--output-dir", str(place), "--resume"]
    given = launch.parse(None, [*words, "--search.pick", pick])
    launch.start(*given)
    assert stored(place)["string"] == pick
    assert stored(place)["search"] == stored(folder)["search"]
    assert "pick" not in stored(place, "config.json")["search"]
    finished = RunResult.load(place)
    assert finished.architecture.string == pick
    assert tuple(FrontPoint(**each.to_json()) for each in finished.search.front) == result.front
    assert finished.retrain.parameters == result.front[-1].costs["parameters"]
    given = launch.parse(None, [*words, "--search.pick", "w8 d9"])
    with pytest.raises(UserError, match=r"^architecture 'w8 d9' must be width, depth"):
        load_task(given[0]).check(1)


def test_in_python_the_architecture_is_given_to_retrain(searched, corpus, tmp_path):
    folder, result = copied(searched[0], tmp_path / "run"), searched[1]
    trainer = CurriculumTrainer.from_config(config(corpus), folder)
    trainer.search(resume_from_checkpoint=True)
    network = trainer.retrain(result.front[0].architecture)
    assert sum(each.numel() for each in network.parameters()) == result.front[0].costs["parameters"]
    assert stored(folder)["string"] == result.front[0].architecture


def test_a_limit_chooses(corpus, tmp_path):
    most = 4000
    trainer = CurriculumTrainer.from_config(config(corpus, limit=f"parameters<={most}"), tmp_path)
    result = trainer.search()
    assert result.architecture.to_str() == result.front[0].architecture
    assert all(point.costs["parameters"] <= most for point in result.front)
    assert result.valid["scored"] < 16
    space = replace(config(corpus).space, vocab_size=280)
    ends = {one.to_str() for one in space.extremes()}
    assert ends <= {each.architecture for each in result.scored}
    beyond = [each for each in result.scored if each.costs["parameters"] > most]
    assert {each.architecture for each in beyond if not each.random} <= ends
    assert all(each.parameters <= most for each in result.top(3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"limit": "parameters<=5"},
            r"^search.limit is parameters<=5, which no architecture of gpt meets: the",
        ),
        ({"limit": "miles<=5"}, r"^search.limit names 'miles', but space gpt has parameters, flops, latency_ms$"),
        ({"costs": ("miles",)}, r"^search.costs names 'miles', but space gpt has parameters, flops, latency_ms$"),
        ({"limit": "parameters"}, r"^search.limit is 'parameters'; allowed: costs with their largest values"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_written(corpus, tmp_path, fields, message):
    with pytest.raises(UserError, match=message):
        CurriculumTrainer.from_config(config(corpus, **fields), tmp_path / "run").train()
    assert not (tmp_path / "run").exists()
