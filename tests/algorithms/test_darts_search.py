"""DARTS in a true search: α moves, a resume is exact, and each option does what it says and nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from builders import algorithm_config, bits, build_session, build_space, build_trainer, rows

from cnas.curricula import Uncertainty
from cnas.training import SearchLoop

JUDGED = Uncertainty(num_candidates=2, refresh="step", unit="token")


def build(folder, name="darts_v2", curriculum=None, epochs=1, **fields):
    """A search of 7 steps an epoch; ``fields`` are those of `DARTS.Config`."""
    space = build_space()
    trainer = build_trainer(build_session(folder), curriculum, space=space, num_train_epochs=epochs)
    algorithm = algorithm_config(name, **fields).build(space, seed=3)
    return SearchLoop(replace(trainer.parts, algorithm=algorithm), trainer.config, trainer.context)


def searched(folder, *args, **fields):
    """(architecture, everything bit for bit, rows) of a search to its end."""
    trainer = build(folder, *args, **fields)
    return left(trainer)


def left(trainer):
    return trainer.train().architecture, bits(trainer), rows(trainer.context.folder)


def same(one, other):
    """Whether two searches ran alike; a row without a curriculum has no weights to tell of."""
    without = ({n: v for n, v in each[1].items() if not n.startswith("/callbacks")} for each in (one, other))
    return one[0] == other[0] and next(without) == next(without)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("name", ["darts_v1", "darts_v2"])
def test_alpha_moves_in_every_step_and_a_weight_step_leaves_it_alone(tmp_path, name, order):
    trainer = build(tmp_path, name, order=order)
    logits, seen = trainer.algorithm.alphas.logits, []
    weight_step = trainer.weight_step

    def watched(*args):
        seen.append(logits.detach().clone())
        stop = weight_step(*args)
        seen.append(logits.detach().clone())
        return stop

    trainer.weight_step = watched
    moments = [logits.detach().clone()]
    trainer.train_step(0)
    moments += [*seen, logits.detach().clone()]
    moved = [not torch.equal(one, other) for one, other in itertools.pairwise(moments)]
    assert moved == [order == "before", False, order == "after"]
    moves = (logits.detach() - build(tmp_path, name).algorithm.alphas.logits.detach()).abs()
    # The first step of Adam is as long as the learning rate, whatever the gradient.
    assert torch.allclose(moves, torch.full_like(moves, 0.02), rtol=1e-2)
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in trainer.model.parameters())


def test_weighted_inner_acts_on_the_unrolled_step_of_a_curriculum_alone(tmp_path):
    def results(name, curriculum):
        return [
            searched(tmp_path / f"{name}-{curriculum is None}-{weighted}", name, curriculum, weighted_inner=weighted)
            for weighted in (False, True)
        ]

    assert same(*results("darts_v2", None))
    assert same(*results("darts_v1", JUDGED))
    assert not same(*results("darts_v2", JUDGED))


def test_the_published_ratio_acts_on_the_unrolled_step_where_nothing_is_clipped(tmp_path):
    plain = searched(tmp_path / "plain")
    assert not same(searched(tmp_path / "quirk", unclamped_ratio=True), plain)
    first = searched(tmp_path / "v1", "darts_v1")
    assert same(searched(tmp_path / "v1-quirk", "darts_v1", unclamped_ratio=True), first)
    assert not same(first, plain)


def test_rows_tell_of_alpha(tmp_path):
    _, _, found = searched(tmp_path, epochs=2)
    space = build_space()
    for row in found:
        total = sum(map(sum, row["alphas"]))
        assert total == pytest.approx(len(space.mixtures()), abs=1e-3)
        assert (len(row["alphas"]), len(row["alphas"][0])) == space.shape
        assert sum(row["operation_counts"].values()) == space.nodes
    assert found[1]["alpha_entropy"] < found[0]["alpha_entropy"]
