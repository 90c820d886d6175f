"""The Python of docs/analyses.md, on two made-up runs; tests/test_docs.py holds its command lines."""

import json
import re
from pathlib import Path

from run_folders import FOUND, write_run

PAGE = Path(__file__).parents[3] / "docs" / "analyses.md"


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    traces = ([1.0, 1.0, 1.0], [0.5, 1.0, 1.5])
    rows = [{"epoch": e, "alphas": [[0.2] * 5] * 6, "weight_traces": weights} for e, weights in enumerate(traces, 1)]
    for name in ("gdas", "setn"):
        write_run(f"runs/{name}", rows)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], str(PAGE), "exec"), {"__name__": "block"})
    figures = Path("runs/gdas/figures")
    assert len([*figures.iterdir()]) == 6
    assert json.loads((figures / "ranking_traces.json").read_text())["ranks"] == {FOUND: [1, 1]}
    assert [each["run"] for each in json.loads((figures / "weight_groups.json").read_text())] == ["gdas", "setn"]
