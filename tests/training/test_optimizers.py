"""Optimisers: torch's own steps, by name; their state survives a kill and a bad step; what is wrong is one line."""

import math
from dataclasses import replace

import pytest
import test_retrain
import torch
from builders import algorithm_config, bits, build_session, build_trainer, leaves, rows

from cnas.errors import UserError
from cnas.training import LoopArguments, RetrainArguments, SearchArguments
from cnas.training.optimizers import CLASSES, load_optimizer, make_optimizer, optimizer_name

STEPS = 7
NAMES = sorted({*CLASSES} - {"Muon"})
"""Muon is for matrices alone, and says so."""


def weights(dtype=torch.float64):
    draws = torch.Generator().manual_seed(4)
    return [torch.nn.Parameter(torch.randn(shape, generator=draws, dtype=dtype)) for shape in ((3, 2), (4,))]


def stepped(make, steps=6):
    parameters = weights()
    optimizer = make(parameters)
    for step in range(steps):
        draws = torch.Generator().manual_seed(step)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
        optimizer.step()
    return parameters


@pytest.mark.parametrize(
    ("fields", "theirs"),
    [
        (
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
        ),
        (
            {"momentum": 0.9, "optim_args": "dampening=0.5"},
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.5),
        ),
        (
            {"optim": "adamw", "weight_decay": 0.1, "adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6},
            lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        ),
        (
            {"optim": "adamw", "optim_args": "amsgrad=true"},
            lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.0, amsgrad=True),
        ),
        (
            {"optim": torch.optim.RMSprop, "optim_args": {"alpha": 0.9, "momentum": 0.5}},
            lambda p: torch.optim.RMSprop(p, lr=0.05, alpha=0.9, momentum=0.5),
        ),
        (
            {"optim": "torch.optim.NAdam", "optim_args": "momentum_decay=0.01", "momentum": 0.9},
            lambda p: torch.optim.NAdam(p, lr=0.05, momentum_decay=0.01),
        ),
    ],
)
def test_the_steps_are_those_of_torch(fields, theirs):
    arguments = LoopArguments(learning_rate=0.05, **fields)
    for one, other in zip(stepped(lambda p: make_optimizer(p, arguments)), stepped(theirs), strict=True):
        assert torch.equal(one, other)


def test_matrices_alone_decay_where_that_is_asked_for():
    arguments = {"optim": "adamw", "learning_rate": 0.1, "adam_beta2": 0.95}
    config = LoopArguments(weight_decay=0.5, weight_decay_on="matrices", **arguments)

    def theirs(parameters):
        groups = [{"params": parameters[:1]}, {"params": parameters[1:], "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.95), weight_decay=0.5)

    ours = stepped(lambda parameters: make_optimizer(parameters, config))
    assert all(map(torch.equal, ours, stepped(theirs)))
    everything = stepped(lambda parameters: make_optimizer(parameters, LoopArguments(weight_decay=0.5, **arguments)))
    assert [*map(torch.equal, ours, everything)] == [True, False]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("sgd", "sgd"),
        (torch.optim.SGD, "sgd"),
        ("torch.optim.AdamW", "adamw"),
        ("RMSprop", "torch.optim.RMSprop"),
        (torch.optim.NAdam, "torch.optim.NAdam"),
    ],
)
def test_an_optimiser_has_one_name_however_it_was_given(given, name):
    assert optimizer_name(given) == name
    assert LoopArguments(optim=given, learning_rate=0.1).optim == name


def search(folder, **config):
    return build_trainer(build_session(folder), algorithm="darts_v1", num_train_epochs=2, **config)


def retraining(folder, **config):
    return test_retrain.build(folder, num_train_epochs=2, nonmonotone=None, **config)


def spoil(loop, steps):
    original = loop.forward

    def forward(*args):
        output = original(*args)
        bad = loop.progress.step + 1 in steps
        return replace(output, losses=output.losses * math.nan) if bad else output

    loop.forward = forward
    return loop


def left(loop):
    loop.train()
    return bits(loop), rows(loop.context.folder)


@pytest.mark.parametrize("name", NAMES)
def test_any_optimiser_is_resumed_exactly_and_a_bad_step_leaves_its_state(tmp_path, name):
    def begun(folder):
        chosen = {"optim": optimizer_name(name), "nonmonotone": None, "learning_rate": 0.01}
        return spoil(test_retrain.build(folder, num_train_epochs=2, **chosen), {1, STEPS + 2})

    loop, around = begun(tmp_path / "whole"), []
    original = loop.weight_step

    def watched(*args):
        before = dict(leaves(loop.optimizer.state_dict()["state"]))
        found = original(*args)
        around.append(before == dict(leaves(loop.optimizer.state_dict()["state"])))
        return found

    loop.weight_step = watched
    whole = left(loop)
    assert [row["bad_steps"] for row in whole[1]] == [1, 1]
    assert around[0]
    assert around[STEPS + 1]
    stopping = begun(tmp_path / "stopped")
    step = stopping.train_step

    def stop(index):
        if stopping.progress.step == STEPS + 2:
            stopping.context.stop.request("a test")
        return step(index)

    stopping.train_step = stop
    with pytest.raises(Exception, match="stopped by a test"):
        stopping.train()
    again = begun(tmp_path / "stopped")
    assert again.resume()
    assert left(again) == whole


def test_a_search_learns_with_adamw(tmp_path):
    loop = search(tmp_path, optim="adamw", learning_rate=0.01, lr_scheduler_type="linear", warmup_steps=2)
    loop.train()
    assert isinstance(loop.optimizer.optimizer, torch.optim.AdamW)
    losses = [row["train_loss"] for row in rows(tmp_path)]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("fields", [{"optim": "adamw"}, {"optim_args": "dampening=0.5", "momentum": 0.9}])
def test_darts_of_second_order_asks_for_sgd(tmp_path, fields):
    message = "^trainer.optim must be sgd, without optim_args, with darts_v2, got optim"
    with pytest.raises(UserError, match=message):
        build_trainer(build_session(tmp_path), algorithm="darts_v2", **fields, learning_rate=0.1)
    assert not algorithm_config("darts_v1").needs_sgd


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optim": "adamww"}, "^optim must be sgd, adamw or a class of torch.optim, got 'adamww': did you mean adamw"),
        ({"optim": "adamw_torch"}, "got 'adamw_torch': did you mean adamw"),
        ({"optim": "torch.optim.RMSProp"}, "did you mean torch.optim.RMSprop"),
        ({"optim": "torch.optim.LBFGS"}, "got 'torch.optim.LBFGS': "),
        ({"optim": "os.system"}, "got 'os.system': "),
        ({"optim": dict}, "got 'builtins.dict': "),
        ({"optim": 3}, "^optim must be a text, got 3"),
        ({"optim": "adamw", "optim_args": "amsgrd=true"}, "amsgrd is no argument of optim adamw: did you mean amsgrad"),
        ({"optim": "adamw", "optim_args": "betas=(0.5, 0.9)"}, "must not hold betas: use adam_beta1 and adam_beta2"),
        ({"optim_args": "lr=3"}, "^optim_args must not hold lr: use learning_rate"),
        ({"optim_args": "dampening"}, "^optim_args must be name=value pairs with commas between, got 'dampening'"),
        ({"optim_args": "a=1) + f(b=2"}, "^optim_args must be name=value pairs"),
        ({"optim_args": "dampening=open('x')"}, "^optim_args must be name=value pairs"),
        ({"optim": "torch.optim.Muon"}, "^optim torch.optim.Muon cannot be made"),
        ({"optim": "adamw", "adam_beta1": 1.0}, "^adam_beta1 must be at least 0 and below 1, got 1.0"),
        ({"adam_epsilon": -1.0}, "^adam_epsilon must be at least 0 and finite, got -1.0"),
    ],
)
def test_what_is_wrong_is_one_line(fields, message):
    with pytest.raises(UserError, match=message) as caught:
        LoopArguments(**{"learning_rate": 0.1} | fields)
    assert "\n" not in str(caught.value)


def test_the_default_rate_of_sgd_is_none_for_others():
    with pytest.raises(UserError, match=r"^learning_rate must be given with optim adamw: 20 is for SGD"):
        SearchArguments(optim="adamw")


def test_averaging_is_for_sgd():
    found = RetrainArguments(optim="adamw", learning_rate=0.1)
    assert (found.nonmonotone, found.average_from) == (None, None)
    assert "nonmonotone" in found.given
    for field in ("nonmonotone", "average_from"):
        with pytest.raises(UserError, match=f"^{field} must be none with optim adamw: "):
            RetrainArguments(optim="adamw", learning_rate=0.1, **{field: 5})


def test_the_state_of_an_optimiser_on_another_device_is_taken_over():
    """One that counted its steps on the device, as `capturable` says, goes on in host memory."""
    weight, saved = torch.nn.Parameter(torch.ones(2)), {}
    for name in ("there", "here"):
        optimizer = make_optimizer([weight], RetrainArguments(optim="adamw", learning_rate=0.1))
        if saved:
            load_optimizer(optimizer, saved)
        weight.grad = torch.ones(2)
        optimizer.step()
        saved = optimizer.state_dict()
        saved["param_groups"][0]["capturable"] = name == "there"
    assert optimizer.state[weight]["step"] == 2
    assert optimizer.param_groups[0]["capturable"] is False
