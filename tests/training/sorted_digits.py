"""A search on digits that are sorted by class, whose judges are the cells that it trains.

Legend: N images, U units, K judges.
"""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator

from cnas.algorithms.base import SearchAlgorithm
from cnas.curricula import Progress, Uncertainty
from cnas.data import ImageBatches, ImageConfig, ImageSet, load_images
from cnas.errors import Stopped
from cnas.spaces import NatsSpace
from cnas.training import RunContext, SearchArguments, SearchLoop, SearchParts

CELLS = (
    "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|",
    "|nor_conv_1x1~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|skip_connect~1|nor_conv_3x3~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|",
)
CONFIG = Uncertainty(num_candidates=len(CELLS), unit="sample")
COUNT, BATCH, EPOCHS = 320, 32, 5


class Given(SearchAlgorithm):
    """Trains the given cells in turns; they are the judges too."""

    name = "given"

    def __init__(self, space):
        super().__init__(space)
        self.cells = [space.parse(text) for text in CELLS]

    def route(self, generator):
        return self.space.routing(self.cells[int(torch.randint(len(CELLS), (1,), generator=generator))])

    def candidates(self, count, generator):
        return self.cells[:count]

    def derive(self, context):
        return self.cells[0], {}


def ordered(images: ImageSet, order_N: torch.Tensor) -> ImageSet:
    """The same images in another order."""
    return ImageSet(images.images[order_N], images.labels[order_N])


class Sorted:
    """The search in ``folder``, and what its judges would say of the same images in other orders."""

    def __init__(self, accelerator: Accelerator, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        data = load_images("digits", ImageConfig(search_images=COUNT, valid_images=64))
        self.statistics = data.statistics
        self.images = ordered(data.search, data.search.labels.argsort(stable=True))
        self.context = RunContext(accelerator, folder, 1, "same")
        space = NatsSpace(channels=4, cells=1, classes=10, image_channels=1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            supernet = space.build_supernet()
        batches = self.batches(self.images, "search/train", shuffle=True)
        valid = self.batches(data.validation, "search/valid", shuffle=True)
        config = SearchArguments(
            num_train_epochs=EPOCHS,
            global_batch_size=BATCH,
            eval_batch_size=BATCH,
            learning_rate=0.1,
            momentum=0.9,
            max_grad_norm=1.0,
        )
        parts = SearchParts(space, supernet, Given(space), CONFIG, batches, valid)
        self.trainer = SearchLoop(parts, config, self.context)
        self.shuffled: list[torch.Tensor] = []
        self._original = self.trainer.curriculum.update
        # Frozen, as all configurations are.
        object.__setattr__(self.trainer.curriculum, "update", self._update)

    def batches(self, images: ImageSet, stream: str, *, shuffle: bool = False) -> ImageBatches:
        return ImageBatches(images, BATCH, seed=1, stream=stream, statistics=self.statistics, shuffle=shuffle)

    def run(self, stop_at: int | None = None) -> torch.Tensor:
        """v as the last refresh leaves it, or as it is where the run was stopped."""
        train_step = self.trainer.train_step

        def step(index: int) -> bool:
            if self.trainer.progress.step == stop_at:
                self.context.stop.request("the test")
            return train_step(index)

        self.trainer.train_step = step
        try:
            self.trainer.run()
            assert stop_at is None
        except Stopped:
            assert stop_at is not None
        return self.trainer.curriculum.v.clone()

    def _update(self, ids_U: torch.Tensor, losses_KU: torch.Tensor, progress: Progress) -> int:
        """At the last refresh, with the weights as they are, v of the images in two drawn orders as well."""
        left_out = self._original(ids_U, losses_KU, progress)
        if self.trainer.progress.epoch == EPOCHS - 2:
            orders = [torch.randperm(COUNT, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
            self.shuffled = [self._weights(order_N, progress) for order_N in orders]
        return left_out

    def _weights(self, order_N: torch.Tensor, progress: Progress) -> torch.Tensor:
        other = CONFIG.setup(COUNT)
        batches = self.batches(ordered(self.images, order_N), "as they come")
        other.update(*self.trainer.scorer.units(self.trainer.algorithm.cells, batches, lambda: None), progress)
        v = torch.empty(COUNT)
        v[order_N] = other.v
        return v


def run_process(out: Path, world: int) -> int:
    """One process of ``world``; the main one leaves v, sorted and in two orders."""
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == world == torch.distributed.get_world_size()
    run = Sorted(accelerator, out / "run")
    v = run.run()
    if accelerator.is_main_process:
        torch.save([v, *run.shuffled], out / "weights.pt")
    accelerator.end_training()
    return 0
