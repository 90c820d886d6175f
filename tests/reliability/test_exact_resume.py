"""Killed with kill -9 at moments that were drawn, gone on with, and equal to the run that never was, to the bit."""

import json
import random
import shutil
import signal
from collections import Counter

import pytest
from kill_points import CHECKPOINT, SCORING, counted, kill, undrawn
from launching import SAVING, Fault, Launched, launch, recipe
from outcome import outcome
from small_runs import EVERY, flags, left

FEW = [("enas_rnn", "enas", "step"), ("darts_rnn", "darts_v2", "epoch"), ("nats", "gdas", "step")]
KINDS = [CHECKPOINT, SCORING, ()]
"""Amid a checkpoint, amid scoring, anywhere."""


def uninterrupted(home, case):
    """(what it leaves, how often each event came)."""
    file = home / "counts.json"
    ended = Launched(home / "output", counted, flags(home, case, "whole"), home, file).wait()
    assert (ended.code, ended.err) == (0, ""), ended
    found = left(home / "whole"), json.loads(file.read_text("utf-8"))
    shutil.rmtree(home / "whole")
    return found


def killed_twice(home, case, counts, kinds, draws):
    """The events at which the run in the folder ``killed`` died before it came to its end."""
    argv, died = flags(home, case, "killed"), []
    for where in kinds:
        fault = kill(draws, counts, where)
        ended = Launched(home / "output", undrawn, argv, home, fault).wait()
        if ended.code == -signal.SIGKILL:
            died.append(fault.event)
            assert not (home / "killed" / "result.json").exists(), (case, fault)
        assert ended.code in {-signal.SIGKILL, 0}, (case, fault, ended)
    ended = Launched(home / "output", undrawn, argv, home).wait()
    assert (ended.code, ended.err) == (0, ""), (case, ended)
    return died


@pytest.mark.cross
def test_a_run_that_is_killed_at_random_moments_is_the_uninterrupted_run(home, budget, measured):
    cases, draws, died = budget(FEW, EVERY), random.Random(6), Counter()
    for number, case in enumerate(cases):
        whole, counts = uninterrupted(home, case)
        kinds = [KINDS[number % 3], KINDS[(number + 1) % 3]]
        died.update(killed_twice(home, case, counts, kinds, draws))
        again = left(home / "killed")
        assert again == whole, (case, [name for name in whole if again[name] != whole[name]])
        shutil.rmtree(home / "killed")
    kills = sum(died.values())
    assert kills >= 1.5 * len(cases)
    amid = [sum(died[event] for event in where) for where in (CHECKPOINT, SCORING)]
    assert min(amid) >= 1
    spaces, algorithms = ({case[place] for case in cases} for place in (0, 1))
    measured(
        f"{kills} of {kills} kills ({amid[0]} in a checkpoint, {amid[1]} while scoring) in {len(cases)} runs, "
        f"{len(spaces)} spaces, {len(algorithms)} algorithms: rows, weights, policy, data weights and architecture "
        "equal to the bit"
    )


def forgetful(argv, home):
    """The recipe with a bug: a resume does not read the weights of the data."""
    from cnas.curricula import Curriculum

    Curriculum.load_state_dict = lambda self, state: None
    return recipe(argv, home)


def test_a_resume_that_forgets_the_weights_of_the_data_is_found(home, finished, measured):
    argv = (*SAVING, "--output-dir", "forgetful", "--resume")
    ended = launch(home, *argv, fault=Fault("step", 18)).wait()
    assert ended.code == -signal.SIGKILL, ended
    assert Launched(home / "output", forgetful, argv, home).wait().code == 0
    parts = [name for name, value in outcome(finished).items() if value != outcome(home / "forgetful")[name]]
    assert {"rows", "search"} <= set(parts)
    measured(f"found: {len(parts)} of {len(outcome(finished))} parts differ")
