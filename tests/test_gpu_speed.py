"""The benchmark of whole steps on a GPU: that it runs where there is none, with tiny sizes, and what it says then."""

import json
import runpy
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parent / "speed"


@pytest.fixture
def lines_of(monkeypatch, capsys):
    """What the program prints, by the words of its command line."""
    monkeypatch.syspath_prepend(str(SPEED))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
        runpy.run_path(str(SPEED / "gpu.py"), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_without_a_gpu_it_says_so_in_one_line(lines_of):
    (line,) = lines_of("--rows", "enas")
    assert line.startswith("no CUDA device: nothing is measured")


def test_tiny_rows_run_on_a_cpu(lines_of, tmp_path):
    words = ["--tiny", "--device", "cpu", "--rows", "darts_v2", "scoring_enas", "trajectory", "--precisions", "fp32"]
    shown = [json.loads(line) for line in lines_of(*words, "--json", str(tmp_path / "found.json"))]
    assert json.loads((tmp_path / "found.json").read_text("utf-8")) == shown
    assert not [line for line in shown if "error" in line]
    assert all(line["device"] == "cpu" and line["torch"] for line in shown)
    assert (shown[-1]["measure"], shown[-1]["not_measured"]) == ("end", [])
    found = {(line["measure"], line["row"]): line for line in shown[:-1]}
    steps = {(measure, name) for measure in ("eager", "products") for name in ("darts_v2", "scoring_enas")}
    trained = {("trajectory", name) for name in ("enas", "darts_v1", "derived")}
    assert found.keys() == steps | trained
    assert all(len(found[key]["ms_each"]) == 2 and found[key]["ms"] > 0 for key in steps)
    assert all(found["products", name]["products"] > 0 for name in ("darts_v2", "scoring_enas"))
    assert all(found[key]["mean_loss"] > 0 and found[key]["bad_steps"] == 0 for key in trained)
    table = lines_of("--table", str(tmp_path / "found.json"))
    (row,) = [line for line in table if line.startswith("| `enas` | bf16 |")]
    assert set(row.strip("| ").split(" | ")[3:]) == {"not measured"}


def test_what_there_is_no_time_for_is_named(lines_of):
    words = ["--tiny", "--device", "cpu", "--rows", "enas", "--precisions", "fp32", "--budget", "0"]
    (end,) = map(json.loads, lines_of(*words))
    assert end["not_measured"] == ["products enas fp32", "eager enas fp32"]
