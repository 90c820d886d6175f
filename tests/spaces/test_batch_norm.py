"""The normalisation of the DARTS supernet, alone and over processes. Legend: R rows, H hidden units."""

import threading

import pytest
import torch
from builders import build_space
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import NORMED, within
from torch.nn import functional as F

from cnas.spaces.darts_rnn.norm import EPSILON, BatchNorm
from cnas.types import Batch, Routing

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)
TOLERANCE = within(NORMED)


class Sum(torch.autograd.Function):
    """Each loss depends on the sum of all parts, so that a gradient is a sum as well."""

    @staticmethod
    def forward(ctx, values, total):
        ctx.total = total
        return total(values)

    @staticmethod
    def backward(ctx, grad):
        return ctx.total(grad), None


class Meeting:
    """The sum over threads that stand for processes; each sees what all have brought."""

    def __init__(self, count):
        self.parts = [None] * count
        self.barrier = threading.Barrier(count, timeout=300)

    def all_reduce_sum(self, rank):
        def total(values):
            self.parts[rank] = values.detach().clone()
            self.barrier.wait()
            found = sum(self.parts)
            self.barrier.wait()
            return found

        return lambda values: Sum.apply(values, total)


def everywhere(count, work):
    """What ``work(rank, all_reduce_sum)`` returns in each of ``count`` threads."""
    meeting, found = Meeting(count), [None] * count

    def run(rank):
        try:
            found[rank] = work(rank, meeting.all_reduce_sum(rank))
        except BaseException:
            meeting.barrier.abort()
            raise

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in found
    return found


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@SETTINGS
@given(st.integers(0, 99), st.integers(2, 9), st.integers(1, 4))
def test_it_is_torchs_own_in_training(seed, rows, hidden):
    values, grad = draw(seed, rows, hidden).requires_grad_(), draw(seed + 1, rows, hidden)
    expected = F.batch_norm(values, None, None, training=True, eps=EPSILON)
    expected_grad = torch.autograd.grad(expected, values, grad)[0]
    mine = values.detach().clone()
    norm = BatchNorm(mine, None)
    scale = norm.apply_(mine)
    torch.testing.assert_close(mine, expected.detach(), **TOLERANCE)
    torch.testing.assert_close(norm.backward(grad, mine, scale), expected_grad, **TOLERANCE)


@SETTINGS
@given(st.integers(0, 99), st.lists(st.integers(0, 4), min_size=2, max_size=3).filter(lambda parts: sum(parts) > 1))
def test_shared_rows_are_normalised_like_one_batch(seed, parts):
    values, grad = draw(seed, sum(parts), 3), draw(seed + 1, sum(parts), 3)
    whole = values.clone()
    norm = BatchNorm(whole, None)
    expected = norm.backward(grad, whole, norm.apply_(whole))

    def work(rank, all_reduce_sum):
        mine = values.split(parts)[rank].clone()
        norm = BatchNorm(mine, all_reduce_sum)
        scale = norm.apply_(mine)
        return mine, norm.backward(grad.split(parts)[rank], mine, scale)

    found = everywhere(len(parts), work)
    torch.testing.assert_close(torch.cat([one for one, _ in found]), whole, **TOLERANCE)
    torch.testing.assert_close(torch.cat([one for _, one in found]), expected, **TOLERANCE)


def test_candidates_are_normalised_apart():
    values = draw(0, 3, 5, 2)
    candidates = values.clone()
    BatchNorm(candidates[0], None).apply_(candidates)
    for one, candidate in zip(values, candidates, strict=True):
        expected = F.batch_norm(one, None, None, training=True, eps=EPSILON)
        torch.testing.assert_close(candidate, expected, **TOLERANCE)


def test_what_is_equal_in_all_rows_becomes_zero():
    values = torch.full((4, 2), 3.0)
    scale = BatchNorm(values, None).apply_(values)
    assert torch.equal(values, torch.zeros(4, 2))
    assert torch.equal(scale, torch.full((1, 2), EPSILON).rsqrt())


@pytest.mark.parametrize("parts", [[3, 2], [5, 0], [1, 3, 1]])
@pytest.mark.parametrize("soft", [True, False])
def test_a_supernet_on_shared_rows_is_one_on_all(parts, soft):
    space = build_space("darts_rnn", nodes=3, **{f"dropout_{name}": 0.0 for name in ("words", "embedding", "input")})
    torch.manual_seed(0)
    supernet = space.build_supernet().double()
    tokens = torch.randint(30, (5, 4), generator=torch.Generator().manual_seed(1))
    scores, draws = draw(2, 1, *space.shape), torch.Generator().manual_seed(3)
    hidden_state, v = draw(4, 5, space.hidden_size), draw(5, 5, 4)
    every = tuple(pair for group in space.mixtures() for pair in group)
    path = space.routing(space.sample(draws))

    def run(rows, all_reduce_sum):
        leaf = scores.clone().requires_grad_()
        routing = Routing(leaf.softmax(-1), (every,)) if soft else path
        batch = Batch(tokens[rows], tokens[rows], tokens[rows], hidden_state[rows], None, all_reduce_sum)
        output = supernet.eval()(batch, routing)
        wanted = [*supernet.parameters(), *([leaf] if soft else [])]
        gradients = torch.autograd.grad((output.losses * v[rows]).sum(), wanted)
        many, _ = supernet.forward_many(batch, [path, path], [hidden_state[rows], None])
        return output.losses.detach(), many, gradients

    whole = run(slice(0, 5), None)
    edges = [0, *torch.tensor(parts).cumsum(0).tolist()]
    found = everywhere(len(parts), lambda rank, total: run(slice(edges[rank], edges[rank + 1]), total))
    torch.testing.assert_close(torch.cat([losses for losses, _, _ in found]), whole[0], **TOLERANCE)
    torch.testing.assert_close(torch.cat([many for _, many, _ in found], dim=1), whole[1], **TOLERANCE)
    for one, *others in zip(whole[2], *(gradients for _, _, gradients in found), strict=True):
        torch.testing.assert_close(sum(others), one, rtol=1e-10, atol=1e-10)
