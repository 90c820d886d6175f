"""Chunks of drawn lengths: the two published rules, every token once, another cut in every epoch."""

from __future__ import annotations

import itertools
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.data import TextStreams, VariableStreams, halving_lengths, process_rows, scattered_lengths
from cnas.errors import UserError
from cnas.random import generator

law = settings(derandomize=True, deadline=None, max_examples=60)
rules = st.sampled_from([halving_lengths, scattered_lengths])


def drawn(rule, length, count):
    draws = generator(3, "test")
    return [rule(length, draws) for _ in range(count)]


def whole(streams):
    """The global batches of an epoch."""
    return [streams.batch(index, slice(0, streams.batch_size)) for index in range(len(streams))]


def widths(streams):
    return [batch.labels.shape[1] for batch in whole(streams)]


def test_the_search_halves_one_chunk_in_twenty():
    lengths = drawn(halving_lengths, 35, 4000)
    assert set(lengths) == {17, 35}
    # Three standard deviations of a binomial are 41.
    assert lengths.count(17) == pytest.approx(200, abs=42)


def test_the_training_scatters_around_the_length_and_its_half():
    """The share of lengths up to n is that of the two normal distributions below n + 1, rounded towards zero."""
    lengths, normal = drawn(scattered_lengths, 35, 4000), statistics.NormalDist
    for n in range(5, 55):
        expected = 0.95 * normal(35, 5).cdf(n + 1) + 0.05 * normal(17.5, 5).cdf(n + 1)
        # Kolmogorov-Smirnov at one in a hundred.
        assert sum(length <= n for length in lengths) / 4000 == pytest.approx(expected, abs=1.63 / 4000**0.5)


@law
@given(length=st.integers(2, 80), seed=st.integers(0, 99))
def test_lengths_keep_their_bounds(length, seed):
    draws = generator(seed, "test")
    for _ in range(50):
        assert halving_lengths(length, draws) in {length, length // 2}
        assert 5 <= scattered_lengths(length, draws) <= length + 20


def test_both_bounds_are_met(monkeypatch):
    monkeypatch.setattr("cnas.data.streams.SPREAD", 50.0)
    lengths = drawn(scattered_lengths, 35, 100)
    assert lengths.count(5) > 20
    assert lengths.count(55) > 20


@law
@given(
    total=st.integers(3, 400),
    batch_size=st.integers(1, 5),
    length=st.integers(2, 30),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
    rule=rules,
)
def test_every_token_is_predicted_once_in_order_and_units_are_dense(total, batch_size, length, seed, epoch, rule):
    stream = total // batch_size
    if stream < 3:
        with pytest.raises(UserError):
            VariableStreams(torch.arange(total), batch_size, length, seed, rule)
        return
    streams = VariableStreams(torch.arange(total), batch_size, length, seed, rule).at_epoch(epoch)
    batches = whole(streams)
    inputs, labels = (torch.cat([getattr(b, name) for b in batches], dim=1) for name in ("inputs", "labels"))
    first = torch.arange(batch_size)[:, None] * stream
    # All of the P predictions of a stream, or all but a single last one.
    assert stream - 1 - labels.shape[1] in {0, 1}
    assert torch.equal(inputs, first + torch.arange(labels.shape[1]))
    assert torch.equal(labels, inputs + 1)
    rows = torch.arange(batch_size)[:, None]
    for index, batch in enumerate(batches):
        assert batch.inputs.shape == batch.labels.shape == batch.unit_ids.shape
        assert (batch.unit_ids == index * batch_size + rows).all()
        assert batch.inputs.dtype == batch.labels.dtype == batch.unit_ids.dtype == torch.int64
    assert streams.num_units == len(batches) * batch_size


@law
@given(total=st.integers(20, 400), length=st.integers(2, 30), epoch=st.integers(0, 5), rule=rules)
def test_the_lengths_are_those_of_the_rule_and_so_is_the_rate(total, length, epoch, rule):
    streams = VariableStreams(torch.arange(total), 2, length, 8, rule).at_epoch(epoch)
    draws = generator(8, "text/lengths", epoch)
    expected = [rule(length, draws) for _ in range(len(streams))]
    *full, last = widths(streams)
    assert full == expected[:-1]
    assert 1 <= last <= expected[-1]
    assert [streams.learning_rate_scale(index) for index in range(len(streams))] == [n / length for n in expected]


@pytest.mark.parametrize(("total", "expected"), [(9, [4, 4]), (10, [4, 4]), (11, [4, 4, 2]), (12, [4, 4, 3])])
def test_the_tail_is_clipped_and_a_single_prediction_dropped(total, expected):
    streams = VariableStreams(torch.arange(total), 1, 4, 1, lambda length, draws: length)
    assert widths(streams) == expected
    assert streams.learning_rate_scale(len(expected) - 1) == 1.0


@pytest.mark.parametrize("rule", [halving_lengths, scattered_lengths])
def test_an_epoch_is_cut_the_same_whenever_it_is_asked_for_and_no_two_epochs_are(rule):
    streams = VariableStreams(torch.arange(3000), 2, 12, 1, rule)
    cuts = [widths(streams.at_epoch(epoch)) for epoch in range(4)]
    assert widths(streams) == cuts[0], "asking for an epoch changes nothing"
    # By the way a trainer goes, and by that of a resumed one.
    stepwise = streams
    for epoch, cut in enumerate(cuts):
        stepwise = stepwise.at_epoch(epoch)
        assert widths(stepwise) == widths(VariableStreams(torch.arange(3000), 2, 12, 1, rule).at_epoch(epoch)) == cut
    assert all(one != other for one, other in itertools.combinations(cuts, 2))
    assert widths(VariableStreams(torch.arange(3000), 2, 12, 2, rule)) != cuts[0]


@law
@given(batch_size=st.integers(1, 7), world=st.integers(1, 4))
def test_ranks_together_see_the_global_batch(batch_size, world):
    streams = VariableStreams(torch.arange(60 * batch_size), batch_size, 8, 1, scattered_lengths)
    for index, batch in enumerate(whole(streams)):
        parts = [streams.batch(index, process_rows(batch_size, rank, world)) for rank in range(world)]
        for name in ("inputs", "labels", "unit_ids"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))


def test_constant_lengths_give_the_chunks_of_a_fixed_length():
    tokens = torch.arange(145)
    variable = VariableStreams(tokens, 4, 5, 1, lambda length, draws: length)
    fixed = TextStreams(tokens, 4, 5)
    assert len(variable) == len(fixed) == 7
    for one, other in zip(whole(variable), whole(fixed), strict=True):
        for name in ("inputs", "labels", "unit_ids"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_chunks_that_are_not_there():
    streams = VariableStreams(torch.arange(41), 1, 8, 1, lambda length, draws: length)
    for index in (-1, 5):
        with pytest.raises(IndexError, match=f"chunk {index} of 5"):
            streams.batch(index, slice(0, 1))


def test_too_few_tokens_are_refused_with_what_is_needed():
    with pytest.raises(UserError, match=r"^11 tokens are too few for batch_size 4: at least 12 are needed$"):
        VariableStreams(torch.arange(11), 4, 5, 1, halving_lengths)
    assert widths(VariableStreams(torch.arange(12), 4, 5, 1, halving_lengths)) == [2]
