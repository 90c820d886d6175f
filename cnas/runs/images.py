"""Runs on images: shuffled and augmented batches, accuracies, the classifier that is left behind."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from cnas.reports.analyses import write_misclassified
from cnas.benchmarks import NatsTable, supernet_ranking
from cnas.data._passed_over import passed_over_line
from cnas.data.augment import Augment
from cnas.data.base import OrderedBatches
from cnas.data.image_batches import ImageBatches
from cnas.data.image_set import ImageSet
from cnas.data.images import ImageData, load_images
from cnas.data.paths import named
from cnas.errors import UserError
from cnas.hub.artifacts import ImageInputs, export_classifier
from cnas.runs.checks import check_search, check_training
from cnas.runs.config import RunConfig
from cnas.runs.task import SearchData, SampleView, RetrainResult
from cnas.training.evaluate import classify
from cnas.types import Architecture, Paper

EVALUATION_BATCH = 512
"""Images in a batch of a measurement, as in the code of NATS-Bench."""


@dataclass(frozen=True, eq=False)
class ImageTask:
    """A run on images.

    Args:
        config: of the run, with the number of classes and of channels filled in.
        images: the data.
        benchmark: where architectures are looked up; None where no table was given.
        cut: fields of batches that were larger than the data, and what ``config`` has instead.
    """

    config: RunConfig
    images: ImageData
    benchmark: NatsTable | None = None
    cut: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, config: RunConfig) -> ImageTask:
        """Read the images, and the table where there is one.

        Raises:
            UserError: one of them cannot be used, or the space is none of image classifiers.
        """
        file = config.options.table
        table = None if file is None else NatsTable.load(named(file) or file)
        if table is not None and not table.covers(config.space):
            raise UserError(
                f"table {Path(str(config.options.table)).name} does not cover the space {config.space.name}"
            )
        assert config.images is not None
        images = load_images(config.options.data, config.images)
        space = replace(config.space, classes=len(images.classes), image_channels=images.train.shape[0])  # type: ignore[type-var]
        fitted, cut = _fitted(replace(config, space=space), images)
        return cls(fitted, images, table, cut)

    @property
    def fingerprint(self) -> str:
        """Of the images as they are divided."""
        return self.images.fingerprint

    def dataset(self) -> dict[str, Any]:
        """Name, fingerprint, splits, how many images of each are used; what was left out, and batches that were cut."""
        images = self.images
        used = {name: len(getattr(images, name)) for name in ("search", "train", "validation", "test")}
        known = {"name": images.name, "fingerprint": images.fingerprint, "splits": images.splits, "used": used}
        also = {"passed_over": images.passed_over, "cut": self.cut}
        return known | {name: dict(found) for name, found in also.items() if found}

    def remarks(self) -> list[str]:
        """What lies in the folder and is not read, and which batches were cut to the data."""
        fields = ", ".join(f"{name} is {size}" for name, size in self.cut.items())
        cut = f"batches are cut to the images there are: {fields}" if fields else ""
        return [line for line in (passed_over_line(self.images.passed_over), cut) if line]

    def check(self, processes: int) -> None:
        """Raise what a later part of the run would raise.

        Raises:
            UserError: a batch is cut into parts, or too small for the norms or the processes; K is above the number of
                architectures, or the architecture to train is none of the space.
        """
        with self._cut_named():
            check_search(self.config, processes)
            check_training(self.config, processes)
        unit = self.config.curriculum.unit if self.config.curriculum else "sample"
        if unit != "sample":
            raise UserError(f"curriculum.unit must be sample for images, got {unit!r}")
        if self.config.retrain.epochs:
            self.config.retrain.check_whole_batches("retrain.")

    @contextmanager
    def _cut_named(self) -> Iterator[None]:
        """Say of a size that is refused that it is not the one that was asked for."""
        try:
            yield
        except UserError as problem:
            if any(str(problem).startswith(f"{name} ") for name in self.cut):
                raise UserError(f"{problem}: there are no more images") from problem
            raise

    def search_data(self) -> SearchData:
        """Training images, those on which architectures are compared, and augmented ones of these for their steps."""
        images, loop = self.images, self.config.trainer
        return SearchData(
            train=self._batches(images.search, loop.batch_size, "search/train", images.augment),
            valid=self._batches(images.validation, loop.valid_batch_size, "search/valid"),
            arch=self._batches(images.validation, loop.batch_size, "search/arch", images.augment),
        )

    def _batches(
        self, images: ImageSet, batch_size: int, stream: str, augment: Augment | None = None, *, shuffle: bool = True
    ) -> ImageBatches:
        return ImageBatches(
            images,
            min(batch_size, len(images)),
            seed=self.config.options.seed,
            stream=stream,
            statistics=self.images.statistics,
            augment=augment,
            shuffle=shuffle,
        )

    def _in_order(self, images: ImageSet) -> ImageBatches:
        return self._batches(images, EVALUATION_BATCH, "measure", shuffle=False)

    def training(self) -> tuple[OrderedBatches, Callable[[Any], dict[str, float]]]:
        """All training images, augmented; loss and accuracy in percent on those of validation."""
        train = self._batches(self.images.train, self.config.retrain.batch_size, "retrain/train", self.images.augment)
        probe = self._in_order(self.images.validation)

        def validate(network: Any) -> dict[str, float]:
            loss, correct_N = classify(network, probe)
            return {"valid_loss": loss, "valid_accuracy": 100 * float(correct_N.double().mean())}

        return train, validate

    def measure(self, network: Any) -> RetrainResult:
        """Accuracies in percent on all images of validation and test; which images of every split it gets right."""
        images = self.images
        splits = {"train": images.train, "validation": images.validation, "test": images.test}
        correct = {name: classify(network, self._in_order(split))[1] for name, split in splits.items()}
        names = {"valid": "validation", "test": "test"}
        accuracies = {f"{name}_accuracy": 100 * float(correct[split].double().mean()) for name, split in names.items()}
        return RetrainResult(network, accuracies, correct)

    @property
    def has_benchmark(self) -> bool:
        """Whether a table was given."""
        return self.benchmark is not None

    def look_up(self, architecture: Architecture, losses: Mapping[str, float]) -> dict[str, Any] | None:
        """The benchmark's record: rank and regret on the data set of that name, or else on CIFAR-10."""
        if self.benchmark is None:
            return None
        # Data of the Hub is called owner/name.
        name = self.images.name.rpartition("/")[2].replace("-", "_").lower()
        dataset = name if name in self.benchmark.data_sets else "cifar10"
        record = self.benchmark.query(architecture).on(dataset)
        if len(losses) < 2:
            return record
        ranking = supernet_ranking(losses, self.benchmark, dataset)
        return record | {"kendall_tau": ranking.kendall_tau, "ranked": ranking.architectures}

    def export(self, folder: Path, result: Mapping[str, Any], trained: RetrainResult | None, paper: Paper) -> None:
        """The classifier with its image processor, card and pictures; which images it gets wrong."""
        images, space = self.images, self.config.space
        _, rows, columns = images.train.shape
        inputs = ImageInputs(images.classes, images.statistics.mean, images.statistics.std, (rows, columns))
        network = trained.network if trained else None
        export_classifier(folder, result, network, space=space, paper=paper, inputs=inputs)
        if trained is not None:
            missed = {name: (~correct_N).nonzero().flatten().tolist() for name, correct_N in trained.correct.items()}
            write_misclassified(folder, {name: (len(trained.correct[name]), wrong) for name, wrong in missed.items()})

    def sample_views(self, units: Set[int]) -> dict[int, SampleView]:
        """The images themselves, with the names of their classes."""
        search, classes = self.images.search, self.images.classes
        return {
            unit: SampleView(classes[int(search.labels[unit])], picture=_png(search.images[unit].permute(1, 2, 0).numpy()))
            for unit in units
        }


def _fitted(config: RunConfig, images: ImageData) -> tuple[RunConfig, dict[str, int]]:
    """The configuration with no batch larger than its split, and which fields that changed.

    It depends on the data alone, so that a resumed run and any number of processes have the same batches.
    """
    wanted: list[tuple[str, str, ImageSet]] = []
    if config.options.architecture is None:
        wanted += [("trainer", "batch_size", images.search), ("trainer", "valid_batch_size", images.validation)]
    if config.retrain.epochs:
        wanted += [("retrain", "batch_size", images.train)]
    cut: dict[str, int] = {}
    for part, name, split in wanted:
        loop = getattr(config, part)
        if getattr(loop, name) > len(split):
            cut[f"{part}.{name}"] = len(split)
            config = replace(config, **{part: replace(loop, **{name: len(split)})})
    return config, cut


def _png(pixels: Any) -> bytes:
    """A PNG file of uint8 [H, W, C]."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
