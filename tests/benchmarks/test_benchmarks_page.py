"""What docs/benchmarks.md shows: the look-up in a made-up table whose best cell is the page's, the real baselines."""

import json
import os
import re
from pathlib import Path

import pytest
from made_up_table import columns, save

from cnas.benchmarks import NatsTable

CNAS_DATA = os.environ.get("CNAS_DATA")
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def test_the_look_up_of_the_page_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = [
        code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "query(" in code
    ]
    (cell,) = re.findall(r'query\("(.*?)"\)', block)
    values = columns()
    place = values["arch"].index(cell)
    values["cifar10_test_200"][place] = 94.37333333333333
    save("tss.parquet", values)
    exec(compile(block, str(PAGE), "exec"), {"__name__": "block"})
    found, best = capsys.readouterr().out.splitlines()
    (said,) = re.findall(r"# ([\d.]+)… (\d+) ([\d.]+)$", block, re.MULTILINE)
    accuracy, rank, regret = found.split()
    assert accuracy.startswith(said[0])
    assert (rank, regret) == said[1:]
    assert best == values["arch"][max(range(15_625), key=values["imagenet16_120_test_200"].__getitem__)]


@pytest.mark.skipif(CNAS_DATA is None, reason="CNAS_DATA names no folder with the real table")
def test_the_baselines_of_the_page_are_those_of_the_table(tmp_path, monkeypatch, capsys):
    page = PAGE.read_text("utf-8")
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "in baselines(" in code]
    (tmp_path / "tss.parquet").symlink_to(Path(CNAS_DATA) / "nats_bench" / "tss_accuracy.parquet")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(PAGE), "exec"), {"__name__": "block"})
    rows = re.findall(
        r"^\| ((?:random|best of) [^|:]+?)(?::[^|]*)? \| ([\d.]+)[^|]*\| ([\d.]+) \|$", page, re.MULTILINE
    )
    printed = re.findall(r"^(.*): ([\d.]+) ± .*, percentile ([\d.]+)$", capsys.readouterr().out, re.MULTILINE)
    assert rows == printed
    assert len(rows) == 4


@pytest.mark.skipif(CNAS_DATA is None, reason="CNAS_DATA names no folder with the real table")
def test_the_results_are_read_against_the_table():
    """Accuracies and percentiles of the fourteen searches, and the mean percentile, as the page of results has them."""
    table = NatsTable.load(Path(CNAS_DATA) / "nats_bench" / "tss_accuracy.parquet")
    results = PAGE.parent / "results"
    page, found = (results / "README.md").read_text("utf-8"), {}
    for run in sorted((results / "nats-table2").glob("*-s1")):
        record = table.query(json.loads((run / "result.json").read_text("utf-8"))["architecture"]["string"])
        found[run.name] = (record.values["cifar10"], record.percentile["cifar10"])
    cells = r"^\| ([A-Z0-9-]+) \| ([\d.]+), (?:percentile )?([\d.]+) \| ([\d.]+), ([\d.]+) \|"
    rows = re.findall(cells, page, re.MULTILINE)
    assert len(rows) == 7
    for method, *figures in rows:
        name = method.lower().replace("-", "_")
        for run, said in ((f"{name}-s1", figures[:2]), (f"{name}-cl-s1", figures[2:])):
            assert [f"{figure:.2f}" for figure in found[run]] == said, run
    searches = [share for name, (_, share) in found.items() if not name.startswith("random")]
    assert len(searches) == 14
    assert f"Their mean percentile is {sum(searches) / 14:.2f}:" in page
