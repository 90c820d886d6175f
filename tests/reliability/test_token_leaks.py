"""A token that a run could see, wherever it is put, is in nothing that any command prints or writes."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_recipe
from launching import Fault, Launched, recipe

from cnas.cli.main import main as cnas_main
from cnas.cli.main import names

TOKEN = "hf_" + "CanaryOfTheReliabilityTests42abcd"
COMMANDS = {
    "analyse": ["--help"],
    "card": ["RUN"],
    "compare": ["RUN"],
    "env": [],
    "extract": ["RUN", "0 0"],
    "generate": ["RUN", "w1"],
    "gguf": ["RUN"],
    "list": ["presets"],
    "push": ["RUN", "owner/name"],
    "report": ["RUN"],
    "retrain": ["RUN"],
    "search": ["--preset", "tiny_recipe/tiny", "--output-dir", "searched", "--num-train-epochs", "1"],
    "study": ["GRID"],
    "sweep": ["GRID", "--dry-run"],
    "table": ["build", "nowhere", "out.parquet"],
}


def variables(folder):
    """A token in the environment, and in the file where `hf auth login` leaves it."""
    (folder / "hf").mkdir(parents=True)
    (folder / "hf" / "token").write_text(TOKEN)
    named = dict.fromkeys(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"), TOKEN)
    return {**named, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}


def command(argvs, folder):
    """Several calls of `cnas` in a folder of its own; the exit code of the first that is unexpected."""
    os.chdir(folder)
    return next((code for code in map(called, argvs) if code not in {0, 2, 6}), 0)


def called(argv):
    try:
        return cnas_main(argv)
    except SystemExit as end:
        return end.code


def correct(*folders):
    """(files that hold the token, bytes looked at)."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = [path for path in files if TOKEN.encode() in path.read_bytes()]
    return found, sum(path.stat().st_size for path in files)


@pytest.fixture
def place(home, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "corpus").symlink_to(home / "corpus")
    return tmp_path / "work"


def test_a_token_is_in_nothing_that_a_run_leaves(place, tmp_path, measured):
    env, out = variables(tmp_path / "home"), tmp_path / "out"
    runs = {
        "whole": (["--output-dir", "whole", "--log-with", "tensorboard"], None, 0),
        "killed": (["--output-dir", "killed"], Fault("save", 2), -signal.SIGKILL),
        "disk": (["--output-dir", "disk"], Fault("row", 2, number=-28), 5),
        "NaN": (["--output-dir", "nan"], Fault("step", 3, number=0), 0),
        "wrong flag": (["--data", "nosuch/data"], None, 2),
        "help": (["--help"], None, 0),
    }
    for name, (argv, fault, code) in runs.items():
        ended = Launched(out, recipe, argv, place, fault, env=env).wait()
        assert ended.code == code, (name, ended)
    found, size = correct(place, out)
    assert not found
    measured(f"0 hits in {size / 1e6:.1f} MB: {len(runs)} runs, whole, killed, out of disk, with NaN, refused, --help")


def test_a_token_is_in_nothing_that_a_command_leaves(place, finished, tmp_path, measured):
    assert set(names()) <= set(COMMANDS), "a command that is not here yet"
    shutil.copytree(finished, place / "RUN")
    grid = f"recipe: {Path(tiny_recipe.__file__)}\npreset: tiny\ngrid: {{seed: [1, 2]}}\n"
    (place / "GRID").write_text(grid)
    env, out, used = variables(tmp_path / "home"), tmp_path / "out", 0
    for name in names():
        calls = [[name, *COMMANDS[name]], [name, "--help"], [name, "--no-such-flag"]]
        ended = Launched(out, command, calls, place, env=env).wait()
        assert ended.code == 0, (name, ended)
        used += len(calls)
    found, size = correct(place, out)
    assert not found
    measured(f"0 hits in {size / 1e6:.1f} MB: {used} calls of {len(names())} commands")


@pytest.mark.cross
def test_a_traceback_does_not_show_it(tmp_path, measured):
    """A bug of ours, in the middle of a push: Python prints lines of code and not what they hold."""
    code = (
        "import os\nfrom cnas.hub import push as hub\nhub._check_id = lambda repo: None\n"
        "def broken(*given, **named):\n    raise RuntimeError('a bug')\nhub._send = hub.commits = broken\n"
        "hub.is_offline_mode = lambda: False\n"
        "hub.push_run('nowhere', 'owner/name')\n"
    )
    env = os.environ | variables(tmp_path / "home")
    words = [sys.executable, "-X", "dev", "-W", "ignore", "-c", code]
    done = subprocess.run(words, env=env, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"RuntimeError: a bug" in done.stderr
    assert TOKEN.encode() not in done.stdout + done.stderr
    measured(f"0 hits in {len(done.stderr)} bytes of a traceback in development mode")


def test_a_token_in_a_file_is_found(tmp_path):
    """What the other tests rely on."""
    (tmp_path / "log.txt").write_text(f"Authorization: Bearer {TOKEN}")
    assert correct(tmp_path)[0] == [tmp_path / "log.txt"]
