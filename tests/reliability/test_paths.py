"""Names that would lead out of the folder: whatever is named so, nothing is written anywhere else."""

import json
import shutil
from pathlib import Path

import pytest
import tiny_recipe
from launching import Launched, recipe
from refusals import command, taken, tree

from cnas.cli.launch import parse
from cnas.sweeps import read_grid

NAMES = [
    "..",
    "../escape",
    "../../escape",
    "a/../../escape",
    "./../escape",
    "/tmp/cnas-escape",
    "//tmp/cnas-escape",
    "~/cnas-escape",
    "~root/cnas-escape",
    "$HOME/cnas-escape",
    "file:///tmp/cnas-escape",
    "..\\escape",
    "C:\\escape",
    "\\\\host\\share",
    "a\x00b",
    "",
    " ",
    ".",
    "-",
    "--help",
    "CON",
    "NUL.txt",
    "a" * 300,
    "a/" * 200,
    "\u202etxt.exe",
    "\ud800",
    "a\nb",
    "a;touch escape",
    "$(touch escape)",
    "%2e%2e%2fescape",
]
FIELDS = [("recipe",), ("preset",), ("space",), ("algorithm",), ("dataset", "name"), ("architecture", "string")]
"""Of result.json, what could become a part of a file's name."""


@pytest.fixture
def place(finished, tmp_path, monkeypatch):
    """A folder within a folder; only ``inner/run`` may change."""
    inner = tmp_path / "outer" / "inner"
    shutil.copytree(finished, inner / "run")
    (tmp_path / "outer" / "mine.txt").write_text("mine")
    monkeypatch.chdir(inner)
    monkeypatch.setenv("HOME", str(tmp_path / "outer"))
    return inner


def outside(place):
    """All that is not in the run folder, in the folders above it and where the names point to."""
    found = {name: data for name, data in tree(place.parent.parent).items() if "/run/" not in f"/{name}/"}
    return found | {
        path: Path(path).expanduser().exists() for path in ("/tmp/cnas-escape", "/escape", "~root/cnas-escape")
    }


def test_the_fields_of_a_result_lead_nowhere(place, budget, measured):
    result, before, cards = json.loads((place / "run/result.json").read_text("utf-8")), outside(place), 0
    for number, name in enumerate(NAMES):
        for field in FIELDS:
            changed = json.loads(json.dumps(result))
            holder = changed if len(field) == 1 else changed[field[0]]
            holder[field[-1]] = name
            (place / "run/result.json").write_text(json.dumps(changed), "utf-8")
            taken(command("compare", "run"))
            # Half a second each, and all but the last field are free text.
            if number % budget(15, 1) == 0 and field != FIELDS[-1]:
                cards += taken(command("card", "run"))
            assert outside(place) == before, (name, field)
    assert cards >= 5
    count = len(NAMES) * len(FIELDS)
    measured(f"0 of {count} escaped ({len(NAMES)} names in {len(FIELDS)} fields; {cards} cards written)")


def test_the_names_of_runs_and_presets_lead_nowhere(place, measured):
    """Where a folder is made by the name of something: the default run folder, the folders of a sweep."""
    before, count = outside(place), 0
    for name in NAMES:
        config = tiny_recipe.tiny().to_json() | {"recipe": name, "preset": name}
        (place / "run/config.json").write_text(json.dumps(config), "utf-8")
        folders = []

        def folder(folders=folders):
            folders.append(parse({}, ["--config", "run/config.json"], "")[1])

        if taken(folder):
            (made,) = folders
            assert made.parts[0] == "runs"
            assert len(made.parts) == 2, name
            assert made.name not in {".", ".."}
        (place / "run/grid.yaml").write_text(json.dumps({"recipe": name, "preset": "tiny"}), "utf-8")
        taken(lambda: read_grid("run/grid.yaml"))
        count += 2
    assert outside(place) == before
    measured(f"0 of {count} escaped ({len(NAMES)} names as recipe, preset and grid)")


def test_nothing_is_written_through_a_link(home, finished, tmp_path, measured):
    """A run folder whose parts are links that somebody has laid, to files there are and to such that are not."""
    folder, elsewhere = tmp_path / "linked", tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.mkdir()
    links = ("model", "figures", "checkpoints", "README.md", "metrics.jsonl", "report.html", ".config.json.tmp")
    for name in links:
        (folder / name).symlink_to(elsewhere / name, target_is_directory="." not in name)
        ended = Launched(tmp_path / "out", recipe, ["--output-dir", str(folder), "--resume"], home).wait()
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended
        assert "is a link" in ended.err
        (folder / name).unlink()
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    (elsewhere / "mine.txt").write_text("mine")
    for name in ("README.md", "cell.txt", "report.html"):
        (folder / name).unlink()
        (folder / name).symlink_to(elsewhere / "mine.txt")
    for words in (("card", str(folder)), ("report", str(folder))):
        assert not taken(command(*words))
    assert [path.read_text() for path in elsewhere.iterdir()] == ["mine"]
    measured(f"0 of {len(links) + 3} links written through; refused in one line")
