"""A recorded step waits for the device once at most, in `to_host`: anything else that would wait raises here, and so
does a tensor in host memory where one on the device is meant, whose copy would not go through pinned memory.

There is no device, so tensors that would be there are marked: weights, placed batches, results of recorded steps, and
whatever is made of them.
"""

import sys
from dataclasses import replace

import pytest
import torch
from builders import build_session, build_space, build_trainer, fits
from recording import recording
from torch.overrides import TorchFunctionMode

from cnas import algorithms
from cnas.algorithms import base
from cnas.curricula import Uncertainty
from cnas.curricula import base as curriculum_base
from cnas.training import batch, bilevel, step_graphs

WAITS = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "cpu", "numpy", "nonzero", "unique"}
CLIPPING = {"_get_total_norm", "_clip_grads_with_norm_"}
ALLOWED = batch.to_host.__name__
COPIES = {"to_device", step_graphs._Graph.load.__name__, "replay", "table"}
"""The first two copy through pinned memory; all that a replay reads is on the device, and the index of a table is kept
there, for each device."""


class WaitError(AssertionError):
    """Something would wait for the device."""


def mark(found):
    if isinstance(found, torch.Tensor):
        found.on_device = True
    elif isinstance(found, dict):
        mark([*found.values()])
    elif isinstance(found, list | tuple):
        for each in found:
            mark(each)
    return found


def marked(found):
    if isinstance(found, list | tuple):
        return any(marked(each) for each in found)
    return isinstance(found, torch.Tensor) and hasattr(found, "on_device")


def tensors(found):
    """All of them that hold more than a number: one alone is an argument of a kernel, and not copied."""
    if isinstance(found, list | tuple):
        return [tensor for each in found for tensor in tensors(each)]
    return [found] if isinstance(found, torch.Tensor) and found.dim() else []


def to_device(tensor, device):
    return tensor if marked(tensor) else mark(tensor.to(device).clone())


class Watch(TorchFunctionMode):
    """Marks what is made of marked tensors, and raises where one of them would be waited for."""

    waits = 0

    def __init__(self, strict=True):
        super().__init__()
        self.strict = strict

    def __torch_function__(self, function, types, given=(), named=None):
        name = getattr(function, "__name__", "")
        home = name == "to" and len(given) > 1 and isinstance(given[1], torch.device)
        # Torch's clipping brings what it has to the device of the gradients, where it is already.
        home = home and not CLIPPING & _callers()
        if marked(given) and (name in WAITS or home):
            if self.strict and ALLOWED not in _callers():
                raise WaitError(f"{name} of a tensor on the device")
            self.waits += 1
            found = function(*given, **(named or {}))
            return found.clone()  # a copy, and no more on the device
        places = {marked(tensor) for tensor in tensors([*given, *(named or {}).values()])}
        if self.strict and len(places) > 1 and not COPIES & _callers():
            raise WaitError(f"{name} of a tensor on the device and one in host memory")
        found = function(*given, **(named or {}))
        return mark(found) if marked(given) or marked([*(named or {}).values()]) else found


def _callers():
    frame, names = sys._getframe(1), set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return names


@pytest.fixture
def watched(tmp_path, monkeypatch):
    def loop(space, algorithm, curriculum=None):
        graphs = recording()
        own = graphs._run
        monkeypatch.setattr(graphs, "_run", lambda *given: mark(own(*given)))
        context = replace(build_session(tmp_path), graphs=graphs)
        found = build_trainer(context, curriculum, space=build_space(space), algorithm=algorithm)
        for module in (batch, base, curriculum_base):
            monkeypatch.setattr(module, "to_device", to_device)
        monkeypatch.setattr(bilevel, "in_host_memory", lambda tensor: not marked(tensor))
        mark([*found.model.parameters(), *found.model.buffers()])
        if found.curriculum:
            mark(found.curriculum.v)
        with Watch(strict=False):
            step(found, 2)
        return found

    return loop


def step(loop, count):
    for _ in range(count):
        loop.train_step(loop.progress.batch)
        loop.progress = replace(loop.progress, batch=loop.progress.batch + 1, step=loop.progress.step + 1)
        mark(loop.hidden_state)


@pytest.mark.parametrize(
    ("space", "algorithm"),
    [(space, name) for space in ("darts_rnn", "enas_rnn") for name in algorithms.names() if fits(name, space)],
)
def test_a_step_waits_once_at_most(watched, space, algorithm):
    loop = watched(space, algorithm)
    with Watch() as watch:
        step(loop, 1)
    # The gradient of an architecture is fetched, that of a hard sample in two parts, of which the first one waits.
    fetched = 0 if loop.algorithm.arch_order is None else 2 if algorithm == "gdas" else 1
    assert watch.waits <= fetched


@pytest.mark.parametrize(("refresh", "fetched"), [("epoch", 0), ("step", 2)])
def test_weights_of_a_curriculum_are_no_reason_to_wait(watched, refresh, fetched):
    loop = watched("enas_rnn", "rsps", Uncertainty(num_candidates=2, unit="token", refresh=refresh))
    with Watch() as watch:
        step(loop, 1)
    # Losses and the numbers of their units, together: v is made of them in host memory.
    assert watch.waits == fetched


@pytest.mark.parametrize(
    "wait",
    [float, bool, torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.nonzero, lambda it: it.to(step_graphs.HOST)],
)
def test_the_watch_sees_what_waits(wait):
    tensor = mark(torch.ones(()))
    with pytest.raises(WaitError), Watch():
        wait(tensor + 1)


@pytest.mark.parametrize("mix", [torch.add, torch.Tensor.copy_, torch.Tensor.to, lambda it, ids: it[ids.long()]])
def test_the_watch_sees_what_is_in_host_memory(mix):
    there, here = mark(torch.ones(3)), torch.zeros(3)
    with pytest.raises(WaitError), Watch():
        mix(there, here)
