"""Training on chunks of drawn lengths: what the trainers see, the rate of a step, resume amid an epoch."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from builders import LENGTH, ROWS, bits, build_session, build_space, build_trainer, rows, tokens
from launching import SAVING, Fault, launch
from outcome import outcome

from cnas.data import TextStreams, VariableStreams, scattered_lengths
from cnas.errors import Stopped
from cnas.training import RetrainArguments, Retrainer, SearchLoop
from cnas.training.evaluate import probed

EPOCHS = 3
PROBE = TextStreams(tokens(60, seed=1), 2, LENGTH)


def streams(lengths=scattered_lengths):
    return VariableStreams(tokens(400), ROWS, LENGTH, 1, lengths)


STEPS = [len(streams().at_epoch(epoch)) for epoch in range(EPOCHS)]


def searcher(folder, lengths=scattered_lengths, **config):
    """A search at its beginning, without a curriculum."""
    trainer = build_trainer(build_session(folder), num_train_epochs=EPOCHS, **config)
    return SearchLoop(replace(trainer.parts, train=streams(lengths)), trainer.config, trainer.context)


def retrainer(folder, lengths=scattered_lengths, dtype=torch.float32, **config):
    """A training that averages from its second epoch on."""
    space = build_space(activation_penalty=0.3)
    torch.manual_seed(6)
    network = space.build_network(space.parse("0 1 1 3")).to(dtype)
    fields = {
        "num_train_epochs": EPOCHS,
        "global_batch_size": ROWS,
        "learning_rate": 3.0,
        "max_grad_norm": 1.0,
        "average_from": 2,
    } | config
    context, validate = build_session(folder), lambda network: probed(network, PROBE)
    return Retrainer(network, streams(lengths), RetrainArguments(**fields), context, validate)


loops = pytest.mark.parametrize("build", [searcher, retrainer])


@loops
def test_each_epoch_shows_every_token_once_and_carries_the_state(tmp_path, build):
    loop, seen = build(tmp_path), []
    original = loop.forward

    def recorded(batch, *routing):
        seen.append((loop.progress.epoch, batch))
        return original(batch, *routing)

    loop.forward = recorded
    loop.run()
    stream = len(tokens(400)) // ROWS
    for epoch in range(EPOCHS):
        batches = [batch for place, batch in seen if place == epoch]
        assert [batch.hidden_state is None for batch in batches] == [True] + [False] * (STEPS[epoch] - 1)
        inputs, labels = (torch.cat([getattr(b, name) for b in batches], dim=1) for name in ("inputs", "labels"))
        assert labels.shape[1] in {stream - 2, stream - 1}
        assert torch.equal(inputs, tokens(400).view(ROWS, stream)[:, : labels.shape[1]])
        assert torch.equal(labels, tokens(400).view(ROWS, stream)[:, 1 : labels.shape[1] + 1])
    assert loop.progress.step == sum(STEPS)
    # The steps of the epochs before, however many those were.
    assert [row["step"] for row in rows(tmp_path)] == [sum(STEPS[: epoch + 1]) for epoch in range(EPOCHS)]


def halves(length, draws):
    """Every other chunk, more or less, is half as long."""
    return length if float(torch.rand((), generator=draws)) < 0.5 else length // 2


@loops
def test_a_step_moves_the_weights_by_the_rate_that_goes_with_its_length(tmp_path, build):
    """Plain SGD and, in the training from the second epoch on, averaged SGD: p - lr (T/L) (g + decay p)."""
    loop = build(tmp_path, halves, dtype=torch.float64, weight_decay=0.01)
    original, scales, rate = loop.train_step, {}, loop.config.learning_rate

    def checked(index):
        before = [parameter.detach().clone() for parameter in loop.model.parameters()]
        result = original(index)
        scale = loop.batches.batch(index, slice(0, 1)).labels.shape[1] / LENGTH
        if index == len(loop.batches) - 1:
            scale = loop.batches.learning_rate_scale(index)
        for old, parameter in zip(before, loop.model.parameters(), strict=True):
            gradient = parameter.grad
            expected = old if gradient is None else old - rate * scale * (gradient + 0.01 * old)
            # The averaged SGD of torch keeps its rate in float32.
            torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=1e-8)
        scales.setdefault(type(loop.optimizer.optimizer).__name__, set()).add(scale)
        return result

    loop.train_step = checked
    loop.run()
    assert set(scales) == ({"SGD"} if build is searcher else {"SGD", "ASGD"})
    assert all(found == {1.0, (LENGTH // 2) / LENGTH} for found in scales.values())


def test_the_architecture_step_is_told_the_same_rate(tmp_path):
    trainer = searcher(tmp_path, lambda length, draws: length // 2, learning_rate=5.0)
    told = []
    trainer.algorithm.arch_order = "before"
    trainer.algorithm.arch_step = lambda context: told.append(context.learning_rate)
    trainer.train_step(0)
    assert told == [5.0 * (LENGTH // 2) / LENGTH]


def left(loop):
    loop.run()
    return bits(loop), rows(loop.context.folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the runs that nobody interrupted left."""
    folder = tmp_path_factory.mktemp("whole")
    return {build: left(build(folder / build.__name__)) for build in (searcher, retrainer)}


# Amid the first epoch, at its end, at the start and amid the second, and at the very end.
@pytest.mark.parametrize("step", [2, STEPS[0], STEPS[0] + 1, STEPS[0] + STEPS[1] // 2, sum(STEPS)])
@loops
def test_a_stop_at_any_step_is_resumed_exactly(whole, tmp_path, build, step):
    loop = build(tmp_path)
    original = loop.train_step

    def train_step(index):
        if loop.progress.step + 1 == step:
            loop.context.stop.request("a test")
        return original(index)

    loop.train_step = train_step
    with pytest.raises(Stopped, match=f"at step {step} of"):
        loop.run()
    again = build(tmp_path)
    assert again.resume()
    assert again.progress.step == step
    assert left(again) == whole[build]


FLAGS = ("--text.variable-length", "--no-curriculum")


def test_a_whole_run_counts_its_steps_and_one_that_was_killed_ends_the_same(home):
    ended = launch(home, *FLAGS, *SAVING, "--output-dir", "variable").wait()
    assert (ended.code, ended.err) == (0, "")
    result = json.loads((home / "variable" / "result.json").read_text("utf-8"))
    metrics = [json.loads(line) for line in (home / "variable" / "metrics.jsonl").read_text("utf-8").splitlines()]
    for phase in ("search", "retrain"):
        steps = [row["step"] for row in metrics if row["phase"] == phase]
        assert result[phase]["steps"] == steps[-1]
        assert f"{phase}: 3 epochs of about {steps[0]} steps, " in ended.out
    # Lengths of 10 and 5 in the search, of 5 to 30 in the training; streams of 120 and 167 tokens.
    assert 3 * 12 <= result["search"]["steps"] <= 3 * 24
    argv = (*FLAGS, *SAVING, "--output-dir", "variable-killed")
    assert launch(home, *argv, fault=Fault("step", result["search"]["steps"] + 8)).wait().code < 0
    assert launch(home, *argv, "--resume").wait().code == 0
    assert outcome(home / "variable-killed") == outcome(home / "variable")
