"""The `cnas` command: its commands, help, one-line errors and exit codes."""

import errno
import importlib
import json
import os
import pkgutil
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from launching import Launched

import cnas
from cnas.cli import commands
from cnas.cli import main as cli

ROOT = Path(__file__).parents[2]


def test_the_command_is_installed_and_runs_as_a_module_too(monkeypatch, capsys):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, function = scripts["cnas"].partition(":")
    assert getattr(importlib.import_module(module), function) is cli.main
    monkeypatch.setattr(sys, "argv", ["cnas", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("cnas", run_name="__main__")
    assert capsys.readouterr().out == f"cnas {cnas.__version__}\n"


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    out = capsys.readouterr().out
    files = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    assert cli.names() == sorted(files)
    assert {"compare", "env"} <= set(files)
    assert all(f"\n    {name} " in out for name in files)


@pytest.mark.parametrize("name", cli.names())
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    out = capsys.readouterr().out
    assert f"\ncnas {name}" in out
    assert f"usage: cnas {name}" in out


BAD = {
    (): f"command must be one of {', '.join(cli.names())}, got ''",
    ("compair",): "got 'compair'",
    ("--versoin",): "unknown flag --versoin; did you mean --version?",
    ("compare",): "RUN",
    ("compare", "a", "--randm", "b"): "unknown flag --randm; did you mean --random?",
    ("compare", "nowhere"): "run nowhere is no folder",
    ("env", "more"): "unexpected argument 'more'",
}


@pytest.mark.parametrize("argv", BAD, ids=" ".join)
def test_a_mistake_is_one_line_and_code_2(argv, capsys):
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert BAD[argv] in captured.err
    assert captured.err.count("\n") == 1


def test_env_says_what_results_say(finished, capsys):
    assert cli.main(["env"]) == 0
    found = json.loads(capsys.readouterr().out)
    known = json.loads((finished / "result.json").read_text("utf-8"))["environment"]
    assert {name: found[name] for name in known} == known
    assert {"enas", "darts_v1"} <= set(found["algorithms"])


def test_compare_prints_and_writes_the_same(finished, tmp_path, capsys):
    file = tmp_path / "comparison.md"
    assert cli.main(["compare", str(finished), "--output", str(file)]) == 0
    out = capsys.readouterr().out
    assert "| enas on enas_rnn, curriculum, K = 3 | 1 | 1 |" in out
    assert file.read_text("utf-8") == out


def test_compare_that_cannot_write_says_so(finished, tmp_path, capsys):
    assert cli.main(["compare", str(finished), "--output", str(tmp_path)]) == 5
    assert capsys.readouterr().err.startswith(f"error: cannot write {tmp_path}")


def raising(problem):
    def action():
        raise problem

    return action


@pytest.mark.parametrize(
    "problem", [OSError(errno.ENOSPC, "full"), PermissionError(errno.EACCES, "not yours", "there")], ids=str
)
def test_a_disk_that_refuses_is_one_line_and_code_5(problem, capsys):
    assert cli.exit_code(raising(problem)) == 5
    captured = capsys.readouterr()
    assert captured.err == f"error: the disk refused: {problem}\n"


def test_what_is_no_disk_keeps_its_traceback():
    with pytest.raises(ConnectionResetError):
        cli.exit_code(raising(ConnectionResetError(errno.ECONNRESET, "gone")))


def test_an_interrupt_has_a_code_of_its_own_and_an_action_may_choose_one():
    assert cli.exit_code(raising(KeyboardInterrupt())) == 130
    assert [cli.exit_code(lambda code=code: code) for code in (None, 0, 7)] == [0, 0, 7]


def talk_to_nobody():
    """Prints into a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    return cli.exit_code(lambda: [print("x" * 99) for _ in range(9999)] and 1)


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    ended = Launched(tmp_path, talk_to_nobody).wait()
    assert (ended.code, ended.err) == (0, "")
