"""`cnas search`, `cnas retrain` and `cnas list`: which run they ask for, and that they do it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cnas import algorithms, curricula, presets, spaces
from cnas.cli import launch
from cnas.cli import main as cli
from cnas.cli.commands import retrain
from cnas.runs.config import RunConfig

ROOT = Path(__file__).parents[2]


def config_of(*words):
    return launch.parse(None, words)[0]


def refused(capsys, *words):
    """The one line with which the command refuses."""
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("kind", ["spaces", "algorithms", "curricula", "presets"])
def test_list_prints_a_name_a_line(kind, capsys):
    known = {"spaces": spaces, "algorithms": algorithms, "curricula": curricula, "presets": presets}[kind].names()
    assert cli.main(["list", kind]) == 0
    assert capsys.readouterr().out.splitlines() == known


def test_a_preset_is_that_of_its_recipe():
    for recipe in ("ptb_cl_enas", "nats_cl"):
        words = ["--seed", "3", "--no-curriculum"]
        assert (
            config_of("--preset", f"{recipe}/smoke", *words) == launch.parse(recipe, ["--preset", "smoke", *words])[0]
        )
    assert config_of("--preset", "nats_cl/smoke", "--algorithm", "spos").search.generations == 1


def test_a_space_and_an_algorithm_are_enough():
    config, folder, _ = launch.parse(None, ["--space", "enas_rnn", "--algorithm", "rsps", "--data", "pydoc"])
    assert (config.recipe, config.preset, config.data) == ("enas_rnn-rsps", "custom", "pydoc")
    assert config.network == RunConfig.from_preset("ptb_cl_enas/paper").network
    assert folder.name.startswith("enas_rnn-rsps-custom-s1-")


def test_flags_have_either_spelling_and_the_names_of_hugging_face():
    words = ("--preset", "ptb_cl_enas/smoke", "--num_train_epochs", "2", "--trainer.global-batch-size=4")
    config = config_of(*words, "--data.vocab_size", "90", "--search.samples", "7", "--curriculum.k", "2")
    assert (config.trainer.num_train_epochs, config.trainer.global_batch_size) == (2, 4)
    assert (config.text.vocab_size, config.search.samples, config.curriculum.num_candidates) == (90, 7, 2)


def test_a_file_may_be_yaml_or_the_config_of_a_run(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({"base": "ptb_cl_enas/smoke", "space": {"hidden_size": 9}}), "utf-8")
    config = config_of("--config", str(file))
    assert (config.space.hidden_size, config.recipe, config.preset) == (9, "enas_rnn-enas", "custom")
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()), "utf-8")
    assert config_of("--config", str(tmp_path / "config.json")) == config
    seeded = config_of("--config", str(file), "--seed", "4")
    assert seeded == config.with_seed(4)


WRONG = {
    (): "one of --preset, --space and --config must be given; cnas list presets",
    ("--preset", "ptb_cl_enas/smok"): "did you mean ptb_cl_enas/smoke?",
    (
        "--space",
        "enas_rn",
    ): "--space must be one of darts_rnn, enas_rnn, gpt, nats, got 'enas_rn'; did you mean enas_rnn?",
    ("--space", "nats", "--algorithm", "gda"): "--algorithm must be one of",
    ("--space", "nats", "--preset", "nats_cl/cpu"): "--preset nats_cl/cpu has a space; leave out --space nats",
    ("--config", "x.yaml", "--preset", "nats_cl/cpu"): "--config x.yaml already names everything; leave out --preset",
    ("--config", "x.yaml", "--algorithm", "rsps"): "leave out --algorithm rsps",
    ("--config", "nowhere.yaml"): "nowhere.yaml",
    ("--config", "nowhere.json"): "--config nowhere.json cannot be read",
    ("--preset", "nats_cl/cpu", "--per-device-train-batch-size", "3"): "the number of devices must not change a result",
    ("--preset", "nats_cl/cpu", "--gradient_accumulation_steps", "3"): "a step is one global batch",
    ("--preset", "nats_cl/cpu", "--sead", "3"): "unknown flag --sead; did you mean --seed?",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_mistake_is_one_line_and_code_2(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert WRONG[words] in refused(capsys, "search", *words)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--torch-compile=on", "error: torch_compile must be auto or off on cpu, got on: it records CUDA graphs"),
        ("--tf32", "error: tf32 must be off on cpu, got on"),
        ("--fp16", "error: mixed_precision must be no or bf16 on cpu, got 'fp16'"),
        ("--stop-after=0", "error: trainer.stop_after must be a time above 0"),
    ],
)
def test_what_the_device_lacks_is_refused_and_no_folder_is_made(flag, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["search", "--preset", "ptb_cl_enas/smoke", flag]) == 2
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_wrong_entry_of_a_file_is_named_with_the_file(tmp_path, capsys):
    file = tmp_path / "own.yaml"
    file.write_text("base: nats_cl/smoke\ntrainer: {seeds: 3}\n", "utf-8")
    line = refused(capsys, "search", "--config", str(file))
    assert "trainer.seeds is not a field, got 3" in line
    assert str(file) in line


def test_the_help_of_a_preset_lists_every_field(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["search", "--preset", "nats_cl/smoke", "--help"])
    out = capsys.readouterr().out
    assert "usage: cnas search" in out
    assert "--space.channels INT" in out


TINY = ("--preset", "tiny_recipe/tiny", "--retrain.num-train-epochs", "1", "--trainer.num-train-epochs", "1")


@pytest.fixture(scope="module")
def searched(home):
    """A finished run that the module form of the command has made."""
    folder = home / "searched"
    words = [sys.executable, "-m", "cnas", "search", *TINY, "--data", str(home / "corpus"), "--output-dir", str(folder)]
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin", "HOME": str(home)}
    done = subprocess.run(words, cwd=home, env=path, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, ""), done
    return folder


def read(folder, name="result.json"):
    return json.loads((folder / name).read_text("utf-8"))


def test_search_does_the_run(searched):
    assert (read(searched)["recipe"], read(searched)["preset"]) == ("tiny_recipe", "tiny")
    assert (searched / "model" / "model.safetensors").is_file()


def test_retrain_of_a_finished_run_says_so(searched, capsys):
    before = (searched / "result.json").read_bytes()
    assert cli.main(["retrain", str(searched)]) == 0
    assert "finished already" in capsys.readouterr().out
    assert (searched / "result.json").read_bytes() == before


def test_retrain_trains_the_found_cell_otherwise_in_a_new_folder(searched, tmp_path):
    out = tmp_path / "long"
    assert cli.main(["retrain", str(searched), "--retrain.num_train_epochs", "2", "--output-dir", str(out)]) == 0
    assert read(out)["architecture"] == read(searched)["architecture"]
    assert (read(out)["retrain"]["epochs"], read(out)["search"]) == (2, None)


def test_retrain_asks_for_the_runs_that_its_flags_say(searched, tmp_path):
    config, folder, resume = retrain.plan([str(searched)])
    assert (config.to_json(), folder, resume) == (read(searched, "config.json"), searched, True)
    config, folder, resume = retrain.plan([str(searched), "--architecture", "0 1 1 2", "--output-dir", "new"])
    assert (config.architecture, folder, resume) == ("0 1 1 2", Path("new"), False)
    assert retrain.plan([str(searched), "--output-dir", "new", "--resume"])[2] is True


def test_retrain_goes_on_with_a_search_that_was_stopped(searched, tmp_path):
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    (stopped / "config.json").write_bytes((searched / "config.json").read_bytes())
    assert retrain.plan([str(stopped)])[1:] == (stopped, True)


def test_what_retrain_cannot_do_is_one_line(searched, tmp_path, capsys):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.json").write_bytes((searched / "config.json").read_bytes())
    new = ("--output-dir", str(tmp_path / "new"))
    for words, message in {
        (): "run must come first and be the folder of a run",
        ("nowhere",): "run must come first and be the folder of a run, got 'nowhere'",
        (str(searched), "--architecture", "0 1 1 2"): "name a new folder for these with --output-dir",
        (str(searched), "--retrain.num_train_epochs", "0"): "--retrain.num_train_epochs must be at least 1, got 0",
        (str(searched), "--search.samples", "3"): "unknown flag --search.samples",
        (str(begun), *new): "has found nothing yet",
    }.items():
        assert message in refused(capsys, "retrain", *words)
    assert not (tmp_path / "new").exists()
