"""A sum over processes inside the graph: the gradients are those that one process takes of the whole batch.

Legend: B rows of the global batch, b rows of this process, D features.
"""

from __future__ import annotations

import os

import pytest
import torch
from accelerate import Accelerator
from launching import launch_ranks
from rounding import NORMED

from cnas.data.base import process_rows
from cnas.training.distributed import ProcessGroup

pytestmark = pytest.mark.distributed
FEATURES = 3
ROWS = (1, 2, 3, 4, 5, 7, 8)
"""Of two processes, the first one has no row of one, and with an odd number one row less."""


def moments(x_bD, total, all_reduce_sum):
    mean_D = all_reduce_sum(x_bD.sum(0)) / total
    return mean_D, all_reduce_sum((x_bD - mean_D).square().sum(0)) / total


def normalised(x_bD, total, all_reduce_sum):
    mean_D, variance_D = moments(x_bD, total, all_reduce_sum)
    return (x_bD - mean_D) / (variance_D + 1e-5).sqrt()


# Each law is one process's share of a loss; the loss is the sum over processes.


def batch_normalisation(x_bD, w_D, total, all_reduce_sum):
    return (normalised(x_bD * w_D, total, all_reduce_sum) * w_D).tanh().square().sum() / total


def one_after_another(x_bD, w_D, total, all_reduce_sum):
    """Statistics of what statistics went into, as at the steps of a recurrent cell."""
    for _ in range(4):
        x_bD = normalised((x_bD + w_D).sin(), total, all_reduce_sum)
    return (x_bD * w_D).exp().sum() / total


def side_by_side(x_bD, w_D, total, all_reduce_sum):
    """Sums of equal shapes that do not depend on one another: none may be taken for the other on the way back."""
    sums = [all_reduce_sum((x_bD * w_D + shift).tanh().sum(0)) for shift in (0.0, 0.3, 1.0)]
    return (x_bD * (sums[0].sin() + 3.0 * sums[1] * w_D + sums[2].square())).sum() / total


def of_the_sum_alone(x_bD, w_D, total, all_reduce_sum):
    """A loss of the total, of which each process has the share of its rows."""
    return (all_reduce_sum((x_bD.square() * w_D).sum(0)) ** 2).sum() * len(x_bD) / total


def of_every_shape(x_bD, w_D, total, all_reduce_sum):
    """A number, a transposed matrix, and a gradient that is spread and not laid out."""
    scalar, gram_DD = all_reduce_sum((x_bD * w_D).sum()), all_reduce_sum((x_bD.t() @ (x_bD * w_D)).t())
    return scalar.cos() * x_bD.sum() / total + (x_bD @ gram_DD).sum() / total + gram_DD.sum() * len(x_bD) / total


LAWS = (batch_normalisation, one_after_another, side_by_side, of_the_sum_alone, of_every_shape)
CASES = [(law, rows, seed) for law in LAWS for rows in ROWS for seed in range(3)]


def case_id(law, rows, seed):
    return f"{law.__name__}-{rows}-{seed}"


def gradients(law, rows, seed, part, all_reduce_sum):
    """(this process's share of the loss, its gradient for its own rows, its part of that for the weights)."""
    draws = torch.Generator().manual_seed(seed)
    x_BD, w_D = (torch.randn(*size, FEATURES, generator=draws, dtype=torch.float64) for size in ((rows,), ()))
    x_bD = x_BD[part].requires_grad_()
    w_D.requires_grad_()
    loss = law(x_bD, w_D, rows, all_reduce_sum)
    loss.backward()
    return loss.detach(), x_bD.grad, w_D


def alone(values):
    return values


def compute_and_save(out, world):
    """Every case on every process of ``world``; the main one keeps loss and gradients of the global batch."""
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    ranks = ProcessGroup(accelerator)
    assert ranks.world == world == int(os.environ["WORLD_SIZE"])
    found = {}
    for way, all_reduce_sum in (("summed", ranks.all_reduce_sum), ("unsummed", alone)):
        for law, rows, seed in CASES:
            loss, x_grad, w_D = gradients(law, rows, seed, ranks.rows(rows), all_reduce_sum)
            ranks.sum_gradients([w_D])
            found[way, case_id(law, rows, seed)] = ranks.sum(loss), ranks.gather_rows(x_grad, rows), w_D.grad
    if accelerator.is_main_process:
        torch.save(found, out / "gradients.pt")
    accelerator.end_training()
    return 0


@pytest.fixture(scope="module", params=[2, 3])
def found(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("ranks")
    for ended in [rank.wait() for rank in launch_ranks(out, request.param, compute_and_save, out, request.param)]:
        assert ended.code == 0, ended.err
    return torch.load(out / "gradients.pt")


def expected(law, rows, seed):
    loss, x_grad, w_D = gradients(law, rows, seed, slice(0, rows), alone)
    return loss, x_grad, w_D.grad


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_gradient_of_a_sum_over_processes_is_that_of_one_process(found, law):
    for rows in ROWS:
        for seed in range(3):
            for name, mine, whole in zip(
                ("loss", "rows", "weights"),
                found["summed", case_id(law, rows, seed)],
                expected(law, rows, seed),
                strict=True,
            ):
                scale = max(1.0, float(whole.abs().max()))
                assert float((mine - whole).abs().max()) <= NORMED * scale, (name, rows, seed)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_without_the_sum_the_gradients_are_others(found, law):
    # Of two rows, batch normalisation makes ±1 anyway, with hardly a gradient.
    for rows in ROWS[2:]:
        mine, whole = found["unsummed", case_id(law, rows, 0)], expected(law, rows, 0)
        assert all(float((a - b).abs().max()) > 1e-4 for a, b in zip(mine[1:], whole[1:], strict=True)), rows


def test_the_expected_gradients_are_right_themselves():
    for law in LAWS:
        draws = torch.Generator().manual_seed(9)
        x_BD, w_D = (torch.randn(*size, dtype=torch.float64, generator=draws) for size in ((5, FEATURES), (FEATURES,)))
        inputs = (x_BD.requires_grad_(), w_D.requires_grad_())
        assert torch.autograd.gradcheck(lambda x, w, law=law: law(x, w, 5, alone), inputs)


def test_one_process_has_nothing_to_sum():
    assert ProcessGroup(Accelerator()).all_reduce_sum is None
    assert process_rows(1, 0, 2) == slice(0, 0)
