"""K subnets judge data. Legend: K candidates, B rows, T tokens, U units."""

import pytest
import torch
from builders import LENGTH, build_session, build_space, tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT, within

from cnas.data.streams import TextStreams
from cnas.training.scoring import Scorer, unit_means
from cnas.types import Batch

SETTINGS = settings(derandomize=True, deadline=None, max_examples=20)


@pytest.fixture
def scorer(tmp_path):
    space = build_space(init_range=0.8, nodes=3)
    torch.manual_seed(3)
    return Scorer(space.build_supernet().double(), space, build_session(tmp_path))


def judges(scorer, count=3):
    draws = torch.Generator().manual_seed(9)
    found = [scorer.space.sample(draws) for _ in range(count - 1)]
    return [*found, found[0]]


def by_hand(scorer, architecture, streams):
    """Losses [chunks, B, T] of one subnet: its own state, from zero, carried from chunk to chunk."""
    scorer.supernet.eval()
    losses, hidden_state = [], None
    with torch.no_grad():
        for index in range(len(streams)):
            batch = streams.batch(index, slice(0, streams.batch_size))
            output = scorer.supernet(
                Batch(batch.inputs, batch.labels, batch.unit_ids, hidden_state), scorer.space.routing(architecture)
            )
            hidden_state = output.hidden_state
            losses.append(output.losses)
    scorer.supernet.train()
    return losses


@pytest.mark.parametrize("unit", ["sequence", "token"])
def test_units_get_the_mean_loss_of_their_positions(scorer, unit):
    streams, calls = TextStreams(tokens(), 3, LENGTH, unit), []
    ids_U, losses_KU = scorer.units(judges(scorer), streams, lambda: calls.append(None))
    assert len(calls) == len(streams)
    assert sorted(ids_U.tolist()) == list(range(streams.num_units))
    for losses_U, judge in zip(losses_KU, judges(scorer), strict=True):
        found = dict(zip(ids_U.tolist(), losses_U.tolist(), strict=True))
        for index, losses_BT in enumerate(by_hand(scorer, judge, streams)):
            ids_BT = streams.batch(index, slice(0, 3)).unit_ids
            for unit_id in ids_BT.unique().tolist():
                assert found[unit_id] == pytest.approx(float(losses_BT[ids_BT == unit_id].mean()), rel=EXACT)


def test_a_judge_s_losses_do_not_depend_on_the_others(scorer):
    streams = TextStreams(tokens(), 3, LENGTH)
    _, together_KU = scorer.units(judges(scorer), streams, lambda: None)
    for index, judge in enumerate(judges(scorer)):
        _, alone_KU = scorer.units([judge], streams, lambda: None)
        torch.testing.assert_close(alone_KU[0], together_KU[index], **within(EXACT))
    assert not torch.equal(together_KU[0], together_KU[1])


def test_validation_is_the_mean_over_all_batches(scorer):
    streams = TextStreams(tokens(), 2, LENGTH, tail="keep")
    found_K = scorer.validation(judges(scorer), streams)
    assert found_K.dtype is torch.float64
    for loss, judge in zip(found_K, judges(scorer), strict=True):
        losses = torch.cat([losses.flatten() for losses in by_hand(scorer, judge, streams)])
        torch.testing.assert_close(loss, losses.mean(), **within(EXACT))


def test_validation_on_one_batch_starts_from_zero_and_wraps_around(scorer):
    streams = TextStreams(tokens(), 2, LENGTH)
    (judge, _) = judges(scorer, 2)
    routing = scorer.space.routing(judge)
    for index in (0, 2, len(streams) - 1):
        batch = streams.batch(index, slice(0, 2))
        scorer.supernet.eval()
        expected = scorer.supernet(batch, routing).losses.mean().detach()
        scorer.supernet.train()
        for turn in range(3):
            (found,) = scorer.validation([judge], streams, index + turn * len(streams))
            torch.testing.assert_close(found, expected, **within(EXACT))


def test_scoring_changes_nothing(scorer):
    before = {name: value.clone() for name, value in scorer.supernet.state_dict().items()}
    generator_state = torch.get_rng_state()
    scorer.units(judges(scorer), TextStreams(tokens(), 3, LENGTH), lambda: None)
    assert scorer.supernet.training
    assert all(torch.equal(value, before[name]) for name, value in scorer.supernet.state_dict().items())
    assert all(parameter.grad is None for parameter in scorer.supernet.parameters())
    assert torch.equal(torch.get_rng_state(), generator_state)


def test_what_is_called_between_batches_may_end_the_pass(scorer):
    def leave():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scorer.units(judges(scorer), TextStreams(tokens(), 3, LENGTH), leave)
    assert scorer.supernet.training


@SETTINGS
@given(st.integers(1, 4), st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(0, 99))
def test_unit_means_are_means(count, ids, seed):
    unit_ids = torch.tensor(ids)
    losses = torch.rand(count, len(ids), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found_U, means_KU = unit_means(losses, unit_ids)
    assert found_U.tolist() == sorted(set(ids))
    for column, unit_id in enumerate(found_U.tolist()):
        torch.testing.assert_close(means_KU[:, column], losses[:, unit_ids == unit_id].mean(1))
