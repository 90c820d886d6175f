"""The curriculum search: resumed, cut into parts, told wrong fields."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from builders import ROWS, bits, build_session, build_space, build_trainer, rows
from rounding import TRAINED, within

from cnas.curricula import Uncertainty, normalized_weights, uncertainty
from cnas.errors import Stopped, UserError
from cnas.random import generator
from cnas.training import SearchArguments, SearchLoop
from cnas.training.batch import Part
from cnas.training.context import StopSignal
from cnas.training.scoring import unit_means

CURRICULA = [Uncertainty(num_candidates=2), Uncertainty(num_candidates=2, refresh="step", unit="token")]
EPOCHS, STEPS = 3, 7


class KilledError(Exception):
    """Stands in for a SIGKILL."""


def build(folder, curriculum=None, **config):
    return build_trainer(build_session(folder), curriculum, **{"num_train_epochs": EPOCHS, **config})


def named(curriculum):
    return f"{curriculum.refresh}-{curriculum.unit}"


@pytest.fixture(scope="module", params=CURRICULA, ids=named)
def curriculum(request):
    return request.param


@pytest.fixture(scope="module")
def whole(curriculum, tmp_path_factory):
    """(curriculum, what the search that nobody interrupted left)."""
    trainer = build(tmp_path_factory.mktemp("whole"), curriculum)
    return curriculum, left(trainer, trainer.train())


def left(trainer, result):
    figures = replace(result, seconds=0.0)
    return figures, bits(trainer), rows(trainer.context.folder)


def after_call(number, function, action):
    """``function``, but ``action`` is called right before its call ``number`` (from 1)."""
    calls = [0]

    def counted(*args, **kwargs):
        calls[0] += 1
        if calls[0] == number:
            action()
        return function(*args, **kwargs)

    return counted


def finish(folder, curriculum):
    """What a new process makes of a run folder."""
    trainer = build(folder, curriculum)
    assert trainer.resume()
    return left(trainer, trainer.train())


@pytest.mark.parametrize("step", [5, STEPS, 3 * STEPS])
def test_a_search_stopped_at_any_step_goes_on_exactly(whole, tmp_path, step):
    curriculum, expected = whole
    trainer = build(tmp_path, curriculum)
    request = lambda: trainer.context.stop.request("a test")  # noqa: E731
    trainer.forward = after_call(step, trainer.forward, request)
    with pytest.raises(Stopped, match=f"stopped by a test at step {step} of the search; go on with --resume"):
        trainer.train()
    assert trainer.progress.step == step
    saved = build(tmp_path, curriculum)
    assert saved.restore()
    assert saved.progress.step == step
    assert finish(tmp_path, curriculum) == expected


@pytest.mark.parametrize(("update", "limit"), [(2, False), (5, False), (2, True)])
def test_a_stop_while_the_controller_learns_is_done_again(whole, tmp_path, update, limit):
    curriculum, expected = whole
    trainer = build(tmp_path, curriculum)
    stop = StopSignal("9h")
    trainer.context = replace(trainer.context, stop=stop)
    request = (lambda: setattr(stop, "deadline", 0)) if limit else (lambda: stop.request("a test"))
    trainer.scorer.validation = after_call(update, trainer.scorer.validation, request)
    with pytest.raises(Stopped, match=f"stopped by {'--stop-after 9h' if limit else 'a test'} at step"):
        trainer.train()
    # Three updates and one probe an epoch.
    assert trainer.progress.step == STEPS * math.ceil(update / 4)
    assert finish(tmp_path, curriculum) == expected


def test_a_stop_in_the_derivation_is_heard_between_groups_and_done_again(whole, tmp_path, monkeypatch):
    curriculum, expected = whole
    monkeypatch.setattr("cnas.algorithms._candidates.GROUP", 1)
    trainer = build(tmp_path, curriculum)
    trainer.run()
    request = lambda: trainer.context.stop.request("a test")  # noqa: E731
    trainer.scorer.validation = after_call(2, trainer.scorer.validation, request)
    with pytest.raises(Stopped, match=f"stopped by a test at step {EPOCHS * STEPS} of the search"):
        trainer.train()
    monkeypatch.undo()
    assert finish(tmp_path, curriculum) == expected


def test_a_stop_is_heard_while_architectures_are_scored_afterwards(tmp_path):
    trainer = build(tmp_path)
    trainer.train()
    space = trainer.parts.space
    found = list(dict.fromkeys(space.sample(generator(1, "scored", index)) for index in range(40)))
    losses = trainer.validation_losses(found)
    assert losses == pytest.approx(trainer.scorer.validation(found, trainer.parts.valid).tolist(), rel=1e-6)
    request = lambda: trainer.context.stop.request("a test")  # noqa: E731
    trainer.scorer.validation = after_call(1, trainer.scorer.validation, request)
    with pytest.raises(Stopped):
        trainer.validation_losses(found)


@pytest.mark.parametrize("batch", [1, STEPS + 2])
def test_a_stop_while_the_data_is_judged_is_done_again(tmp_path, batch):
    curriculum = CURRICULA[0]
    trainer = build(tmp_path / "whole", curriculum)
    expected = left(trainer, trainer.train())
    trainer = build(tmp_path / "run", curriculum)
    original, calls = trainer.scorer.units, []

    def units(judges, batches, between):
        def counted():
            calls.append(None)
            if len(calls) == batch:
                trainer.context.stop.request("a test")
            between()

        return original(judges, batches, counted)

    trainer.scorer.units = units
    with pytest.raises(Stopped):
        trainer.train()
    assert trainer.progress.step == STEPS * math.ceil(batch / STEPS)
    assert finish(tmp_path / "run", curriculum) == expected


def test_a_search_that_is_stopped_in_what_follows_an_epoch_goes_on_exactly(whole, tmp_path):
    """As in a ranking; ``superloss`` and its like would otherwise move twice."""
    curriculum, expected = whole
    trainer = build(tmp_path, curriculum)
    moved = []

    def stop(loop, epochs, last):
        moved.append(loop.curriculum.statistics())
        if epochs == 2:
            raise Stopped("stopped by a test")

    trainer._after_epoch = stop
    with pytest.raises(Stopped):
        trainer.train()
    assert trainer.curriculum.statistics() == moved[-1]
    assert finish(tmp_path, curriculum) == expected


@pytest.mark.parametrize(("every", "step"), [(None, STEPS + 1), (3, STEPS + 5)])
def test_a_killed_search_goes_on_from_its_checkpoint_exactly(whole, tmp_path, every, step):
    curriculum, expected = whole
    trainer = build(tmp_path, curriculum, save_steps=every)

    def kill():
        raise KilledError

    trainer.forward = after_call(step, trainer.forward, kill)
    with pytest.raises(KilledError):
        trainer.train()
    # A row that no checkpoint counts is what a kill right after an epoch leaves.
    trainer.log.append({"phase": "search", "epoch": 99})
    assert finish(tmp_path, curriculum) == expected


def test_a_finished_search_is_resumed_to_the_same_result(whole, tmp_path):
    curriculum, expected = whole
    build(tmp_path, curriculum).train()
    assert finish(tmp_path, curriculum) == expected


def test_another_number_of_threads_is_told(tmp_path, capsys):
    build_trainer(build_session(tmp_path), num_train_epochs=1).train()
    assert build_trainer(build_session(tmp_path), num_train_epochs=1).resume()
    assert "threads" not in capsys.readouterr().out
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert build_trainer(build_session(tmp_path), num_train_epochs=1).resume()
    finally:
        torch.set_num_threads(before)
    assert f"saved with {before} threads, now {before + 1}" in capsys.readouterr().out


def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path):
    assert build(tmp_path).resume() is False


def test_another_seed_is_another_run(tmp_path):
    one, other = (build_trainer(build_session(tmp_path / str(seed), seed=seed), num_train_epochs=1) for seed in (1, 2))
    one.train()
    other.train()
    assert not torch.equal(one.parts.supernet.input_matrix, other.parts.supernet.input_matrix)


# The weight step ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "most"), [(4, 1), (5, 3)])
@pytest.mark.parametrize("curriculum", CURRICULA, ids=named)
def test_a_batch_in_parts_is_the_batch(tmp_path, curriculum, batch_size, most):
    space = build_space(activation_penalty=0.5)
    trainers = [
        build_trainer(
            build_session(tmp_path / str(rows_at_once)),
            curriculum,
            space=space,
            dtype=torch.float64,
            num_train_epochs=2,
            global_batch_size=batch_size,
            micro_batch_size=rows_at_once,
            weight_decay=1e-3,
        )
        for rows_at_once in (None, most)
    ]
    for trainer in trainers:
        trainer.train()
    one, other = (trainer.parts.supernet.state_dict() for trainer in trainers)
    for name, value in one.items():
        assert value.dtype is torch.float64
        torch.testing.assert_close(other[name], value, **within(TRAINED))
    losses = [[row["train_loss"] for row in rows(trainer.context.folder)] for trainer in trainers]
    assert losses[0] == pytest.approx(losses[1], rel=TRAINED)


def test_a_step_is_sgd_on_the_weighted_loss_with_clipping_and_penalty(tmp_path):
    trainer = build(
        tmp_path, CURRICULA[0], learning_rate=3.0, max_grad_norm=0.01, weight_decay=0.01, dtype=torch.float64
    )
    supernet, v = trainer.parts.supernet, torch.linspace(0.2, 1.8, trainer.batches.num_units)
    trainer.curriculum.v.copy_(v)
    batch, routing = trainer.fetch(0), trainer.algorithm.route(generator(1, "route", 0))
    assert len(batch.labels) == ROWS
    output = supernet(batch, routing)
    loss = (output.losses * v[batch.unit_ids]).mean() + output.penalty
    parameters = list(supernet.parameters())
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    norm = torch.cat([grad.flatten() for grad in grads if grad is not None]).norm()
    assert norm > 0.01
    expected = [
        p if g is None else p - 3.0 * (g * 0.01 / (norm + 1e-6) + 0.01 * p)
        for p, g in zip(parameters, grads, strict=True)
    ]
    trainer.train_step(0)
    plain = trainer.guard.read_verdicts(0.0)
    assert plain == pytest.approx(float(output.losses.detach().mean()), rel=TRAINED)
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value.detach(), **within(TRAINED))


@pytest.mark.parametrize("unit", ["sequence", "token"])
def test_under_step_refresh_each_batch_is_judged_from_the_training_state(tmp_path, monkeypatch, unit):
    trainer = build(tmp_path, Uncertainty(num_candidates=3, refresh="step", unit=unit), num_train_epochs=2)
    original, seen = trainer.forward, []
    mean_loss = Part.mean_loss

    def checked(batch, routing):
        judges = trainer._candidates(trainer.progress.step)
        routings = [trainer.parts.space.routing(judge) for judge in judges]
        losses, _ = trainer.parts.supernet.forward_many(batch, routings, [batch.hidden_state] * 3)
        ids, losses_KU = unit_means(losses, batch.unit_ids)
        v = trainer.curriculum.weights(batch.unit_ids)
        assert float(v.double().mean()) == pytest.approx(1, abs=1e-6)
        assert torch.equal(trainer.curriculum.v[ids], normalized_weights(uncertainty(losses_KU)))
        seen.append(batch.hidden_state is None)
        return original(batch, routing)

    def weighted(part, output):
        assert torch.equal(part.v, trainer.curriculum.weights(part.batch.unit_ids))
        found = mean_loss(part, output)
        assert torch.equal(found, (output.losses * part.v).mean())
        return found

    trainer.forward = checked
    monkeypatch.setattr(Part, "mean_loss", weighted)
    trainer.train()
    # The state starts anew with every epoch and is carried from there on.
    assert seen == ([True] + [False] * (STEPS - 1)) * 2


def test_no_two_purposes_share_a_draw(curriculum, tmp_path, monkeypatch):
    drawn = []

    def recorded(seed, stream, *counters):
        drawn.append((stream, *counters))
        return generator(seed, stream, *counters)

    monkeypatch.setattr("cnas.training.context.generator", recorded)
    trainer = build(tmp_path, curriculum)
    trainer.train()
    assert len(drawn) == len(set(drawn))
    assert {stream for stream, *_ in drawn} >= {"route", "judges", "probe"}


def test_weights_stay_as_they_are_between_refreshes(tmp_path):
    trainer = build(tmp_path, CURRICULA[0])
    original, seen = trainer.forward, []

    def recorded(batch, routing):
        seen.append(trainer.curriculum.v.clone())
        return original(batch, routing)

    trainer.forward = recorded
    trainer.train()
    epochs = [seen[start : start + STEPS] for start in range(0, len(seen), STEPS)]
    assert all(torch.equal(v, epoch[0]) for epoch in epochs for v in epoch)
    assert torch.equal(epochs[0][0], torch.ones_like(seen[0]))
    assert all(not torch.equal(one[0], other[0]) for one, other in itertools.pairwise(epochs))
    assert torch.equal(trainer.curriculum.v, epochs[-1][0])


# Bad fields ---------------------------------------------------------------------------------------------------------


def test_more_judges_than_architectures_are_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"curriculum\.num_candidates must be at most 4, the number of architectures, got 5"
    ):
        build_trainer(build_session(tmp_path), Uncertainty(num_candidates=5), space=build_space(nodes=1))


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("num_train_epochs", 0, "at least 1"),
        ("global_batch_size", 0, "at least 1"),
        ("eval_batch_size", 0, "at least 1"),
        ("micro_batch_size", 0, "at least 1 or none"),
        ("learning_rate", 0.0, "above 0 and finite"),
        ("learning_rate", math.nan, "a finite number"),
        ("max_grad_norm", math.inf, "a finite number or none"),
        ("weight_decay", -1.0, "at least 0 and finite"),
        ("save_steps", 0, "at least 1 or none"),
        ("bad_steps_in_a_row", 0, "at least 1"),
    ],
)
def test_a_wrong_field_is_named(field, value, allowed):
    with pytest.raises(UserError, match=rf"^{field} must be {allowed}, got {value}$"):
        SearchArguments(**{field: value})


def test_the_result_tells_what_the_search_took(tmp_path):
    trainer = build(tmp_path, num_train_epochs=2)
    result = trainer.train()
    assert isinstance(trainer, SearchLoop)
    assert (result.epochs, result.steps) == (2, 2 * STEPS)
    assert result.seconds > 0
    assert result.valid["valid_perplexity"] == pytest.approx(math.exp(result.valid["valid_loss"]))
