import json
import shutil

import made_up
import pytest

from cnas.reports.record import read_run
from cnas.reports.seeds import ONE_SEED, compare_records


@pytest.fixture
def make(home, tmp_path):
    """A function that writes the files of a finished run and reads it back."""

    def write(seed, curriculum, test, **changes):
        folder = tmp_path / f"{seed}-{curriculum}-{len([*tmp_path.iterdir()])}"
        config = made_up.config(home, curriculum=curriculum, seed=seed)
        folder.mkdir()
        made_up.write(folder / "config.json", {**config.to_json(), **changes})
        made_up.write(folder / "result.json", made_up.result(config, "f" * 16, "0 1 1 3", test))
        return read_run(folder)

    return write


def test_spread_over_seeds_and_differences_at_equal_seeds(make):
    runs = [make(1, True, 48.0), make(2, True, 50.0), make(1, False, 50.0), make(2, False, 51.0), make(3, False, 90.0)]
    found = compare_records(runs)
    spread, paired = found.tables
    assert [row[1:3] for row in spread.rows] == [("2", "49.00 ± 1.41"), ("3", "63.67 ± 22.81")]
    assert [row[1:3] for row in paired.rows] == [("1", "−2.00"), ("2", "−1.00"), ("2 seeds", "−1.50 ± 0.71")]
    assert found.notes == []


def test_one_seed_has_no_spread(make):
    found = compare_records([make(1, True, 48.0), make(1, False, 50.0)])
    (paired,) = found.tables
    assert [row[1:] for row in paired.rows] == [("1", "−2.00", "−2.00")]
    assert found.notes == [ONE_SEED]


def test_runs_that_differ_in_more_are_not_compared(make):
    config = json.loads((make(9, False, 1.0).path / "config.json").read_text("utf-8"))
    changed = make(1, False, 50.0, trainer={**config["trainer"], "epochs": 99})
    assert compare_records([make(1, True, 48.0), changed]).tables == []
    bigger = make(1, False, 50.0, network={**config["network"], "hidden_size": 99})
    (note,) = compare_records([make(1, True, 48.0), bigger]).notes
    assert note.startswith("Not comparable: network.hidden_size is 8")
    assert compare_records([make(1, True, 48.0), make(2, False, 50.0)]).tables == []


def test_the_same_run_twice_is_told(make):
    first = make(1, False, 50.0)
    again = read_run(shutil.copytree(first.path, first.path.parent / "again"))
    (note,) = compare_records([first, again]).notes
    assert note.startswith("Not compared: ")
    assert str(first.path.parent) not in note


def test_unfinished_runs_do_not_count(make):
    begun = make(1, False, 50.0)
    (begun.path / "result.json").unlink()
    assert compare_records([make(1, True, 48.0), read_run(begun.path)]).tables == []
