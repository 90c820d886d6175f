"""Steps whose numbers are none, or far too large: what they leave alone, and how far training goes back."""

import copy
import math
import re
from dataclasses import replace

import pytest
import test_retrain
import torch
from builders import WORDS, build_session, build_space, build_trainer, leaves, rows
from rounding import EXACT

from cnas.curricula import Uncertainty
from cnas.errors import NonFiniteError
from cnas.training import checkpoint
from cnas.training.bad_steps import TRIES, Trouble, worst_loss
from cnas.training.loop import AccelerateLoop
from cnas.training.metrics_log import MetricsLog
from cnas.training.optimizers import set_learning_rate
from cnas.training.saving import PhaseCheckpoints

STEPS = 7
"""Of an epoch; verdicts are asked for at its end, and at steps 16 and 32."""
BOUND = math.log(WORDS) + 5
OWN = ("trouble", "position", "seconds")


class KilledError(Exception):
    """Stands in for a SIGKILL."""


def search(folder, **config):
    sizes = {"num_train_epochs": 3, "momentum": 0.9} | config
    return build_trainer(build_session(folder), Uncertainty(num_candidates=2, unit="token"), **sizes)


def retraining(folder, **config):
    return test_retrain.build(folder, **{"num_train_epochs": 3, "average_from": 2} | config)


KINDS = {"search": search, "retrain": retraining}


def loss_is(value):
    """Another loss with the same gradient."""
    return lambda output: replace(output, losses=output.losses - output.losses.detach() + value)


def gradient_is(value):
    """The same losses; the regularisers' gradient is no number."""
    return lambda output: replace(output, penalty=output.penalty + output.losses.mean() * value)


SPOILS = {
    "loss nan": loss_is(math.nan),
    "loss inf": loss_is(math.inf),
    "loss above": loss_is(BOUND + 0.01),
    "gradient inf": gradient_is(math.inf),
    "gradient nan": gradient_is(math.nan),
}
WITHIN = {"loss below": loss_is(BOUND - 0.01)}


def spoil(loop, steps, how="loss nan"):
    """Let the steps of these numbers, from 1, be bad ones."""
    original = loop.forward

    def forward(*args):
        output = original(*args)
        if loop.progress.step + 1 in steps:
            output = (SPOILS | WITHIN)[how](output)
            output = output if how in WITHIN else replace(output, hidden_state=output.hidden_state * math.nan)
        return output

    loop.forward = forward
    return loop


def parts(state, without=OWN):
    return dict(leaves({name: value for name, value in state.items() if name not in without}))


def left(loop):
    loop.train()
    return dict(leaves(loop.state())), rows(loop.context.folder)


def finished(kind, folder, steps, how="loss nan", **config):
    loop = spoil(KINDS[kind](folder, **config), steps, how)
    return loop, left(loop)


# One bad step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, STEPS + 2])
def test_a_bad_step_updates_nothing_and_hands_on_nothing(tmp_path, kind, how, step):
    loop, around = spoil(KINDS[kind](tmp_path), {step}, how), []
    original = loop.weight_step

    def watched(*args):
        if loop.progress.step + 1 == step:
            around.append(parts(loop.state(), (*OWN, "carry")))
        stop = original(*args)
        if loop.progress.step + 1 == step:
            around.append(parts(loop.state(), (*OWN, "carry")))
            assert not loop.hidden_state.any()
        elif loop.progress.step + 1 == step + 1:
            assert loop.hidden_state.isfinite().all()
        return stop

    loop.weight_step = watched
    _, found = left(loop)
    assert around[0] == around[1]
    epoch = (step - 1) // STEPS
    assert [row["bad_steps"] for row in found] == [int(each == epoch) for each in range(3)]
    assert [row["recoveries"] for row in found] == [0, 0, 0]
    assert loop.progress.step == 3 * STEPS


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_loss_is_the_mean_of_the_good_steps(tmp_path, kind):
    loop, seen = spoil(KINDS[kind](tmp_path, num_train_epochs=1), {2, 5}, "loss above"), {}
    original = loop.forward

    def recorded(*args):
        found = original(*args)
        seen[loop.progress.step + 1] = float(found.losses.detach().mean())
        return found

    loop.forward = recorded
    _, (row,) = left(loop)
    good = [loss for step, loss in seen.items() if step not in {2, 5}]
    assert row["train_loss"] == pytest.approx(sum(good) / 5, rel=EXACT)
    assert row["bad_steps"] == 2


def test_a_loss_within_the_bound_is_a_good_one(tmp_path):
    assert worst_loss(WORDS) == BOUND
    loop, (_, found) = finished("retrain", tmp_path, {2, 3, 4, 5, 6, 7}, "loss below", num_train_epochs=1)
    assert found[0]["bad_steps"] == 0
    assert loop.progress.step == STEPS


# Going back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_after_five_in_a_row_the_epoch_is_done_again_at_half_the_rate(tmp_path, kind):
    bad = range(STEPS + 2, STEPS + 7)
    loop = spoil(KINDS[kind](tmp_path), bad)
    kept, states, write, rates = {}, {}, checkpoint.save, []

    def save(root, step, state, **options):
        kept[step], states[step] = dict(leaves(state)), copy.deepcopy(state)
        return write(root, step, state, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        patch.setattr(
            "cnas.training.weight_step.set_learning_rate",
            lambda optimizer, rate: (rates.append(rate), set_learning_rate(optimizer, rate)),
        )
        state, found = left(loop)
    start, again = kept[STEPS], kept[2 * STEPS]
    same = {name: value for name, value in start.items() if not name.startswith(("/trouble", "/position/step"))}
    assert {name: again[name] for name in same} == same
    assert again["/position/step"] == 2 * STEPS
    assert again["/trouble/factor"] == 0.5
    usual = loop.config.learning_rate
    assert rates == [usual] * 2 * STEPS + [usual / 2] * 2 * STEPS
    assert [row["epoch"] for row in found] == [1, 2, 3]
    assert [row["step"] for row in found] == [STEPS, 3 * STEPS, 4 * STEPS]
    assert [row["bad_steps"] for row in found] == [0, 5, 0]
    assert [row["recoveries"] for row in found] == [0, 1, 0]
    assert loop.guard.trouble.counts == {"bad_steps": 5, "recoveries": 1, "left_out": 0}

    # The same as a run at half the rate that begins with the state of the epoch's start.
    other = KINDS[kind](tmp_path / "other", learning_rate=usual / 2)
    other.load_state(states[2 * STEPS] | {"rows": 0, "trouble": {"starts": (2 * STEPS,)}})
    assert learned(left(other)[0]) == learned(state)


def learned(flat):
    """All that is learned, without the optimiser, which knows its rate."""
    return {name: value for name, value in flat.items() if name.startswith(("/model", "/curriculum", "/best"))}


def test_four_in_a_row_are_survived_without_going_back(tmp_path):
    loop, (_, found) = finished("retrain", tmp_path, range(2, 6))
    assert [row["bad_steps"] for row in found] == [4, 0, 0]
    assert loop.guard.trouble.recoveries == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_without_a_good_step_owes_it_to_the_one_before(tmp_path, kind):
    loop, (_, found) = finished(kind, tmp_path, range(STEPS + 1, 2 * STEPS + 1))
    assert [row["step"] for row in found] == [3 * STEPS, 4 * STEPS, 5 * STEPS]
    assert [row["bad_steps"] for row in found] == [7, 0, 0]
    assert [row["recoveries"] for row in found] == [1, 0, 0]
    assert loop.guard.trouble.factor == 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_helps_the_run_ends_with_one_line(tmp_path, kind):
    loop = spoil(KINDS[kind](tmp_path), range(STEPS + 2, 10**6))
    with pytest.raises(NonFiniteError) as caught:
        loop.train()
    message = str(caught.value)
    said = (
        rf"\d+ bad steps in a row up to step \d+ of the {kind}; going back {TRIES} times, each with half the learning "
    )
    said += r"rate, did not help; lower learning_rate or max_grad_norm \(the checkpoint of step \d+ is kept\)"
    assert re.fullmatch(said, message)
    assert loop.guard.trouble.factor == 0.5**TRIES


def test_tries_begin_anew_once_a_later_epoch_is_reached():
    trouble = Trouble(starts=(0, 7), good=1)
    for step in (14, 21):
        trouble = trouble.gone_back(1, step, (0, 0, 0))
    assert (trouble.tries, trouble.factor, trouble.starts) == (2, 0.25, (21,))
    trouble = replace(trouble, starts=(0, 7)).gone_back(1, 28, (0, 0, 0))
    assert (trouble.tries, trouble.starts) == (3, (28,))
    assert trouble.epoch_done(0, 35).tries == 3
    assert trouble.epoch_done(1, 35).tries == 0


# Killed meanwhile -------------------------------------------------------------------------------------------------

MOMENTS = {
    "before it saves": (PhaseCheckpoints, "write", 0),
    "before the files": (checkpoint, "write_folder", 0),
    "before the purge": (checkpoint, "_purge", 0),
    "after it has saved": (PhaseCheckpoints, "write", 1),
    "before rows go": (MetricsLog, "truncate", 0),
    "after rows have gone": (MetricsLog, "truncate", 1),
}


def kill_in_recovery(patch, moment):
    """Die at a moment of the first going back; what else calls the function is left alone."""
    owner, name, after = MOMENTS[moment]
    original, back, inside = getattr(owner, name), AccelerateLoop._go_back, []

    def go_back(loop, problem):
        inside.append(True)
        back(loop, problem)
        inside.pop()

    def dying(*args, **kwargs):
        if inside and not after:
            raise KilledError
        result = original(*args, **kwargs)
        if inside:
            raise KilledError
        return result

    patch.setattr(AccelerateLoop, "_go_back", go_back)
    patch.setattr(owner, name, dying)


@pytest.mark.parametrize(("kind", "every"), [("search", 3), ("retrain", None)])
def test_killed_amid_the_recovery_and_resumed_is_the_uninterrupted_run(tmp_path, kind, every):
    for name, bad in (("epoch", range(STEPS + 2, STEPS + 7)), ("both", range(STEPS + 1, 2 * STEPS + 1))):
        _, whole = finished(kind, tmp_path / name, bad, save_steps=every)
        for moment in MOMENTS:
            folder = tmp_path / f"{name} {moment}"
            loop = spoil(KINDS[kind](folder, save_steps=every), bad)
            with pytest.MonkeyPatch.context() as patch:
                kill_in_recovery(patch, moment)
                with pytest.raises(KilledError):
                    loop.train()
            again = spoil(KINDS[kind](folder, save_steps=every), bad)
            assert again.resume()
            assert left(again) == whole, (name, moment)


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_at_any_step_around_the_recovery_is_the_uninterrupted_run(tmp_path, kind):
    bad = range(STEPS + 2, 2 * STEPS)
    _, whole = finished(kind, tmp_path / "whole", bad)
    for step in range(STEPS, 2 * STEPS + 3):
        folder = tmp_path / str(step)
        loop = spoil(KINDS[kind](folder), bad)
        original = loop.train_step

        def stopping(index, loop=loop, step=step, original=original):
            if loop.progress.step + 1 == step:
                loop.context.stop.request("a test")
            return original(index)

        loop.train_step = stopping
        with pytest.raises(Exception, match="stopped by a test"):
            loop.train()
        again = spoil(KINDS[kind](folder), bad)
        assert again.resume()
        assert left(again) == whole, step


# What else may be no number ---------------------------------------------------------------------------------------


def test_an_architecture_step_that_is_not_finite_is_left_out(tmp_path):
    trainer = build_trainer(build_session(tmp_path), algorithm="darts_v1", num_train_epochs=2)
    original, around, calls = trainer.bilevel._summed, [], []

    def summed(gradients):
        calls.append(None)
        found = original(gradients)
        return [found[0] * math.nan, *found[1:]] if len(calls) == 3 else found

    arch_step = trainer._arch_step

    def watched(index, parts):
        before = dict(leaves(trainer.algorithm.state_dict()))
        arch_step(index, parts)
        around.append(before == dict(leaves(trainer.algorithm.state_dict())))
        assert trainer.bilevel.hidden_state is None or len(calls) != 3

    trainer.bilevel._summed, trainer._arch_step = summed, watched
    trainer.train()
    assert [place for place, unchanged in enumerate(around, 1) if unchanged] == [3]
    assert [row["left_out"] for row in rows(tmp_path)] == [1, 0]
    assert [row["bad_steps"] for row in rows(tmp_path)] == [0, 0]


def test_architecture_steps_that_stay_so_end_the_search(tmp_path):
    trainer = build_trainer(build_session(tmp_path), algorithm="darts_v1", num_train_epochs=2)
    trainer.bilevel._summed = lambda gradients: [gradient * math.nan for gradient in gradients]
    with pytest.raises(NonFiniteError, match=f"going back {TRIES} times"):
        trainer.train()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_reward_or_a_probe_that_is_not_finite_is_counted_and_the_search_goes_on(tmp_path, value):
    trainer = search(tmp_path, num_train_epochs=2)
    original, calls = trainer.scorer.validation, []

    def validation(*args):
        calls.append(None)
        losses = original(*args)
        # The second update of the controller, and the probe of the first epoch.
        return losses * 0 + value if len(calls) in {2, 4} else losses

    trainer.scorer.validation = validation
    trainer.train()
    first, second = rows(tmp_path)
    assert first["valid_loss"] is None
    assert first["left_out"] >= 2
    assert math.isfinite(second["valid_loss"])
    assert second["left_out"] == 0
    assert all(math.isfinite(row["reward"]) for row in (first, second))


def test_a_judge_that_is_not_finite_does_not_judge(tmp_path):
    trainer, other = search(tmp_path / "one", num_train_epochs=2), search(tmp_path / "other", num_train_epochs=2)
    units = trainer.scorer.units

    def one_broken(*args):
        ids_U, losses_KU = units(*args)
        losses_KU[0, 3] = math.nan
        return ids_U, losses_KU

    trainer.scorer.units = one_broken
    units_of_other = other.scorer.units
    other.scorer.units = lambda judges, *rest: units_of_other(judges[1:], *rest)
    trainer.train()
    other.train()
    torch.testing.assert_close(trainer.curriculum.v, other.curriculum.v, rtol=1e-6, atol=1e-7)
    assert [row["left_out"] for row in rows(tmp_path / "one")] == [1, 0]


def test_a_validation_that_is_not_finite_is_never_the_best_and_is_done_again(tmp_path):
    trainer = test_retrain.build(tmp_path, [3.0, math.nan, 2.0, 4.0], num_train_epochs=3, average_from=None)
    trainer.train()
    found = rows(tmp_path)
    assert [row["valid_loss"] for row in found] == [3.0, 2.0, 4.0]
    assert [row["recoveries"] for row in found] == [0, 1, 0]
    assert trainer.history == [3.0, 2.0, 4.0]


def test_a_cell_that_explodes_is_survived(tmp_path):
    """All nodes are the identity, and the weights make the state grow manifold with every word."""
    space = build_space(nodes=8, hidden_size=8)
    torch.manual_seed(6)
    trainer = test_retrain.build(tmp_path, num_train_epochs=2, learning_rate=0.05)
    trainer.network = trainer.model = space.build_network(space.parse("0 3 1 3 2 3 3 3 4 3 5 3 6 3 7 3"))
    for matrix in trainer.network.cell.matrices:
        matrix.data[:, 8:] += 3 * torch.eye(8)
    trainer.optimizer = trainer.make_optimizer()
    with pytest.raises(NonFiniteError, match="bad steps in a row"):
        trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.network.parameters())
