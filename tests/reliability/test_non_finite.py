"""NaN or infinity anywhere on one process: the same error on all, before anything is updated with it.

Legend: K candidates, N units, U units of one update.
"""

import math
import re
from dataclasses import dataclass

import pytest
import rank_cases
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from launching import NAN, SAVING, Fault, launch_ranks, recipe
from outcome import saved
from rank_cases import Cell, launched

from cnas.curriculum import Curriculum, CurriculumConfig, normalized_weights, uncertainty
from cnas.errors import NonFiniteError
from cnas.rng import generator
from cnas.training import Session
from cnas.training.equal_ranks import digests
from cnas.training.stop import StopFlag

pytestmark = pytest.mark.distributed
STEPS = 6
"""Of an epoch."""


@dataclass(frozen=True)
class Broken:
    """Process 1 gets ``value`` in the ``call``-th result of what is named ``where``."""

    where: str
    cell: Cell
    call: int
    value: float
    says: str


TEXT = Cell("enas", "enas_rnn", "epoch", "token")
STEPWISE = Cell("enas", "enas_rnn", "step", "sequence")
GRADIENTS = Cell("darts_v1", "enas_rnn", "epoch", "sequence")
IMAGES = Cell("gdas", "nats", "step", "sample")
PLACES = [
    Broken("loss", TEXT, 8, math.nan, r"the loss became nan at step 8 \(epoch 2\) of the search; .*step 6 is kept"),
    Broken("loss", IMAGES, 3, math.inf, r"the loss became inf at step 3 \(epoch 1\) of the search; "),
    Broken("gradient", TEXT, 3, math.inf, r"the gradient became (inf|nan) at step 3 \(epoch 1\) of the search; "),
    Broken("gradient", IMAGES, 9, math.nan, r"the gradient became nan at step 9 \(epoch 2\) of the search; .*step 6"),
    Broken("sigma", TEXT, 2, math.nan, r"loss of unit \d+ is NaN or infinite.*, at step 6 of the search; "),
    Broken("sigma", STEPWISE, 4, math.inf, r"loss of unit \d+ is NaN or infinite.*, at step 3 of the search; "),
    Broken("sigma", IMAGES, 9, math.nan, r"loss of unit \d+ is NaN or infinite.*, at step 8 of the search; .*step 6"),
    Broken("alpha", GRADIENTS, 4, math.nan, r"the architecture step is NaN .*, at step 3 of the search; "),
    Broken("alpha", IMAGES, 8, math.inf, r"the architecture step is NaN .*, at step 7 of the search; .*step 6"),
    Broken("reward", TEXT, 2, math.nan, r"on validation batch \d+ is nan.*, at step 6 of the search; "),
    Broken("reward", TEXT, 9, math.nan, r"became nan.*, at step 12 of the search; .*step 6 is kept"),
]


def owners(trainer):
    """What gives the numbers of each place, before they are summed over processes."""
    return {
        "loss": (trainer, "batch_losses"),
        "gradient": (trainer.accelerator, "unscale_gradients"),
        "sigma": (trainer.scorer, "batch_losses"),
        "alpha": (trainer.bilevel, "_summed"),
        "reward": (trainer.scorer, "sweep"),
    }


def attempt(broken, accelerator, folder):
    """(the message, whether nothing was updated with it, the step of the checkpoint that is left)."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = broken.cell.trainer(Session(accelerator, folder, 1, "same", StopFlag()))
    before = break_it(trainer, broken, accelerator.process_index == 1)
    try:
        trainer.train()
    except NonFiniteError as problem:
        kept = saved(trainer.checkpoints)
        return str(problem), before == [parts(trainer)], None if kept is None else kept["step"]
    raise AssertionError(f"nothing was noticed of {broken}")


def parts(trainer):
    """Weights, their optimiser, policy and weights of the data."""
    state = trainer.state()
    return {name: dict(digests(state[name])) for name in ("model", "optimizer", "algorithm", "curriculum")}


def break_it(trainer, broken, here):
    """Arrange for it; the list gets, on every process, the state of the moment in which it happens."""
    moments, calls = [], 0

    def spoiled(values):
        nonlocal calls
        calls += 1
        if calls == broken.call:
            moments.append(parts(trainer))
            if here:
                return spoil(values, broken.value)
        return values

    if broken.where == "gradient":
        spoil_gradients(trainer, spoiled)
    elif broken.where == "alpha":
        original = trainer.bilevel._summed
        trainer.bilevel._summed = lambda gradients: original(spoiled(gradients))
    elif broken.where == "loss":
        losses = trainer.batch_losses
        trainer.batch_losses = lambda batch: spoiled(losses(batch))
    else:
        spoil_scores(trainer, broken.where, spoiled)
    return moments


def spoil_gradients(trainer, spoiled):
    """Right before they are summed over processes."""
    original = trainer.ranks.sum_gradients

    def sum_gradients(parameters):
        parameters = list(parameters)
        spoiled([parameter.grad for parameter in parameters])
        original(parameters)

    trainer.ranks.sum_gradients = sum_gradients


def spoil_scores(trainer, where, spoiled):
    """The local losses of candidates, those on training data or those on validation data."""
    supernet, validating = trainer.parts.supernet, []
    original, validation = supernet.forward_many, trainer.scorer.validation

    def watched(*args):
        validating.append(True)
        try:
            return validation(*args)
        finally:
            validating.pop()

    def forward_many(*args):
        losses, carries = original(*args)
        return (spoiled(losses) if bool(validating) == (where == "reward") else losses), carries

    trainer.scorer.validation, supernet.forward_many = watched, forward_many


def spoil(values, value):
    """One number of the first tensor, in place where it needs no gradient."""
    if isinstance(values, tuple):
        return (spoil(values[0], value), spoil(values[1], value), *values[2:])
    if isinstance(values, list):
        values[0].view(-1)[0] = value
        return values
    mask = torch.zeros(values.shape, dtype=torch.bool)
    mask.view(-1)[-1] = True
    return values.masked_fill(mask, value)


def work(out, world, places):
    accelerator = rank_cases.start(world)
    found = [attempt(broken, accelerator, out / str(number)) for number, broken in enumerate(places)]
    torch.save(found, out / f"found-{accelerator.process_index}.pt")
    accelerator.end_training()
    return 0


def test_what_is_not_finite_on_one_process_stops_all(tmp_path, home, measured):
    out = launched(tmp_path / "pair", 2, work, PLACES)
    ranks = [torch.load(out / f"found-{rank}.pt") for rank in range(2)]
    for broken, *found in zip(PLACES, *ranks, strict=True):
        for message, unchanged, kept in found:
            assert re.search(broken.says, message), (broken, message)
            assert "\n" not in message
            assert unchanged, broken
            assert kept == (STEPS if "step 6 is kept" in message else None), broken
        # Loss and gradient are told with their own place; the processes must not tell different ones.
        assert found[0] == found[1]
    argv, fault = ("--output-dir", "nan-of-one", *SAVING), Fault("step", 8, NAN, rank="1")
    ended = [rank.wait() for rank in launch_ranks(home / "nan", 2, recipe, argv, home, fault)]
    assert [each.code for each in ended] == [4, 4]
    assert re.fullmatch(r"error: the loss became nan at step 8 \(epoch 1\) .*step 5 is kept\)\n", ended[0].err)
    assert saved(home / "nan-of-one" / "checkpoints" / "search")["step"] == 5
    measured(
        f"{len(PLACES)} of {len(PLACES)} places: both processes name the step, nothing updated, checkpoint kept; exit 4"
    )


LOSSES = st.one_of(
    st.just(0.0),
    st.floats(0, 10, width=32),
    st.floats(2.0**-149, 2.0**-126, width=32, exclude_max=True),
    st.floats(2.0**100, 2.0**127, width=32),
)
"""Nothing, usual ones, subnormal and huge ones."""


def test_extreme_uncertainty_gives_weights_of_mean_one(budget, measured):
    seen = {"all zero": 0, "subnormal": 0, "huge": 0, "all": 0}
    worst = 0.0

    @settings(max_examples=budget(200, 20_000), derandomize=True, deadline=None, database=None)
    @given(st.integers(1, 5).flatmap(lambda k: st.lists(st.lists(LOSSES, min_size=k, max_size=k), min_size=1)))
    def check(units):
        nonlocal worst
        losses_KU = torch.tensor(units).t()
        v_U = normalized_weights(uncertainty(losses_KU)).double()
        assert bool(v_U.isfinite().all())
        assert bool((v_U >= 0).all())
        off = abs(float(v_U.sum()) - len(units)) / len(units)
        assert off <= 1e-6
        if not bool(losses_KU.any()):
            assert torch.equal(v_U, torch.ones_like(v_U))
        worst = max(worst, off)
        seen["all"] += 1
        seen["all zero"] += not bool(losses_KU.any())
        seen["subnormal"] += bool(((losses_KU > 0) & (losses_KU < 2.0**-126)).any())
        seen["huge"] += bool((losses_KU > 2.0**99).any())

    check()
    assert min(seen.values()) > 0, seen
    parts = ", ".join(f"{count} {name}" for name, count in seen.items() if name != "all")
    measured(f"{seen['all']} examples ({parts}): finite, at least 0, Σv = N within {worst:.0e} N")


def test_weights_do_not_drift(budget, measured):
    updates, units, candidates = budget(2_000, 100_000), 64, 3
    draws, worst = generator(1, "drift"), 0.0
    for size in (units, 8):
        curriculum = Curriculum(CurriculumConfig(k=candidates, refresh="step"), units)
        blocks = torch.arange(units).view(-1, size)
        for turn in range(updates // 2):
            scale = 10.0 ** float(8 * torch.rand((), generator=draws) - 4)
            losses_KU = scale * torch.rand(candidates, size, generator=draws)
            curriculum.update(blocks[turn % len(blocks)], losses_KU)
            if turn % 97 == 0 or turn == updates // 2 - 1:
                worst = max(worst, abs(float(curriculum.v.double().sum()) - units) / units)
                assert worst <= 1e-6
                assert float(curriculum.v.min()) >= 0
    measured(f"after {updates} updates Σv = N within {worst:.0e} N")
