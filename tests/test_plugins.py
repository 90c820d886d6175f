"""Algorithms, spaces and curricula of other distributions: found by entry points, used in runs, resumed."""

import json
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
import test_extending
import tiny_recipe
from builders import build_session, build_trainer, rows
from launching import SECONDS, Fault, Launched, recipe
from test_extending import BLOCKS, block
from tiny_recipe import tiny, write_corpus

from cnas import algorithms, curricula, spaces
from cnas.cli import main as cli
from cnas.errors import UserError
from cnas.runs.config import RunConfig

PAGE = test_extending.PAGE.read_text("utf-8")
LAYERS = {match[1]: code for code in BLOCKS if (match := re.match(r"# cnas/spaces/layers/(\w+\.py)\n", code))}
OWN = {
    "acme_search.py": block("class RandomSearch"),
    "acme_curriculum.py": block("class MedianLoss"),
    **{f"acme_layers/{name}": code.replace("cnas.spaces.layers", "acme_layers") for name, code in LAYERS.items()},
}
BARE = """
from cnas.algorithms.base import SearchAlgorithm
class Bare(SearchAlgorithm):
    name = "mine"
    class Config: name = "mine"
"""
POINTS = {
    "cnas.algorithms": {"random_search": "acme_search:RandomSearch"},
    "cnas.curricula": {"median_loss": "acme_curriculum:MedianLoss"},
    "cnas.spaces": {"layers": "acme_layers:LayersSpace"},
}
FIND = {
    "cnas.algorithms": (algorithms.names, algorithms.default_config),
    "cnas.curricula": (curricula.names, curricula.curriculum_class),
    "cnas.spaces": (spaces.names, spaces.space_class),
}


def install(folder, points, files, name="acme"):
    """A distribution as `pip` would leave it."""
    for file, code in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(code, "utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in own.items()) for group, own in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs distributions for the time of a test."""

    def add(points, files, name="acme"):
        monkeypatch.syspath_prepend(install(tmp_path / name, points, files, name))

    yield add
    for name in [name for name in sys.modules if name.startswith("acme")]:
        del sys.modules[name]


@pytest.mark.parametrize("group", FIND)
def test_an_entry_point_is_found_and_nothing_is_imported_before(installed, group):
    names, find = FIND[group]
    before = names()
    installed(POINTS, OWN)
    (name,) = POINTS[group]
    assert names() == sorted([*before, name])
    assert not any(each.startswith("acme") for each in sys.modules)
    assert find(name).name == name


def test_all_three_make_a_search(installed, tmp_path):
    installed(POINTS, OWN)
    space = spaces.space_class("layers")(hidden_size=8, classes=3, image_channels=2)
    curriculum = curricula.curriculum_class("median_loss")(num_candidates=2, unit="sample", floor=0.5)
    trainer = build_trainer(build_session(tmp_path), curriculum, space=space, algorithm="random_search")
    assert space.is_connected(trainer.train().architecture)
    assert rows(tmp_path)[-1]["weight_max"] > 1


@pytest.mark.parametrize(
    ("group", "name", "value", "message"),
    [
        ("curricula", "loss", "acme_curriculum:MedianLoss", "'loss' is offered more than once, by cnas and acme; "),
        ("spaces", "nats", "acme_layers:LayersSpace", "'nats' is offered more than once, by cnas and acme; "),
        ("algorithms", "enas", "acme_search:RandomSearch", "'enas' is offered more than once, by cnas and acme; "),
        ("curricula", "mine", "acme_nowhere:Mine", "'mine' of the distribution acme cannot be loaded: ModuleNotFound"),
        ("curricula", "mine", "acme_curriculum:Nobody", "distribution acme cannot be loaded: AttributeError"),
        ("curricula", "mine", "acme_broken:Mine", "distribution acme cannot be loaded: ZeroDivisionError: division"),
        ("curricula", "mine", "acme_search:RandomSearch", "is no subclass of cnas.curricula.base.Curriculum"),
        ("spaces", "mine", "acme_search:RandomSearch", "is no subclass of cnas.spaces.base.SearchSpace"),
        ("algorithms", "mine", "acme_bare:Bare", ".Config'> is no subclass of cnas.algorithms.base.AlgorithmConfig"),
        ("algorithms", "mine", "acme_curriculum:MedianLoss", "is no subclass of cnas.algorithms.base.SearchAlgorithm"),
        ("curricula", "mine", "acme_curriculum:MedianLoss", "the name of its entry point, got 'median_loss'"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_its_distribution(installed, group, name, value, message):
    group = f"cnas.{group}"
    installed({group: {name: value}}, OWN | {"acme_broken.py": "1 / 0\n", "acme_bare.py": BARE})
    names, find = FIND[group]
    assert name in names()
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        find(name)
    assert "\n" not in str(caught.value)
    assert "acme" in str(caught.value)
    others = [each for each in names() if each != name]
    assert all(find(each) for each in others)


def test_two_distributions_may_not_offer_one_name(installed):
    installed(POINTS, OWN)
    installed(POINTS, {}, "bakery")
    with pytest.raises(
        UserError, match=r"curriculum.name 'median_loss' is offered more than once, by (acme|bakery) and "
    ):
        curricula.curriculum_class("median_loss")


def plugged(argv, home, plugins, fault=None, main=tiny_recipe.main):
    """The tiny recipe, or another command, where ``acme`` is installed."""
    sys.path.insert(0, str(plugins))
    return recipe(argv, home, fault, main)


def test_a_run_with_plugins_is_killed_and_resumed_in_another_process(installed, tmp_path):
    install(tmp_path / "plugins", POINTS, OWN)
    write_corpus(tmp_path / "corpus")
    installed(POINTS, OWN)
    curriculum = curricula.curriculum_class("median_loss")(num_candidates=2, floor=0.5)
    config = replace(tiny(), search=algorithms.default_config("random_search"), curriculum=curriculum)
    assert RunConfig.from_json(config.to_json()) == config
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()), "utf-8")

    def started(folder, *argv, fault=None):
        words = ["--config", "config.json", "--output-dir", folder, "--retrain.epochs", "1", *argv]
        return Launched(tmp_path / "output", plugged, words, tmp_path, tmp_path / "plugins", fault)

    whole, killed = started("whole"), started("killed", fault=Fault("step", 20))
    assert killed.wait().code == -signal.SIGKILL
    resumed = started("killed", "--resume").wait()
    assert resumed.code == 0, resumed
    assert whole.wait().code == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    found = json.loads((tmp_path / "killed" / "result.json").read_text("utf-8"))
    assert (found["algorithm"], found["curriculum"]["name"]) == ("random_search", "median_loss")
    assert (found["curriculum"]["floor"], found["curriculum"]["k"]) == (0.5, 2)


def page_block(language, start):
    (found,) = [
        code for code in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if start in code
    ]
    return found


@pytest.fixture
def acme(tmp_path):
    """The package of the page, as its section lists the files, installed from its wheel."""
    contents = {
        "pyproject.toml": page_block("toml", "# pyproject.toml"),
        "acme/__init__.py": "",
        "acme/search.py": block("class RandomSearch"),
        "acme/curriculum.py": block("class MedianLoss"),
        "acme/presets/__init__.py": "",
        "acme/presets/tiny.yaml": page_block("yaml", "# acme/presets/tiny.yaml"),
    }
    listed = page_block("text", "acme/presets/tiny.yaml").splitlines()
    assert [line.split()[0] for line in listed[1:]] == [*contents]
    for name, text in contents.items():
        (tmp_path / "acme" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "acme" / name).write_text(text, "utf-8")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=tmp_path / "acme", check=True, capture_output=True, timeout=SECONDS)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    return tmp_path / "site"


SMALLER = """
--data corpus --text.length 10 --num-train-epochs 2 --space.hidden-size 8 --network.hidden-size 8
--retrain.num-train-epochs 1 --global-batch-size 4 --retrain.global-batch-size 4
"""


def test_a_package_that_follows_the_page_is_used_killed_and_resumed(acme, tmp_path):
    write_corpus(tmp_path / "corpus")
    first, again = (shlex.split(line) for line in page_block("bash", "--preset acme/tiny").splitlines())
    assert first[0] == again[0] == "cnas"

    def started(words, fault=None):
        return Launched(tmp_path / "output", plugged, [*words[1:], *SMALLER.split()], tmp_path, acme, fault, cli.main)

    assert started(first, Fault("step", 20)).wait().code == -signal.SIGKILL
    folder = tmp_path / first[first.index("--output-dir") + 1]
    assert not (folder / "search.json").exists()
    resumed = started(again).wait()
    assert (resumed.code, resumed.err) == (0, ""), resumed
    found = json.loads((folder / "result.json").read_text("utf-8"))
    assert (found["recipe"], found["preset"], found["algorithm"]) == ("acme", "tiny", "random_search")
    assert (found["curriculum"]["name"], found["curriculum"]["k"], found["curriculum"]["floor"]) == (
        "median_loss",
        3,
        0.1,
    )


def test_without_its_distribution_a_run_is_refused_in_one_line(tmp_path):
    values = tiny().to_json()
    values["curriculum"]["name"] = "median_loss"
    with pytest.raises(UserError, match=r"^curriculum\.name must be one of .*, got 'median_loss'"):
        RunConfig.from_json(values)


def test_the_page_shows_the_entry_points():
    for group, own in POINTS.items():
        assert f'[project.entry-points."{group}"]\n{next(iter(own))} = ' in PAGE
