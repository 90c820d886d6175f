"""The plan of a study: its question, arms, seeds, gate and rules, all written down before anything runs.

A YAML file, read strictly. Its `Plan.hash` covers what it means, not how it is spelled, and goes into the results.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from cnas import strict_yaml
from cnas.errors import UserError
from cnas.fields import display, from_dict, to_dict
from cnas.runs.config import RunConfig
from cnas.sweeps.grid import Recipe
from cnas.sweeps.grid_file import check_value, named_flags

Endpoint = Literal["kendall_tau", "within_size", "top_precision", "expected_percentile", "percentile"]
"""Figures of a run that an arm can be better in: of all of them, more is better."""
Measure = Literal[Endpoint, "expected_pick"]
DEFAULTS: dict[str, Any] = {
    "flags": {},
    "scoring": "published",
    "gate": None,
    "comparisons": [],
    "levels": [],
    "extension": None,
}
"""What a plan may leave out."""
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What must hold before any other arm is run: these arms rank architectures at all."""

    arms: tuple[str, ...]
    """Each of them must reach it."""
    seeds: tuple[int, ...]
    min_tau: float
    """The least mean of Kendall's τ over the seeds."""
    min_ceiling: float | None
    """Of the table: so well must two trainings of the same architectures agree, or nothing is run."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm against its controls, seed by seed; it helps only if it does against each of them."""

    arm: str
    against: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When something is concluded from a comparison."""

    no_useful_effect_below: float
    """The smallest difference that would be of use: an interval that ends below it shows no useful effect."""
    confidence: float
    """Of the study as a whole; its looks share what is left to error."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A number that the mean of an arm is compared with."""

    measure: Measure
    above: float
    meaning: str
    """What a mean above it shows."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """More seeds, once, for the arms of comparisons that are undecided."""

    seeds: tuple[int, ...]
    alpha: float
    """Chance of error of each of the two looks."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study does and how it concludes.

    Raises:
        UserError: two entries contradict one another; the message names them.
    """

    question: str
    """In one sentence."""
    preset: str
    """Of all runs, with its recipe: ``nats_cl/cpu``."""
    flags: dict
    """Of all runs, by name with underscores."""
    seeds: tuple[int, ...]
    """Every arm is run with each of them, so that arms are paired."""
    arms: dict
    """Flags by the arm's name; ``cost_of`` names the arm whose search takes as long, seed by seed."""
    gate: Gate | None
    """What is run first; None runs all arms."""
    endpoint: Endpoint
    """What is compared, of the last epoch."""
    scoring: Literal["published", "batch_statistics"]
    """How supernets score architectures for it."""
    comparisons: tuple[Comparison, ...]
    """The first is the one that the study is made for; those after it are exploratory, and corrected for their number
    (Holm)."""
    rules: Rules
    """Of the conclusions."""
    levels: tuple[Level, ...]
    """What the means of the arms are compared with."""
    extension: Extension | None
    """None leaves what is undecided."""

    def __post_init__(self) -> None:
        self._check_names()
        self._check_seeds()
        self._check_rules()
        self._check_costs()

    @property
    def hash(self) -> str:
        """The sha256 of what the plan says; comments, spacing and the order of keys do not count."""
        return hashlib.sha256(json.dumps(to_dict(self), sort_keys=True).encode()).hexdigest()

    @property
    def confidence(self) -> float:
        """Of the interval at each look."""
        return self.rules.confidence if self.extension is None else 1 - self.extension.alpha

    @cached_property
    def configs(self) -> dict[str, RunConfig]:
        """The run of every arm, with the first seed; an arm of equal cost has as many epochs as it would have anyway.

        Raises:
            UserError: an unknown flag, a value that is not allowed, or two arms that are one run.
        """
        found: dict[str, RunConfig] = {}
        for name, flags in self.arms.items():
            own = {flag: value for flag, value in flags.items() if flag != "cost_of"}
            try:
                found[name] = Recipe().configure(self.preset, "", {**self.flags, **own}).with_seed(self.seeds[0])
            except ValueError as problem:
                raise UserError(f"arms.{name}: {problem}") from problem
        for one, other in itertools.combinations([name for name in found if not self.cost_of(name)], 2):
            if found[one] == found[other]:
                raise UserError(f"arms.{one} and arms.{other} are the same run; leave one of them out")
        return found

    def config(self, arm: str, seed: int, epochs: int | None = None) -> RunConfig:
        """The run of an arm with a seed.

        Args:
            arm: its name.
            seed: of every draw.
            epochs: of the search; as the arm says where None.
        """
        config = self.configs[arm].with_seed(seed)
        return config if epochs is None else replace(config, trainer=replace(config.trainer, num_train_epochs=epochs))

    def cost_of(self, arm: str) -> str | None:
        """The arm whose search takes as long; None where an arm says itself how long it searches."""
        found: str | None = self.arms[arm].get("cost_of")
        return found

    def reference(self, arm: str) -> str | None:
        """The arm that is the same but for its cost, which says what an epoch costs; None where there is none."""
        same = [each for each, config in self.configs.items() if config == self.configs[arm] and not self.cost_of(each)]
        return same[0] if same else None

    def with_costs(self, arms: Sequence[str]) -> list[str]:
        """Some arms and those that their costs are taken from, in the order of the plan."""
        needed = {each for arm in arms if self.cost_of(arm) for each in (self.cost_of(arm), self.reference(arm))}
        return [arm for arm in self.arms if arm in needed or arm in arms]

    def _check_names(self) -> None:
        if not self.arms:
            raise UserError("arms must name at least one arm")
        used = {"gate.arms": self.gate.arms if self.gate else ()}
        for index, each in enumerate(self.comparisons):
            used[f"comparisons[{index}]"] = (each.arm, *each.against)
            if not each.against or each.arm in each.against:
                raise UserError(f"comparisons[{index}].against must name arms other than {each.arm}")
        used |= {f"arms.{arm}.cost_of": (cost,) for arm in self.arms if (cost := self.cost_of(arm)) is not None}
        for where, names in used.items():
            for name in names:
                if name not in self.arms:
                    raise UserError(f"{where} must be among the arms {', '.join(self.arms)}, got {display(name)}")

    def _check_seeds(self) -> None:
        every = {"seeds": self.seeds, "gate.seeds": self.gate.seeds if self.gate else (0,)}
        every |= {"extension.seeds": self.extension.seeds} if self.extension else {}
        for where, seeds in every.items():
            if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
                raise UserError(f"{where} must be different numbers from 0 on, got {list(seeds)}")
        if self.comparisons and len(self.seeds) < 2:
            raise UserError(f"seeds must be at least 2, got {len(self.seeds)}: a single pair has no interval")
        if self.extension and (both := {*self.seeds} & {*self.extension.seeds}):
            raise UserError(f"extension.seeds must be new ones, got {min(both)}, which is in seeds")

    def _check_rules(self) -> None:
        rules, extension = self.rules, self.extension
        if not 0.5 <= rules.confidence < 1:
            raise UserError(f"rules.confidence must be from 0.5 to below 1, got {rules.confidence}")
        if rules.no_useful_effect_below <= 0:
            allowed = f"rules.no_useful_effect_below must be above 0, got {rules.no_useful_effect_below}"
            raise UserError(f"{allowed}: without it nothing is ever found useless")
        most = (1 - rules.confidence) / 2
        if extension and not 0 < extension.alpha <= most + 1e-12:
            raise UserError(
                f"extension.alpha must be above 0 and at most {most:.6g}, got {extension.alpha}: two looks share what "
                f"a confidence of {rules.confidence} leaves"
            )

    def _check_costs(self) -> None:
        for arm in self.arms:
            cost = self.cost_of(arm)
            if cost is None:
                continue
            if self.cost_of(cost) is not None:
                raise UserError(f"arms.{arm}.cost_of must be an arm with a number of epochs of its own, got {cost}")
            if self.reference(arm) is None:
                raise UserError(f"arms.{arm} has cost_of, so another arm must be the same without it: its epochs count")
            if self.gate and arm in self.gate.arms:
                raise UserError(f"gate.arms must be arms without cost_of, got {arm}")


def read_plan(path: Path | str) -> Plan:
    """Read the plan of a study, and check it as far as that goes without data.

    Args:
        path: of a YAML file.

    Raises:
        UserError: it cannot be read, or an entry is missing, unknown or wrong; one line with the file and the entry.
    """
    try:
        values = strict_yaml.load(Path(path))
        if not isinstance(values, Mapping):
            raise UserError(f"the file must be a mapping, got {display(values)}")
        values = {**DEFAULTS, **values}
        if isinstance(values["gate"], Mapping):
            values["gate"] = {"min_ceiling": None, **values["gate"]}
        plan = from_dict(Plan, {**values, "flags": _flags(values["flags"], "flags"), "arms": _arms(values.get("arms"))})
        plan.configs  # noqa: B018 - flags are checked by making the runs
        return plan
    except UserError as problem:
        raise UserError(f"plan {path}: {problem}") from problem


def _arms(given: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(given, Mapping):
        raise UserError(f"arms must be a mapping of names to flags, got {display(given)}")
    for name in given:
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise UserError(f"arms: {display(name)} must be small letters, digits and _, the first a letter")
    return {name: _flags(flags, f"arms.{name}") for name, flags in given.items()}


def _flags(given: Any, where: str) -> dict[str, Any]:
    flags = named_flags(given, where)
    for name, value in flags.items():
        check_value(name, value, f"{where}.{name}")
        if name in {"seed", "trainer.seed"}:
            raise UserError(f"{where}.{name} is what seeds are for; leave it out")
    return flags
