import os
import pickle
import sys

import nats_bench
import pyarrow.parquet as pq
import pytest
from official_files import SEEDS, architecture_file, save, value, write_folder

from cnas.benchmarks import NatsFiles, build_table
from cnas.cli import main as cli
from cnas.errors import UserError

COUNT = 4
NAMES = {"cifar10": ("cifar10", "ori-test"), "cifar100": ("cifar100", "x-test")}
NAMES |= {"imagenet16_120": ("ImageNet16-120", "x-test")}


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "NATS-tss-v1_0-3ffb9-simple"
    return folder, write_folder(folder, COUNT)


@pytest.fixture
def damaged(tmp_path):
    """A folder of its own, of which one file may be replaced."""
    folder = tmp_path / "damaged"
    return folder, write_folder(folder, 2)


def expected(index, dataset):
    seeds = SEEDS["200"][: 2 if index % 3 == 2 else None]
    return sum(value(index, "200", *NAMES[dataset], seed) for seed in seeds) / len(seeds)


def test_accuracies_are_means_over_the_seeds_after_all_epochs(official):
    folder, texts = official
    files = NatsFiles(folder)
    for index, text in enumerate(texts):
        record = files.query(text)
        assert (record.index, record.architecture, record.source) == (index, text, folder.name)
        assert record.test_accuracy == pytest.approx({name: expected(index, name) for name in NAMES})
        assert record.on("cifar100")["rank"] is None
        assert (record.rank, record.regret) == ({}, {})


def test_they_are_what_the_package_itself_answers(official):
    folder, texts = official
    api = nats_bench.create(str(folder), "tss", fast_mode=True, verbose=False)
    files = NatsFiles(folder)
    for index, text in enumerate(texts):
        told = {
            name: api.get_more_info(index, dataset, hp="200", is_random=False)["test-accuracy"]
            for name, (dataset, _) in NAMES.items()
        }
        assert files.query(text).test_accuracy == told


def test_a_table_is_built_from_them(official, tmp_path, capsys):
    folder, texts = official
    out = tmp_path / "table.parquet"
    assert cli.main(["table", "build", str(folder), str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}: {COUNT} architectures\n"
    assert printed.err == "", "there is no bar where nobody looks on"
    columns = pq.read_table(out).to_pydict()
    assert columns["index"] == list(range(COUNT))
    assert columns["arch"] == texts
    for name in NAMES:
        assert columns[f"{name}_test_200"] == pytest.approx([expected(index, name) for index in range(COUNT)])
    first = {"cifar10_test_12": ("cifar10", "ori-test"), "cifar10_valid_12": ("cifar10-valid", "x-valid")}
    first |= {f"cifar100_{split}_12": ("cifar100", f"x-{split}") for split in ("test", "valid")}
    first |= {f"imagenet16_120_{split}_12": ("ImageNet16-120", f"x-{split}") for split in ("test", "valid")}
    assert {name: columns[name][1] for name in first} == {name: value(1, "12", *at, 777) for name, at in first.items()}
    assert len(columns) == 11


def test_an_existing_table_is_not_overwritten(official, tmp_path):
    out = tmp_path / "table.parquet"
    out.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        build_table(official[0], out)
    assert out.read_text() == "mine"
    with pytest.raises(UserError, match="in a folder that exists"):
        build_table(official[0], tmp_path / "nowhere" / "table.parquet")


def test_few_architectures_are_no_whole_benchmark(official):
    files = NatsFiles(official[0])
    with pytest.raises(UserError, match=r"a row for each of the 15,625 architectures, got 4"):
        files.table()


class Payload:
    """Leaves a trace when it is unpickled in the usual way."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def refusals(folder, tmp_path):
    """(what the file of architecture 1 is replaced with, the message); None removes it."""
    whole = architecture_file(1, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    hole = architecture_file(1, NatsFiles(folder).architectures[1])
    del hole["200"]["all_results"]["cifar100", 888]
    return {
        "malicious": ({"200": Payload(tmp_path / "trace")}, "posix.mkdir, which is not allowed in a data file"),
        "another": (whole, "another architecture than meta.pickle.pbz2 says"),
        "one training": ({"12": hole["12"]}, "lacks results: KeyError: '200'"),
        "one trial": (hole, "lacks results: KeyError"),
        "a list": ([1, 2], "must hold a dict, got list"),
        "nothing": (None, "is missing; the folder needs a file for every architecture"),
    }


@pytest.mark.parametrize("case", ["malicious", "another", "one training", "one trial", "a list", "nothing"])
def test_what_is_wrong_with_a_file_is_said(damaged, tmp_path, case, capsys):
    folder, texts = damaged
    held, message = refusals(folder, tmp_path)[case]
    path = folder / "000001.pickle.pbz2"
    path.unlink()
    if held is not None:
        save(path, held)
    files = NatsFiles(folder)
    assert files.query(texts[0]).index == 0
    with pytest.raises(UserError) as caught:
        files.query(texts[1])
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "trace").exists()
    assert cli.main(["table", "build", str(folder), str(tmp_path / "t.parquet")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.parquet*"))


def test_the_payload_would_have_run(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "trace")))
    assert (tmp_path / "trace").is_dir()


def test_bytes_that_are_no_archive(damaged):
    folder, texts = damaged
    path = folder / "000000.pickle.pbz2"
    whole = path.read_bytes()
    for broken in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match="000000"):
            NatsFiles(folder).query(texts[0])


def test_a_path_without_the_files(tmp_path):
    with pytest.raises(UserError, match=r"must be the folder NATS-tss-v1_0-3ffb9-simple .* got a folder without it"):
        NatsFiles(tmp_path)
    with pytest.raises(UserError, match="got no folder"):
        NatsFiles(tmp_path / "nowhere")
    save(tmp_path / "meta.pickle.pbz2", {"meta_archs": []})
    with pytest.raises(UserError, match="lacks the list meta_archs"):
        NatsFiles(tmp_path)


def test_an_architecture_of_none_of_the_files(official):
    missing = "|avg_pool_3x3~0|+|avg_pool_3x3~0|avg_pool_3x3~1|+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|"
    with pytest.raises(UserError, match=f"not among the {COUNT}"):
        NatsFiles(official[0]).query(missing)


def test_without_the_package_it_is_named(official, monkeypatch):
    monkeypatch.setitem(sys.modules, "nats_bench.api_utils", None)
    with pytest.raises(UserError, match=r"pip install cnas\[bench\]"):
        NatsFiles(official[0])
