"""Every mistake ends with one line on stderr and code 2, before any training, and leaves the disk as it was."""

import json
import shutil

import pytest
import tiny_recipe
from launching import SAVING


@pytest.fixture
def place(tmp_path, home, monkeypatch):
    """The working folder of one mistake, with a corpus that is in order."""
    shutil.copytree(home / "corpus", tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def contents(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refused(capsys, place, *argv):
    """The one line with which the recipe refuses, checked for everything that all of them have in common."""
    before = contents(place)
    code = tiny_recipe.main(argv)
    out, err = capsys.readouterr()
    assert code == 2, (code, out, err)
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert err.endswith("\n"), err
    assert "Traceback" not in out + err
    assert len(out.splitlines()) <= 1, out
    assert contents(place) == before
    return err


FLAGS = [
    (["--data", "nosuch"], ["data", "'nosuch'", "pydoc"]),
    (["--data", ""], ["data", "''"]),
    (["--data", "missing/folder/of/text"], ["data", "missing/folder/of/text"]),
    (["--curriculum.k", "-1"], ["curriculum.num_candidates", "at least 0", "-1"]),
    (["--curriculum.k", "33"], ["curriculum.num_candidates", "at most 32", "33"]),
    (["--curriculum.k", "five"], ["--curriculum.k", "an integer", "'five'"]),
    (["--curriculum.refresh", "never"], ["--curriculum.refresh", "epoch, step", "'never'"]),
    (["--curriculum.unit", "word"], ["--curriculum.unit", "sequence, token", "'word'"]),
    (["--curriculum.name", "luck"], ["curriculum.name", "uncertainty", "'luck'"]),
    (["--curiculum.k", "5"], ["unknown flag --curiculum.k", "--curriculum.k"]),
    (["--no-curriculum", "--curriculum.k", "5"], ["unknown flag --curriculum.k"]),
    (["stray"], ["unexpected argument 'stray'"]),
    (["--seed"], ["--seed", "expected one argument"]),
    (["--preset", "huge"], ["--preset", "tiny", "'huge'"]),
    (["--seed", "-1"], ["seed", "at least 0", "-1"]),
    (["--stop-after", "0"], ["stop_after", "a time above 0", "'0'"]),
    (["--stop-after", "0s"], ["stop_after", "a time above 0", "'0s'"]),
    (["--stop-after", "inf"], ["stop_after", "a time above 0", "'inf'"]),
    (["--stop-after=-9m"], ["stop_after", "a time above 0", "'-9m'"]),
    (["--stop_after", "-9m"], ["--stop-after", "expected one argument"]),
    (["--seed", "1.5"], ["--seed", "an integer", "'1.5'"]),
    (["--architecture", "0 9 1 3"], ["architecture '0 9 1 3'", "function 0 to 3"]),
    (["--architecture", "0 1"], ["architecture '0 1'", "2 pairs"]),
    (["--architecture", "0 1 2 1"], ["architecture '0 1 2 1'", "previous 0 to 1"]),
    (["--mixed-precision", "fp16"], ["mixed_precision", "fp16"]),
    (["--mixed-precision", "fp8"], ["--mixed-precision", "bf16", "'fp8'"]),
    (["--log-with", "nosuch"], ["report_to", "nosuch"]),
    (["--log-with", "wandb"], ["report_to", "'wandb'", "not installed"]),
    (["--trainer.global-batch-size", "0"], ["trainer.global_batch_size", "at least 1", "0"]),
    (["--trainer.global-batch-size", "601"], ["600 tokens", "batch_size 601", "are needed"]),
    (["--trainer.eval-batch-size", "100"], ["270 tokens", "batch_size 100", "trainer.eval_batch_size"]),
    (["--retrain.global-batch-size", "500"], ["1170 tokens", "batch_size 500"]),
    (["--trainer.micro-batch-size", "0"], ["trainer.micro_batch_size", "at least 1 or none", "0"]),
    (["--trainer.learning-rate", "nan"], ["--trainer.learning-rate", "finite", "nan"]),
    (["--trainer.learning-rate", "-1"], ["trainer.learning_rate", "above 0", "-1"]),
    (["--trainer.num-train-epochs", "0"], ["trainer.num_train_epochs", "at least 1", "0"]),
    (["--trainer.save-steps", "0"], ["trainer.save_steps", "at least 1", "0"]),
    (["--space.dropout-hidden", "1.5"], ["space.dropout_hidden", "[0, 1)", "1.5"]),
    (["--network.dropout-output", "1"], ["network.dropout_output", "[0, 1)", "1"]),
    (["--space.nodes", "0"], ["space.nodes", "between 1 and 64", "0"]),
    (["--space.nodes", "1"], ["curriculum.num_candidates", "at most 4", "got 5"]),
    (["--text.length", "1"], ["text.length", "at least 2", "1"]),
    (["--text.length", "500"], ["tokens", "text.length 500"]),
    (["--text.variable-length"], ["text.variable_length", "same chunk in every epoch", "--no-curriculum", "got", "3"]),
    (
        ["--text.variable-length", "--curriculum.k", "1"],
        ["text.variable_length", "curriculum.k 0", "got curriculum.k 1"],
    ),
    (
        ["--text.variable-length", "--no-curriculum", "--retrain.global-batch-size", "500"],
        ["1170 tokens", "batch_size 500"],
    ),
    (["--text.vocab-size", "2"], ["text.vocab_size", "at least 3", "2"]),
    (["--search.samples", "0"], ["search.samples", "1 or more", "0"]),
    (["--config", "nosuch.json"], ["--config", "nosuch.json", "No such file"]),
    (["--config", "corpus/test.txt"], ["--config", "corpus/test.txt", "not JSON"]),
    (["--config", "nosuch.json", "--preset", "tiny"], ["--config", "--preset tiny"]),
]


@pytest.mark.parametrize(("argv", "words"), FLAGS, ids=[" ".join(argv) for argv, _ in FLAGS])
def test_flags(capsys, place, argv, words):
    if "--space.nodes" in argv:
        argv = [*argv, "--curriculum.k", "5"]
    line = refused(capsys, place, "--output-dir", "run", *argv)
    for word in words:
        assert word in line, line
    assert not (place / "run").exists()


def no_split(folder):
    (folder / "valid.txt").unlink()


def empty(folder):
    (folder / "test.txt").write_bytes(b"")


def blank(folder):
    (folder / "train.txt").write_bytes(b" \n\n")


def latin(folder):
    (folder / "train.txt").write_bytes("w1 w2\nw3 né\n".encode("latin-1"))


def short(folder):
    (folder / "train.txt").write_text("w1 w2 w3\n", "utf-8")


def no_parquet(folder):
    for split in ("train", "validation", "test"):
        (folder / f"{split}.parquet").write_bytes(b"PAR1 and then nonsense")


CORPORA = [
    (no_split, ["validation", "valid.txt"]),
    (empty, ["test.txt", "empty"]),
    (blank, ["train", "no words"]),
    (latin, ["train.txt", "UTF-8", "line 2"]),
    (short, ["4 tokens", "too few", "batch_size 5"]),
    (no_parquet, ["train", "Parquet"]),
]


@pytest.mark.parametrize(("damage", "words"), CORPORA, ids=[damage.__name__ for damage, _ in CORPORA])
def test_data(capsys, place, damage, words):
    damage(place / "corpus")
    line = refused(capsys, place, "--output-dir", "run")
    for word in words:
        assert word in line, line
    assert not (place / "run").exists()


def test_a_mistake_on_resume_leaves_an_empty_folder_empty(capsys, place):
    (place / "run").mkdir()
    refused(capsys, place, "--output-dir", "run", "--resume", "--curriculum.k", "33")


def test_a_folder_that_is_in_use(capsys, place):
    (place / "run").mkdir()
    (place / "run" / "notes.txt").write_text("mine")
    assert "output_dir run already holds files; add --resume" in refused(capsys, place, "--output-dir", "run")


def test_somebody_elses_files_are_not_overwritten(capsys, place):
    (place / "run").mkdir()
    (place / "run" / "README.md").write_text("mine")
    line = refused(capsys, place, "--output-dir", "run", "--resume")
    assert "README.md but no config.json" in line


@pytest.mark.parametrize("resume", [[], ["--resume"]])
@pytest.mark.parametrize("folder", ["run", "run/below/it"])
def test_a_file_is_no_folder(capsys, place, resume, folder):
    (place / "run").write_text("mine")
    assert f"output_dir {folder}: run is a file" in refused(capsys, place, "--output-dir", folder, *resume)


def test_a_name_that_no_folder_can_have(capsys, place):
    assert "cannot be used: File name too long" in refused(capsys, place, "--output-dir", "n" * 300)


@pytest.fixture
def used(place, finished):
    """A folder with a finished run in it."""
    shutil.copytree(finished, place / "run")
    return place


def test_a_finished_run_is_not_begun_anew(capsys, used):
    assert "add --resume" in refused(capsys, used, "--output-dir", "run", *SAVING)


def test_a_resume_with_another_configuration_names_the_field(capsys, used):
    line = refused(capsys, used, "--output-dir", "run", "--resume", *SAVING, "--trainer.learning-rate", "4")
    assert "trainer.learning_rate is 5.0 there and 4.0 here; name a new folder" in line
    line = refused(capsys, used, "--output-dir", "run", "--resume", *SAVING, "--no-curriculum")
    assert "curriculum" in line


CONFIGS = [
    (lambda values: {**values, "version": 99}, ["version must be 3, got 99"]),
    (lambda values: {name: values[name] for name in values if name != "version"}, ["version must be 3, got None"]),
    (lambda values: [values], ["must hold a JSON object, got list"]),
    (lambda values: {name: values[name] for name in values if name != "trainer"}, ["trainer"]),
    (lambda values: {**values, "trainer": {**values["trainer"], "speed": 1}}, ["trainer.speed"]),
    (lambda values: {**values, "space": {**values["space"], "name": "nosuch"}}, ["nosuch"]),
    (lambda values: {**values, "space": {**values["space"], "dropout_hidden": 1.5}}, ["dropout_hidden", "1.5"]),
    (lambda values: {**values, "search": 3}, ["search"]),
    (lambda values: {**values, "luck": 1}, ["luck"]),
]


@pytest.mark.parametrize("flag", ["--resume", "--config"])
@pytest.mark.parametrize(("change", "words"), CONFIGS, ids=[words[0] for _, words in CONFIGS])
def test_a_configuration_that_cannot_be_read(capsys, used, flag, change, words):
    file = used / "run" / "config.json"
    file.write_text(json.dumps(change(json.loads(file.read_text("utf-8")))), "utf-8")
    argv = {"--resume": ["--output-dir", "run", "--resume", *SAVING], "--config": ["--config", "run/config.json"]}
    line = refused(capsys, used, *argv[flag])
    for word in words:
        assert word in line, line


def test_a_configuration_that_is_no_json(capsys, used):
    (used / "run" / "config.json").write_text("{")
    assert "is not JSON" in refused(capsys, used, "--output-dir", "run", "--resume", *SAVING)


def test_a_folder_that_may_not_be_written_ends_with_5(capsys, place):
    assert tiny_recipe.main(["--output-dir", "/proc/run"]) == 5
    assert capsys.readouterr().err.startswith("error: cannot write /proc/run")


def test_help_lists_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        tiny_recipe.main(["--help"])
    assert end.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    for flag in ("--curriculum.k", "--no-curriculum", "--resume", "--config", "--search.samples", "--output-dir"):
        assert flag in out
