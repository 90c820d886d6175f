"""The curriculum weighs what the weights learn from, and never what the architecture learns from."""

import pytest
import torch
from builders import bits, build_session, build_space, build_trainer

from cnas.curricula import Uncertainty

STILL = 1e-30
"""A learning rate at which no float32 weight moves, so that nothing reaches the architecture by way of the weights."""
LEARNING = [
    ("enas", "enas_rnn"),
    ("darts_v1", "darts_rnn"),
    ("darts_v2", "darts_rnn"),
    ("gdas", "nats"),
    ("setn", "nats"),
]


def policy(folder, algorithm, space, v):
    """What an algorithm has learned after an epoch in which the data had the weights ``v``, and the supernet's loss."""
    unit = "sample" if space == "nats" else "sequence"
    curriculum = Uncertainty(num_candidates=2, unit=unit)
    sizes = {"learning_rate": STILL, "weight_decay": 0.0, "num_train_epochs": 1}
    trainer = build_trainer(build_session(folder), curriculum, space=build_space(space), algorithm=algorithm, **sizes)
    trainer.curriculum.v.copy_(v(len(trainer.curriculum.v)))
    before = bits(trainer)
    trainer.run()
    after = bits(trainer)
    learned = {name: value for name, value in after.items() if name.startswith("/algorithm")}
    assert learned != {name: value for name, value in before.items() if name.startswith("/algorithm")}
    return learned


@pytest.mark.parametrize(("algorithm", "space"), LEARNING)
def test_the_architecture_learns_from_unweighted_losses(tmp_path, algorithm, space):
    found = [
        policy(tmp_path / name, algorithm, space, v)
        for name, v in {"ones": torch.ones, "steep": lambda count: torch.linspace(0, 2, count)}.items()
    ]
    assert found[0] == found[1]
