"""SIGTERM and SIGINT at any moment: saved at the next step, code 75, and gone on with exactly there."""

import math
import os
import random
import re
import signal
import time

from kill_points import undrawn
from launching import SAVING, Fault, Launched, recipe
from outcome import outcome

from cnas.cli.main import exit_code
from cnas.errors import Stopped
from cnas.runs.lock import holder
from cnas.training.context import StopSignal

MOMENTS = [
    ("amid a step", Fault("step", 3, signal.SIGTERM, after=True)),
    ("amid a checkpoint", Fault("file", 2, signal.SIGTERM)),
    ("while the controller learns", Fault("reward", 1, signal.SIGINT)),
    ("while the judges score", Fault("judging", 2, signal.SIGTERM)),
    ("before an epoch's row", Fault("row", 1, signal.SIGINT)),
    ("amid the last checkpoint of the search", Fault("save", 3, signal.SIGTERM)),
    ("while the architecture is derived", Fault("derive", 1, signal.SIGTERM)),
    ("amid the retraining", Fault("step", 9, signal.SIGINT)),
]
NUMBERS = (signal.SIGTERM, signal.SIGINT)
GRACE = 20.0
"""Seconds a run may take from the signal to its end; queues of clusters wait 30."""


def stopped(ended):
    """The message of a run that has saved."""
    assert ended.code == Stopped.exit_code, ended
    assert re.fullmatch(r"error: stopped [^\n]+--resume\n", ended.err), ended.err
    return ended


def same(home, name, finished):
    """The run goes on to its end, which is that of the uninterrupted one."""
    ended = Launched(home / "output", undrawn, [*SAVING, "--output-dir", name, "--resume"], home).wait()
    assert (ended.code, ended.err) == (0, ""), ended
    assert outcome(home / name) == outcome(finished)


def test_a_signal_at_each_kind_of_moment_saves_and_ends_with_75(home, finished, budget, measured):
    moments = budget(MOMENTS[1:7:2], MOMENTS)
    for moment, fault in moments:
        argv = [*SAVING, "--output-dir", "moments", "--resume"]
        ended = Launched(home / "output", undrawn, argv, home, fault).wait()
        assert ended.code == Stopped.exit_code, (moment, ended)
        stopped(ended)
    same(home, "moments", finished)
    measured(f"{len(moments)} of {len(moments)} moments: code 75; equal to the bit")


def test_a_signal_asks_for_a_stop_which_ends_with_75(capsys):
    stop = StopSignal()

    def work():
        with stop.on_signals():
            os.kill(os.getpid(), signal.SIGTERM)
        raise Stopped(str(stop.reason))

    assert exit_code(work) == 75
    assert "SIGTERM" in capsys.readouterr().err


def twice(argv, home):
    """The recipe, which asks to stop itself in a step and again while it saves."""
    from cnas import durable
    from cnas.training.loop import AccelerateLoop

    step, write = AccelerateLoop.weight_step, durable.write_file

    def signalled_step(self, *given):
        if self.progress.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *given)

    def signalled_write(path, data):
        if path.parent.name.endswith("step-8"):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        write(path, data)

    AccelerateLoop.weight_step, durable.write_file = signalled_step, signalled_write
    return recipe(argv, home)


def test_a_second_signal_while_it_saves_does_no_harm(home, finished, measured):
    argv = [*SAVING, "--output-dir", "twice"]
    ended = stopped(Launched(home / "output", twice, argv, home).wait())
    assert "stopped by SIGTERM at step 8 of the search" in ended.err
    folder = home / "twice" / "checkpoints" / "search"
    assert {path.name for path in folder.iterdir()} == {"step-0", "step-5", "step-8"}
    same(home, "twice", finished)
    measured("code 75, one checkpoint of that step; equal to the bit")


def test_a_signal_before_anything_is_trained_leaves_nothing_behind(home, measured):
    codes = []
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
        argv = ["--output-dir", f"early-{number}"]
        ended = Launched(home / "output", recipe, argv, home, Fault("data", 1, number)).wait()
        assert (ended.code, ended.err) == (expected, "")
        assert not (home / f"early-{number}").exists()
        codes.append(str(expected))
    measured(f"codes {' and '.join(codes)}, no line and no folder")


def stop_at_any_time(home, name, draws):
    """Seconds from each signal to the end of the process, until the run in the folder ``name`` is done."""
    argv, waited = [*SAVING, "--output-dir", name, "--resume"], []
    while True:
        run = Launched(home / "output", undrawn, argv, home)
        while run.process.is_alive() and not working(home / name, run.process.pid):
            time.sleep(0.005)
        # The first comes at once, amid the fastest of runs.
        time.sleep(draws.uniform(0, 0.4) if waited else 0)
        begun = time.monotonic()
        for number in draws.sample(NUMBERS, draws.choice((1, 2))):
            if run.process.is_alive() and len(waited) < 20:
                os.kill(run.process.pid, number)
        ended = run.wait()
        if ended.code == 0:
            return waited
        stopped(ended)
        waited.append(time.monotonic() - begun)


def working(folder, pid):
    """Whether the process has the lock of the folder, and so catches signals."""
    return (holder(folder) or "").startswith(f"process {pid} on ")


def test_a_signal_at_any_time_ends_a_run_soon_and_a_resume_goes_on(home, finished, budget, measured):
    rounds, draws, waited = budget(1, 6), random.Random(23), []
    for number in range(rounds):
        waited += stop_at_any_time(home, f"any-{number}", draws)
        assert outcome(home / f"any-{number}") == outcome(finished)
    waited.sort()
    assert len(waited) >= rounds
    assert waited[-1] < budget(math.inf, GRACE)
    late = waited[int(0.95 * (len(waited) - 1))]
    count = len(waited)
    measured(
        f"{count} of {count} stops: code 75 after {late:.1f} s (95 %), at most {waited[-1]:.1f} s; equal to the bit"
    )
