"""Runs that differ in the seed alone belong together, and so do cells that were given to the same training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnas.errors import UserError
from cnas.reports.comparison.runs import FinishedRun, Measure
from cnas.runs.folder import scalars
from cnas.spaces import part_of

IRRELEVANT = (
    "version",
    "recipe",
    "preset",
    "data",
    "table",
    "images.split_file",
    "trainer.seed",
    "trainer.report_to",
    "trainer.logging_dir",
    *(f"{loop}.{field}" for loop in ("trainer", "retrain") for field in ("save_steps", "save_total_limit")),
)
"""Fields in which two runs of one experiment may differ; data goes by its fingerprint, which a split file
is part of, a table by its name."""
TRAINING = (
    "text.vocab_size",
    "text.length",
    "text.variable_length",
    "images.flip",
    "images.pad",
    "images.cutout",
    "trainer.bf16",
    "trainer.fp16",
    "trainer.tf32",
)
"""What the training of a cell depends on beside ``retrain.*`` and ``network.*``."""
LISTED = 3
"""So many of the fields in which two groups differ go into their labels."""


@dataclass(frozen=True)
class Summary:
    """Some numbers in short.

    Args:
        mean: of them.
        std: their sample standard deviation (n − 1 in the denominator); None of a single number.
        n: how many they are.
    """

    mean: float
    std: float | None
    n: int

    @property
    def standard_error(self) -> float | None:
        """How well the mean is known: std / √n; None of a single number."""
        return None if self.std is None else self.std / math.sqrt(self.n)


def summarize(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation.

    Raises:
        ValueError: there are no numbers.

    Example:
        >>> summarize([1.0, 3.0])
        Summary(mean=2.0, std=1.4142135623730951, n=2)
        >>> summarize([5.0]).std is None
        True
    """
    if not values:
        raise ValueError("values must hold at least one number")
    return Summary(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def paired(left: Mapping[int, float], right: Mapping[int, float]) -> tuple[tuple[int, ...], Summary | None]:
    """The differences ``right - left`` over the keys both have.

    Args:
        left: by seed.
        right: by seed.

    Returns:
        (the common seeds in ascending order, the differences in short or None where no seed is common).

    Example:
        >>> paired({1: 10.0, 2: 12.0, 3: 9.0}, {1: 9.0, 2: 11.0, 4: 0.0})
        ((1, 2), Summary(mean=-1.0, std=0.0, n=2))
    """
    seeds = tuple(sorted(left.keys() & right.keys()))
    return seeds, summarize([right[seed] - left[seed] for seed in seeds]) if seeds else None


@dataclass(frozen=True)
class Group:
    """Runs whose mean means something.

    Args:
        label: what they are called in tables.
        runs: at least one.
        random: their cells were drawn at random, to compare found ones with.
    """

    label: str
    runs: tuple[FinishedRun, ...]
    random: bool = False

    @property
    def searched(self) -> bool:
        """Whether their cells were searched for."""
        return self.runs[0].searched

    @property
    def space(self) -> str:
        """The name of the search space."""
        return self.runs[0].result.space

    @property
    def part(self) -> str:
        """What is searched there: a cell or an architecture."""
        return part_of(self.space)

    @property
    def seeds(self) -> list[int]:
        """Those of the runs, ascending, each once."""
        return sorted({run.result.seed for run in self.runs})

    def values(self, measure: Measure) -> list[float]:
        """A figure of those runs that have it."""
        return [run.figures[measure] for run in self.runs if measure in run.figures]

    def summary(self, measure: Measure) -> Summary | None:
        """A figure in short; None where no run has it."""
        values = self.values(measure)
        return summarize(values) if values else None

    def by_seed(self, measure: Measure) -> dict[int, float]:
        """A figure by the seed of the runs that have it."""
        return {run.result.seed: run.figures[measure] for run in self.runs if measure in run.figures}


def group_runs(runs: Sequence[FinishedRun], random: Collection[FinishedRun] = ()) -> list[Group]:
    """Group runs, in the order in which the first of each group comes; random cells last.

    Args:
        runs: the searched and the given ones.
        random: runs whose given cells were drawn at random.

    Raises:
        UserError: two runs are the same experiment with the same seed, or a random one was searched.
    """
    for run in random:
        if run.searched:
            raise UserError(f"run {run.folder} was searched; random cells are runs with a given --architecture")
    found: dict[Any, Group] = {}
    for run in [*runs, *random]:
        is_random = any(run is other for other in random)
        key = (is_random, tuple(sorted(identity(run).items(), key=lambda pair: pair[0])))
        group = found.setdefault(key, Group(_label(run, is_random), (), is_random))
        found[key] = replace(group, runs=(*group.runs, run))
    for group in found.values():
        _check_repeated(group)
    return _distinct(list(found.values()))


def identity(run: FinishedRun) -> dict[str, str]:
    """All that makes two runs one experiment, whatever their seeds: configuration, data, and how the cell is measured.

    Of a run with a given cell only what that cell's training depends on; the cell itself does not count.
    """
    config = {name: _text(value) for name, value in scalars(dict(run.config)).items()}
    result, table = run.result, run.result.benchmark
    data = {f"used.{name}": str(size) for name, size in result.dataset.used.items()}
    data |= {"data": result.dataset.fingerprint, "metric": result.metric.name, "tokenizer": result.dataset.tokenizer}
    data |= {"benchmark_metrics": f"{table.dataset} in {table.source}" if table else "none"}
    if not run.searched:
        kept = {name: value for name, value in config.items() if name in TRAINING or _is_training(name)}
        return kept | {name: value for name, value in data.items() if name != "used.search"} | {"space": result.space}
    kept = {name: value for name, value in config.items() if name not in IRRELEVANT}
    return (kept if result.curriculum else without_curriculum(kept)) | data


def without_curriculum(fields: Mapping[str, str]) -> dict[str, str]:
    """`identity` without the settings of the curriculum."""
    return {name: value for name, value in fields.items() if name.split(".")[0] != "curriculum"}


def _is_training(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in {"retrain", "network"} and name not in IRRELEVANT


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _label(run: FinishedRun, random: bool) -> str:
    result = run.result
    if not run.searched:
        return f"{'random' if random else 'given'} {part_of(result.space)}s of {result.space}"
    how = "plain" if result.curriculum is None else result.curriculum.label
    return f"{result.algorithm or 'unnamed'} on {result.space}, {how}"


def _check_repeated(group: Group) -> None:
    seen: dict[Any, FinishedRun] = {}
    for run in group.runs:
        seed = run.result.seed
        key = seed if run.searched else (seed, run.result.architecture.string)
        if key in seen:
            raise UserError(f"runs {seen[key].folder} and {run.folder} are the same experiment with seed {seed}")
        seen[key] = run


def _distinct(groups: list[Group]) -> list[Group]:
    """The groups with distinct labels: those of equal labels get the fields in which they differ."""
    alike: dict[str, list[Group]] = {}
    for group in groups:
        alike.setdefault(group.label, []).append(group)
    return [_with_differences(group, alike[group.label]) for group in groups]


def _with_differences(group: Group, alike: Sequence[Group]) -> Group:
    own, others = identity(group.runs[0]), [identity(other.runs[0]) for other in alike]
    names = sorted({name for fields in others for name in fields})
    differ = [name for name in names if len({fields.get(name) for fields in others}) > 1][:LISTED]
    more = ", ".join(f"{name} {own.get(name, 'none')}" for name in differ)
    return replace(group, label=f"{group.label}, {more}") if more else group
