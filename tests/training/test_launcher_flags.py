"""What `accelerate launch` was told is done, or refused in one line before anything is written."""

import contextlib
import io
import itertools
import json
import os
import subprocess
import sys

import pytest
import tiny_recipe
import yaml
from accelerate.commands.launch import launch_command_parser
from launching import SECONDS, Launched, recipe

from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.runs.devices import make_accelerator
from cnas.trainer import CurriculumTrainer
from cnas.training import SearchArguments
from cnas.training.launcher_flags import HONOURED, PRECISION, REFUSED, refuse_unmet

SHORT = ("--trainer.num-train-epochs", "1", "--retrain.num-train-epochs", "1")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("ACCELERATE_", "XLA_", "MASTER_"))]:
        monkeypatch.delenv(name)


def accelerate(home, *words):
    """A real launcher with a real recipe, in the folder of the corpus."""
    # A file of settings of the user who runs the tests must not count.
    env = {**os.environ, "HF_HOME": str(home / "hf"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "accelerate.commands.launch", *words[:-1], tiny_recipe.__file__, *words[-1]]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False, timeout=5 * SECONDS)


def written(folder):
    """Every precision that a finished run has written down."""
    config, result = (json.loads((folder / name).read_text("utf-8")) for name in ("config.json", "result.json"))
    return "bf16" if config["trainer"]["bf16"] else "no", result["environment"]["mixed_precision"]


def test_the_precision_of_the_launcher_counts_and_is_written_down(home):
    done = accelerate(home, "--config_file", str(settings(home)), ["--output-dir", "half", *SHORT])
    assert done.returncode == 0, done.stderr
    assert written(home / "half") == ("bf16", "bf16")
    assert "bf16" in (home / "half" / "README.md").read_text("utf-8")
    # Without that launcher it is another precision, in which a run may go on; this one is finished.
    plain = Launched(home / "out", recipe, ["--output-dir", "half", "--resume", *SHORT], home).wait()
    assert (plain.code, plain.err) == (0, "")
    assert "finished already" in plain.out
    named = ["--output-dir", "half", "--resume", "--mixed-precision", "bf16", *SHORT]
    assert Launched(home / "out", recipe, named, home).wait().out.startswith("preset tiny")


def settings(home):
    """What `accelerate config` writes."""
    file = home / "settings.yaml"
    values = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "NO", "num_processes": 1, "use_cpu": True}
    file.write_text(yaml.safe_dump({**values, "num_machines": 1, "mixed_precision": "bf16", "debug": False}), "utf-8")
    return file


def test_a_flag_that_the_launcher_passes_on_to_nobody_is_refused(home):
    done = accelerate(home, "--cpu", "--gradient_accumulation_steps", "4", ["--output-dir", "nothing"])
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line == (
        "error: --gradient_accumulation_steps of accelerate launch must be left out, got '4'; "
        "use --trainer.micro-batch-size and --retrain.micro-batch-size"
    )
    assert not (home / "nothing").exists()


@pytest.mark.parametrize("said", [None, "", "no", "bf16", "fp16"])
@pytest.mark.parametrize("option", [None, "no", "bf16", "fp16"])
def test_the_option_counts_then_the_launcher_and_a_conflict_is_refused(said, option, monkeypatch):
    if said is not None:
        monkeypatch.setenv(PRECISION, said)
    words = [] if option is None else ["--mixed-precision", option]
    asked = tiny_recipe.parse(words)[0].trainer
    assert asked.mixed_precision == (option or said or "no")
    if said in (None, "", "no") or option in (None, said):
        refuse_unmet(asked.mixed_precision, [])
    else:
        with pytest.raises(UserError, match=f"^mixed_precision is {option} here and {said} in accelerate launch; "):
            refuse_unmet(asked.mixed_precision, [])


@pytest.mark.parametrize(("said", "other"), [("bf16", "fp16"), ("fp16", "bf16")])
def test_a_precision_in_two_places_is_refused(said, other, monkeypatch):
    monkeypatch.setenv(PRECISION, said)
    with pytest.raises(UserError, match=rf"^bf16 and fp16 exclude each other, and accelerate launch says {said}$"):
        SearchArguments(**{other: True})


def test_a_precision_that_a_run_does_not_have_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(PRECISION, "fp8")
    with pytest.raises(UserError, match="mixed_precision is no here and fp8 in accelerate launch"):
        CurriculumTrainer.from_config(tiny_recipe.tiny(), tmp_path / "out").train()
    assert [*tmp_path.iterdir()] == []


def test_the_configuration_of_an_earlier_run_means_what_it_says(monkeypatch):
    values = tiny_recipe.tiny().to_json()
    assert not values["trainer"]["bf16"]
    monkeypatch.setenv(PRECISION, "bf16")
    assert RunConfig.from_json(values).trainer.mixed_precision == "no"
    assert RunConfig.from_json(values).hash != tiny_recipe.tiny().hash


def flags():
    """Every flag of the installed launcher with a value it takes."""
    parser = launch_command_parser()
    for action in parser._actions:
        if action.option_strings and action.dest != "help":
            flag = action.option_strings[0]
            candidates = (
                [[]] if action.nargs == 0 else [[str(word)] for word in (*(action.choices or ())[::-1], 3, True)]
            )
            words = next([flag, *value] for value in candidates if taken(parser, [flag, *value]))
            yield pytest.param(action.dest, words, id=action.dest)


def taken(parser, words):
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            parser.parse_args([*words, "script"])
    except SystemExit:
        return False
    return True


@pytest.mark.parametrize(("name", "words"), [*flags()])
def test_every_flag_of_the_launcher_is_honoured_or_refused(name, words):
    parser = launch_command_parser()
    changed = getattr(parser.parse_args([*words, "script"]), name) != getattr(parser.parse_args(["script"]), name)
    if name in HONOURED or not changed:
        refuse_unmet("no", [*words, "script.py", "--seed", "3"])
    else:
        with pytest.raises(UserError, match=rf"^--{name} of accelerate launch must be left out, got [^\n]*$"):
            refuse_unmet("no", [*words, "script.py", "--seed", "3"])


@pytest.mark.parametrize(("variable", "flag"), [*REFUSED.items()])
def test_what_a_file_of_settings_brings_is_refused_before_anything_is_written(variable, flag, monkeypatch, tmp_path):
    for value in ("false", "no", "0"):
        monkeypatch.setenv(variable, value)
        refuse_unmet("no", [])
    monkeypatch.setenv(variable, "true")
    with pytest.raises(UserError, match=f"^--{flag} of accelerate launch must be left out, got 'true'"):
        CurriculumTrainer.from_config(tiny_recipe.tiny(), tmp_path / "out").train()
    assert [*tmp_path.iterdir()] == []


def test_several_processes_of_which_one_is_started_are_refused(monkeypatch):
    # As the launcher does without GPUs: it tells the address and no number.
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv(PRECISION, "no")
    refuse_unmet("no", [])
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(UserError, match=r"^--num_processes of accelerate launch must be 1 .* torchrun"):
        refuse_unmet("no", [])
    for name, value in itertools.product(("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"), ("1", "2")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            refuse_unmet("no", [])


def test_the_processor_is_taken_where_the_launcher_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert make_accelerator(tiny_recipe.tiny(), tmp_path).device.type == "cpu"
