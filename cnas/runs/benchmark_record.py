"""What ``result.json`` has under ``benchmark``, and what its parts are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnas.errors import UserError, wrong_value
from cnas.training.metrics_log import Count

LARGEST = 1e100
"""A measurement above it is as good as infinite: it can be neither averaged nor drawn."""
Size = Annotated[float, Field(ge=0, le=LARGEST)]
Measured = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
Tau = Annotated[float, Field(ge=-1, le=1)]


class Part(BaseModel):
    """Values of the declared types, and whatever else the file has; the values are never converted."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    @classmethod
    def from_json(cls, values: Any, file: Path | str = "result.json") -> Self:
        """Check values and their types; nothing is converted.

        Args:
            values: the contents of the file.
            file: named in messages.

        Raises:
            UserError: a value is not what a run writes; the message has its dotted name, and what is allowed.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as problem:
            raise UserError(f"{file}: {wrong_value(problem, values)}") from problem

    def to_json(self) -> dict[str, Any]:
        """What the file holds of it: the values that were given, ``null`` included, and no defaults."""
        return self.model_dump(exclude_unset=True)


class BaselineRecord(Part):
    """What choosing an architecture in some simple way is worth in the mean, see `cnas.benchmarks.Baseline`."""

    name: Text
    value: Size
    deviation: Size = 0.0
    regret: Size | None = None
    rank: Size | None = None
    percentile: Share | None = None

    @property
    def text(self) -> str:
        """Value, deviation and percentile in short."""
        share = "" if self.percentile is None else f", percentile {self.percentile:.2f}"
        return f"{self.value:.2f} ± {self.deviation:.2f}{share}"


class BenchmarkRecord(Part):
    """The entry of a tabular benchmark for the architecture.

    Attributes:
        dataset: whose values they are.
        test_accuracy: percent; None where the table has perplexities, or not this architecture.
        test_perplexity: likewise.
        rank: among all architectures of the table, 1 is the best.
        regret: how much it is worse than the best one.
        percentile: the share of connected architectures that are worse, from 0 to 1.
        test_accuracies: percent, by data set.
        index: of the architecture in the table.
        source: of the accuracies.
        kendall_tau: how well losses with shared weights rank architectures.
        tau_error: its standard error, as far as it comes of which architectures were ranked.
        within_size: the same among architectures of equal size, or count of an operation, alone.
        top_precision: the share of the best tenth that is in the best tenth by these losses.
        picks: of so many random architectures the best by these losses is picked.
        expected_pick: the mean value of that pick.
        expected_percentile: its mean percentile.
        ranked: how many architectures that was measured on.
        baselines: what choosing without a search is worth, see `cnas.benchmarks.Baseline`.
    """

    dataset: Text
    test_accuracy: Size | None = None
    test_perplexity: Size | None = None
    rank: Count | None = None
    regret: Size | None = None
    percentile: Share | None = None
    test_accuracies: dict[str, Size] = {}
    index: Count | None = None
    source: str | None = None
    kendall_tau: Tau | None = None
    tau_error: Measured | None = None
    within_size: Tau | None = None
    top_precision: Share | None = None
    picks: Count | None = None
    expected_pick: Size | None = None
    expected_percentile: Share | None = None
    ranked: Count | None = None
    baselines: list[BaselineRecord] = []
