import os
import statistics
from pathlib import Path

import numpy as np
import pytest
from made_up_table import columns
from rounding import EXACT

from cnas.benchmarks import NatsTable, baselines, kendall_tau
from cnas.benchmarks.nats import reachable_parameters
from cnas.spaces.nats.space import read
from cnas.spaces.nats.topology import EDGES, NONE

CNAS_DATA = os.environ.get("CNAS_DATA")
PARAMETERS = {3: 9, 2: 1}
"""3x3 and 1x1 convolutions."""


@pytest.fixture(scope="module")
def table():
    values = columns()
    short = {"cifar10": values["cifar100_test_200"]}
    return NatsTable(values["arch"], {"cifar10": values["cifar10_test_200"]}, "made up", short)


def paths(node=0):
    """Every way from a node to the output, as its edges."""
    if node == 3:
        return [[]]
    steps = [(edge, target) for edge, (target, source) in enumerate(EDGES) if source == node]
    return [[edge, *rest] for edge, target in steps for rest in paths(target)]


def test_reachable_parameters_are_those_on_open_paths(table):
    for text in table.architectures[::97]:
        operations = read(text)
        used = {edge for path in paths() if all(operations[edge] != NONE for edge in path) for edge in path}
        assert reachable_parameters(operations) == sum(PARAMETERS.get(operations[edge], 0) for edge in used)
        assert bool(used) == bool(table.connected[table.query(text).index])


def test_percentiles_count_the_connected_cells_that_are_worse(table):
    quality = table.quality("cifar10")
    known = quality[table.connected]
    for index in (0, 5, 9_000):
        worse = float((known < quality[index]).mean() + (known == quality[index]).mean() / 2)
        assert table.query(table.architectures[index]).percentile["cifar10"] == pytest.approx(worse, abs=EXACT)
    assert table.percentiles("cifar10")[table.connected].mean() == pytest.approx(0.5, abs=EXACT)


def test_the_random_cell_is_the_mean_of_the_connected_ones(table):
    random, short, few, largest = baselines(table, "cifar10")
    known = table.quality("cifar10")[table.connected]
    assert random.name == "random architecture"
    assert random.value == pytest.approx(statistics.fmean(known))
    assert random.deviation == pytest.approx(statistics.pstdev(known))
    assert random.percentile == pytest.approx(0.5, abs=EXACT)
    assert short.name == "best of 8 by validation accuracy after 12 epochs"
    best = known[table.size_classes[table.connected] == 54]
    assert (largest.value, largest.deviation) == (float(best[0]), 0.0)
    assert largest.rank == table.query(table.architectures[int(table.size_classes.argmax())]).rank["cifar10"]
    assert few.name == "best of 100 by parameters on reachable edges"


def test_the_best_of_some_is_what_drawing_them_gives(table):
    draws, scores = np.random.default_rng(1), table.short_training("cifar10").scores[table.connected]
    known = table.quality("cifar10")[table.connected]
    drawn = [draws.choice(len(known), 8, replace=False) for _ in range(4_000)]
    picked = [known[each[scores[each].argmax()]] for each in drawn]
    expected = baselines(table, "cifar10")[1]
    assert np.mean(picked) == pytest.approx(expected.value, abs=4 * expected.deviation / 4_000**0.5)
    assert np.std(picked) == pytest.approx(expected.deviation, rel=0.05)


def test_the_fixed_set_is_the_benchmarks_own(table):
    fixed = table.fixed_set()
    assert len(set(fixed)) == len(fixed) == 1_000
    assert all(table.connected[table.query(text).index] for text in fixed)
    assert fixed == NatsTable(table.architectures, {"cifar10": table.quality("cifar10")}, "again").fixed_set()


@pytest.mark.parametrize(("epochs", "images", "count"), [(100, 25_000, 8), (250, 25_000, 20), (1, 100, 1)])
def test_as_many_are_trained_as_see_what_the_search_sees(table, epochs, images, count):
    assert table.short_training("cifar10").paid_by(epochs * images) == count
    assert baselines(table, "cifar10", epochs * images)[1].name.startswith(f"best of {count} by validation")


@pytest.mark.skipif(CNAS_DATA is None, reason="CNAS_DATA names no folder with the real table")
def test_the_real_table_gives_the_known_figures():
    table = NatsTable.load(Path(CNAS_DATA) / "nats_bench" / "tss_accuracy.parquet")
    random, short, few, largest = baselines(table, "cifar10")
    assert int(table.connected.sum()) == 15_284
    assert (round(random.value, 2), round(random.deviation, 2)) == (88.78, 5.97)
    assert short.value == pytest.approx(92.42, abs=0.05)
    assert few.value == pytest.approx(93.26, abs=0.02)
    assert round(largest.value, 2) == 93.76
    quality, known = table.quality("cifar10"), table.connected
    for scores, tau in ((table.size_classes, 0.641), (table.short_training("cifar10").scores, 0.576)):
        assert kendall_tau(scores[known], quality[known]) == pytest.approx(tau, abs=0.001)
    shares = [float((quality[known] < value).mean()) for value in (91.05, 93.25)]
    assert shares == pytest.approx([0.52, 0.95], abs=0.01)
    draws = np.random.default_rng(0)
    drawn = draws.choice(quality[known], (200_000, 4))
    # What docs/compare.md says of three random cells: one more is better than their mean six times out of ten.
    assert float((drawn[:, 0] > drawn[:, 1:].mean(axis=1)).mean()) == pytest.approx(0.60, abs=0.01)
    assert float((drawn[:, 0] > drawn[:, 1:].max(axis=1)).mean()) == pytest.approx(0.25, abs=0.01)
