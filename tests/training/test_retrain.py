"""Training a derived network: when averaging starts, what it averages, what is kept."""

import contextlib

import pytest
import torch
from builders import LENGTH, bits, build_session, build_space, rows, tokens
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnas import curricula
from cnas.data.streams import TextStreams
from cnas.errors import Stopped, UserError
from cnas.training import RetrainArguments, Retrainer
from cnas.training.evaluate import mean_loss, probed
from cnas.training.scoring import network_units

STEPS = 7
PROBE = TextStreams(tokens(60, seed=1), 2, LENGTH)


class Recorder(Retrainer):
    """Remembers the weights after every step, and those that every validation saw."""

    def __init__(self, *args):
        super().__init__(*args)
        self.iterates, self.validated, validate = [], [], self.validate

        def recorded(network):
            self.validated.append(weights(network))
            return validate(network)

        self.validate = recorded

    def train_step(self, index):
        result = super().train_step(index)
        self.iterates.append(weights(self.network))
        return result


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def build(folder, losses=None, cls=Retrainer, text=None, callbacks=(), **config):
    """A retrainer at its beginning; ``losses`` stand in for the validation of its epochs."""
    space = build_space(activation_penalty=0.3)
    torch.manual_seed(6)
    network = space.build_network(space.parse("0 1 1 3"))
    fields = {
        "num_train_epochs": 5,
        "global_batch_size": 4,
        "learning_rate": 3.0,
        "max_grad_norm": 1.0,
        "nonmonotone": 2,
    } | config
    canned = None if losses is None else iter(losses)
    validate = (lambda network: probed(network, PROBE)) if canned is None else (lambda _: {"valid_loss": next(canned)})
    train = TextStreams(tokens() if text is None else text, 4, LENGTH)
    return cls(network, train, RetrainArguments(**fields), build_session(folder), validate, callbacks)


def first_averaged_epoch(losses, patience, latest):
    """The rule as it is printed: compare with the best of all but the last ``patience`` losses before this one."""
    history = []
    for epoch, loss in enumerate(losses, start=1):
        worse = len(history) > patience and loss > min(history[: len(history) - patience])
        history.append(loss)
        if worse or (latest is not None and epoch + 1 >= latest):
            return epoch + 1
    return None


@settings(derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    losses=st.lists(st.integers(1, 6).map(float), min_size=6, max_size=6),
    patience=st.integers(1, 4),
    latest=st.one_of(st.none(), st.integers(2, 8)),
)
def test_averaging_starts_by_the_rule(tmp_path, losses, patience, latest):
    text = tokens(4 * (LENGTH + 1))
    trainer = build(tmp_path, losses, text=text, num_train_epochs=6, nonmonotone=patience, average_from=latest)
    before = len(rows(tmp_path))
    trainer.save = lambda: None
    trainer.run()
    expected = first_averaged_epoch(losses, patience, latest)
    # One step an epoch, so the step at which averaging began is the epoch before.
    assert trainer.averaging_since == (None if expected is None else expected - 1)
    averaged = [row["averaged"] for row in rows(tmp_path)[before:]]
    assert averaged == [expected is not None and epoch >= expected for epoch in range(1, 7)]


def test_validation_sees_the_average_and_training_goes_on_without_it(tmp_path):
    trainer = build(tmp_path, cls=Recorder, num_train_epochs=4, average_from=2)
    trainer.run()
    assert trainer.averaging_since == STEPS
    assert torch.equal(trainer.validated[0], trainer.iterates[STEPS - 1])
    for epoch in (2, 3, 4):
        # torch's ASGD begins its mean with the second step.
        mean = torch.stack(trainer.iterates[STEPS + 1 : epoch * STEPS]).mean(0)
        torch.testing.assert_close(trainer.validated[epoch - 1], mean, rtol=1e-5, atol=1e-6)
        assert not torch.equal(trainer.validated[epoch - 1], trainer.iterates[epoch * STEPS - 1])
    assert torch.equal(weights(trainer.network), trainer.iterates[-1])


def test_averaging_does_not_change_the_steps(tmp_path):
    trainers = [
        build(tmp_path / str(latest), cls=Recorder, num_train_epochs=3, nonmonotone=9, average_from=latest)
        for latest in (None, 2)
    ]
    for trainer in trainers:
        trainer.run()
    for one, other in zip(*(trainer.iterates for trainer in trainers), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_weights_are_put_back_when_validation_fails(tmp_path):
    trainer = build(tmp_path, cls=Recorder, num_train_epochs=3, average_from=2)
    original = trainer.validate

    def broken(network):
        if trainer.averaging_since:
            raise KeyboardInterrupt
        return original(network)

    trainer.validate = broken
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert torch.equal(weights(trainer.network), trainer.iterates[-1])


@pytest.mark.parametrize("best", [1, 2, 4])
def test_the_best_weights_are_kept(tmp_path, best):
    losses = [5.0, 5.0, 5.0, 5.0]
    losses[best - 1] = 4.0
    trainer = build(tmp_path, losses, cls=Recorder, num_train_epochs=4, average_from=3)
    network = trainer.train()
    assert torch.equal(weights(network), trainer.validated[best - 1])
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight


def left(trainer):
    return weights(trainer.train()).tolist(), bits(trainer), rows(trainer.context.folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return left(build(tmp_path_factory.mktemp("whole"), average_from=3))


# Epoch 3 is the first that is averaged: stops before, at, and after the switch.
@pytest.mark.parametrize("step", [STEPS + 2, 2 * STEPS, 2 * STEPS + 1, 3 * STEPS + 4, 5 * STEPS])
def test_a_stop_around_the_switch_to_averaging_is_resumed_exactly(whole, tmp_path, step):
    trainer, calls = build(tmp_path, average_from=3), []
    original = trainer.forward

    def counted(batch):
        calls.append(None)
        if len(calls) == step:
            trainer.context.stop.request("a test")
        return original(batch)

    trainer.forward = counted
    with pytest.raises(Stopped, match=f"at step {step} of the retrain"):
        trainer.train()
    again = build(tmp_path, average_from=3)
    assert again.resume()
    assert again.progress.step == step
    assert left(again) == whole


def test_training_lowers_the_validation_loss(whole):
    losses = [row["valid_loss"] for row in whole[2]]
    assert losses[-1] < losses[0] - 0.05
    assert [row["averaged"] for row in whole[2]] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nonmonotone": 0}, "nonmonotone must be at least 1 or none, got 0"),
        ({"average_from": 1}, "average_from must be at least 2 or none, got 1"),
        ({"num_train_epochs": -1}, "num_train_epochs must be at least 0, got -1"),
    ],
)
def test_a_wrong_field_is_named(fields, message):
    with pytest.raises(UserError, match=message):
        RetrainArguments(**fields)


def test_a_scaled_gradient_is_unscaled_once_however_many_optimizers_there_were(tmp_path):
    """With a gradient scaler (fp16 on an accelerator), averaging brings a second optimiser for the same weights."""
    plain, scaled = (build(tmp_path / name, num_train_epochs=4, average_from=2) for name in ("plain", "scaled"))
    scaler = torch.amp.GradScaler(torch.get_default_device().type, init_scale=2.0**12)
    accelerator = scaled.accelerator
    accelerator.scaler, accelerator.native_amp = scaler, True
    accelerator.state._mixed_precision = "fp16"
    scaled.optimizer = scaled.make_optimizer()
    for loop in (plain, scaled):
        # Only the scaling of fp16 is of interest here, not its rounding.
        loop.accelerator.autocast = contextlib.nullcontext
        loop.run()
    assert scaler.get_scale() == 2.0**12
    assert scaled.averaging_since == plain.averaging_since is not None
    torch.testing.assert_close(weights(scaled.network), weights(plain.network), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(curricula.names()) - {"disagreement"}))
def test_a_curriculum_reweights_by_the_network_s_own_losses(tmp_path, name):
    plain, other = (build(tmp_path / str(each), num_train_epochs=3, curriculum=each) for each in (None, name))
    for loop in (plain, other):
        loop.run()
    first, *later = rows(other.context.folder)
    if other.curriculum.min_candidates:
        # One that looks at no losses need not wait for them.
        assert (first["weight_min"], first["weight_max"]) == (1.0, 1.0)
        assert first["train_loss"] == rows(plain.context.folder)[0]["train_loss"]
    # The next ones too, but for competence, which ends with all units.
    assert later[0]["weight_min"] < 1 < later[0]["weight_max"]
    assert "weight_min" not in rows(plain.context.folder)[-1]


def test_the_network_scores_every_unit_once_without_dropout(tmp_path):
    loop = build(tmp_path)
    ids_U, losses_1U = network_units(loop.network, loop.batches, loop.context)
    assert sorted(ids_U.tolist()) == list(range(loop.batches.num_units))
    assert float(losses_1U.mean()) == pytest.approx(mean_loss(loop.network, loop.batches), rel=1e-6)


def test_a_reweighted_training_is_resumed_exactly(tmp_path):
    whole = build(tmp_path / "whole", curriculum="loss", num_train_epochs=3)
    whole.run()
    loop = build(tmp_path / "cut", curriculum="loss", num_train_epochs=3)
    steps, train_step = iter(range(len(loop.batches) + 2)), loop.train_step
    loop.train_step = lambda index: train_step(index) if next(steps, None) is not None else loop.stop_here()
    with pytest.raises(Stopped):
        loop.run()
    again = build(tmp_path / "cut", curriculum="loss", num_train_epochs=3)
    assert again.resume()
    again.run()
    assert bits(again) == bits(whole)
    assert rows(again.context.folder) == rows(whole.context.folder)


@pytest.mark.parametrize(
    ("name", "line"), [("disagreement", "must do with one candidate"), ("los", "did you mean loss")]
)
def test_a_curriculum_that_cannot_be_is_refused(name, line, tmp_path):
    with pytest.raises(UserError, match=line):
        build(tmp_path, curriculum=name)
