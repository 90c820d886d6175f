"""The losses of the paths that a step trains anyhow, and refreshes at intervals. Legend: K paths, B rows, T tokens."""

from dataclasses import replace

import pytest
import torch
from builders import bits, build_session, build_space, build_trainer

from cnas.curricula import Competence, Disagreement, Loss, Progress, Uncertainty, like, normalized_weights
from cnas.errors import UserError

TRAINED = Loss(source="trained", refresh="step")


def search(folder, curriculum, algorithm="sandwich", **config):
    context = build_session(folder)
    return build_trainer(context, curriculum, space=build_space("gpt"), algorithm=algorithm, **config)


def spied(loop):
    """What every pass of the supernet gives, as a list that grows."""
    outputs, forward = [], loop.forward

    def watched(batch, routing):
        outputs.append((batch, forward(batch, routing)))
        return outputs[-1][1]

    loop.forward = watched
    return outputs


@pytest.mark.parametrize("unit", ["sequence", "token"])
def test_a_step_weights_its_batch_by_the_losses_of_its_own_paths(tmp_path, unit):
    loop = search(tmp_path, replace(TRAINED, unit=unit), max_grad_norm=None)
    outputs = spied(loop)
    loop.train_step(0)
    assert len(outputs) == 4
    batch = outputs[0][0]
    losses_KBT = torch.stack([output.losses for _, output in outputs])
    mean_BT = losses_KBT.detach().mean(0)
    if unit == "sequence":
        mean_BT = mean_BT.mean(1, keepdim=True).expand_as(mean_BT)
    v_BT = loop.curriculum.weights(batch.unit_ids)
    torch.testing.assert_close(v_BT, normalized_weights(mean_BT.flatten()).view_as(v_BT))
    assert float(v_BT.mean()) == pytest.approx(1, abs=1e-6)
    assert float(v_BT.max() - v_BT.min()) > 1e-3
    others = torch.ones(len(loop.curriculum.v), dtype=torch.bool)
    others[batch.unit_ids.flatten()] = False
    assert bool((loop.curriculum.v[others] == 1).all())
    # The gradient is that of the weighted losses, averaged over paths, of the same pass.
    found = {name: each.grad.clone() for name, each in loop.model.named_parameters() if each.grad is not None}
    again = search(tmp_path / "again", None, max_grad_norm=None)
    routings = again.algorithm.routes(again.context.generator("route", 0))
    losses = torch.stack([again.forward(again.fetch(0), routing).losses for routing in routings])
    torch.testing.assert_close(losses, losses_KBT)
    (losses * v_BT).mean().backward()
    for name, each in again.model.named_parameters():
        torch.testing.assert_close(found[name], each.grad)


def test_constant_weights_are_the_plain_algorithm(tmp_path, monkeypatch):
    monkeypatch.setattr(Loss, "score", lambda self, losses_KU: torch.ones(losses_KU.shape[1]))
    weighted, plain = (search(tmp_path / name, each) for name, each in (("v", TRAINED), ("plain", None)))
    found = [(loop.train(), bits(loop))[1] for loop in (weighted, plain)]
    own = ("/curriculum", "/callbacks/state/log_history")
    one, other = ({name: leaf for name, leaf in leaves.items() if not name.startswith(own)} for leaves in found)
    assert one == other


def test_it_goes_on_from_a_checkpoint(tmp_path):
    whole = search(tmp_path / "whole", TRAINED, num_train_epochs=2)
    whole.train()
    half = search(tmp_path / "half", TRAINED, num_train_epochs=2)
    train_step = half.train_step

    def stopping(index):
        if half.progress.step == 5:
            half.context.stop.request("the test")
        return train_step(index)

    half.train_step = stopping
    with pytest.raises(Exception, match="stopped"):
        half.train()
    rest = search(tmp_path / "half", TRAINED, num_train_epochs=2)
    assert rest.resume()
    rest.train()
    assert torch.equal(rest.curriculum.v, whole.curriculum.v)
    assert all(map(torch.equal, rest.model.state_dict().values(), whole.model.state_dict().values()))


@pytest.mark.parametrize("source", ["candidates", "trained"])
def test_only_some_steps_are_scored(tmp_path, source, monkeypatch):
    steps, update = [], Loss.update

    def watched(self, ids_U, losses_KU, progress):
        steps.append(progress.step)
        return update(self, ids_U, losses_KU, progress)

    monkeypatch.setattr(Loss, "update", watched)
    loop = search(tmp_path, Loss(source=source, refresh="step", every=3, num_candidates=2), num_train_epochs=2)
    loop.train()
    assert steps == [*range(0, loop.progress.step, 3)]


def test_only_some_epochs_are_scored():
    curriculum = Uncertainty(every=3)
    assert [epoch for epoch in range(10) if curriculum.due(Progress(epoch, 10, 0))] == [2, 5, 8]
    assert [epoch for epoch in range(9) if curriculum.due(Progress(epoch, 9, 0))] == [2, 5]
    assert not any(curriculum.source_in_step(Progress(0, 10, step)) for step in range(9))
    by_step = Uncertainty(every=4, refresh="step")
    assert [step for step in range(9) if by_step.source_in_step(Progress(0, 10, step))] == [0, 4, 8]


def test_another_curriculum_keeps_both(tmp_path):
    kept = like(Loss(source="trained", refresh="step", every=2), "disagreement")
    assert (type(kept), kept.source, kept.every, kept.refresh) == (Disagreement, "trained", 2, "step")
    assert like(kept, "competence").source == "candidates"


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Loss, {"every": 0}, r"^curriculum.every must be at least 1, got 0$"),
        (
            Loss,
            {"source": "trained"},
            r"^curriculum.refresh must be step where curriculum.source is trained, got 'epoch'$",
        ),
        (Loss, {"source": "own"}, r"^curriculum.source must be one of candidates, trained, got 'own'$"),
        (
            Competence,
            {"source": "trained", "refresh": "step"},
            r"^curriculum.source must be candidates for competence, which looks at no losses, got 'trained'$",
        ),
    ],
)
def test_wrong_settings_are_named(kind, fields, message):
    with pytest.raises(UserError, match=message):
        kind(**fields)


def test_it_needs_an_algorithm_that_trains_several_paths_on_whole_batches(tmp_path):
    message = "must be candidates with rsps, which trains a single path in a step, got 'trained'"
    with pytest.raises(UserError, match=rf"^curriculum.source {message}$"):
        search(tmp_path / "one", TRAINED, algorithm="rsps")
    with pytest.raises(UserError, match=r"^trainer.micro_batch_size must be none where curriculum.source is trained"):
        search(tmp_path / "two", TRAINED, micro_batch_size=2)
