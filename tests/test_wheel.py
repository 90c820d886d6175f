"""What `pip install` of the built wheel gives: scripts away from the checkout, in processes of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import cnas
from cnas.training.metrics_log import read, stable

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("wheel_script.py")
LINES = {"train": 400, "validation": 60, "test": 60}
SECONDS = 900
"""Against hanging: each takes seconds."""


def files(folder):
    return {path.relative_to(folder).as_posix() for path in (folder / "cnas").rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The unpacked wheel, which was built of a copy of what it is made of."""
    source, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "cnas", source / "cnas", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True, timeout=SECONDS)
    (built,) = place.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(place / "site")
    assert files(place / "site") == files(source)
    return place / "site"


@pytest.fixture(scope="session")
def lines(tmp_path_factory):
    """Some sentences of the Penn Treebank where it is at hand, else of the standard library."""
    folder, known = tmp_path_factory.mktemp("lines"), os.environ.get("CNAS_DATA")
    for split, found in sentences(known).items():
        (folder / f"{split}.txt").write_text("".join(f"{line}\n" for line in found[: LINES[split]]), "utf-8")
    return folder


def sentences(known):
    if known is None:
        from cnas.data.pydoc import load_pydoc

        return load_pydoc()
    from pyarrow.parquet import read_table

    folder = Path(known) / "ptb_text_only"
    return {split: read_table(folder / f"{split}.parquet")["sentence"].to_pylist() for split in LINES}


@pytest.fixture(scope="session")
def run(wheel, lines, tmp_path_factory):
    """Starts the script where nothing but the wheel is found; one process, or several that share the run."""
    home = tmp_path_factory.mktemp("away")
    script = shutil.copy(SCRIPT, home)

    def started(name, world=1, **asked):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = json.dumps({"output": str(home / name), "lines": str(lines), **asked})
        env = {**os.environ, "PYTHONPATH": str(wheel), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)} if world > 1 else {}
        ranks = [env | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)] if world > 1 else [env]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-W", "error", script, words]
        return [subprocess.Popen(command, cwd=home, env=own, **pipes) for own in ranks]

    def ended(name, **asked):
        """(exit code of the first process, what it found) and the folder of the run."""
        processes = started(name, **asked)
        output = [process.communicate(timeout=SECONDS) for process in processes]
        codes = {process.returncode for process in processes}
        assert codes == ({-signal.SIGKILL} if "kill" in asked else {0}), output
        assert "warning" not in output[0][0]
        return home / name, None if "kill" in asked else json.loads(output[0][0].splitlines()[-1])

    return ended


@pytest.fixture(scope="session")
def plain(run):
    return run("plain")


def sound(found, wheel, name="perplexity"):
    """What every run has."""
    assert Path(found["package"]).is_relative_to(wheel)
    assert found["version"] == cnas.__version__
    assert len(found["top"]) == 3
    assert found["top"] == sorted(found["top"])
    assert found["figures"].keys() == found["subnet"].keys() == {"eval_loss", f"eval_{name}"}


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def same(one, other):
    """Rows and weights of two runs are equal to the bit."""
    assert [*map(stable, read(one / "metrics.jsonl"))] == [*map(stable, read(other / "metrics.jsonl"))]
    mine, others = weights(one), weights(other)
    assert mine.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in mine.items())


def test_the_wheel_has_what_is_read_at_run_time(wheel):
    assert {"cnas/py.typed", "cnas/reports/templates/report.css", "cnas/hub/templates/model_card.md.jinja"} <= files(
        wheel
    )
    assert {f"cnas/presets/ptb_cl_enas/{name}.yaml" for name in ("smoke", "cpu", "paper")} <= files(wheel)


def test_the_quickstart(plain, wheel):
    folder, found = plain
    sound(found, wheel)
    assert (found["history"], found["retrained"]) == ([1, 2, 3], 1)
    card = (folder / "README.md").read_text("utf-8")
    assert found["architecture"] in card


def test_with_a_bpe(run, wheel):
    folder, found = run("bpe", tokenizer="bpe:500")
    sound(found, wheel)
    assert json.loads((folder / "model" / "tokenizer.json").read_text("utf-8"))["model"]["type"] == "BPE"
    assert json.loads((folder / "config.json").read_text("utf-8"))["text"]["tokenizer"] == "bpe:500"


def test_killed_in_both_phases_and_resumed_in_new_processes(run, wheel, plain):
    saving = {"both": {"save_steps": 3}}
    folder, _ = run("killed", kill=["search", 10], **saving)
    assert not (folder / "search.json").exists()
    run("killed", kill=["retrain", 4], resume=["search"], **saving)
    assert (folder / "search.json").exists()
    assert not (folder / "result.json").exists()
    _, found = run("killed", resume=["search", "retrain"], **saving)
    sound(found, wheel)
    same(folder, plain[0])
    assert found == plain[1]


@pytest.mark.cross
def test_with_adamw(run, wheel, plain):
    folder, found = run("adamw", both={"optim": "adamw", "learning_rate": 0.002})
    sound(found, wheel)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["trainer"]["optim"] == config["retrain"]["optim"] == "adamw"
    assert found["figures"] != plain[1]["figures"]


@pytest.mark.cross
def test_both_phases_stop_early(run, wheel):
    _, found = run("early", patience=1, both={"num_train_epochs": 12, "learning_rate": 5.0})
    sound(found, wheel)
    assert len(found["history"]) < 12
    assert found["retrained"] < 12


@pytest.mark.cross
def test_on_digits(run, wheel):
    _, found = run("digits", digits=True)
    sound(found, wheel, "accuracy")


@pytest.mark.cross
@pytest.mark.distributed
def test_two_processes(run, wheel, plain):
    _, found = run("two", world=2)
    sound(found, wheel)
    assert found["architecture"] == plain[1]["architecture"]
    assert found["figures"]["eval_loss"] == pytest.approx(plain[1]["figures"]["eval_loss"], rel=1e-3)
