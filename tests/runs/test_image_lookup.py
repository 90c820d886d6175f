"""An image run that is trained and looked up in a table: what it records, and that nothing is done twice."""

import json
from dataclasses import replace

import made_up_table
import pytest

from cnas.benchmarks import nats
from cnas.cli.launch import main
from cnas.hub.artifacts import summary
from cnas.runs import images as run_images
from cnas.runs.config import RunConfig
from cnas.runs.task import load_task
from cnas.training import evaluate

FEW = 30
SMALL = [
    "--preset",
    "smoke",
    "--images.search-images",
    "64",
    "--images.valid-images",
    "32",
    "--trainer.num-train-epochs",
    "1",
]
SMALL += ["--images.train-images", "64", "--images.test-images", "48", "--trainer.eval-batch-size", "32"]
SMALL += ["--retrain.num-train-epochs", "2", "--no-curriculum"]


@pytest.fixture(scope="module")
def accuracies():
    """Made-up ones of every architecture."""
    return made_up_table.columns()


@pytest.fixture(scope="module")
def table(tmp_path_factory, accuracies):
    return str(made_up_table.save(tmp_path_factory.mktemp("table") / "table.parquet", accuracies))


@pytest.fixture(scope="module", autouse=True)
def few():
    """A fixed set of a few cells: a thousand of them take their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nats, "FIXED", FEW)
        yield


@pytest.fixture(scope="module")
def benchmark_metrics(tmp_path_factory, table):
    """(folder of a finished run, how many images its trained network went over in each pass)."""
    folder, passes = tmp_path_factory.mktemp("images") / "run", []
    classify = evaluate.classify
    with pytest.MonkeyPatch.context() as patch:
        for module in (evaluate, run_images):
            patch.setattr(module, "classify", lambda *args: passes.append(args[1].num_units) or classify(*args))
        assert main("nats_cl", ["--algorithm", "rsps", *SMALL, "--output-dir", str(folder), "--table", table]) == 0
    return folder, passes


def read(folder, name):
    return json.loads((folder / name).read_text("utf-8"))


def test_the_cell_is_looked_up_on_all_data_sets(benchmark_metrics, accuracies):
    folder, _ = benchmark_metrics
    result = read(folder, "result.json")
    found, index = result["benchmark"], accuracies["arch"].index(result["architecture"]["string"])
    expected = {name: accuracies[f"{name}_test_200"][index] for name in made_up_table.ACCURACIES}
    assert found["test_accuracies"] == expected
    assert (found["dataset"], found["test_accuracy"], found["index"]) == ("cifar10", expected["cifar10"], index)
    assert found["rank"] == 1 + sum(value > expected["cifar10"] for value in accuracies["cifar10_test_200"])
    assert -1 <= found["kendall_tau"] <= 1
    assert found["ranked"] == len(read(folder, "search.json")["supernet_losses"]) == FEW
    assert found["baselines"][0]["name"] == "random architecture"
    assert f"rank {found['rank']:,}  regret {found['regret']:.2f}" in summary(folder)


def test_the_trained_network_goes_over_every_split_once(benchmark_metrics):
    folder, passes = benchmark_metrics
    assert passes == [32, 32, 64, 32, 48]  # two epochs' validation; then train, validation and test
    wrong, measured = read(folder, "misclassified.json"), read(folder, "result.json")["retrain"]
    for split, name, size in (("validation", "valid", 32), ("test", "test", 48)):
        assert wrong[split]["samples"] == size
        assert measured[f"{name}_accuracy"] == pytest.approx(100 - 100 * len(wrong[split]["wrong"]) / size)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("digits", "cifar10"),
        ("cifar100", "cifar100"),
        ("uoft-cs/cifar100", "cifar100"),
        ("a/ImageNet16-120", "imagenet16_120"),
    ],
)
def test_data_is_judged_in_the_column_of_its_name(table, accuracies, name, column):
    config = RunConfig.from_preset("nats_cl/smoke")
    task = load_task(replace(config, table=table))
    text = accuracies["arch"][7]
    named = replace(task, data=replace(task.data, name=name))
    record = named.look_up(task.config.space.parse(text), {})
    assert record["test_accuracy"] == accuracies[f"{column}_test_200"][7]
