"""Runs on images: shuffled and augmented batches, accuracies, and the classifier that a run saves."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from PIL import Image

from cnas.data.base import OrderedBatches
from cnas.data.image_batches import Augment, ImageBatches
from cnas.data.image_folder import passed_over_line
from cnas.data.image_set import ImageSet
from cnas.data.images import ImageData, load_images, read_evaluation
from cnas.errors import UserError
from cnas.hub.artifacts import export_classifier
from cnas.reports.analyses import write_misclassified
from cnas.runs.config import RunConfig
from cnas.runs.result import RunResult
from cnas.runs.task import RetrainResult, SampleView, SearchData, Task, read_benchmark
from cnas.training.evaluate import classify, probed
from cnas.training.step_graphs import StepGraphs

RANKED_ON = 128
"""Images on which every architecture of a benchmark's fixed set is scored."""
EVALUATION_BATCH = 512
"""Images in a batch of a measurement, as in the code of NATS-Bench."""


@dataclass(frozen=True, eq=False)
class ImageTask(Task):
    """A run on images.

    Args:
        config: of the run, with the number of classes and of channels filled in.
        data: the images.
        benchmark: in which architectures are looked up; None where no table was given.
        cut: fields of batches that were larger than the data, and what ``config`` has instead.
    """

    data: ImageData
    cut: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, config: RunConfig, *, data: Any = None, eval_data: Any = None, tokenizer: Any = None) -> ImageTask:
        """Read the images, and the table where there is one; the arguments are those of `cnas.runs.task.load_task`.

        Raises:
            UserError: one of them cannot be used, or the space is none of image classifiers.
        """
        table = read_benchmark(config)
        if tokenizer is not None:
            raise UserError(f"tokenizer must be none for images, got {type(tokenizer).__name__}")
        assert config.images is not None
        images = load_images(config.data if data is None else data, config.images, eval_dataset=eval_data)
        if data is not None:
            config = replace(config, data=images.name)
        space = replace(config.space, classes=len(images.classes), image_channels=images.train.shape[0])  # type: ignore[type-var]
        config, cut = _fitted(replace(config, space=space), images)
        return cls(config, images, table, cut)

    def dataset(self) -> dict[str, Any]:
        """See `Task.dataset`; what was left out, and batches that were cut, as well."""
        also = {"passed_over": self.data.passed_over, "cut": self.cut}
        return super().dataset() | {name: dict(found) for name, found in also.items() if found}

    def remarks(self) -> list[str]:
        """What lies in the folder and is not read, and which batches were cut to the data."""
        fields = ", ".join(f"{name} is {size}" for name, size in self.cut.items())
        cut = f"batches are cut to the images there are: {fields}" if fields else ""
        return [line for line in (passed_over_line(self.data.passed_over), cut, *super().remarks()) if line]

    def check(self, processes: int) -> None:
        """See `Task.check`; a batch may also be cut into parts, or too small for the norms.

        Raises:
            UserError: a field does not fit the images, the processes or the space.
        """
        try:
            super().check(processes)
        except UserError as problem:
            if any(str(problem).startswith(f"{name} ") for name in self.cut):
                raise UserError(f"{problem}: there are no more images") from problem
            raise
        unit = self.config.curriculum.unit if self.config.curriculum else "sample"
        if unit != "sample":
            raise UserError(f"curriculum.unit must be sample for images, got {unit!r}")
        if self.config.retrain.num_train_epochs:
            self.config.retrain.check_whole_batches("retrain.")
        elif self.config.architecture is not None and self.benchmark is None:
            raise UserError(
                "retrain.num_train_epochs must be at least 1 for a given architecture, got 0: there is no table that "
                "knows what it is worth"
            )

    def search_data(self) -> SearchData:
        """Training images, those on which architectures are compared, and augmented ones of these for their steps."""
        images, loop = self.data, self.config.trainer
        return SearchData(
            train=self._batches(images.search, loop.global_batch_size, "search/train", images.augment),
            valid=self.valid_batches(),
            arch=self._batches(images.validation, loop.global_batch_size, "search/arch", images.augment),
        )

    def read(self, data: Any) -> ImageSet:
        """See `Task.read`."""
        assert self.config.images is not None
        return read_evaluation(data, self.config.images, self.data)

    def evaluation(self, data: Any = None) -> ImageBatches:
        """See `Task.evaluation`."""
        return self._in_order(self.data.validation if data is None else data)

    def valid_batches(self, data: Any = None) -> ImageBatches:
        """See `Task.valid_batches`."""
        images = self.data.validation if data is None else data
        return self._batches(images, self.config.trainer.eval_batch_size, "search/valid")

    def ranking_batches(self) -> tuple[ImageBatches, int]:
        """See `Task.ranking_batches`: one batch of validation images, the same for all architectures."""
        return self._batches(self.data.validation, RANKED_ON, "rank"), 0

    def _batches(
        self, images: ImageSet, batch_size: int, stream: str, augment: Augment | None = None, *, shuffle: bool = True
    ) -> ImageBatches:
        return ImageBatches(
            images,
            min(batch_size, len(images)),
            seed=self.config.seed,
            stream=stream,
            statistics=self.data.statistics,
            augment=augment,
            shuffle=shuffle,
        )

    def _in_order(self, images: ImageSet) -> ImageBatches:
        return self._batches(images, EVALUATION_BATCH, "measure", shuffle=False)

    def training(self) -> tuple[OrderedBatches, Callable[..., dict[str, float]]]:
        """All training images, augmented; loss and accuracy in percent on those of validation."""
        images = self.data
        train = self._batches(images.train, self.config.retrain.global_batch_size, "retrain/train", images.augment)
        probe = self._in_order(images.validation)
        return train, lambda network, **metrics: probed(network, probe, **metrics)

    def measure(
        self,
        network: Any,
        graphs: StepGraphs | None = None,  # noqa: ARG002
        *,
        valid_only: bool = False,
    ) -> RetrainResult:
        """Accuracies in percent on all images of validation and test; which images of every split it gets right."""
        images = self.data
        splits = {"train": images.train, "validation": images.validation, "test": images.test}
        correct = {
            name: classify(network, self._in_order(split))[1]
            for name, split in splits.items()
            if split is not None and (name == "validation" or not valid_only)
        }
        names = {"valid": "validation", "test": "test"}
        accuracies = {
            f"{name}_accuracy": 100 * float(correct[split].double().mean())
            for name, split in names.items()
            if split in correct
        }
        return RetrainResult(network, accuracies, correct)

    def export(self, folder: Path, result: RunResult, trained: RetrainResult | None) -> None:
        """The classifier with its image processor, card and pictures; which images it gets wrong."""
        images, space, paper = self.data, self.config.space, self.config.search.algorithm.paper
        _, rows, columns = images.train.shape
        network = trained.network if trained else None
        inputs = {"image_mean": images.statistics.mean, "image_std": images.statistics.std}
        size = {"height": rows, "width": columns}
        export_classifier(
            folder, result, network, space=space, paper=paper, classes=images.classes, size=size, **inputs
        )
        if trained is not None:
            missed = {name: (~correct_N).nonzero().flatten().tolist() for name, correct_N in trained.correct.items()}
            write_misclassified(folder, {name: (len(trained.correct[name]), wrong) for name, wrong in missed.items()})

    def sample_views(self, units: Set[int]) -> dict[int, SampleView]:
        """The images themselves, with the names of their classes."""
        search, names = self.data.search, self.data.classes
        pixels = {unit: search.images[unit].permute(1, 2, 0).numpy() for unit in units}
        return {unit: SampleView(names[int(search.labels[unit])], picture=_png(pixels[unit])) for unit in units}


def _fitted(config: RunConfig, images: ImageData) -> tuple[RunConfig, dict[str, int]]:
    """The configuration with no batch larger than its split, and which fields that changed.

    It depends on the data alone, so that a resumed run and any number of processes have the same batches.
    """
    limits: dict[str, ImageSet] = {}
    if config.architecture is None:
        limits = {"trainer.global_batch_size": images.search, "trainer.eval_batch_size": images.validation}
    if config.retrain.num_train_epochs:
        limits["retrain.global_batch_size"] = images.train
    cut = {name: len(split) for name, split in limits.items() if attrgetter(name)(config) > len(split)}
    for dotted, size in cut.items():
        part, _, name = dotted.partition(".")
        config = replace(config, **{part: replace(getattr(config, part), **{name: size})})
    return config, cut


def _png(pixels: Any) -> bytes:
    """A PNG file of uint8 [H, W, C]."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
