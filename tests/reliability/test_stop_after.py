"""`--stop-after`: the run saves and ends with 75, and what goes on from there is the uninterrupted run, bit for bit."""

import os
import shutil

import pytest
import tiny_recipe
from kill_points import undrawn
from launching import SAVING, Launched, launch_ranks
from outcome import outcome

from cnas.cli.main import main as cnas
from cnas.training import checkpoint

SOON = ("--stop-after", "0.01s")
"""Over when the first step is done."""


def ends(home, *argv, main=tiny_recipe.main):
    """Exit code and errors of a command."""
    ended = Launched(home / "output", undrawn, argv, home, None, main).wait()
    return ended.code, ended.err


def stopped(phase, step=1):
    return 75, f"error: stopped by --stop-after 0.01s at step {step} of the {phase}; go on with --resume\n"


def test_a_search_saves_and_goes_on_exactly(home, finished):
    argv = [*SAVING, "--output-dir", "search"]
    assert ends(home, *argv, *SOON) == stopped("search")
    assert ends(home, *argv, *SOON, "--resume") == stopped("search", 2)
    assert "stop_after" not in (home / "search" / "config.json").read_text("utf-8")
    assert ends(home, *argv, "--resume", "--stop-after", "9h") == (0, "")
    assert outcome(home / "search") == outcome(finished)


def only_searched(finished, folder):
    """The folder of a run as it is when the search is over."""
    shutil.copytree(finished, folder)
    for path in folder.iterdir():
        if path.name not in {"config.json", "search.json", "metrics.jsonl", "checkpoints"}:
            (shutil.rmtree if path.is_dir() else type(path).unlink)(path)
    shutil.rmtree(folder / "checkpoints" / "retrain")


def test_a_retraining_saves_and_goes_on_exactly(home, finished):
    only_searched(finished, home / "retrain")
    words = ("retrain", "retrain")
    assert ends(home, *words, *SOON, main=cnas) == stopped("retrain")
    assert ends(home, *words, "--resume", main=cnas) == (0, "")
    assert outcome(home / "retrain") == outcome(finished)


@pytest.mark.distributed
def test_where_the_time_of_one_of_two_processes_is_over_both_stop_at_one_step(home):
    argv = [*SAVING, "--output-dir", "two"]
    ranks = launch_ranks(home, 2, one_of_two, argv, home)
    ends = [rank.wait() for rank in ranks]
    assert [ended.code for ended in ends] == [75, 75], ends
    assert ends[0].err == "error: stopped by another process at step 1 of the search; go on with --resume\n"
    assert checkpoint.load_newest(home / "two" / "checkpoints" / "search").step == 1


def one_of_two(argv, home):
    """The recipe, with a limit in the second process alone."""
    return undrawn([*argv, *SOON] if os.environ["RANK"] == "1" else argv, home)
