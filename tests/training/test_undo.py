"""A step that is undone leaves every bit as it was; one that is not is torch's own."""

import copy
import math

import pytest
import torch

from cnas.training.bad_steps import Undo

OPTIMIZERS = {
    "plain": lambda weights: torch.optim.SGD(weights, lr=0.3, weight_decay=0.1),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.3, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda weights: torch.optim.SGD(weights, lr=0.3, momentum=0.9, nesterov=True),
    "averaged": lambda weights: torch.optim.ASGD(weights, lr=0.3, lambd=0.0, t0=0.0),
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.3),
}
GOOD, BAD = torch.tensor(True), torch.tensor(False)


def weights():
    draws = torch.Generator().manual_seed(4)
    return [torch.nn.Parameter(torch.randn(shape, generator=draws)) for shape in ((3, 2), (4,), ())]


def give_gradients(parameters, step):
    draws = torch.Generator().manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=draws)


def bits(parameters, optimizer):
    # One zero has another sign than the other: bytes tell them apart.
    flat = [*parameters, *(v for state in optimizer.state_dict()["state"].values() for v in state.values())]
    return [value.detach().numpy().tobytes() if isinstance(value, torch.Tensor) else value for value in flat]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("steps_before", [0, 1, 3])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_bad_step_leaves_every_bit_and_the_next_good_one_is_the_usual_one(make, steps_before, value):
    mine, plain = weights(), weights()
    with torch.no_grad():
        mine[0][0, 0] = plain[0][0, 0] = -0.0
    undo, optimizer, reference = Undo(), make(mine), make(plain)
    for step in range(steps_before):
        give_gradients(mine, step)
        undo.step(optimizer, mine, GOOD)
        give_gradients(plain, step)
        reference.step()
    assert bits(mine, optimizer) == bits(plain, reference)
    for parameter in mine:
        parameter.grad = torch.full_like(parameter, value)
    undo.step(optimizer, mine, BAD)
    assert bits(mine, optimizer) == bits(plain, reference)
    for parameters in (mine, plain):
        give_gradients(parameters, 9)
    undo.step(optimizer, mine, GOOD)
    reference.step()
    assert bits(mine, optimizer) == bits(plain, reference)


def test_parameters_that_a_later_step_uses_first():
    mine = weights()
    optimizer, undo = OPTIMIZERS["momentum"](mine), Undo()
    give_gradients(mine, 1)
    undo.step(optimizer, mine, GOOD)
    late = torch.nn.Parameter(torch.ones(2))
    optimizer.add_param_group({"params": [late]})
    late.grad = torch.full((2,), math.nan)
    before = copy.deepcopy(optimizer.state_dict())
    undo.step(optimizer, [mine[0], late], BAD)
    assert late.tolist() == [1, 1]
    assert late not in optimizer.state
    assert optimizer.state_dict()["state"].keys() == before["state"].keys()


def test_statistics_of_a_forward_are_put_back():
    norm, undo = torch.nn.BatchNorm1d(2), Undo()
    for good, count in ((BAD, 0), (GOOD, 1), (BAD, 1)):
        before = [value.clone() for value in norm.buffers()]
        kept = undo.keep([*norm.buffers()])
        norm(torch.tensor([[1.0, math.nan], [2.0, 3.0]]) if good is BAD else torch.tensor([[1.0, 5.0], [2.0, 3.0]]))
        undo.restore(kept, good)
        assert int(norm.num_batches_tracked) == count
        assert all(map(torch.equal, before, norm.buffers())) == (good is BAD)
