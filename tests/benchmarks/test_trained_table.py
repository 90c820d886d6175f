import json
import math
from pathlib import Path

import pytest

from cnas.benchmarks import TrainedTable, baselines, load_table, supernet_ranking
from cnas.benchmarks.table_files import write_columns
from cnas.benchmarks.tabular import Ceiling
from cnas.cli.launch import main as search
from cnas.cli.main import main
from cnas.errors import UserError
from cnas.random import generator
from cnas.runs.rankings import load_rankings
from cnas.spaces import EnasRnnSpace
from cnas.studies import read_plan
from cnas.sweeps.grid import read_grid

ROOT = Path(__file__).parents[2]
REST = " 0 0 0 1 0 0 0 1 0 3"
CELLS = [f"{head}{REST}" for head in ("0 0 1 1 2 2", "0 1 0 1 0 1", "0 2 1 2 2 2", "0 3 0 0 1 0")]


def columns(**changed):
    """Four cells, two of them with a second seed."""
    rows = [(text, 1, 200.0 + place) for place, text in enumerate(CELLS)]
    rows += [(CELLS[1], 2, 210.0), (CELLS[0], 2, 220.0)]
    found = {
        "arch": [row[0] for row in rows],
        "seed": [row[1] for row in rows],
        "space": ["enas_rnn"] * len(rows),
        "dataset": ["ptb_text_only"] * len(rows),
        "training": [json.dumps({"retrain.num_train_epochs": "3", "used.train": "300000"})] * len(rows),
        "valid_perplexity": [250 - row[2] / 10 for row in rows],
        "test_perplexity": [row[2] for row in rows],
    }
    return found | changed


@pytest.fixture
def table(tmp_path):
    write_columns(columns(), tmp_path / "ptb.parquet")
    return load_table(tmp_path / "ptb.parquet")


def test_a_table_answers_with_perplexities(table):
    assert isinstance(table, TrainedTable)
    record = table.query(CELLS[1])
    assert record.on("ptb_text_only") == {
        "dataset": "ptb_text_only",
        "test_perplexity": 201.0,
        "rank": 2,
        "regret": 1.0,
        "percentile": 0.625,
        "index": 1,
        "source": "ptb.parquet",
    }
    assert table.best("ptb_text_only").architecture == CELLS[0]
    assert table.fixed_set() == tuple(CELLS)
    assert table.covers(EnasRnnSpace())
    losses = {text: math.log(200 + place) for place, text in enumerate(CELLS)}
    found = supernet_ranking(losses, table, "ptb_text_only")
    assert (found.kendall_tau, found.top_precision) == (1.0, 1.0)
    assert found.expected_pick == 201.5  # the best of one
    assert supernet_ranking({text: -loss for text, loss in losses.items()}, table, "ptb_text_only").kendall_tau == -1.0


def test_counts_of_operations_are_free_in_the_direction_that_agrees(table):
    """The four cells, best first, have so many of each; of six pairs each decides the others by their order."""
    scores = {name: column.tolist() for name, column in table.free_scores().items()}
    assert scores == {
        "fewest tanh": [-3, -2, -2, -4],
        "most relu": [3, 5, 2, 2],
        "most sigmoid": [1, 0, 3, 0],
        "fewest identity": [-1, -1, -1, -2],
    }
    # Differences of pairs in order and in reverse, over the root of untied pairs of counts times all six.
    expected = {"fewest tanh": 1 / 30**0.5, "most relu": 3 / 30**0.5, "most sigmoid": 1 / 30**0.5}
    assert table.free_taus == pytest.approx(expected | {"fewest identity": 3 / 18**0.5})
    assert table.size_classes.tolist() == scores["fewest identity"]
    losses = dict(zip(CELLS, (1.0, 3.0, 2.0, 0.0), strict=True))
    assert supernet_ranking(losses, table, "ptb_text_only").within_size == pytest.approx(1 / 3)  # of the first three


def test_trained_cells_are_chosen_by_validation(table):
    """Whose order is the reverse of the test's here, so that the worst is picked."""
    short = table.short_training("ptb_text_only")
    assert (short.data, short.paid_by(30 * 300_000), short.paid_by(1)) == (900_000, 10, 1)
    random, two = baselines(table, "ptb_text_only", 1_800_000)[:2]
    assert (random.value, random.percentile) == (201.5, 0.5)
    assert two.name == "best of 2 by validation perplexity"
    assert two.value == pytest.approx((3 * 203 + 2 * 202 + 201) / 6)
    assert TrainedTable(columns(training=["{}"] * 6), "unknown").short_training("ptb_text_only") is None


def test_the_ceiling_is_the_agreement_of_two_seeds(table):
    assert table.ceiling() == Ceiling(-1.0, None, 2)
    rows = {name: values[:4] for name, values in columns().items()}
    assert TrainedTable(rows, "one seed").ceiling() is None


@pytest.mark.parametrize(("tau", "attainable"), [(1.0, 1.0), (1 / 3, 0.5), (0.0, 0.0), (-0.2, 0.0)])
def test_a_ranking_without_errors_agrees_more_than_two_trainings_do(tau, attainable):
    assert Ceiling(tau, None, 20).attainable == pytest.approx(attainable)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"training": ["{}"] * 5 + ['{"a": 1}']}, "row 5: training differs from that of row 0, so the cells were tr"),
        ({"training": ["no JSON"] * 6}, "training must be a JSON object, got 'no JSON'"),
        ({"space": ["enas_rnn"] * 5 + ["darts_rnn"]}, "row 5: space differs"),
        ({"seed": [1, 1, 1, 1, 2, 2], "arch": [*CELLS, CELLS[1], "0 0" + " 0 0" * 7]}, "has not the seed 1"),
        ({"seed": [1, 1, 1, 1, 1, 2]}, "is there twice, in row 1 too"),
        ({"test_perplexity": [0.5, 1, 1, 1, 1, 1]}, "must be a perplexity, at least 1, got '0.5'"),
        ({"test_perplexity": [math.inf, 1, 1, 1, 1, 1]}, "must be a perplexity"),
        ({"arch": [*CELLS[:3], "0 9", CELLS[1], CELLS[0]]}, "row 3"),
        ({"arch": [None, *CELLS[1:], CELLS[1], CELLS[0]]}, "row 0: arch must be a string"),
    ],
)
def test_what_no_table_may_be(changed, message):
    with pytest.raises(UserError, match=message):
        TrainedTable(columns(**changed), "made up")


def test_the_cells_of_the_published_grid_are_those_that_chance_drew():
    grid = read_grid(ROOT / "recipes" / "grids" / "ptb_benchmark.yaml")
    space = EnasRnnSpace()
    drawn = [space.sample(generator(0, "benchmark/enas_rnn", index)).to_str() for index in range(60)]
    by_seed = {seed: [job.config.architecture for job in grid.jobs if job.config.seed == seed] for seed in (1, 2)}
    assert by_seed == {1: drawn, 2: drawn[:20]}
    assert len(set(drawn)) == 60


def test_the_published_table_is_that_of_the_grid_and_can_measure():
    table = TrainedTable.load(ROOT / "docs" / "results" / "ptb_benchmark.parquet")
    grid = read_grid(ROOT / "recipes" / "grids" / "ptb_benchmark.yaml")
    assert set(table.architectures) == {job.config.architecture for job in grid.jobs}
    assert (len(table), len(table.values_of(2)), table.seeds) == (60, 20, [1, 2])
    assert table.short_training("ptb_text_only").data == 900_000
    card = (ROOT / "docs" / "results" / "ptb_benchmark.md").read_text("utf-8")
    assert f"is {table.ceiling().tau:.2f} ± {table.ceiling().error:.2f}, on the 20 cells" in card
    for name in ("ptb_gate", "ptb_curriculum"):
        assert table.ceiling().tau >= read_plan(ROOT / "recipes" / "studies" / f"{name}.yaml").gate.min_ceiling


def test_no_rows_and_other_columns(tmp_path):
    with pytest.raises(UserError, match="made up has no rows"):
        TrainedTable({name: [] for name in columns()}, "made up")
    write_columns({"training": ["{}"]}, tmp_path / "no.parquet")
    with pytest.raises(UserError, match="lacks the column arch; it needs arch, seed"):
        load_table(tmp_path / "no.parquet")


def train(folder, cell, seed, *flags):
    sizes = ["--preset", "smoke", "--text.train-tokens", "2000", "--text.valid-tokens", "1500"]
    sizes += ["--text.test-tokens", "1500", "--retrain.num-train-epochs", "1", "--trainer.seed", str(seed)]
    assert search("ptb_cl_enas", [*sizes, *flags, "--architecture", cell, "--output-dir", str(folder)]) == 0
    return str(folder)


def test_runs_become_a_table_that_a_search_is_ranked_by(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runs = [train(tmp_path / f"{seed}-{place}", cell, seed) for seed in (1, 2) for place, cell in enumerate(CELLS[:3])]
    out = tmp_path / "own.parquet"
    assert main(["table", "runs", *runs, str(out)]) == 0
    assert "3 cells, Kendall's τ between two seeds" in capsys.readouterr().out
    card = out.with_suffix(".md").read_text("utf-8")
    assert "# 3 cells of enas_rnn, trained alike on pydoc" in card
    assert "| retrain.num_train_epochs | 1 |" in card
    assert main(["table", "runs", *runs, str(out)]) == 2
    assert "exists already" in capsys.readouterr().err

    other = train(tmp_path / "other", CELLS[3], 1, "--network.dropout-output", "0.5")
    assert main(["table", "runs", *runs, other, str(tmp_path / "mixed.parquet")]) == 2
    assert "network.dropout_output must be" in capsys.readouterr().err

    sizes = ["--preset", "smoke", "--algorithm", "rsps", "--no-curriculum", "--text.search-tokens", "2000"]
    sizes += ["--text.valid-tokens", "1500", "--retrain.num-train-epochs", "0", "--trainer.num-train-epochs", "1"]
    assert search("ptb_cl_enas", [*sizes, "--table", str(out), "--output-dir", str(tmp_path / "search")]) == 0
    (rated,) = load_rankings(tmp_path / "search")
    assert set(rated.losses) == set(CELLS[:3])
    found = json.loads((tmp_path / "search" / "result.json").read_text("utf-8"))
    assert found["retrain"] is None
    assert found["benchmark"]["ranked"] == 3
    assert found["benchmark"]["baselines"][0]["name"] == "random architecture"


def test_a_table_of_another_space_and_a_search_that_nobody_measures(tmp_path, capsys):
    write_columns(columns(), tmp_path / "ptb.parquet")
    assert search("ptb_cl_darts", ["--preset", "smoke", "--table", str(tmp_path / "ptb.parquet")]) == 2
    assert "table ptb.parquet does not cover the space darts_rnn" in capsys.readouterr().err
    assert search("ptb_cl_enas", ["--preset", "smoke", "--retrain.num-train-epochs", "0"]) == 2
    assert "without a table nothing knows what the network is worth" in capsys.readouterr().err
