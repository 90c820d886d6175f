"""``result.json``: what a finished run has found and measured, read, checked and written in one place.

A file of a newer version may have keys that are unknown here: they are kept when a result is loaded and saved again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from cnas.curricula import Uncertainty, known_class
from cnas.errors import UserError
from cnas.runs.benchmark_record import LARGEST, BenchmarkRecord, Measured, Part, Size, Text
from cnas.runs.folder import RunFolder
from cnas.runs.measures import ACCURACY, PER_TOKEN, PERPLEXITY, Metric, Primary
from cnas.training.metrics_log import Count

NAME = "result.json"


class DatasetRecord(Part):
    """The data of a run.

    Attributes:
        name: as it was loaded by.
        fingerprint: of its contents.
        splits: by split, its sizes by unit (``{"tokens": 929589}``) and where it comes from, or one size.
        used: how many units of each split the run used.
        cut: batch sizes that were larger than the data, and what they became.
        passed_over: by reason, how many entries of a folder were not read, and the first of them.
        tokenizer: what cut a text: ``word``, ``bpe:`` and a size, or ``fast:`` and a fingerprint.
    """

    name: Text
    fingerprint: Text
    splits: dict[str, dict[str, int | str] | int] = Field(default_factory=dict)
    used: dict[str, Count] = Field(default_factory=dict)
    cut: dict[str, Count] = Field(default_factory=dict)
    passed_over: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tokenizer: Text = "word"

    def first_part(self, split: str) -> tuple[int, int] | None:
        """(used, size) of a split of which only the beginning was used; None where all of it was, or nobody knows.

        The size of a split is the number of its tokens, or else the largest count it has.
        """
        found, used = self.splits.get(split, 0), self.used.get(split)
        counts = found if isinstance(found, dict) else {"tokens": found}
        sizes = [counts["tokens"]] if "tokens" in counts else counts.values()
        size = max((each for each in sizes if isinstance(each, int)), default=0)
        return (used, size) if used is not None and used < size else None


class CurriculumSettings(Part):
    """How the training data was reweighted, see `cnas.curricula.Curriculum`; ``k`` is ``num_candidates``."""

    name: str | None = None
    k: Count | None = None
    num_candidates: Count | None = None
    refresh: str | None = None
    unit: str | None = None

    @property
    def count(self) -> int | None:
        """K, by either of its names."""
        return self.k if self.num_candidates is None else self.num_candidates

    @property
    def kind(self) -> str:
        """Its name; results that have none are of the paper's."""
        return self.name or Uncertainty.name

    @property
    def active(self) -> bool:
        """Whether it did anything; one that needs no candidates does without K."""
        kind = known_class(self.name)
        return self.count != 0 or bool(kind and kind.min_candidates == 0)

    @property
    def label(self) -> str:
        """What tells it from others in a table: K, and its name where it is not the one of the paper."""
        title = "curriculum" if self.kind == Uncertainty.name else f"curriculum {self.name}"
        return title if self.count == 0 else f"{title}, K = {'?' if self.count is None else self.count}"


class ArchitectureRecord(Part):
    """The architecture that was found or given, in the notation of its space, and what it costs where that is known."""

    space: str | None = None
    string: Text
    costs: dict[str, float] = Field(default_factory=dict)


class PhaseFigures(Part):
    """What search and retraining have in common.

    Attributes:
        epochs: how many were trained.
        steps: how many updates of the weights.
        seconds: of wall-clock time.
        bad_steps: updates that were left out because a loss or gradient was not finite.
        recoveries: how often an epoch was started anew with half the learning rate.
        left_out: scores and architecture updates that were not finite and did not count.
    """

    epochs: Count | None = None
    steps: Count | None = None
    seconds: Size | None = None
    bad_steps: Count = 0
    recoveries: Count = 0
    left_out: Count = 0


class FrontRecord(Part):
    """An architecture that nothing beats in loss and costs, see `cnas.types.FrontPoint`."""

    architecture: Text
    loss: float
    costs: dict[str, float]


class ScoredRecord(FrontRecord):
    """An architecture that was scored with the shared weights, see `cnas.types.ScoredPoint`."""

    random: bool = False


class SearchFigures(PhaseFigures):
    """The search; ``valid`` has measurements on validation data with the shared weights, by name.

    Attributes:
        front: the best trade-offs of loss and costs, the smallest loss first; empty where none were looked for.
        scored: what is known of other sizes; empty where architectures have none.
    """

    valid: dict[str, float | None] = Field(default_factory=dict)
    front: list[FrontRecord] = Field(default_factory=list)
    scored: list[ScoredRecord] = Field(default_factory=list)


class RetrainFigures(PhaseFigures):
    """The training of the found network, and its measurements: null where one is not finite.

    Attributes:
        parameters: of the network.
        averaged_from_step: since when the weights were averaged; null where they were not.
        inherited: what it measured on validation data before its first step, where its weights were those of the
            search; empty where they were new.
    """

    parameters: Count | None = None
    averaged_from_step: Count | None = None
    inherited: dict[str, Measured | None] = Field(default_factory=dict)
    valid_perplexity: Measured | None = None
    test_perplexity: Measured | None = None
    valid_word_perplexity: Measured | None = None
    test_word_perplexity: Measured | None = None
    valid_nats_per_byte: Measured | None = None
    test_nats_per_byte: Measured | None = None
    valid_accuracy: Measured | None = None
    test_accuracy: Measured | None = None


class RunResult(Part):
    """The contents of ``result.json``: what a finished run has found and measured.

    Attributes:
        space: name of the search space.
        seed: of every random draw.
        dataset: the data.
        architecture: what was found, or given.
        recipe: what started the run.
        preset: of the recipe.
        algorithm: name of the search algorithm; None where the architecture was given.
        curriculum: None where every sample had the same weight.
        search: None where the architecture was given.
        retrain: None where the found network was not trained.
        benchmark: None where the architecture was looked up in no table.
        environment: versions and device.
        peak_memory_gb: the most that the last process of the run has held of its accelerator; None without one.

    Example:
        >>> result = RunResult.from_json({
        ...     "space": "enas_rnn", "seed": 1, "architecture": {"string": "0 0 1 1"},
        ...     "dataset": {"name": "ptb_text_only", "fingerprint": "6112987de8310395"},
        ...     "retrain": {"valid_perplexity": 98.1, "test_perplexity": 94.2},
        ... })
        >>> result.metrics("test"), result.primary
        ({'perplexity': 94.2}, Primary(name='perplexity', value=94.2, higher_is_better=False))
    """

    recipe: str | None = None
    preset: str | None = None
    space: Text
    algorithm: str | None = None
    curriculum: CurriculumSettings | None = None
    seed: Annotated[int, Field(gt=-(2**63), lt=2**64)]
    dataset: DatasetRecord
    architecture: ArchitectureRecord
    search: SearchFigures | None = None
    retrain: RetrainFigures | None = None
    benchmark: BenchmarkRecord | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    peak_memory_gb: Size | None = None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The result of a finished run.

        Raises:
            UserError: the run is not finished, or a value is not what a run writes; the message names it.
        """
        found = cls.load_if_finished(folder)
        if found is None:
            raise UserError(f"run {folder} has no {NAME}, so it is not finished; go on with --resume")
        return found

    @classmethod
    def load_if_finished(cls, folder: Path) -> Self | None:
        """The result of a run; None while it is not finished.

        Raises:
            UserError: a value is not what a run writes; the message names it.
        """
        values = RunFolder(folder).read_json(NAME)
        return None if values is None else cls.from_json(values, folder / NAME)

    def save(self, folder: Path) -> None:
        """Write ``result.json`` whole or not at all.

        Raises:
            StorageError: the disk refuses.
        """
        RunFolder(folder).write_json(NAME, self.to_json())

    @property
    def metric(self) -> Metric:
        """What networks of this run's kind are measured by."""
        keys = set() if self.retrain is None else set(self.retrain.model_fields_set)
        keys |= set() if self.search is None else self.search.valid.keys()
        keys |= {"test_accuracy"} if self.benchmark and self.benchmark.test_accuracy is not None else set()
        classifies = any(key.endswith(ACCURACY.name) for key in keys)
        if classifies and not any(key.endswith(PERPLEXITY.name) for key in keys):
            return ACCURACY
        return PERPLEXITY if self.dataset.tokenizer == "word" else PER_TOKEN

    def metrics(self, split: str) -> dict[str, float]:
        """The finite measurements of the retrained network, by the name of the metric.

        Args:
            split: ``valid`` or ``test``.
        """
        prefix = f"{split}_"
        return {
            key.removeprefix(prefix): float(value)
            for key, value in self.retrain or ()
            if key.startswith(prefix) and isinstance(value, int | float) and abs(value) <= LARGEST
        }

    @property
    def measured_on(self) -> str:
        """``test``; ``valid`` where the data has no test split."""
        return "valid" if "validation" in self.dataset.used and "test" not in self.dataset.used else "test"

    @property
    def primary(self) -> Primary | None:
        """The retrained network's metric on `measured_on`, or the table's accuracy; None where both are unknown."""
        name, _, higher = self.metric
        value = self.metrics(self.measured_on).get(name)
        for metric in (ACCURACY, PERPLEXITY) if value is None and self.benchmark is not None else ():
            if (known := getattr(self.benchmark, f"test_{metric.name}")) is not None:
                return Primary(metric.name, known, metric.higher_is_better)
        return None if value is None else Primary(name, value, higher)
