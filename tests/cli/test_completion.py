"""Completion of the `cnas` command: the scripts, and what bash makes of them."""

import contextlib
import subprocess

import pytest

from cnas.cli import main as cli
from cnas.cli.completion import SHELLS

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_cnas
printf '%s\\n' "${COMPREPLY[@]}"
"""


def printed(shell, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--print-completion", shell])
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_in_the_script(shell, capsys):
    out = printed(shell, capsys)
    assert [name for name in cli.names() if name not in out] == []
    assert "--architecture-only" in out


@pytest.fixture
def complete(tmp_path, capsys, monkeypatch):
    """What bash offers for the last of some words, in a folder with the run ``runs`` and the file ``text``."""
    script = tmp_path / "script"
    script.write_text(printed("bash", capsys), "utf-8")
    home = tmp_path / "home"
    (home / "runs").mkdir(parents=True)
    (home / "text").touch()

    def ask(*words):
        command = ["bash", "--norc", "-c", ASK, "ask", str(script), "cnas", *words]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True, timeout=120)
        assert done.stderr == ""
        return set(done.stdout.split())

    return ask


def test_bash_completes_commands_flags_and_folders(complete):
    assert complete("") >= set(cli.names())
    assert complete("comp") == {"compare"}
    assert complete("push", "--arch") == {"--architecture-only"}
    assert complete("report", "r") == {"runs"}
    assert complete("generate", "t") == set()
    assert complete("compare", "runs", "--output", "t") == {"text"}
    assert complete("analyse", "k") == {"k-sweep"}
    assert complete("analyse", "weights", "--b") == {"--by"}
    assert complete("analyse", "weights", "r") == {"runs"}


def test_another_shell_is_one_line(capsys):
    assert cli.main(["--print-completion", "dish"]) == 2
    assert "choose from" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["report", "--help"], ["env"], ["env", "--typo"]], ids=" ".join)
def test_what_is_no_terminal_gets_no_colours(words, capsys):
    with contextlib.suppress(SystemExit):
        cli.main(words)
    captured = capsys.readouterr()
    assert captured.out + captured.err != ""
    assert "\x1b" not in captured.out + captured.err
