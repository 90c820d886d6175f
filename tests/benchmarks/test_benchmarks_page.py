"""The look-up that docs/benchmarks.md shows, in a made-up table whose best cell is the page's."""

import re
from pathlib import Path

from made_up_table import columns, save

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def test_the_look_up_of_the_page_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = [
        code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "load(" in code
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
