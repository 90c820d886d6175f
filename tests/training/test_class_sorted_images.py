"""Images sorted by class get the data weights that they get in any other order."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from launching import launch_ranks
from sorted_digits import COUNT, Sorted, ordered, run_process

from cnas.data import load_images
from cnas.runs.images import ImageTask
from cnas.sweeps.grid import Recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "nats_cl.py"
LEAST = 0.85
"""Of Spearman's coefficient. Two drawn orders agree at about 0.9; in the order of the set it is 0.4."""


def spearman(one, other):
    ranks = torch.stack([values.argsort().argsort().double() for values in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


def agrees(v, one, other):
    """Whether v of the sorted images is to those of two drawn orders what these are to one another."""
    assert len({*v.tolist()}) > COUNT / 2
    assert spearman(one, other) > LEAST
    return min(spearman(v, one), spearman(v, other)) >= LEAST


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = Sorted(Accelerator(cpu=True), tmp_path_factory.mktemp("sorted"))
    return run.run(), run.shuffled


def test_weights_of_sorted_images_are_those_of_shuffled_ones(uninterrupted):
    v, (one, other) = uninterrupted
    assert agrees(v, one, other)


def test_a_resumed_search_judges_in_the_same_order(uninterrupted, tmp_path):
    Sorted(Accelerator(cpu=True), tmp_path).run(stop_at=33)
    resumed = Sorted(Accelerator(cpu=True), tmp_path)
    assert resumed.trainer.resume()
    assert torch.equal(resumed.run(), uninterrupted[0])
    assert agrees(uninterrupted[0], *resumed.shuffled)


@pytest.mark.distributed
@pytest.mark.timeout(600)
def test_two_processes_do_too(tmp_path):
    ended = [rank.wait(420.0) for rank in launch_ranks(tmp_path, 2, run_process, tmp_path, 2)]
    assert [each.code for each in ended] == [0, 0], ended[0].err[-2000:]
    assert agrees(*torch.load(tmp_path / "weights.pt"))


def test_no_batch_of_a_search_is_of_one_class():
    (config,) = Recipe.load(RECIPE).rows("smoke").values()
    images = load_images("digits", config.images)
    splits = {name: getattr(images, name) for name in ("search", "train", "validation")}
    by_class = {name: ordered(split, split.labels.argsort(stable=True)) for name, split in splits.items()}
    data = ImageTask(config, replace(images, **by_class)).search_data()
    for batches in (data.train, data.train.at_epoch(1), data.train.scoring_view(), data.valid, data.arch):
        for index in range(len(batches)):
            labels = batches.batch(index, slice(0, batches.rows(index))).labels
            assert len(labels.unique()) > 5
