"""A run goes on only as what it was: every field of a configuration, and what may change."""

import json
import re
import shutil
import signal
import typing
from dataclasses import fields, replace

import pytest
import torch
from launching import SAVING, Fault, Launched, launch, recipe
from small_runs import EVERY, small

from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.runs.folder import PRECISION, RunFolder, scalars

KINDS = sorted({case[:2] for case in EVERY})
NAMES = {"recipe", "preset"}
"""They have no flag, and decide nothing but the name of the default folder; a run of another recipe is another run."""


WORDS = {
    "optim": ["torch.optim.Adagrad"],
    "optim_args": ["maximize=True"],
    "metric_for_best_model": ["perplexity"],
    "curriculum": ["loss"],
    "report_to": [["tensorboard"]],
}
"""Values of fields that take no word of a few."""


def candidates(value, options):
    """Other values of a field, of which at least one is allowed."""
    match value:
        case bool():
            found = [not value]
        case int():
            found = [value + 1, value - 1, value + 2]
        case float():
            found = [value * 0.5, value + 0.25, value + 0.01, value * 2]
        case str():
            found = [*options, f"{value}2"]
        case list():
            found = [*options, [item * 0.5 for item in value]]
        case _:
            found = [*options, 1, 2, 3, 0.5, "2", True, [2]]
    return [each for each in found if each != value]


def options(config, name):
    """What a field takes where it is one of a few words."""
    part, _, field = name.rpartition(".")
    owner = config.sections()[part] if part else config.source
    hint = typing.get_type_hints(type(owner)).get(field)
    inner = [hint, *typing.get_args(hint)]
    words = [word for each in inner if typing.get_origin(each) is typing.Literal for word in typing.get_args(each)]
    return words + WORDS.get(field, [])


def changed(values, name, value):
    """A copy of ``config.json`` with one field changed."""
    copy = json.loads(json.dumps(values))
    part, _, field = name.rpartition(".")
    (copy[part] if part else copy)[field] = value
    return copy


def another(config, name):
    """The configuration with another value of one field."""
    values = config.to_json()
    old = scalars(values)[name]
    for value in candidates(old, [] if name in NAMES else options(config, name)):
        try:
            return RunConfig.from_json(changed(values, name, value)), old, value
        except UserError:
            continue
    raise AssertionError(f"no other value of {name} than {old!r} was found")


def own_fields(config):
    """The fields that can have another value while the parts are what they are."""
    named = {"space.name", "search.name", "curriculum.name", "version"}
    absent = {"text", "images"} | {"network.name"}
    # A search learns by its validation, and has no best weights; some algorithms know the steps of SGD alone.
    absent |= {"trainer.eval_strategy", "trainer.load_best_model_at_end"}
    # Another precision is no other run, see below.
    absent |= set(PRECISION)
    absent |= {"trainer.optim", "trainer.optim_args"} if config.search.needs_sgd else set()
    return [name for name in scalars(config.to_json()) if name not in named | absent]


def unread():
    raise AssertionError("the data was read")


def refuses(folder, config):
    """The line with which a resume of the run in ``folder`` refuses another configuration."""
    with pytest.raises(UserError) as caught:
        RunFolder(folder).check(config, unread, resume=True)
    return str(caught.value)


def free(config):
    """The configuration with nothing in it that rules out another value of a field."""
    loops = {name: replace(getattr(config, name), momentum=0.5) for name in ("trainer", "retrain")}
    # Averaging needs SGD and validation.
    loops["retrain"] = replace(loops["retrain"], nonmonotone=None, average_from=None, load_best_model_at_end=False)
    # What is ranked is ranked by a table; trained paths score in the step.
    return replace(config, **loops, table="table.parquet", curriculum=replace(config.curriculum, refresh="step"))


def check_every_field(folder, kind):
    """How many fields there are, each of which is refused with both of its values, and changes the hash."""
    config = free(small(*kind, "epoch"))
    home = RunFolder(folder)
    home.start(config)
    assert home.check(config, unread, resume=True) is None
    names = own_fields(config)
    for name in names:
        other, old, new = another(config, name)
        line = refuses(folder, other)
        assert re.search(rf"configuration: (.*, )?{re.escape(name)} is {re.escape(repr(old))} there and ", line), line
        assert repr(new) in line or isinstance(new, list), line
        assert "\n" not in line
        assert other.hash != config.hash, name
    return {f"{kind}/{name}" for name in names}


def test_every_field_of_a_configuration_is_refused_with_its_two_values(tmp_path, budget, measured):
    kinds = budget([KINDS[0], KINDS[-1], ("darts_rnn", "darts_v2")], KINDS)
    found = set()
    for number, kind in enumerate(kinds):
        found |= check_every_field(tmp_path / str(number), kind)
    assert len(found) > 40 * len(kinds)
    measured(f"{len(found)} of {len(found)} fields of {len(kinds)} configurations refused, both values named")


def test_a_run_goes_on_in_another_precision_and_says_so(home, measured):
    flags = [*SAVING, "--output-dir", "precise"]
    assert launch(home, *flags, fault=Fault("step", 14)).wait().code == -signal.SIGKILL
    ended = launch(home, *flags, "--resume", "--trainer.bf16", fault=Fault("step", 3)).wait()
    assert "resumed from step 11 of the search" in ended.out
    assert "warning: trainer.bf16 is True, and was False before: from here on the run is no longer" in ended.out
    measured("resumed, with one line")


def test_another_space_algorithm_or_curriculum_is_refused(tmp_path, measured):
    home = RunFolder(tmp_path)
    home.start(small("enas_rnn", "enas", "epoch"))
    others = [("darts_rnn", "enas", "epoch"), ("enas_rnn", "rsps", "epoch"), ("enas_rnn", "enas", "step")]
    words = ["space.name is 'enas_rnn'", "search.name is 'enas'", "curriculum.refresh is 'epoch' there and 'step' here"]
    for other, word in zip(others, words, strict=True):
        assert word in refuses(tmp_path, small(*other))
    measured(f"{len(others)} of {len(others)} refused")


def test_a_check_that_overlooks_a_part_is_found(tmp_path, monkeypatch, measured):
    """The seeded bug: what belongs to the trainer is not compared."""
    compare = RunFolder._differs_in_data

    def forgetful(self, known, config):
        return compare(self, known | {"trainer": config.to_json()["trainer"]}, config)

    monkeypatch.setattr(RunFolder, "_differs_in_data", forgetful)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check_every_field(tmp_path, KINDS[0])
    measured("found")


def two_threads(argv, home, fault):
    torch.set_num_threads(2)
    return recipe(argv, home, fault)


def test_the_folder_may_move_and_threads_may_change(home, measured):
    flags = [*SAVING, "--output-dir", "here"]
    assert launch(home, *flags, fault=Fault("step", 14)).wait().code == -signal.SIGKILL
    shutil.copytree(home / "here", home / "there")
    argv, later = ["--config", "there/config.json", "--output-dir", "there", "--resume"], Fault("step", 3)
    ended = launch(home, *argv, fault=later).wait()
    assert "resumed from step 11 of the search" in ended.out
    assert "warning" not in ended.out
    ended = Launched(home / "output", two_threads, argv, home, later).wait()
    assert "resumed from step 11 of the search" in ended.out
    assert re.search(
        r"^warning: saved .*1 threads?.*now.* 2.*no longer the uninterrupted one bit for bit$", ended.out, re.MULTILINE
    )
    measured("both go on; another number of threads is told")


def test_every_section_is_covered():
    config = small("enas_rnn", "enas", "epoch")
    parts = {name.partition(".")[0] for name in own_fields(config) if "." in name}
    assert parts == {field.name for field in fields(config)} - {*vars(config.source), "recipe", "preset", "images"}
