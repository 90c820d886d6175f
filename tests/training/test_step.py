"""One way through a step: a batch is fetched once, its parts are the batch, and nothing is left lying about.

Legend: B rows of the global batch.
"""

import itertools

import pytest
import test_retrain
import torch
from builders import LENGTH, ROWS, build_session, build_trainer, tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.curricula import Uncertainty
from cnas.data.streams import TextStreams
from cnas.random import DropoutSeeds
from cnas.training.batch import cut, place
from cnas.types import Batch

STEPWISE = Uncertainty(num_candidates=2, refresh="step")


def search(folder, algorithm="darts_v2", **config):
    return build_trainer(build_session(folder), STEPWISE, algorithm=algorithm, **config)


LOOPS = {"search": search, "retrain": test_retrain.build}


@pytest.mark.parametrize("most", [None, 2])
@pytest.mark.parametrize("kind", LOOPS)
def test_a_batch_is_fetched_once_for_scoring_architecture_and_weights(tmp_path, monkeypatch, kind, most):
    loop, original, seen = LOOPS[kind](tmp_path, micro_batch_size=most), TextStreams.batch, []

    def counted(streams, index, rows):
        if streams is loop.batches:
            seen.append((index, rows))
        return original(streams, index, rows)

    monkeypatch.setattr(TextStreams, "batch", counted)
    for index in range(3):
        loop.train_step(index)
    assert seen == [(index, slice(0, ROWS)) for index in range(3)]


@pytest.mark.parametrize("kind", LOOPS)
def test_a_step_leaves_nothing_but_its_hidden_state(tmp_path, kind):
    loop = LOOPS[kind](tmp_path)
    loop.train_step(0)
    owners = [loop, *([loop.bilevel, loop.scorer] if kind == "search" else [])]
    before = [dict(vars(owner)) for owner in owners]
    loop.train_step(1)
    for owner, then in zip(owners, before, strict=True):
        now = vars(owner)
        assert now.keys() == then.keys()
        assert {name for name in now if now[name] is not then[name]} <= {"hidden_state"}


def test_a_placed_batch_is_not_moved_again():
    batch = TextStreams(tokens(), ROWS, LENGTH).batch(0, slice(0, ROWS))
    placed = place(batch, torch.get_default_device())
    again = place(placed, torch.get_default_device(), hidden_state=torch.ones(ROWS, 2))
    assert again.inputs is placed.inputs
    assert again.labels is placed.labels
    assert again.unit_ids is placed.unit_ids
    assert again.hidden_state is not None


@settings(derandomize=True, deadline=None, max_examples=50)
@given(rows=st.integers(0, 7), first=st.integers(0, 5), more=st.integers(0, 5), count=st.integers(1, 9))
def test_the_parts_of_a_batch_are_the_batch(rows, first, more, count):
    inputs, total = torch.arange(2 * rows).view(rows, 2), first + rows + more
    seeds = DropoutSeeds(1, "a test", 0, slice(first, first + rows), max(total, 1))
    batch = Batch(inputs, inputs + 1, inputs + 2, hidden_state=inputs.double(), dropout_seeds=seeds)
    parts = cut(batch, count, lambda unit_ids: unit_ids * 0.5)
    assert len(parts) == min(count, max(rows, 1))
    for name in ("inputs", "labels", "unit_ids", "hidden_state"):
        assert torch.equal(torch.cat([getattr(part.batch, name) for part in parts]), getattr(batch, name))
    places = [range(part.batch.dropout_seeds.total)[part.batch.dropout_seeds.rows] for part in parts]
    assert [*itertools.chain(*places)] == [*range(first, first + rows)]
    assert [part.share for part in parts] == [len(place) / max(total, 1) for place in places]
    assert all(torch.equal(part.v, part.batch.unit_ids * 0.5) for part in parts)


@pytest.mark.parametrize("most", [None, 2])
def test_the_losses_of_several_routings_are_averaged(tmp_path, most):
    def gradients(name, *pick):
        loop = search(tmp_path / name, "rsps", max_grad_norm=None, micro_batch_size=most)
        draws = torch.Generator().manual_seed(1)
        drawn = [loop.algorithm.route(draws) for _ in range(2)]
        loop.algorithm.routes = lambda _: [drawn[index] for index in pick]
        loop.train_step(0)
        grads = {name: 0.0 if each.grad is None else each.grad for name, each in loop.model.named_parameters()}
        return grads, loop.hidden_state

    one, state = gradients("one", 0)
    other, _ = gradients("other", 1)
    both, state_of_both = gradients("both", 0, 1)
    for name, found in both.items():
        torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor((one[name] + other[name]) / 2))
    assert torch.equal(state_of_both, state)
