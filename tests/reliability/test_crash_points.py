"""A death at every point of a save, and kill -9 at moments nobody chose: a whole checkpoint is always left."""

import random
import time

import pytest
from dying_process import deaths
from launching import CONTEXT
from saving import (
    bug_the_old_one_goes_first,
    bug_written_in_place,
    newest,
    save,
    save_and_go_on,
    save_second,
    save_second_again,
    save_third,
)

from cnas.errors import CheckpointError

FEW = [(save_third, 2, False)]
EVERY = [
    (act, steps, torn)
    for act, steps in ((save_second, 1), (save_third, 2), (save_second_again, 2), (save_and_go_on, 2))
    for torn in (False, True)
]
"""(what is interrupted, how many checkpoints there are, whether a write may be torn)."""


def whole_after(act, steps, place, torn=False):
    """At how many points ``act`` was interrupted, each of which must leave a whole checkpoint and no broken one."""
    for step in range(1, steps + 1):
        save(place / "before", step)
    found = deaths(act, place / "before", place, torn=torn)
    assert len(found) >= 8, "the deaths did not reach the save"
    for root in found:
        loaded = newest(root)
        assert loaded.broken == (), root.name
        assert loaded.step >= steps, root.name
        save(root, 9)
        assert newest(root).step == 9
        left = {path.name.removesuffix(".old") for path in root.iterdir()}
        assert left == {"step-9", f"step-{loaded.step}"}, root.name
    return len(found)


def test_a_death_at_every_point_of_a_save_leaves_a_whole_checkpoint(tmp_path, budget, measured):
    points = 0
    for number, (act, steps, torn) in enumerate(budget(FEW, EVERY)):
        points += whole_after(act, steps, tmp_path / str(number), torn)
    measured(f"{points} of {points} points: the last or the one before is whole, and nothing else is left over")


@pytest.mark.parametrize("bug", [bug_the_old_one_goes_first, bug_written_in_place])
def test_a_save_that_is_not_staged_is_found(bug, tmp_path):
    with pytest.raises((AssertionError, CheckpointError), match=r"is left|no whole checkpoint"):
        whole_after(bug, 1, tmp_path)


def saves_without_end(root, done, keep):
    step = 0
    while True:
        step += 1
        save(root, step, keep, size=20_000)
        done.value = step


def kill_amid_saves(root, keep, wait):
    """Whether the kill came amid a save; the last one that had ended must be whole still."""
    done = CONTEXT.Value("q", 0)
    process = CONTEXT.Process(target=saves_without_end, args=(root, done, keep), daemon=True)
    process.start()
    while not done.value:
        time.sleep(0.001)
    time.sleep(wait)
    process.kill()
    process.join()
    amid = bool([*root.glob(".begun-*")])
    loaded = newest(root)
    assert loaded.broken == ()
    assert loaded.step >= done.value
    return amid


def test_kill_9_amid_saves_loses_none_that_had_ended(tmp_path, budget, measured):
    kills, draws = budget(25, 150), random.Random(9)
    amid = sum(
        kill_amid_saves(tmp_path / str(number), 1 + number % 2, draws.uniform(0, 0.05)) for number in range(kills)
    )
    assert amid > 0
    measured(f"0 of {kills} runs lost; {amid} kills were amid a save (95 % bound {min(100, 300 / amid):.0f} %)")
