"""The benchmarks run, at sizes at which they measure nothing; that of the GPU has tests of its own."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parent / "speed"
TEXT = ["--batch", "3", "--length", "3", "--hidden", "4", "--vocabulary", "12", "--threads", "1", "--repeats", "1"]
IMAGES = ["--batch", "4", "--size", "8", "--channels", "2", "--cells", "1", "--threads", "1", "--repeats", "1"]


@pytest.mark.parametrize(
    ("script", "flags", "lines"),
    [("enas_rnn", TEXT, 5), ("darts_rnn", TEXT, 6), ("plain", TEXT, 8), ("nats", IMAGES, 8)],
)
def test_a_benchmark_runs(script, flags, lines, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *flags])
    monkeypatch.syspath_prepend(str(SPEED))
    # The peak of memory is that of another process.
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout="1.0\n"))
    runpy.run_path(str(SPEED / f"{script}.py"), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) == lines
