"""What architectures are compared by: accuracy where images are classified, the loss elsewhere."""

from __future__ import annotations

import math

import pytest
import torch

from cnas.algorithms import default_config
from cnas.algorithms._candidates import best_of, costs_of, figure, quality
from cnas.errors import NonFiniteError
from cnas.random import generator


def share(choices, index):
    """An accuracy that differs from architecture to architecture, in eighths."""
    return sum((place + 1) * operation for place, (_, operation) in enumerate(choices)) % 7 / 8


def test_the_most_accurate_wins_whatever_the_loss(cell, judge):
    architectures = cell.all()[:23]
    trainer = judge(lambda choices, index: 5 * share(choices, index), accuracy=share)
    architecture, figures = best_of(trainer.context(), architectures)
    shares = [share(one.choices, None) for one in architectures]
    assert architecture == architectures[shares.index(max(shares))]
    assert [len(found) for found, _ in trainer.calls] == [10, 10, 3, 1]
    assert trainer.calls[-1] == ([architecture], None)
    assert figures == {
        "valid_accuracy": 100 * max(shares),
        "valid_loss": pytest.approx(5 * max(shares)),
        "scored": 23.0,
        "median_valid_accuracy": 100 * sorted(shares)[11],
        "worst_valid_accuracy": 100 * min(shares),
    }


def test_costs_and_their_worth(cell, judge):
    architectures = cell.all()[:3]
    text = judge(lambda choices, index: 0.5).context()
    images = judge(lambda choices, index: 0.5, accuracy=lambda choices, index: 0.75).context()
    assert costs_of(text, architectures, 0) == [0.5] * 3
    assert costs_of(images, architectures, 0) == [0.25] * 3
    assert (quality(text, 0.5), quality(images, 0.25)) == (math.exp(-0.5), 0.75)
    assert quality(text, math.inf) == 0
    assert figure(text, 0.5, "some_") == {"some_valid_loss": 0.5}
    assert figure(images, 0.25) == {"valid_accuracy": 75.0}


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_an_accurate_choice_whose_loss_is_not_finite_comes_last(cell, judge, broken):
    ranked = sorted(cell.all(), key=lambda found: -share(found.choices, None))
    first = ranked[0].choices
    trainer = judge(lambda choices, index: broken if choices == first else 1.0, accuracy=share)
    found, figures = best_of(trainer.context(), cell.all())
    assert share(found.choices, None) == share(ranked[1].choices, None)
    assert found != ranked[0]
    assert figures["valid_loss"] == 1.0
    with pytest.raises(NonFiniteError, match=f"of all {len(ranked)} architectures to choose from are not finite"):
        best_of(judge(lambda choices, index: broken, accuracy=share).context(), cell.all())


def test_enas_is_rewarded_by_accuracy_where_images_are_classified(cell, judge):
    config = default_config("enas")
    algorithm = type(config)(reward_scale=2.0, entropy_weight=0.0, updates=1, samples=6).build(cell, 0)
    row = algorithm.end_epoch(judge(lambda choices, index: 9.0, accuracy=lambda choices, index: 0.25).context())
    drawn = algorithm.controller.sample(6, generator(0, "controller", 0, 0)).choices
    connected = sum(any(operation for _, operation in choices) for choices in drawn) / 6
    assert row["reward"] == pytest.approx(2 * 0.25 * connected)


def test_spos_and_rsps_choose_by_accuracy_where_images_are_classified(cell, judge):
    trainer = judge(lambda choices, index: 1.0, accuracy=share)
    best = max(share(one.choices, None) for one in cell.all())
    for name in ("rsps", "spos", "setn", "enas"):
        algorithm = default_config(name).build(cell, 0)
        row = algorithm.end_epoch(trainer.context())
        architecture, figures = algorithm.derive(trainer.context())
        assert figures["valid_accuracy"] == 100 * share(architecture.choices, None)
        assert figures["valid_accuracy"] == 100 * best or name == "enas"
        assert figures["valid_loss"] == 1.0
        assert ("first_leader_valid_accuracy" in row) == (name == "spos")


def test_darts_tells_loss_and_accuracy(cell, judge):
    trainer = judge(lambda choices, index: 1.0, accuracy=share)
    _, figures = default_config("darts_v1").build(cell, 0).derive(trainer.context())
    assert set(figures) == {"valid_accuracy", "valid_loss", "log_probability", "disconnected"}


@pytest.mark.parametrize(("clip_norm", "clips"), [(None, False), (1e9, False), (1e-3, True)])
def test_the_controllers_gradient_can_be_clipped(cell, judge, clip_norm, clips):
    def moved(**fields):
        algorithm = type(default_config("enas"))(updates=1, epsilon=1.0, learning_rate=1.0, **fields).build(cell, 0)
        before = torch.cat([value.detach().flatten().clone() for value in algorithm.controller.parameters()])
        row = algorithm.end_epoch(judge(lambda choices, index: 1.0 + choices[0][1]).context())
        after = torch.cat([value.detach().flatten() for value in algorithm.controller.parameters()])
        return float((after - before).norm()), row["controller_grad_norm"]

    (plain, norm), (clipped, same_norm) = moved(), moved(clip_norm=clip_norm)
    assert norm == same_norm > 1e-3
    # With so large an ε the first step of Adam is about the gradient.
    assert (clipped < 0.9 * plain) == clips
    assert not clips or clipped == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize(
    ("field", "value"), [("betas", (0.5,)), ("betas", (1.0, 0.5)), ("epsilon", 0.0), ("clip_norm", 0.0)]
)
def test_a_wrong_field_of_the_controllers_adam_is_named(field, value):
    with pytest.raises(ValueError, match=f"^search.{field} is "):
        type(default_config("enas"))(**{field: value})
