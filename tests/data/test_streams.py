"""Streams: every token in its place, every unit its own id, and rows of ranks that add up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.data import TextStreams, process_rows
from cnas.errors import UserError

PTB_CHUNKS = [
    # tokens, batch size, chunks of 35 that are full, predictions left over
    (929_589, 20, 1327, 33),
    (929_589, 64, 414, 33),
    (929_589, 128, 207, 16),
    (929_589, 256, 103, 25),
    (73_760, 20, 105, 12),
    (73_760, 64, 32, 31),
    (73_760, 128, 16, 15),
    (73_760, 256, 8, 7),
]
law = settings(derandomize=True, deadline=None, max_examples=60)
units = st.sampled_from(["sequence", "token"])


def everything(streams: TextStreams) -> slice:
    return slice(0, streams.batch_size)


@law
@given(total=st.integers(0, 300), world=st.integers(1, 9))
def test_rank_rows_are_contiguous_balanced_and_complete(total, world):
    blocks = [process_rows(total, rank, world) for rank in range(world)]
    assert [row for block in blocks for row in range(total)[block]] == list(range(total))
    sizes = [block.stop - block.start for block in blocks]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("tokens", "batch_size", "chunks", "rest"), PTB_CHUNKS)
def test_chunks_of_the_penn_treebank(tokens, batch_size, chunks, rest):
    ids = torch.arange(tokens)
    streams = TextStreams(ids, batch_size)
    assert (len(streams), streams.num_units) == (chunks, chunks * batch_size)
    kept = TextStreams(ids, batch_size, tail="keep")
    assert (len(kept), kept.batch(chunks, slice(0, 1)).labels.shape[1]) == (chunks + 1, rest)


@law
@given(
    total=st.integers(2, 200),
    batch_size=st.integers(1, 5),
    length=st.integers(2, 9),
    unit=units,
    tail=st.sampled_from(["drop", "keep"]),
    start=st.sampled_from([None, 1000]),
)
def test_chunks_walk_each_stream_in_order_and_units_are_dense(total, batch_size, length, unit, tail, start):
    tokens = torch.arange(total)
    try:
        streams = TextStreams(tokens, batch_size, length, unit, start=start, tail=tail)
    except UserError:
        stream = total // batch_size
        assert stream - (start is None) < (length if tail == "drop" else 1)
        return
    batches = [streams.batch(index, everything(streams)) for index in range(len(streams))]
    inputs, labels = (torch.cat([getattr(b, name) for b in batches], dim=1) for name in ("inputs", "labels"))
    stream = total // batch_size
    predicted = stream - (start is None)
    predicted -= predicted % length if tail == "drop" else 0
    first = torch.arange(batch_size)[:, None] * stream + (start is None)
    assert torch.equal(labels, first + torch.arange(predicted))
    assert torch.equal(inputs[:, 1:], labels[:, :-1])
    assert torch.equal(inputs[:, 0], first[:, 0] - 1 if start is None else torch.full((batch_size,), start))
    assert all(b.unit_ids.shape == b.labels.shape == b.inputs.shape for b in batches)
    ids = torch.cat([b.unit_ids.flatten() for b in batches])
    assert torch.equal(ids.unique(), torch.arange(streams.num_units))
    if unit == "token":
        assert len(ids) == streams.num_units
    else:
        assert all(
            (b.unit_ids == i * batch_size + torch.arange(batch_size)[:, None]).all() for i, b in enumerate(batches)
        )


def test_token_units_of_full_chunks_are_numbered_chunk_stream_step():
    streams = TextStreams(torch.arange(40), 4, 3, "token")
    chunk, row, step = 2, 1, 2
    assert int(streams.batch(chunk, everything(streams)).unit_ids[row, step]) == (chunk * 4 + row) * 3 + step


@law
@given(total=st.integers(1, 150), length=st.integers(2, 60))
def test_one_stream_with_a_start_predicts_every_token_once(total, length):
    tokens = torch.arange(total) + 7
    streams = TextStreams(tokens, 1, length, start=3, tail="keep")
    batches = [streams.batch(index, slice(0, 1)) for index in range(len(streams))]
    assert torch.equal(torch.cat([b.labels[0] for b in batches]), tokens)
    assert torch.equal(torch.cat([b.inputs[0] for b in batches]), torch.cat([torch.tensor([3]), tokens[:-1]]))


@law
@given(batch_size=st.integers(1, 7), world=st.integers(1, 4), unit=units)
def test_ranks_together_see_the_global_batch(batch_size, world, unit):
    streams = TextStreams(torch.arange(20 * batch_size), batch_size, 6, unit)
    whole = streams.batch(2, everything(streams))
    parts = [streams.batch(2, process_rows(batch_size, rank, world)) for rank in range(world)]
    for name in ("inputs", "labels", "unit_ids"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_batches_hold_no_position_and_bring_no_carry_or_noise():
    streams = TextStreams(torch.arange(100), 2, 7)
    first = streams.batch(3, everything(streams))
    streams.batch(0, everything(streams))
    again = streams.batch(3, everything(streams))
    assert torch.equal(first.inputs, again.inputs)
    assert first.hidden_state is None
    assert first.dropout_seeds is None
    assert first.inputs.dtype == first.labels.dtype == first.unit_ids.dtype == torch.int64


@pytest.mark.parametrize("index", [-1, 7])
def test_chunks_that_are_not_there(index):
    with pytest.raises(IndexError, match=f"chunk {index} of 7"):
        TextStreams(torch.arange(100), 2, 7).batch(index, slice(0, 2))


@pytest.mark.parametrize(("tail", "start", "needed"), [("drop", None, 144), ("drop", 0, 140), ("keep", None, 8)])
def test_too_few_tokens_are_refused_with_what_is_needed(tail, start, needed):
    with pytest.raises(UserError) as caught:
        TextStreams(torch.zeros(needed - 1, dtype=torch.int64), 4, 35, start=start, tail=tail)
    message = str(caught.value)
    assert "\n" not in message
    for part in (f"{needed - 1} tokens", "batch_size 4", "text.length 35", f"at least {needed} tokens"):
        assert part in message
    assert len(TextStreams(torch.zeros(needed, dtype=torch.int64), 4, 35, start=start, tail=tail)) == 1
