"""Weights held as state."""

import pytest
import torch

from cnas.curricula import Progress, Uncertainty, normalized_weights, uncertainty
from cnas.data.streams import TextStreams
from cnas.training.scoring import unit_means

PROGRESS = Progress(epoch=0, epochs=5, step=0)


def test_weights_start_at_one():
    curriculum = Uncertainty().setup(7)
    assert torch.equal(curriculum.weights(torch.tensor([[0, 6], [3, 3]])), torch.ones(2, 2))


def test_an_update_leaves_the_other_units_alone():
    curriculum = Uncertainty().setup(5)
    curriculum.update(torch.arange(5), torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]), PROGRESS)
    before = curriculum.v.clone()
    losses_KU = torch.tensor([[1.0, 9.0], [7.0, 9.0]])
    curriculum.update(torch.tensor([4, 1]), losses_KU, PROGRESS)
    assert torch.equal(curriculum.v[[0, 2, 3]], before[[0, 2, 3]])
    assert torch.equal(curriculum.v[[4, 1]], normalized_weights(uncertainty(losses_KU)))


@pytest.mark.parametrize("unit", ["sequence", "token"])
def test_every_position_gets_the_weight_of_its_unit(unit):
    streams = TextStreams(torch.arange(40), batch_size=2, length=4, unit=unit)
    curriculum = Uncertainty(unit=unit).setup(streams.num_units)
    seen = []
    for index in range(len(streams)):
        batch = streams.batch(index, slice(0, 2))
        # The loss of a position is its label, so the weight of a unit can be told from its labels.
        ids_U, losses_KU = unit_means(batch.labels[None].float(), batch.unit_ids)
        curriculum.update(ids_U, losses_KU, PROGRESS)
        mean_BT = batch.labels.float()
        if unit == "sequence":
            mean_BT = mean_BT.mean(1, keepdim=True).expand_as(mean_BT)
        expected = mean_BT.sqrt() / mean_BT.sqrt().mean()
        torch.testing.assert_close(curriculum.weights(batch.unit_ids), expected)
        seen += ids_U.tolist()
    assert sorted(seen) == list(range(streams.num_units))


def test_all_data_is_scored_after_every_epoch_but_the_last():
    curriculum = Uncertainty(refresh="epoch")
    assert [curriculum.due(Progress(epoch, 5, 0)) for epoch in range(5)] == [True] * 4 + [False]
    assert not any(Uncertainty(refresh="step").due(Progress(epoch, 5, 0)) for epoch in range(5))


def test_statistics_are_those_of_the_weights():
    curriculum = Uncertainty().setup(3)
    assert curriculum.statistics() == {
        "weight_min": 1,
        "weight_median": 1,
        "weight_max": 1,
        "effective_sample_size": 1,
    }
    curriculum.v.copy_(torch.tensor([0.0, 0.0, 3.0]))
    assert curriculum.statistics() == {
        "weight_min": 0,
        "weight_median": 0,
        "weight_max": 3,
        "effective_sample_size": pytest.approx(1 / 3),
    }
