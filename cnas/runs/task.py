"""The data of a run, and what a run does differently for text and for images: the pipeline only knows a `Task`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from cnas.benchmarks import TabularBenchmark, baselines, load_table, supernet_ranking
from cnas.data.base import OrderedBatches
from cnas.data.images import ImageData
from cnas.data.paths import named
from cnas.data.text import TextData
from cnas.errors import UserError
from cnas.runs.checks import check_relaxation, check_start, warmup_remark
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.runs.rankings import Ranker
from cnas.runs.result import RunResult
from cnas.training.retrain import retrain_curriculum
from cnas.training.search_parts import check_candidates, check_optimizer_fits, set_up
from cnas.training.step_graphs import StepGraphs
from cnas.types import Architecture


@dataclass(frozen=True)
class SearchData:
    """The batches of a search.

    Args:
        train: the weights', and the curriculum's units.
        valid: on which architectures are compared.
        arch: of architecture steps, where they are others than ``valid``.
    """

    train: OrderedBatches
    valid: OrderedBatches
    arch: OrderedBatches | None = None


class SampleView(NamedTuple):
    """One unit of the training data as a person sees it.

    Args:
        text: its words, or its label.
        marked: the word that is meant, where ``text`` is what comes before it.
        picture: a PNG file, where the unit is an image.
    """

    text: str
    marked: str = ""
    picture: bytes = b""


class RetrainResult(NamedTuple):
    """A network that was trained, and its measurements.

    Args:
        network: with its best weights.
        figures: of the training and of the measurement, as ``result.json`` has them under ``retrain``.
        correct: by split, which units it classifies rightly, bool [N]; empty where nothing is classified.
    """

    network: Any
    figures: dict[str, Any]
    correct: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """A run's configuration with its data.

    Args:
        config: of the run, with the sizes filled in that the data has.
        data: what was read.
        benchmark: in which architectures are looked up; None where no table was given.
    """

    config: RunConfig
    data: TextData | ImageData
    benchmark: TabularBenchmark | None = None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the data: equal data has the same one, wherever it is."""
        return self.data.fingerprint

    def dataset(self) -> dict[str, Any]:
        """Name, fingerprint, splits, and how much of each is used, as ``result.json`` has them."""
        data = self.data
        splits = {name: getattr(data, name) for name in ("search", "train", "validation", "test")}
        used = {name: len(split) for name, split in splits.items() if split is not None}
        return {"name": data.name, "fingerprint": self.fingerprint, "splits": data.splits, "used": used}

    def remarks(self) -> list[str]:
        """What a user should know before the run starts, a line each."""
        config, found = self.config, list[str]()
        if config.trainer.warmup_steps and config.architecture is None:
            found += warmup_remark("trainer.", config.trainer, self.search_data().train)
        if config.retrain.warmup_steps and config.retrain.num_train_epochs:
            found += warmup_remark("retrain.", config.retrain, self.training()[0])
        return found

    def check(self, processes: int) -> None:
        """Raise what a later part of the run would raise, before anything is trained or written.

        Args:
            processes: how many share a batch.

        Raises:
            UserError: a field does not fit the data, the processes or the space.
        """
        config = self.config
        if config.architecture is None:
            self._check_search(processes)
        else:
            config.space.parse(config.architecture)
        if config.retrain.num_train_epochs:
            config.retrain.check_processes(processes, "retrain.")
            check_start(config)
            if config.retrain.curriculum is not None:
                retrain_curriculum(config.retrain.curriculum, words=config.images is None)

    def _check_search(self, processes: int) -> None:
        config = self.config
        config.trainer.check_processes(processes, "trainer.")
        check_relaxation(config.search, config.space)
        check_optimizer_fits(config.search, config.trainer)
        algorithm = config.search.build(config.space.measured(None), config.seed)
        if config.space.batch_statistics:
            config.trainer.check_whole_batches("trainer.", "supernet")
        if config.curriculum:
            check_candidates(config.curriculum, algorithm, config.trainer)
            if config.curriculum.needs_words:
                set_up(config.curriculum, self.search_data().train, config.seed)

    @abstractmethod
    def search_data(self) -> SearchData:
        """The batches of the search."""

    @abstractmethod
    def training(self) -> tuple[OrderedBatches, Callable[..., dict[str, float]]]:
        """Training batches of the derived network, and its figures after an epoch, ``valid_loss`` among them.

        The latter take a network, ``compute_metrics`` and ``preprocess_logits_for_metrics``, see `probed`.
        """

    @abstractmethod
    def measure(self, network: Any, graphs: StepGraphs | None = None, *, valid_only: bool = False) -> RetrainResult:
        """The measurements of a trained network; their names begin with ``valid_`` and ``test_``.

        Args:
            network: on its device.
            graphs: record and replay what can be.
            valid_only: on validation data alone.
        """

    @abstractmethod
    def read(self, data: Any) -> Any:
        """Other data to evaluate on, read as the run's own: a name, a path, a `Dataset` or a `DatasetDict`.

        Raises:
            UserError: it cannot be read, or does not fit the run.
        """

    @abstractmethod
    def evaluation(self, data: Any = None) -> OrderedBatches:
        """The batches on which a trained network is measured: every token or image once.

        Args:
            data: what `read` gave; None is the validation split.
        """

    @abstractmethod
    def valid_batches(self, data: Any = None) -> OrderedBatches:
        """The batches on which a search compares architectures, of ``data`` (what `read` gave) where it is given."""

    @abstractmethod
    def ranking_batches(self) -> tuple[OrderedBatches, int | None]:
        """The validation batches on which a benchmark's fixed set is scored, and which one is; None are all."""

    def ranker(self, home: RunFolder) -> Ranker | None:
        """What scores the benchmark's fixed set during a search; None without a table.

        Args:
            home: of the run.
        """
        if self.benchmark is None:
            return None
        fixed, (batches, index) = self.benchmark.fixed_set(), self.ranking_batches()
        return Ranker(self.config.space, fixed, batches, index, home, self.config.rank_every)

    def look_up(self, architecture: Architecture, losses: Mapping[str, float]) -> dict[str, Any] | None:
        """What the benchmark says of the architecture, and what costs nothing to reach; None without a table.

        Values are those on the data set of the run's name, or else on the table's first.

        Args:
            architecture: that was found.
            losses: of architectures with shared weights, by their strings, to be ranked as well.
        """
        if (table := self.benchmark) is None:
            return None
        # Data of the Hub is called owner/name.
        name = self.data.name.rpartition("/")[2].replace("-", "_").lower()
        dataset = name if name in table.data_sets else table.data_sets[0]
        known, nothing = architecture in table, {"dataset": dataset, "source": table.source}
        record = table.query(architecture).on(dataset) if known else nothing
        if len(losses) > 1:
            ranking = asdict(supernet_ranking(losses, table, dataset))
            record |= {("ranked" if name == "architectures" else name): value for name, value in ranking.items()}
        seen = self.config.trainer.num_train_epochs * len(self.data.search)
        return record | {"baselines": [asdict(each) for each in baselines(table, dataset, seen)]}

    @abstractmethod
    def export(self, folder: Path, result: RunResult, trained: RetrainResult | None) -> None:
        """Write model, card and pictures into the run folder; ``trained`` is None where nothing was trained."""

    @abstractmethod
    def sample_views(self, units: Set[int]) -> dict[int, SampleView]:
        """Units of the search's training data, by number."""


def read_benchmark(config: RunConfig) -> TabularBenchmark | None:
    """The table of a run; None where none was given.

    Raises:
        UserError: it cannot be read, or its architectures are not of the run's space.
    """
    if config.table is None:
        return None
    table = load_table(named(config.table) or config.table)
    if not table.covers(config.space):
        raise UserError(f"table {Path(config.table).name} does not cover the space {config.space.name}")
    return table


def load_task(config: RunConfig, *, data: Any = None, eval_data: Any = None, tokenizer: Any = None) -> Task:
    """Read the data of a run.

    Args:
        config: of the run; where it has ``images`` the data are images, else text.
        data: in place of what the configuration names: a name, a path, a `datasets.Dataset` or a `DatasetDict`.
        eval_data: what is evaluated on, where ``data`` has no validation split.
        tokenizer: a fast tokenizer for text, in place of the one of the configuration.

    Raises:
        UserError: the data cannot be used, or is out of reach.
    """
    # Both are tasks, so they import this file.
    from cnas.runs.images import ImageTask
    from cnas.runs.text import TextTask

    if isinstance(data, str):
        config, data = replace(config, data=data), None
    if config.images is None:
        return TextTask.load(config, data=data, eval_data=eval_data, tokenizer=tokenizer)
    return ImageTask.load(config, data=data, eval_data=eval_data, tokenizer=tokenizer)
