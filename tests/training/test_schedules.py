"""Learning rates: closed forms, those of transformers, and that they depend on the step alone."""

import itertools
import math

import pytest
import torch
import transformers
from builders import build_session, build_trainer
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT

from cnas.errors import UserError
from cnas.training import LoopArguments
from cnas.training.schedules import learning_rate

EPOCHS, BATCHES = 4, 5


def rates(name, warmup=0, rate=0.3, final=0.0, epochs=EPOCHS, batches=BATCHES):
    fields = {"lr_scheduler_type": name, "warmup_steps": warmup, "learning_rate": rate, "final_learning_rate": final}
    arguments = LoopArguments(num_train_epochs=epochs, **fields)
    return [learning_rate(arguments, epoch, batch, batches) for epoch in range(epochs) for batch in range(batches)]


@pytest.mark.parametrize("warmup", [0, 1, 3, 7, EPOCHS * BATCHES, 99])
@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_the_rates_are_those_of_transformers(name, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = "constant_with_warmup" if name == "constant" else name
    schedule = transformers.get_scheduler(
        theirs, optimizer, num_warmup_steps=warmup, num_training_steps=EPOCHS * BATCHES
    )
    expected = []
    for _ in range(EPOCHS * BATCHES):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates(name, warmup) == pytest.approx(expected, rel=EXACT)


def test_with_an_end_above_zero_they_arrive_there():
    cosine, linear = rates("cosine", 2, final=0.1), rates("linear", 2, final=0.1)
    for step in range(2, EPOCHS * BATCHES):
        done = (step - 2) / (EPOCHS * BATCHES - 2)
        assert cosine[step] == pytest.approx(0.1 + 0.2 * (1 + math.cos(math.pi * done)) / 2, rel=EXACT)
        assert linear[step] == pytest.approx(0.3 - 0.2 * done, rel=EXACT)
    assert cosine[:2] == linear[:2] == [0.0, 0.15]


def test_by_epoch_the_rate_stays_within_an_epoch_but_for_the_warm_up():
    assert set(rates("constant")) == {0.3}
    plain = rates("cosine_by_epoch", final=0.1)
    by_epoch = [0.1 + 0.2 * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2 for epoch in range(EPOCHS)]
    assert plain == pytest.approx([rate for rate in by_epoch for _ in range(BATCHES)], rel=EXACT)
    warm = rates("cosine_by_epoch", 7, final=0.1)
    expected = [rate * min(1, step / 7) for step, rate in enumerate(plain)]
    assert warm == pytest.approx(expected, rel=EXACT)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    name=st.sampled_from(["constant", "cosine_by_epoch", "cosine", "linear"]),
    warmup=st.integers(0, 30),
    epochs=st.integers(1, 5),
    batches=st.integers(1, 6),
)
def test_rates_stay_between_zero_and_the_first_one(name, warmup, epochs, batches):
    found = rates(name, warmup, final=0.01, epochs=epochs, batches=batches)
    assert all(0 <= rate <= 0.3 for rate in found)
    after = found[warmup:]
    assert all(later <= earlier + EXACT for earlier, later in itertools.pairwise(after))


def test_the_loop_steps_at_these_rates_also_after_going_back(tmp_path):
    fields = {"lr_scheduler_type": "cosine", "warmup_steps": 3, "num_train_epochs": 2}
    loop = build_trainer(build_session(tmp_path), algorithm="rsps", **fields)
    total = len(loop.batches)
    expected = rates("cosine", 3, rate=1.0, epochs=2, batches=total)
    assert [loop.learning_rate(batch) for batch in range(total)] == expected[:total]
    seen, step = [], loop.train_step

    def noted(index):
        found = step(index)
        seen.append(loop.optimizer.param_groups[0]["lr"])
        return found

    loop.train_step = noted
    loop.train()
    assert seen == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"warmup_steps": -1}, "^warmup_steps must be at least 0, got -1"),
        ({"warmup_steps": 1.5}, "^warmup_steps must be an integer, got 1.5"),
        ({"lr_scheduler_type": "cosin"}, "^lr_scheduler_type must be one of constant, cosine_by_epoch, cosine, linear"),
        ({"final_learning_rate": 1.0, "learning_rate": 0.5}, "^final_learning_rate must be between 0 and"),
    ],
)
def test_a_wrong_field_is_one_line(fields, message):
    with pytest.raises(UserError, match=message):
        LoopArguments(**fields)
