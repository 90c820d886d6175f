"""The same data by another path is the same run; other data by the same path is not."""

import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_recipe
from finished_folders import finished_copy
from launching import SAVING, Fault, launch
from outcome import outcome

from cnas.data import ImageConfig, TextConfig, load_text
from cnas.errors import UserError
from cnas.reports.comparison.groups import identity
from cnas.reports.comparison.runs import load_run
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.sweeps import Job, run_many
from cnas.trainer import CurriculumTrainer

HEX = r"[0-9a-f]{16}"


def run(config, folder):
    """The result of a run that goes on in ``folder``."""
    return CurriculumTrainer.from_config(config, folder).train(resume_from_checkpoint=True)


def on(config, data):
    return replace(config, data=str(data))


def spellings(home):
    """Ways to name the corpus from the folder that holds it."""
    link = home / "link"
    if not link.is_symlink():
        link.symlink_to(home / "corpus", target_is_directory=True)
    return ["corpus", "./corpus", "corpus/", "x/../corpus", str(home / "corpus"), f"{home}//corpus/", "link"]


@pytest.fixture(scope="module")
def killed(home):
    """A run that was killed in its search, between two checkpoints."""
    assert launch(home, *SAVING, "--output-dir", "killed", fault=Fault("step", 14)).wait().code == -signal.SIGKILL
    return home / "killed"


@pytest.fixture
def tiny(home, monkeypatch):
    """The configuration of the finished and of the killed run; paths are relative to the working folder."""
    monkeypatch.chdir(home)
    (home / "x").mkdir(exist_ok=True)
    return replace(tiny_recipe.tiny(), trainer=replace(tiny_recipe.tiny().trainer, save_steps=1))


def config_of(folder):
    return RunConfig.from_json(json.loads((folder / "config.json").read_text("utf-8")))


def unread():
    raise AssertionError("the data was read")


def test_a_killed_run_goes_on_by_another_path_to_the_same_end(home, killed, finished):
    spellings(home)
    for number, data in enumerate((str(home / "corpus"), "link/")):
        folder = home / f"again-{number}"
        shutil.copytree(killed, folder)
        ended = launch(home, *SAVING, "--output-dir", folder.name, "--data", data, "--resume").wait()
        assert (ended.code, ended.err) == (0, ""), ended
        assert "resumed from step" in ended.out
        assert outcome(folder) == outcome(finished)


def test_every_spelling_of_the_same_place_is_accepted_without_reading_it(home, killed, finished, tmp_path, tiny):
    RunFolder(tmp_path / "begun").start(config_of(killed))
    for folder in (tmp_path / "begun", killed, finished):
        for data in spellings(home):
            place, config = RunFolder(folder), on(config_of(folder), data)
            done = place.check(config, unread, resume=True)
            assert (done is not None) == (folder == finished)
            assert place.config_hash(config) == config_of(folder).hash
    assert tiny.data == "corpus"


def test_a_copy_elsewhere_is_told_by_its_fingerprint(home, killed, finished, tmp_path, tiny):
    shutil.copytree(home / "corpus", tmp_path / "moved")
    fingerprint = load_text("corpus", TextConfig()).fingerprint
    for folder in (killed, finished):
        place, config = RunFolder(folder), on(config_of(folder), tmp_path / "moved")
        place.check(config, lambda: fingerprint, resume=True)
        assert place.fingerprint() == fingerprint
        place.check_data(config, load_text(config.data, TextConfig()).fingerprint)
        with pytest.raises(UserError, match="on other data"):
            place.check(config, lambda: "0" * 16, resume=True)
    assert run(on(config_of(finished), tmp_path / "moved"), finished).dataset.name == "corpus"
    RunFolder(tmp_path / "begun").start(tiny)
    with pytest.raises(UserError, match="another configuration: data is 'corpus' there and "):
        RunFolder(tmp_path / "begun").check(on(tiny, tmp_path / "moved"), unread, resume=True)


@pytest.mark.parametrize("state", ["killed", "finished"])
def test_other_data_are_named_with_both_fingerprints(state, home, killed, finished, tmp_path, tiny):
    other, folder = tmp_path / "other", {"killed": killed, "finished": finished}[state]
    shutil.copytree(home / "corpus", other)
    (other / "test.txt").write_text("w1 w2 w3\n" * 40, "utf-8")
    fingerprints = [load_text(str(data), TextConfig()).fingerprint for data in ("corpus", other)]
    with pytest.raises(UserError) as caught:
        run(on(config_of(folder), other), folder)
    message = str(caught.value)
    assert re.findall(HEX, message) == fingerprints
    assert "holds a run on other data: 'corpus' with the fingerprint" in message
    assert repr(str(other))[:60] in message
    assert "\n" not in message


def test_a_sweep_knows_its_finished_runs_by_any_path(home, finished, tmp_path, tiny, capsys):
    config = config_of(finished)
    names = {on(config, data).default_folder.name for data in spellings(home) if data != "link"}
    assert names == {config.default_folder.name}
    finished_copy(finished, tmp_path / config.default_folder.name, config)
    shutil.copytree(home / "corpus", tmp_path / "moved")
    for data in [*spellings(home), str(tmp_path / "moved")]:
        job = Job(config.default_folder.name, on(config, data))
        assert run_many([job], tmp_path) == {job.name: 0}
        assert capsys.readouterr().out == "1 of 1 runs are finished already\n"
    (tmp_path / "moved" / "train.txt").write_text("w1 w2 w3\n" * 99, "utf-8")
    with pytest.raises(UserError, match="on other data: 'corpus' with the fingerprint"):
        run_many([Job(config.default_folder.name, on(config, tmp_path / "moved"))], tmp_path)


def test_names_that_are_no_paths_keep_their_folders(tiny, home):
    """The embedded data, and what may be on the Hub, whatever lies beside."""
    for data in ("pydoc", "digits", "ptb_text_only", "owner/name", "cifar10"):
        assert on(tiny, data).default_folder.name.endswith(on(tiny, data).hash)
    assert on(tiny, "corpus").default_folder.name.endswith(on(tiny, "corpus").hash)
    (home / "pydoc").mkdir(exist_ok=True)
    assert on(tiny, "./pydoc").default_folder != on(tiny, "pydoc").default_folder
    RunFolder(home / "embedded").start(on(tiny, "pydoc"))
    with pytest.raises(UserError, match="data is 'pydoc' there"):
        RunFolder(home / "embedded").check(on(tiny, "./pydoc"), unread, resume=True)


def test_a_table_and_a_split_file_go_by_what_is_in_them(tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    for name, content in (("one", b"a"), ("same", b"a"), ("other", b"b")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link").symlink_to("one")
    images = replace(tiny, text=None, images=ImageConfig(split_file="one"))
    config = replace(images, table="one", data="digits")
    RunFolder(tmp_path / "run").start(config)
    for field in ("table", "split_file"):
        for name in ("one", "./one", str(tmp_path / "one"), "link", "same", "other", "nowhere"):
            changed = {"table": name} if field == "table" else {"images": replace(config.images, split_file=name)}
            again = replace(config, **changed)
            if name in ("other", "nowhere"):
                with pytest.raises(UserError, match=f"{field} is 'one' there and '{name}' here"):
                    RunFolder(tmp_path / "run").check(again, unread, resume=True)
            else:
                RunFolder(tmp_path / "run").check(again, unread, resume=True)


def test_a_comparison_does_not_ask_how_a_path_is_spelled(home, finished, tmp_path, tiny):
    config = config_of(finished)
    found = []
    for number, data in enumerate(spellings(home)):
        folder = Path(finished_copy(finished, tmp_path / str(number), on(config, data)) or tmp_path / str(number))
        found.append(identity(load_run(folder)))
    assert all(each == found[0] for each in found)
