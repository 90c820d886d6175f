"""`cnas card`: the card of a finished run anew, with the results of further seeds where they are asked for."""

import json
import re
import shutil
import statistics

import pytest
from launching import launch

from cnas.cli import main as cli
from cnas.errors import StorageError
from cnas.hub import write_card


@pytest.fixture(scope="module")
def runs(home, finished, tmp_path_factory):
    """The finished run as ``one``, and beside it another seed and another experiment."""
    folder = tmp_path_factory.mktemp("runs")
    for name, flags in (("two", ["--seed", "2"]), ("plain", ["--seed", "3", "--no-curriculum"])):
        ended = launch(home, *flags, "--output-dir", str(folder / name)).wait()
        assert (ended.code, ended.err) == (0, ""), ended
    shutil.copytree(finished, folder / "one")
    return folder


def number(folder):
    return json.loads((folder / "result.json").read_text("utf-8"))["retrain"]["test_perplexity"]


def test_a_card_is_written_again_as_the_run_left_it(runs):
    left = (runs / "one" / "README.md").read_text("utf-8")
    figures = {path.name: path.read_bytes() for path in (runs / "one" / "figures").iterdir()}
    (runs / "one" / "README.md").unlink()
    assert write_card(runs / "one") == runs / "one" / "README.md"
    assert (runs / "one" / "README.md").read_text("utf-8") == left.replace("# finished", "# one").replace(
        "name: finished", "name: one"
    )
    assert {path.name: path.read_bytes() for path in (runs / "one" / "figures").iterdir()} == figures


def test_further_seeds_give_mean_and_spread(runs, capsys):
    assert cli.main(["card", str(runs / "one"), "--seeds", str(runs / "two")]) == 0
    assert capsys.readouterr().out.strip() == str(runs / "one" / "README.md")
    card = (runs / "one" / "README.md").read_text("utf-8")
    values = [number(runs / name) for name in ("one", "two")]
    assert values[0] != values[1]
    (shown,) = re.findall(r"\| test.* \| ([\d.]+) \| ([\d.]+) ± ([\d.]+) \(n = 2\) \|", card)
    assert shown == tuple(f"{x:.2f}" for x in (values[0], statistics.mean(values), statistics.stdev(values)))
    assert "(seeds 1, 2)" in card


def test_a_licence_is_named_where_one_was_chosen(runs, capsys):
    before = (runs / "one" / "README.md").read_text("utf-8")
    assert "\nlicense: unknown\n" in before
    assert "cnas card RUN --license ID" in before
    assert cli.main(["card", str(runs / "one"), "--license", "cc-by-4.0"]) == 0
    card = (runs / "one" / "README.md").read_text("utf-8")
    assert "\nlicense: cc-by-4.0\n" in card
    assert "The weights: `cc-by-4.0`" in card
    assert cli.main(["card", str(runs / "one"), "--license", "MIT: all\nof it"]) == 2
    assert "license must be an identifier of the Hub" in capsys.readouterr().err
    assert (runs / "one" / "README.md").read_text("utf-8") == card


@pytest.mark.parametrize(
    ("run", "seeds", "message"),
    [
        ("one", ["plain"], "seeds must differ from"),
        ("one", ["one"], "is named twice"),
        ("one", ["nowhere"], "is no folder"),
        ("nowhere", [], "run must be the folder of a finished run"),
    ],
)
def test_what_is_no_seed_of_the_experiment_is_refused_and_nothing_changes(runs, run, seeds, message, capsys):
    before = (runs / "one" / "README.md").read_bytes()
    argv = ["card", str(runs / run), *(["--seeds", *(str(runs / seed) for seed in seeds)] if seeds else [])]
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert (runs / "one" / "README.md").read_bytes() == before
    assert not (runs / "nowhere").exists()


def test_a_disk_that_refuses_is_said(runs, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cnas.hub.artifacts.describe_run", refuse)
    with pytest.raises(StorageError, match=r"cannot write the card to .*: No space left on device"):
        write_card(runs / "one")
