"""Killed every few steps, and at times nobody chose, until the run is done; nothing but time is lost."""

import random
import re
import signal
import time

from kill_points import undrawn
from launching import SAVING, Fault, Launched
from outcome import outcome

SEARCH_STEPS, EVERY = 33, 5
"""Of the tiny recipe's search, before the retraining; and a checkpoint comes after so many."""
PARTS = ("rows", "search", "retrain", "files")


def stands(home, ended):
    """The step a run went on from, counted over both phases."""
    found = re.search(r"^resumed from step (\d+) of the (\w+)", ended.out, re.MULTILINE)
    if found is not None:
        return int(found[1]) + SEARCH_STEPS * (found[2] == "retrain")
    return SEARCH_STEPS if "the search is finished" in ended.out or "found " in ended.out else 0


def same(run, finished):
    """Whether two runs are equal to the bit; the pictures are not drawn."""
    mine, theirs = outcome(run), outcome(finished)
    return all(mine[part] == theirs[part] for part in PARTS) and mine["result"] == theirs["result"]


def killed_every_few_steps(home, name, draws, few):
    """(kills, the most steps that a kill cost) until the run in the folder ``name`` was done."""
    argv = (*SAVING, "--output-dir", name, "--resume")
    reached, kills, lost = 0, 0, 0
    while True:
        count = draws.randint(*few)
        ended = Launched(home / "output", undrawn, argv, home, Fault("step", count)).wait()
        begun = stands(home, ended) if kills else 0
        lost = max(lost, reached - begun)
        if ended.code == 0:
            return kills, lost
        assert ended.code == -signal.SIGKILL, ended
        assert kills < 100, "no progress"
        kills, reached = kills + 1, begun + count - 1


def test_a_run_that_is_killed_every_few_steps_gets_done(home, finished, budget, measured):
    rounds, few = budget((1, (22, 28)), (4, (6, 10)))
    kills, lost, draws = 0, 0, random.Random(3)
    for number in range(rounds):
        more, most = killed_every_few_steps(home, f"again-{number}", draws, few)
        kills, lost = kills + more, max(lost, most)
        assert same(home / f"again-{number}", finished)
    assert kills >= 3 * rounds
    assert lost < EVERY + 1
    measured(
        f"{kills} kills in {rounds} run(s), at most {lost} steps lost (a checkpoint each {EVERY}); equal to the bit"
    )


def seconds_of(home, name):
    """Of a run that nothing happens to."""
    begun = time.monotonic()
    assert Launched(home / "output", undrawn, (*SAVING, "--output-dir", name), home).wait().code == 0
    return time.monotonic() - begun


def killed_from_outside(home, name, draws, longest):
    """How often the run in the folder ``name`` was killed, after ``longest`` seconds or less, before it was done."""
    argv, kills = (*SAVING, "--output-dir", name, "--resume"), 0
    while True:
        run = Launched(home / "output", undrawn, argv, home)
        begun, wait = time.monotonic(), draws.uniform(0.05, longest)
        # The first comes amid the run however much faster it is than the one that was timed.
        while run.process.is_alive() and kills < 20 and time.monotonic() - begun < wait:
            if kills == 0 and (home / name / "metrics.jsonl").exists():
                break
            time.sleep(0.005)
        if kills < 20:
            run.process.kill()
        ended = run.wait()
        if ended.code == 0:
            return kills
        assert ended.code == -signal.SIGKILL, ended
        kills += 1


def test_a_run_that_is_killed_at_any_time_gets_done(home, finished, budget, measured):
    rounds, kills, draws = budget(1, 10), 0, random.Random(4)
    # Amid a run, however fast the machine is.
    longest = 0.8 * seconds_of(home, "timed")
    for number in range(rounds):
        kills += killed_from_outside(home, f"outside-{number}", draws, longest)
        assert same(home / f"outside-{number}", finished)
    assert kills >= rounds
    measured(f"{kills} kills at drawn times in {rounds} run(s); equal to the bit")
