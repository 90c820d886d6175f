"""Images as batches: every one once in a pass, the same whatever the number of processes, and what judges see."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_images import made
from torch.utils._python_dispatch import TorchDispatchMode

from cnas.data import Augment, ChannelStatistics, ImageBatches, process_rows
from cnas.errors import UserError
from cnas.training.batch import place

PLAIN = ChannelStatistics((0.0,) * 3, (1.0,) * 3)
few = settings(derandomize=True, deadline=None, max_examples=25)


def batches_of(count, batch_size, **kwargs):
    given = {"seed": 1, "stream": "train", "statistics": PLAIN, "shuffle": True, **kwargs}
    return ImageBatches(made(count), batch_size, **given)


def whole(batches):
    """All batches, each with all its rows."""
    return [batches.batch(index, slice(0, batches.rows(index))) for index in range(len(batches))]


def ids(batches):
    return torch.cat([batch.unit_ids for batch in whole(batches)]).tolist()


def same(left, right):
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in ("inputs", "labels", "unit_ids"))


@few
@given(count=st.integers(2, 40), batch_size=st.integers(1, 45), shuffle=st.booleans(), epoch=st.integers(0, 3))
@example(count=9, batch_size=4, shuffle=False, epoch=0)
def test_every_image_is_in_a_pass_once_and_none_is_alone(count, batch_size, shuffle, epoch):
    batches = batches_of(count, batch_size, shuffle=shuffle).at_epoch(epoch)
    found = whole(batches)
    assert sorted(ids(batches)) == list(range(count)) == list(range(batches.num_units))
    sizes = [len(batch.labels) for batch in found]
    assert sizes == [batches.rows(index) for index in range(len(batches))]
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] <= batch_size + 1
    assert batch_size == 1 or min(sizes) > 1


@few
@given(count=st.integers(2, 30), batch_size=st.integers(1, 12), world=st.integers(1, 5))
def test_the_rows_of_processes_are_those_of_one(count, batch_size, world):
    batches = batches_of(count, batch_size, augment=Augment(pad=2, cutout=3)).at_epoch(2)
    for index, batch in enumerate(whole(batches)):
        rows = [process_rows(batches.rows(index), rank, world) for rank in range(world)]
        parts = [batches.batch(index, part) for part in rows]
        for name in ("inputs", "labels", "unit_ids"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))


def test_a_batch_holds_the_normalised_images_of_its_units():
    images = made(10)
    statistics = ChannelStatistics((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    (batch,) = whole(ImageBatches(images, 10, seed=3, stream="train", statistics=statistics, shuffle=True))
    assert batch.inputs.dtype == torch.float32
    assert batch.labels.dtype == batch.unit_ids.dtype == torch.int64
    assert torch.equal(batch.labels, images.labels[batch.unit_ids])
    for image, unit in zip(batch.inputs, batch.unit_ids, strict=True):
        for channel, (mean, std) in enumerate(zip(statistics.mean, statistics.std, strict=True)):
            expected = (images.images[unit, channel].double() / 255 - mean) / std
            torch.testing.assert_close(image[channel].double(), expected, atol=1e-5, rtol=0)


def test_orders_and_views_belong_to_seed_stream_and_epoch():
    kwargs = {"augment": Augment()}
    first = batches_of(40, 40, **kwargs)
    assert ids(first) != list(range(40))
    assert same(whole(first)[0], whole(first.at_epoch(5).at_epoch(0))[0])
    others = [first.at_epoch(1), batches_of(40, 40, seed=2, **kwargs), batches_of(40, 40, stream="other", **kwargs)]
    assert all(ids(other) != ids(first) for other in others)


def test_the_view_of_an_image_does_not_depend_on_its_batch():
    """Same image, same epoch: another batch size or order gives the same view."""
    by_unit = []
    for batches in (batches_of(12, 5, augment=Augment()), batches_of(12, 12, augment=Augment(), shuffle=False)):
        found = whole(batches.at_epoch(3))
        inputs, units = (torch.cat([getattr(batch, name) for batch in found]) for name in ("inputs", "unit_ids"))
        by_unit.append(inputs[units.argsort()])
    assert torch.equal(*by_unit)


def test_views_change_from_epoch_to_epoch():
    batches = batches_of(12, 12, augment=Augment(), shuffle=False)
    first, second = (whole(batches.at_epoch(epoch))[0].inputs for epoch in (0, 1))
    assert not torch.equal(first, second)


def test_judges_see_plain_images_in_one_drawn_order():
    batches = batches_of(11, 4, augment=Augment(pad=3, cutout=2)).at_epoch(2)
    view = batches.scoring_view()
    assert sorted(ids(view)) == list(range(11))
    assert (view.num_units, view.batch_size) == (batches.num_units, batches.batch_size)
    for batch in whole(view):
        assert torch.equal(batch.inputs, PLAIN.normalised(batches.images.images[batch.unit_ids]))
        assert torch.equal(batch.labels, batches.images.labels[batch.unit_ids])
    for index, batch in enumerate(whole(batches)):
        scored = batches.scoring_batch(index, slice(0, batches.rows(index)), batch)
        assert torch.equal(scored.unit_ids, batch.unit_ids)
        assert torch.equal(scored.inputs, PLAIN.normalised(batches.images.images[batch.unit_ids]))
        assert not torch.equal(scored.inputs, batch.inputs)


def test_judges_may_see_augmented_images():
    batches = batches_of(11, 11, augment=Augment(while_scoring=True), shuffle=False).at_epoch(2)
    assert same(batches.scoring_batch(0, slice(2, 9), trained := batches.batch(0, slice(2, 9))), trained)
    view = batches.scoring_view()
    (first,), (again,), (training,) = whole(view), whole(batches.scoring_view()), whole(batches)
    assert same(first, again)
    assert sorted(ids(view)) == list(range(11))
    later = whole(batches.at_epoch(3).scoring_view())[0]
    plain = whole(batches_of(11, 11).scoring_view())[0]
    assert ids(view) == later.unit_ids.tolist() == plain.unit_ids.tolist()
    others = (training, later, plain)
    assert not any(torch.equal(first.inputs, other.inputs) for other in others)


def test_the_order_of_the_judges_belongs_to_seed_and_stream_and_to_nothing_else():
    batches = batches_of(40, 8)
    order = ids(batches.scoring_view())
    assert order not in (list(range(40)), ids(batches))
    same_order = [
        batches.at_epoch(5),
        batches_of(40, 16, augment=Augment(while_scoring=True)),
        batches_of(40, 8, shuffle=False),
    ]
    assert all(ids(other.scoring_view()) == order for other in same_order)
    assert ids(batches.scoring_view().at_epoch(3)) == order
    others = [batches_of(40, 8, seed=2), batches_of(40, 8, stream="other")]
    assert all(ids(other.scoring_view()) != order for other in others)


def test_asking_leaves_the_images_as_they_are():
    batches = batches_of(9, 4, augment=Augment(cutout=4))
    before = batches.images.images.clone()
    whole(batches), whole(batches.scoring_view())
    assert torch.equal(batches.images.images, before)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_batch_that_is_not_there_is_an_index_error(index):
    batches = batches_of(12, 4)
    for ask in (batches.rows, lambda index: batches.batch(index, slice(0, 4))):
        with pytest.raises(IndexError, match=f"batch {index} of 3"):
            ask(index)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (5, 0), (5, -1)])
def test_too_few_images_and_empty_batches_are_refused(count, batch_size):
    with pytest.raises(UserError, match=f"got {batch_size} and {count}$"):
        batches_of(count, batch_size)


def test_statistics_are_those_of_the_pixels():
    images = made(30, (3, 5, 7)).images
    found = ChannelStatistics.of(images)
    pixels = images.permute(1, 0, 2, 3).flatten(1).double() / 255
    torch.testing.assert_close(torch.tensor(found.mean).double(), pixels.mean(dim=1), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.tensor(found.std).double(), pixels.std(dim=1, correction=0), atol=1e-6, rtol=0)
    normalised = found.normalised(images)
    assert float(normalised.mean(dim=(0, 2, 3)).abs().max()) < 1e-5
    assert ChannelStatistics.of(torch.full((2, 1, 3, 3), 51, dtype=torch.uint8)).std == (1.0,)


class Crossings(TorchDispatchMode):
    """Records what leaves host memory, for torch's device without memory here, and refuses to wait for it."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.pinned, self.seen = [], []

        def pin(tensor):
            self.pinned.append(tensor)
            return tensor

        monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = str(func).split(".")[1], kwargs or {}
        assert name not in {"_local_scalar_dense", "nonzero"}
        out = func(*args, **kwargs)
        if name == "_to_copy" and args[0].device != out.device:
            assert kwargs["non_blocking"]
            assert any(args[0] is each for each in self.pinned)
            self.seen.append((args[0].dtype, args[0].numel()))
        return out


@pytest.mark.parametrize("augment", [None, Augment(pad=2, cutout=3)])
def test_bytes_indices_and_draws_go_to_a_device_and_nothing_waits(monkeypatch, augment):
    there = torch.device("meta")
    batches = batches_of(12, 4, augment=augment, statistics=ChannelStatistics((0.1,) * 3, (0.2,) * 3)).to(there)
    with Crossings(monkeypatch) as crossings:
        batch = batches.at_epoch(1).batch(1, slice(1, 4))
        assert place(batch, there).inputs is batch.inputs
        trained = batches.scoring_batch(1, slice(1, 4), batch)
        scored = batches.scoring_view().batch(0, slice(0, 4))
    statistics = [(torch.float32, 1), (torch.float32, 3), (torch.float32, 3)]
    found = [(torch.uint8, 3 * 3 * 8 * 8), (torch.int64, 3), (torch.int64, 3)]
    drawn = [] if augment is None else [(torch.float32, 3 * 5)]
    again = [] if augment is None else found + statistics
    last = [(torch.uint8, 4 * 3 * 8 * 8), (torch.int64, 4), (torch.int64, 4)]
    assert crossings.seen == found + drawn + statistics + again + last + statistics
    for each in (batch, trained, scored):
        assert {each.inputs.device, each.labels.device, each.unit_ids.device} == {there}
        assert each.inputs.dtype == torch.float32
    assert batch.inputs.shape == (3, 3, 8, 8)


def test_a_byte_is_normalised_as_ever():
    """To the bit what dividing by the number 255 gives in host memory."""
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    statistics = ChannelStatistics.of_bytes((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
    mean, std = (torch.tensor(each)[:, None, None] for each in (statistics.mean, statistics.std))
    assert torch.equal(statistics.normalised(every), (every.float() / 255 - mean) / std)
