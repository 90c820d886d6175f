"""Runs that differ in the seed alone belong together, and so do cells that were given to the same training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnas.errors import UserError
from cnas.reports.comparison.measures import Measure
from cnas.reports.comparison.runs import FinishedRun
from cnas.reports.comparison.statistics import Summary, summarize
from cnas.runs.folder import scalars

IRRELEVANT = (
    "version",
    "recipe",
    "preset",
    "seed",
    "data",
    "table",
    "images.split_file",
    "log_with",
    "trainer.checkpoint_steps",
    "retrain.checkpoint_steps",
)
"""Fields of a configuration that tell no two experiments apart; data goes by its fingerprint, which a split file
is part of, a table by its name."""
TRAINING = (
    "text.vocab_size",
    "text.length",
    "text.variable_length",
    "images.flip",
    "images.pad",
    "images.cutout",
    "mixed_precision",
)
"""What the training of a cell depends on beside ``retrain.*`` and ``network.*``."""
SHOWN = 3
"""So many of the fields in which two groups differ go into their labels."""


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
        return self.runs[0].space

    @property
    def seeds(self) -> list[int]:
        """Those of the runs, ascending, each once."""
        return sorted({run.seed for run in self.runs})

    @property
    def measures(self) -> list[Measure]:
        """What at least one of them has."""
        return list(dict.fromkeys(measure for run in self.runs for measure in run.figures))

    def values(self, measure: Measure) -> list[float]:
        """A figure of those runs that have it."""
        return [run.figures[measure] for run in self.runs if measure in run.figures]

    def summary(self, measure: Measure) -> Summary | None:
        """A figure in short; None where no run has it."""
        values = self.values(measure)
        return summarize(values) if values else None

    def by_seed(self, measure: Measure) -> dict[int, float]:
        """A figure by the seed of the runs that have it."""
        return {run.seed: run.figures[measure] for run in self.runs if measure in run.figures}


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
    """What makes a run the experiment it is, whatever its seed: its configuration, its data, what judges its cell.

    Of a run with a given cell only what that cell's training depends on; the cell itself does not count.
    """
    config = {name: _text(value) for name, value in scalars(dict(run.config)).items()}
    dataset = run.result["dataset"]
    data = {f"used.{name}": str(size) for name, size in dataset["used"].items()} | {"data": dataset["fingerprint"]}
    data |= {"metric": run.metric, "benchmark_metrics": _text(run.benchmark_metrics)}
    if not run.searched:
        kept = {name: value for name, value in config.items() if name in TRAINING or _is_training(name)}
        return kept | {name: value for name, value in data.items() if name != "used.search"} | {"space": run.space}
    kept = {name: value for name, value in config.items() if name not in IRRELEVANT}
    if run.curriculum is None:
        kept = without_curriculum(kept)
    return kept | data


def without_curriculum(fields: Mapping[str, str]) -> dict[str, str]:
    """What is left of `identity` where the data all weighs the same."""
    return {name: value for name, value in fields.items() if name.split(".")[0] != "curriculum"}


def _is_training(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in {"retrain", "network"} and name not in IRRELEVANT


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _label(run: FinishedRun, random: bool) -> str:
    if not run.searched:
        return f"{'random' if random else 'given'} cells of {run.space}"
    curriculum = run.curriculum
    how = "plain" if curriculum is None else f"curriculum, K = {curriculum.get('k', '?')}"
    return f"{run.result['algorithm']} on {run.space}, {how}"


def _check_repeated(group: Group) -> None:
    seen: dict[Any, FinishedRun] = {}
    for run in group.runs:
        key = run.seed if run.searched else (run.seed, run.architecture)
        if key in seen:
            raise UserError(f"runs {seen[key].folder} and {run.folder} are the same experiment with seed {run.seed}")
        seen[key] = run


def _distinct(groups: list[Group]) -> list[Group]:
    """The groups with labels that tell them apart, by the fields in which those of one label differ."""
    alike: dict[str, list[Group]] = {}
    for group in groups:
        alike.setdefault(group.label, []).append(group)
    return [_with_differences(group, alike[group.label]) for group in groups]


def _with_differences(group: Group, alike: Sequence[Group]) -> Group:
    own, others = identity(group.runs[0]), [identity(other.runs[0]) for other in alike]
    names = sorted({name for fields in others for name in fields})
    differ = [name for name in names if len({fields.get(name) for fields in others}) > 1][:SHOWN]
    more = ", ".join(f"{name} {own.get(name, 'none')}" for name in differ)
    return replace(group, label=f"{group.label}, {more}") if more else group
