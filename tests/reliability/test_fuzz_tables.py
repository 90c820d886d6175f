"""Tables of NATS-Bench and the files they are built from, damaged: looked up exactly, or refused."""

import bz2
import pickle
import random

import made_up_table
import numpy as np
import official_files
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import damaged_bytes
from refusals import Counted, command

from cnas.benchmarks import NatsFiles, NatsTable

HOSTILE = [None, -1, 10**18, float("nan"), float("inf"), 101.0, "x", b"\xff", [1], {"a": 1}, True, "\x00", ""]


@pytest.fixture(scope="module")
def columns():
    return made_up_table.columns()


def wrong(values, draws):
    """The columns with one cell, one row or one column that is not what it was; it may be of any type."""
    values = {name: list(column) for name, column in values.items()}
    name = draws.choice(list(values))
    row = draws.randrange(len(values[name]))
    match draws.randrange(5):
        case 0:
            del values[name]
        case 1:
            values = {key: column[:row] for key, column in values.items()}
        case 2:
            values[name] = [draws.choice(HOSTILE)] * len(values[name])
        case 3:
            values[name][row] = values[name][row - 1]
        case _:
            alike = [value for value in HOSTILE if type(value) is type(values[name][0])]
            values[name][row] = draws.choice([None, *alike])
    return values


def benchmark_metrics(path):
    table = NatsTable.load(path)
    found = table.query(table.architectures[7])
    assert all(0 <= value <= 100 for value in found.test_accuracy.values())
    assert len(table) == 15625


def test_a_table_is_looked_up_or_refused(columns, tmp_path, budget, measured):
    counted, path = Counted(), tmp_path / "table.parquet"
    for case in range(budget(6, 150)):
        made_up_table.save(path, wrong(columns, random.Random(case)) if case else columns)
        counted.add(lambda: benchmark_metrics(path))
    counted.both()
    measured(str(counted))


def test_the_bytes_of_a_table_are_read_or_refused(columns, tmp_path, budget, measured):
    counted, path = Counted(), tmp_path / "table.parquet"
    few = {name: column[:50] for name, column in columns.items()}
    pq.write_table(pa.table(few), path)
    whole = path.read_bytes()
    for case in range(budget(300, 6_000)):
        path.write_bytes(damaged_bytes(whole, random.Random(case)))
        counted.add(lambda: NatsTable.load(path))
    assert counted.counts[True] == 0
    measured(str(counted))


def changed(held, draws):
    """Results in which some entry is not what it was."""
    place = held
    for _ in range(draws.randint(1, 6)):
        if not isinstance(place, dict) or not place:
            break
        key = draws.choice(list(place))
        if draws.random() < 0.4:
            match draws.randrange(3):
                case 0:
                    del place[key]
                case 1:
                    place[key] = draws.choice([*HOSTILE, np.float64(3.0), np.zeros(3), {}, [], 10**400])
                case _:
                    place[draws.choice([0, "x", None, ("a", 1)])] = place.pop(key)
            break
        place = place[key]
    return held


def test_a_table_is_built_of_sound_files_alone(tmp_path, budget, measured):
    counted, folder = Counted(), tmp_path / "files"
    official_files.write_folder(folder, 2)
    names = ["meta.pickle.pbz2", "000000.pickle.pbz2"]
    wholes = {name: (folder / name).read_bytes() for name in names}
    plain = {name: bz2.decompress(data) for name, data in wholes.items()}
    for case in range(budget(40, 1_500)):
        draws = random.Random(case)
        name = draws.choice(names)
        data = damaged_bytes(wholes[name], draws)
        if draws.random() < 0.7:
            data = bz2.compress(pickle.dumps(changed(pickle.loads(plain[name]), draws), 4), 1)
        (folder / name).write_bytes(wholes[name] if case == 0 else data)
        out = tmp_path / "out.parquet"
        taken = counted.add(command("table", "build", str(folder), str(out)))
        assert out.exists() == taken
        out.unlink(missing_ok=True)
        (folder / name).write_bytes(wholes[name])
    counted.both()
    assert NatsFiles(folder).architectures
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files"]
    measured(f"{counted}; no table of a broken file")
