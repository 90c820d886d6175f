import os
from pathlib import Path

import numpy as np
import pytest
from made_up_table import ACCURACIES, columns, save

from cnas.benchmarks import NatsTable
from cnas.errors import UserError
from cnas.spaces import DartsRnnSpace, EnasRnnSpace
from cnas.spaces.nats import NatsSpace

CNAS_DATA = os.environ.get("CNAS_DATA")


@pytest.fixture(scope="module")
def made_up():
    return columns()


@pytest.fixture(scope="module")
def table(made_up, tmp_path_factory):
    return NatsTable.load(save(tmp_path_factory.mktemp("table") / "made_up.parquet", made_up))


def test_every_row_is_found_by_its_architecture(table, made_up):
    assert len(table) == NatsSpace().size == 15_625
    for index in (0, 1, 777, 15_624):
        text = made_up["arch"][index]
        record = table.query(text)
        assert record == table.query(NatsSpace().parse(text))
        assert (record.index, record.architecture, record.source) == (index, text, "made_up.parquet")
        assert record.test_accuracy == {name: made_up[f"{name}_test_200"][index] for name in ACCURACIES}


def test_ranks_and_regrets_are_those_of_a_plain_count(table, made_up):
    for index in (3, 500, 9_000):
        record = table.query(made_up["arch"][index])
        for name in ACCURACIES:
            column = made_up[f"{name}_test_200"]
            assert record.rank[name] == 1 + sum(value > column[index] for value in column)
            assert record.regret[name] == pytest.approx(max(column) - column[index])
        assert record.on("cifar100") == {
            "dataset": "cifar100",
            "test_accuracy": record.test_accuracy["cifar100"],
            "rank": record.rank["cifar100"],
            "regret": record.regret["cifar100"],
            "percentile": record.percentile["cifar100"],
            "test_accuracies": {name: made_up[f"{name}_test_200"][index] for name in ACCURACIES},
            "index": index,
            "source": "made_up.parquet",
        }


def test_the_best_has_rank_one_and_no_regret(table, made_up):
    for name in table.data_sets:
        column = made_up[f"{name}_test_200"]
        best = table.best(name)
        assert (best.index, best.rank[name], best.regret[name]) == (column.index(max(column)), 1, 0.0)


def test_it_covers_the_space_whatever_its_sizes(table):
    assert table.covers(NatsSpace())
    assert table.covers(NatsSpace(channels=4, cells=1))
    assert not table.covers(EnasRnnSpace())
    assert not table.covers(DartsRnnSpace())


def test_accuracies_given_away_are_copies(table):
    table.quality("cifar10")[:] = 0.0
    assert table.quality("cifar10").max() > 90


def test_rows_may_stand_in_any_order(table, made_up, tmp_path):
    order = np.random.default_rng(1).permutation(len(table)).tolist()
    shuffled = {name: [values[row] for row in order] for name, values in made_up.items()}
    again = NatsTable.load(save(tmp_path / "shuffled.parquet", shuffled))
    assert again.architectures == table.architectures
    assert (again.quality("cifar100") == table.quality("cifar100")).all()


ISOMORPHIC = (
    "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
    "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|",
)


def test_cells_that_compute_the_same_are_different_rows(table):
    first, second = (table.query(text) for text in ISOMORPHIC)
    assert first.index != second.index
    assert first.test_accuracy != second.test_accuracy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1 must be '|'"),
        (ISOMORPHIC[0].replace("none~0|none~1", "zero~0|none~1"), "must be one of none, skip_connect"),
        (ISOMORPHIC[0] + "+", "must be the end"),
    ],
)
def test_a_malformed_architecture_is_refused_with_its_position(table, text, message):
    with pytest.raises(UserError) as caught:
        table.query(text)
    assert message in str(caught.value)


def test_what_it_does_not_know_is_named(table):
    with pytest.raises(UserError, match="must be of the space nats, got one of enas_rnn"):
        table.query(
            EnasRnnSpace().parse(EnasRnnSpace().to_str([pair.options[0] for pair in EnasRnnSpace().decisions()]))
        )
    for ask in (table.best, table.quality, table.query(ISOMORPHIC[0]).on):
        with pytest.raises(UserError, match="must be one of cifar10, cifar100, imagenet16_120, got 'svhn'"):
            ask("svhn")


def without(made_up, *names):
    return {name: values for name, values in made_up.items() if name not in names}


def with_row(made_up, row, **values):
    return {
        name: [*column[:row], values.get(name, column[row]), *column[row + 1 :]] for name, column in made_up.items()
    }


def rows(made_up, count):
    return {name: values[:count] for name, values in made_up.items()}


WRONG = {
    "a column less": (lambda t: without(t, "imagenet16_120_test_200"), "lacks the column imagenet16_120_test_200"),
    "no index": (lambda t: without(t, "index"), "lacks the column index; it needs index, arch, cifar10_test_200"),
    "rows less": (lambda t: rows(t, 15_000), "a row for each of the 15,625 architectures, got 15,000"),
    "no rows": (lambda t: rows(t, 0), "a row for each of the 15,625 architectures, got 0"),
    "a gap": (lambda t: with_row(t, 7, index=20_000), "lacks the index 7"),
    "an index twice": (lambda t: with_row(t, 7, index=6), "has twice or below 0 the index 6"),
    "an index below": (lambda t: with_row(t, 7, index=-1), "has twice or below 0 the index -1"),
    "a cell twice": (lambda t: with_row(t, 7, arch=t["arch"][9]), "is there twice"),
    "a cell of another space": (lambda t: with_row(t, 7, arch="0 1 2"), "row 7: architecture '0 1 2'"),
    "no cell": (lambda t: with_row(t, 7, arch=None), "row 7: arch must be a string, got 'None'"),
    "no accuracy": (lambda t: with_row(t, 7, cifar10_test_200=None), "row 7, cifar10 must be an accuracy"),
    "not a number": (lambda t: with_row(t, 7, cifar10_test_200=float("nan")), "from 0 to 100, got 'nan'"),
    "more than all": (lambda t: with_row(t, 7, cifar100_test_200=100.5), "row 7, cifar100 must be an accuracy"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_table_is_said(made_up, tmp_path, case):
    change, message = WRONG[case]
    path = save(tmp_path / "wrong.parquet", change(made_up))
    with pytest.raises(UserError) as caught:
        NatsTable.load(path)
    assert message in str(caught.value)
    assert "wrong.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_table(tmp_path):
    with pytest.raises(UserError, match="is no file"):
        NatsTable.load(tmp_path)
    with pytest.raises(UserError, match="is no file"):
        NatsTable.load(tmp_path / "nowhere.parquet")
    for content in (b"", b"index,arch\n0,x\n", b"PAR1 and then nothing PAR1"):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read as Parquet|other is empty"):
            NatsTable.load(tmp_path / "other")


needs_data = pytest.mark.skipif(not CNAS_DATA, reason="CNAS_DATA, the folder that holds nats_bench, is not set")


@pytest.fixture(scope="module")
def real():
    return NatsTable.load(Path(CNAS_DATA or "") / "nats_bench" / "tss_accuracy.parquet")


@needs_data
def test_the_real_table_has_the_published_accuracies(real):
    told = {1835: (54.297, 15.607, 16.322), 6111: (94.373,), 9930: (None, 73.513), 857: (None, None, 47.311)}
    for index, values in told.items():
        found = real.query(real.architectures[index])
        assert found.index == index
        for dataset, wanted in zip(ACCURACIES, values, strict=False):
            assert wanted is None or found.test_accuracy[dataset] == pytest.approx(wanted, abs=5e-4)
    assert [real.best(dataset).index for dataset in ACCURACIES] == [6111, 9930, 857]


@needs_data
def test_the_papers_optimum_on_imagenet_is_not_the_highest_accuracy(real):
    # "Optimal" of Table 2 is 46.20; 36 architectures are better.
    assert int((real.quality("imagenet16_120") > 46.205).sum()) == 36
