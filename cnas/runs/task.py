"""What a run does in a way of its own for each kind of data: a task, which the pipeline asks and never looks into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.runs.config import RunConfig
from cnas.runs.result import RunResult
from cnas.types import Architecture, Paper


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
    """A network that was trained from new weights, and what it was found to be worth.

    Args:
        network: with its best weights.
        figures: of the training and of the measurement, as ``result.json`` has them under ``retrain``.
        correct: by split, which units it classifies rightly, bool [N]; empty where nothing is classified.
    """

    network: Any
    figures: dict[str, Any]
    correct: Mapping[str, Tensor] = MappingProxyType({})


class Task(Protocol):
    """A run's data and what belongs to its kind."""

    @property
    def config(self) -> RunConfig:
        """Of the run, with the sizes filled in that the data has."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the data."""
        ...

    def dataset(self) -> dict[str, Any]:
        """What ``result.json`` says of the data."""
        ...

    def remarks(self) -> list[str]:
        """What a user should know about the data before it is worked on, a line each."""
        ...

    def check(self, processes: int) -> None:
        """Raise what a later part of the run would raise.

        Raises:
            UserError: a field does not fit the data, the processes or the space.
        """
        ...

    def search_data(self) -> SearchData:
        """The batches of the search."""
        ...

    def training(self) -> tuple[OrderedBatches, Callable[[Any], Mapping[str, float]]]:
        """Training batches of the derived network, and its figures after an epoch, ``valid_loss`` among them."""
        ...

    def measure(self, network: Any) -> RetrainResult:
        """What a trained network is worth; the names of its figures begin with ``valid_`` and ``test_``."""
        ...

    @property
    def has_benchmark(self) -> bool:
        """Whether architectures can be looked up."""
        ...

    def look_up(self, architecture: Architecture, losses: Mapping[str, float]) -> dict[str, Any] | None:
        """What a benchmark says of the architecture; None where none was asked for.

        Args:
            architecture: that was found.
            losses: of architectures with shared weights, by their strings; how these rank is told too.
        """
        ...

    def export(self, folder: Path, result: RunResult, trained: RetrainResult | None, paper: Paper) -> None:
        """Write model, card and pictures into the run folder; ``trained`` is None where nothing was trained."""
        ...

    def sample_views(self, units: Set[int]) -> dict[int, SampleView]:
        """Units of the search's training data, by number."""
        ...
