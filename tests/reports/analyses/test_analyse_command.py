"""`cnas analyse`: the figures of the paper by one command."""

import json

import pytest
from run_folders import FOUND, png_size, write_run

from cnas.cli import main as cli
from cnas.reports.analyses import write_misclassified

EMPTY = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
ALPHAS = [[0.1, 0.15, 0.2, 0.25, 0.3]] * 6
TRACES = [[1.0, 1.0, 1.0], [0.5, 1.0, 1.5]]
ROWS = [{"epoch": epoch, "alphas": ALPHAS, "weight_traces": weights} for epoch, weights in enumerate(TRACES, 1)]


@pytest.fixture
def runs(tmp_path):
    record = {"dataset": "cifar10", "test_accuracy": 90.0}
    folders = [write_run(tmp_path / f"k{k}", ROWS, k=k, benchmark=record) for k in (None, 5)]
    for place, folder in enumerate(folders):
        write_misclassified(folder, {"test": (4, [0, place + 1]), "train": (4, [])})
    return [str(folder) for folder in folders]


def analyse(capsys, *words):
    code = cli.main(["analyse", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


KINDS = {
    "ranking": ("ranking_traces", "found by k5 in k5 (|"),
    "k-sweep": ("k_sweep", "K = 5: 90.00 % over 1 seed."),
    "similarity": ("similarity_test", "1 kNone, 2 k5: between 0.33 and 0.33"),
    "weights": ("weight_groups", "k5: high from 1 in epoch 1 to 1.5 in epoch 2"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_and_its_numbers_are_written_and_told(kind, runs, tmp_path, capsys):
    name, words = KINDS[kind]
    code, out, err = analyse(capsys, kind, *runs, "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert words in out
    assert out.splitlines()[-3:] == [str(tmp_path / "out" / f"{name}.{kind}") for kind in ("json", "png", "svg")]
    assert json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert min(png_size(tmp_path / "out" / f"{name}.png")) > 300


def test_architectures_are_chosen_and_named(runs, tmp_path, capsys):
    chosen = ["--architectures", FOUND, EMPTY, "--names", "ours", "nothing"]
    code, out, _ = analyse(capsys, "ranking", runs[0], *chosen, "--output", tmp_path)
    assert code == 0
    assert f"ours ({FOUND}) from " in out
    assert f"nothing ({EMPTY}) from 15,625 in epoch 1 to 15,625 in epoch 2" in out
    assert ">ours</text>" in (tmp_path / "ranking_traces.svg").read_text()


def test_networks_are_named_and_the_split_is_chosen(runs, tmp_path, capsys):
    flags = ["--names", "left", "right", "--split", "train", "--output", tmp_path]
    assert "1 left, 2 right: between 1.00 and 1.00" in analyse(capsys, "similarity", *runs, *flags)[1]
    assert (tmp_path / "similarity_train.json").is_file()


def test_thirds_are_made_by_the_last_weights_when_asked(runs, tmp_path, capsys):
    assert (
        "by their weights in the last epoch"
        in analyse(capsys, "weights", runs[1], "--by", "last", "--output", tmp_path)[1]
    )


BAD = {
    (): "KIND",
    ("rankings",): "invalid choice: 'rankings'",
    ("ranking",): "RUN",
    ("ranking", "nowhere"): "run 'nowhere' must be a folder that a run has written",
    ("ranking", "RUN", "--names", "a", "b"): "--names must be one for each of the 1 architectures, got 2",
    ("ranking", "RUN", "RUN", "RUN"): "one search or two of one space, got 3",
    ("similarity", "RUN"): "at least two run folders, got 1",
    ("weights", "RUN", "--by", "middle"): "invalid choice: 'middle'",
    ("k-sweep", "RUN", "--split", "test"): "unknown flag --split",
}


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_a_mistake_is_one_line_and_code_2(words, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = analyse(capsys, *(runs[0] if word == "RUN" else word for word in words))
    assert (code, out) == (2, "")
    assert BAD[words] in err
    assert err.count("\n") == 1
    assert not (tmp_path / "figures").exists()


def test_a_disk_that_refuses_is_code_5(runs, tmp_path, capsys):
    (tmp_path / "file").touch()
    code, _, err = analyse(capsys, "k-sweep", *runs, "--output", tmp_path / "file" / "below")
    assert code == 5
    assert "cannot write the analysis" in err
