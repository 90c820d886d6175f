"""Somebody else's run folder, damaged: whatever reads it takes it or refuses it, and writes nowhere else."""

import hashlib
import json
import random
import re
import shutil

import pytest
from damage import damage_file, damaged_bytes, damaged_json
from refusals import Counted, command, tree

from cnas.cli.launch import parse
from cnas.errors import CnasError
from cnas.hub import push as hub
from cnas.reports import analyses
from cnas.runs.folder import RunFolder
from cnas.training import checkpoint

DRAWN = ("result.json", "config.json", "search.json", "metrics.jsonl", "samples.txt", "checkpoints/search/step-*/*.*")
FILES = (*DRAWN, "README.md", "model/*.*")


@pytest.fixture
def run(finished, tmp_path):
    """The copy of a finished run, alone with a file that is nobody's business."""
    place = tmp_path / "home"
    shutil.copytree(finished, place / "run")
    (place / "other.txt").write_text("as it was")
    return place / "run"


@pytest.fixture
def ready(monkeypatch):
    """A push that is complete but for the sending."""
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    monkeypatch.setattr(hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(hub, "_send", lambda *given, **settings: "url")


def readers(run):
    """What opens a run folder without drawing anything."""
    return {
        "compare": command("compare", str(run)),
        "push": command("push", str(run), "owner/name"),
        "generate": command("generate", str(run), "w1 w2"),
        "config": lambda: parse({}, ["--config", str(run / "config.json")], ""),
        "resume": lambda: RunFolder(run).read_json("result.json"),
        "search": lambda: checkpoint.load_newest(run / "checkpoints" / "search"),
        "ranks": lambda: analyses.ranking_traces(run),
        "groups": lambda: analyses.weight_groups(run),
        "k": lambda: analyses.k_sweep([run]),
        "similarity": lambda: analyses.similarity([run]),
    }


def painters(run):
    """What draws, and writes into the folder; each takes half a second."""
    return {"card": command("card", str(run)), "report": command("report", str(run))}


def damaged(run, patterns, draws):
    """(what was done to the folder, how to undo it); every kind of file is damaged as often as every other."""
    files = sorted(path for pattern in patterns for path in run.glob(pattern))
    kind = draws.choice(sorted({path.name for path in files}))
    path = draws.choice([path for path in files if path.name == kind])
    whole = path.read_bytes()

    def undo():
        if path.is_dir():
            path.rmdir()
        path.write_bytes(whole)

    return damage_file(path, draws), undo


def fuzzed(run, patterns, calls, cases):
    """What came of ``cases`` damaged folders; a case that fails names its number, from which it is drawn."""
    counted = Counted()
    for case in range(cases):
        what, undo = damaged(run, patterns, random.Random(case))
        for name, call in calls.items():
            try:
                counted.add(call)
            except Exception as problem:
                raise AssertionError(f"{name}, case {case}, {what}: {type(problem).__name__} {problem}") from problem
        undo()
    assert {name for name in tree(run.parent) if name.split("/")[0] != "run"} == {"other.txt"}
    assert (run.parent / "other.txt").read_text() == "as it was"
    return counted


@pytest.mark.usefixtures("ready")
def test_whatever_reads_a_damaged_run_folder_takes_it_or_refuses_it(run, budget, measured):
    before = tree(run)
    counted = fuzzed(run, FILES, readers(run), budget(60, 1200))
    assert tree(run) == before
    counted.both()
    measured(f"{counted}; nothing written")


def test_whatever_draws_a_damaged_run_folder_writes_into_it_alone(run, budget, measured):
    counted = fuzzed(run, DRAWN, painters(run), budget(8, 300))
    counted.both()
    measured(f"{counted}; nothing written outside the run folder")


FOUND = [
    ("result.json", "curriculum", [1], "compare", "result.json: curriculum must be a valid dictionary, got [1]"),
    ("result.json", "seed", 10**400, "compare", "result.json: seed must be less than"),
    ("result.json", "retrain", {"test_perplexity": 10**400}, "compare", "retrain"),
    ("result.json", "architecture", 3, "card", "architecture must be a valid dictionary"),
    ("config.json", "space", {"name": "enas_rnn", "dropout_input": -1.0}, "card", "space"),
    ("model/config.json", "vocab_size", "x", "generate", "cannot be used"),
    ("model/config.json", "model_type", "stranger", "generate", "cannot be used"),
]
"""What the tests above have found: file, key, value, command, and what it says now."""


@pytest.mark.parametrize(("file", "key", "value", "name", "words"), FOUND)
def test_what_was_found_is_refused_by_name(run, file, key, value, name, words):
    whole = json.loads((run / file).read_text("utf-8"))
    (run / file).write_text(json.dumps(whole | {key: value}), "utf-8")
    with pytest.raises(CnasError, match=re.escape(words)):
        command(name, str(run))()


def sealed(folder, draws):
    """A checkpoint with wrong values in one of its files, and with checksums that fit."""
    name = draws.choice(("trainer.json", "state.safetensors", "manifest.json"))
    body = json.loads((folder / "manifest.json").read_text("utf-8"))
    body.pop("seal")
    if name == "manifest.json":
        body = damaged_json(body, draws)
    elif name == "trainer.json":
        values = damaged_json(json.loads((folder / name).read_text("utf-8")), draws)
        (folder / name).write_text(json.dumps(values), "utf-8", "surrogatepass")
    else:
        (folder / name).write_bytes(damaged_bytes((folder / name).read_bytes(), draws))
    if name != "manifest.json":
        data = (folder / name).read_bytes()
        body["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    plain = json.loads(json.dumps(body, allow_nan=True))
    text = json.dumps(plain, sort_keys=True)
    seal = hashlib.sha256(text.encode()).hexdigest()
    values = {**plain, "seal": seal} if isinstance(plain, dict) else plain
    (folder / "manifest.json").write_text(json.dumps(values, sort_keys=True, indent=1))


def test_a_checkpoint_that_somebody_has_sealed_is_read_or_broken(finished, tmp_path, budget, measured):
    newest = max((finished / "checkpoints" / "search").glob("step-*"))
    counted = Counted()
    for case in range(budget(100, 4_000)):
        folder = tmp_path / "search" / newest.name
        shutil.copytree(newest, folder)
        sealed(folder, random.Random(case))
        counted.add(lambda: checkpoint.load_newest(tmp_path / "search"))
        shutil.rmtree(folder)
    counted.both()
    measured(str(counted))
