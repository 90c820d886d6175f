"""NaN or infinity anywhere on one process: all leave it out alike, count it, and go back where that does not help.

Legend: K candidates, N units, U units of one update.
"""

import json
import math
from dataclasses import dataclass, replace

import pytest
import rank_cases
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from launching import NAN, SAVING, Fault, launch_ranks, recipe
from rank_cases import Cell, launched

from cnas.curricula import Progress, Uncertainty, normalized_weights, uncertainty
from cnas.random import generator
from cnas.training import RunContext
from cnas.training.distributed import digests
from cnas.types import Output

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


TEXT = Cell("enas", "enas_rnn", "epoch", "token")
STEPWISE = Cell("enas", "enas_rnn", "step", "sequence")
GRADIENTS = Cell("darts_v1", "enas_rnn", "epoch", "sequence")
IMAGES = Cell("gdas", "nats", "step", "sample")
PATHS = Cell("sandwich", "gpt", "epoch", "sequence")
PLACES = [
    Broken("loss", TEXT, 8, math.nan),
    Broken("loss", IMAGES, 3, math.inf),
    Broken("loss", PATHS, 9, math.nan),
    Broken("gradient", TEXT, 3, math.inf),
    Broken("gradient", IMAGES, 9, math.nan),
    Broken("sigma", TEXT, 2, math.nan),
    Broken("sigma", STEPWISE, 4, math.inf),
    Broken("sigma", IMAGES, 9, math.nan),
    Broken("alpha", GRADIENTS, 4, math.nan),
    Broken("alpha", IMAGES, 8, math.inf),
    Broken("reward", TEXT, 2, math.nan),
    Broken("reward", TEXT, 9, math.nan),
]
LEFT = {"loss": ("weight_step", ("model", "optimizer")), "gradient": ("weight_step", ("model", "optimizer"))}
LEFT |= {"alpha": ("_arch_step", ("algorithm",))}
"""By place, the part of a step after which these parts of the state are what they were."""


def attempt(broken, accelerator, folder):
    """(what was counted, whether nothing was updated with it, the whole state afterwards)."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = broken.cell.trainer(RunContext(accelerator, folder, 1, "same"))
    happened, around = break_it(trainer, broken, accelerator.process_index == 1), []
    name, kept = LEFT.get(broken.where, ("weight_step", ()))
    original = getattr(trainer, name)

    def watched(*args):
        before, already = parts(trainer), bool(happened)
        result = original(*args)
        if happened and not already:
            around.extend([before, parts(trainer)])
        return result

    setattr(trainer, name, watched)
    trainer.train()
    unchanged = all(around[0][part] == around[1][part] for part in kept)
    assert all(value.isfinite().all() for value in trainer.state()["model"].values())
    return trainer.guard.trouble.counts, unchanged, dict(digests(trainer.state()))


class KilledError(Exception):
    """Both processes die."""


def recovery(accelerator, folder, death):
    """The state that a search ends with in which steps 8 to 12 are bad on process 1; it may die as it goes back."""
    folder.mkdir(parents=True, exist_ok=True)

    def bad(trainer):
        original = trainer.forward

        def forward(batch, routing):
            output = original(batch, routing)
            spoils = 8 <= trainer.progress.step + 1 <= 12 and accelerator.process_index == 1
            return spoil(output, math.nan) if spoils else output

        trainer.forward = forward
        return trainer

    def build():
        return bad(TEXT.trainer(RunContext(accelerator, folder, 1, "same")))

    trainer = build()
    write = trainer.checkpoints.write

    def dying(state):
        going_back = state["trouble"]["recoveries"] > 0
        if not (going_back and death == "before"):
            write(state)
        if going_back:
            raise KilledError

    if death:
        trainer.checkpoints.write = dying
        with pytest.raises(KilledError):
            trainer.train()
        trainer = build()
        assert trainer.resume()
    trainer.train()
    place, trouble = trainer.progress, trainer.guard.trouble
    assert (place.step, trouble.counts["bad_steps"], trouble.recoveries, trouble.factor) == (3 * STEPS, 5, 1, 0.5)
    return dict(digests(trainer.state()))


def parts(trainer):
    """Weights, their optimiser, policy and weights of the data."""
    state = trainer.state()
    return {name: dict(digests(state[name])) for name in ("model", "optimizer", "algorithm", "curriculum")}


def break_it(trainer, broken, here):
    """Arrange for it; the list gets an item, on every process, when it has happened."""
    moments, calls = [], 0

    def spoiled(values):
        nonlocal calls
        calls += 1
        if calls == broken.call:
            moments.append(True)
            if here:
                return spoil(values, broken.value)
        return values

    if broken.where == "gradient":
        spoil_gradients(trainer, spoiled)
    elif broken.where == "alpha":
        original = trainer.bilevel._summed
        trainer.bilevel._summed = lambda gradients: original(spoiled(gradients))
    elif broken.where == "loss":
        forward = trainer.forward
        trainer.forward = lambda batch, routing: spoiled(forward(batch, routing))
    else:
        spoil_scores(trainer, broken.where, spoiled)
    return moments


def spoil_gradients(trainer, spoiled):
    """Right before they are summed over processes."""
    original = trainer.processes.sum_gradients

    def sum_gradients(parameters):
        parameters = list(parameters)
        spoiled([parameter.grad for parameter in parameters])
        original(parameters)

    trainer.processes.sum_gradients = sum_gradients


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
        losses, hidden_states = original(*args)
        return (spoiled(losses) if bool(validating) == (where == "reward") else losses), hidden_states

    trainer.scorer.validation, supernet.forward_many = watched, forward_many


def spoil(values, value):
    """One number of the first tensor, in place where it needs no gradient."""
    if isinstance(values, Output):
        return replace(values, losses=spoil(values.losses, value))
    if isinstance(values, list):
        values[0].view(-1)[0] = value
        return values
    mask = torch.zeros(values.shape, dtype=torch.bool)
    mask.view(-1)[-1] = True
    return values.masked_fill(mask, value)


def work(out, world, places):
    accelerator = rank_cases.start(world)
    found = [attempt(broken, accelerator, out / str(number)) for number, broken in enumerate(places)]
    ends = [recovery(accelerator, out / f"dies-{death}", death) for death in ("", "before", "after")]
    torch.save((found, ends), out / f"found-{accelerator.process_index}.pt")
    accelerator.end_training()
    return 0


def test_what_is_not_finite_on_one_process_is_left_out_by_all(tmp_path, home, measured):
    out = launched(tmp_path / "pair", 2, work, PLACES)
    (one, ends), (other, others) = (torch.load(out / f"found-{rank}.pt") for rank in range(2))
    for broken, mine, theirs in zip(PLACES, one, other, strict=True):
        counts, unchanged, _ = mine
        assert mine == theirs, broken
        assert unchanged, broken
        assert counts["recoveries"] == 0
        assert counts["bad_steps"] == (broken.where in {"loss", "gradient"}), broken
        assert (counts["left_out"] > 0) == (broken.where in {"sigma", "alpha", "reward"}), broken
    assert ends == others
    assert ends == [ends[0]] * 3
    argv, fault = ("--output-dir", "nan-of-one", *SAVING), Fault("step", 8, NAN, rank="1")
    ended = [rank.wait() for rank in launch_ranks(home / "nan", 2, recipe, argv, home, fault)]
    assert [(each.code, each.err) for each in ended] == [(0, ""), (0, "")]
    figures = json.loads((home / "nan-of-one" / "result.json").read_text("utf-8"))["search"]
    assert (figures["bad_steps"], figures["recoveries"]) == (9, 1)
    measured(
        f"{len(PLACES)} of {len(PLACES)} places: both processes leave it out and count it; weights of one process that "
        "become NaN: gone back from; 2 of 2 deaths as it goes back: equal to the bit"
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
        curriculum = Uncertainty(num_candidates=candidates, refresh="step").setup(units)
        blocks = torch.arange(units).view(-1, size)
        for turn in range(updates // 2):
            scale = 10.0 ** float(8 * torch.rand((), generator=draws) - 4)
            losses_KU = scale * torch.rand(candidates, size, generator=draws)
            curriculum.update(blocks[turn % len(blocks)], losses_KU, Progress(0, 1, turn))
            if turn % 97 == 0 or turn == updates // 2 - 1:
                worst = max(worst, abs(float(curriculum.v.double().sum()) - units) / units)
                assert worst <= 1e-6
                assert float(curriculum.v.min()) >= 0
    measured(f"after {updates} updates Σv = N within {worst:.0e} N")
