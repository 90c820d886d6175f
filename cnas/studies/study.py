"""Run a study by its plan: gate, arms, extension, in any number of sittings; then conclude by its rules.

All runs lie in one folder, beside ``study.json``. No verdict is looked at before all runs of its stage are through.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cnas.benchmarks.tabular import TabularBenchmark
from cnas.errors import CnasError, UserError
from cnas.runs.devices import PACKAGES
from cnas.runs.task import load_task
from cnas.studies.figures import RunFigures, read_figures
from cnas.studies.gate import GateResult, check_ceiling, decide
from cnas.studies.plan import Plan
from cnas.studies.state import StudyState
from cnas.studies.verdicts import NO_RANKING, UNDECIDED, Figures, LevelResult, Verdict, conclude, levels, without_runs
from cnas.sweeps.executors import Settings
from cnas.sweeps.many import Job, by_seed, last_line, run_many
from cnas.training.context import StopSignal


@dataclass(frozen=True)
class Study:
    """What a study has come to.

    Args:
        plan: of the study.
        home: its folder.
        gate: None where the plan has none.
        verdicts: on the comparisons, in the order of the plan.
        levels: what the means of the arms are compared with.
        runs: the figures of the finished runs, by arm and seed.
        epochs: of the searches that take as long as those of another arm, by the name of the run.
        missing: what is not there, by the name of the run, and why.
        codes: exit codes of all runs, by name; 0 is finished.
        seconds: of wall-clock time, of all sittings.
    """

    plan: Plan
    home: Path
    gate: GateResult | None
    verdicts: tuple[Verdict, ...]
    levels: tuple[LevelResult, ...]
    runs: Mapping[str, Mapping[int, RunFigures]]
    epochs: Mapping[str, int]
    missing: Mapping[str, str]
    codes: Mapping[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """What ``study.json`` holds beside plan and hash."""
        # The losses are in the runs' own files, and many.
        every = ((run_name(arm, seed), run) for arm, seeds in self.runs.items() for seed, run in seeds.items())
        runs = {name: {key: value for key, value in asdict(run).items() if key != "losses"} for name, run in every}
        return {
            "versions": {package: version(package) for package in PACKAGES},
            "gate": None if self.gate is None else asdict(self.gate),
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "levels": [asdict(level) for level in self.levels],
            "missing": dict(self.missing),
            "runs": runs,
        }


def run_name(arm: str, seed: int) -> str:
    """The name of a run of a study, which is that of its folder.

    Args:
        arm: its name.
        seed: of the run.
    """
    return f"{arm}-s{seed}"


def run_study(
    plan: Plan,
    home: Path | str,
    *,
    resume: bool = False,
    at_once: int | None = None,
    executor: Settings | None = None,
    stop: StopSignal | None = None,
) -> Study:
    """Do all runs of a study that are not finished, and conclude; the results are in ``study.json`` then.

    Args:
        plan: of the study.
        home: its folder.
        resume: go on with the study in the folder.
        at_once: how many runs at a time, as `cnas.sweeps.run_many`.
        executor: what runs their processes.
        stop: what stops them beside signals.

    Raises:
        UserError: a run cannot be as the plan has it, or the folder holds something else or another plan; raised
            before anything starts.
        Stopped: a signal or ``stop`` asked for it; the same call with ``resume`` goes on from there.
        StorageError: the disk refuses.
    """
    if at_once is not None and at_once < 1:
        raise UserError(f"--jobs must be at least 1, got {at_once}")
    benchmark = check(plan)
    state = StudyState.open(Path(home), plan, benchmark.fingerprint, resume=resume)
    begun, before = time.monotonic(), state.seconds
    state.save()
    stop = StopSignal() if stop is None else stop
    sitting = _Sitting(state, benchmark, {"at_once": at_once, "executor": executor, "stop": stop})
    try:
        # Between two stages as well.
        with stop.on_signals():
            gate, verdicts = sitting.stages()
    finally:
        state.seconds = before + time.monotonic() - begun
        state.save()
    study = Study(
        plan,
        state.home,
        gate,
        tuple(verdicts),
        () if gate is not None and not gate.open else tuple(levels(plan, sitting.values())),
        sitting.runs,
        state.epochs,
        sitting.missing(),
        sitting.codes,
        state.seconds,
    )
    state.save(**study.to_json())
    return study


def check(plan: Plan) -> TabularBenchmark:
    """The table of a study; every arm is checked as far as a run checks itself before it starts.

    Args:
        plan: of the study.

    Raises:
        UserError: an arm has no table or another one, its data cannot be read, or a field does not fit it.
    """
    benchmark: TabularBenchmark | None = None
    tables = {config.table for config in plan.configs.values()}
    if None in tables or len(tables) > 1:
        found = ", ".join(sorted(map(str, tables)))
        raise UserError(
            f"flags.table must name one table for all arms, which says what architectures are worth: {found}"
        )
    for arm, config in plan.configs.items():
        try:
            task = load_task(config)
            task.check(1)
        except UserError as problem:
            raise UserError(f"arms.{arm}: {problem}") from problem
        benchmark, known = task.benchmark, task.config.space.build_supernet().scorings
        if plan.scoring not in known:
            raise UserError(f"scoring must be one of {', '.join(known)} for arms.{arm}, got {plan.scoring}")
    assert benchmark is not None
    if plan.gate is not None:
        check_ceiling(plan.gate, benchmark)
    for place, level in enumerate(plan.levels):
        if level.measure == "expected_pick" and not benchmark.higher_is_better:
            allowed = "one of which more is better, as expected_percentile"
            raise UserError(f"levels[{place}].measure must be {allowed}, got expected_pick, a {benchmark.metric}")
    return benchmark


class _Sitting:
    """The stages of a study, from what its folder holds already.

    Args:
        state: of the study.
        benchmark: the table of all runs.
        how: arguments of `run_many`.
    """

    def __init__(self, state: StudyState, benchmark: TabularBenchmark, how: Mapping[str, Any]) -> None:
        self.state, self.plan, self.home = state, state.plan, state.home
        self.benchmark, self.how = benchmark, how
        self.codes: dict[str, int] = {}
        self.runs: dict[str, dict[int, RunFigures]] = {}
        self.unpriced: dict[str, str] = {}

    def stages(self) -> tuple[GateResult | None, list[Verdict]]:
        """All of them in order, as far as the rules of the plan let them."""
        plan, gate = self.plan, None
        if plan.gate:
            self._stage("gate", plan.gate.arms, plan.gate.seeds)
            gate = decide(plan.gate, self.runs)
            if not gate.open:
                return gate, without_runs(plan, UNDECIDED if gate.open is None else NO_RANKING)
        self._stage("arms", list(plan.arms), plan.seeds)
        verdicts = conclude(plan, self.values())
        undecided = [each for each in verdicts if each.verdict == UNDECIDED]
        if plan.extension and undecided and not any(self.codes.values()):
            named = [arm for each in undecided for arm in (each.arm, *(one.control for one in each.against))]
            self._stage("extension", plan.with_costs(named), plan.extension.seeds)
            verdicts = conclude(plan, self.values(), verdicts)
        return gate, verdicts

    def missing(self) -> dict[str, str]:
        """By the name of a run, why its figure of the endpoint is not there."""
        reasons = {
            name: self.unpriced.get(name) or last_line(self.home / name) for name, code in self.codes.items() if code
        }
        unknown = {
            run_name(arm, seed): f"its {self.plan.endpoint} could not be measured"
            for arm, seeds in self.runs.items()
            for seed, run in seeds.items()
            if run.values[self.plan.endpoint] is None
        }
        return reasons | unknown

    def _stage(self, title: str, arms: Sequence[str], seeds: Sequence[int]) -> None:
        """Do the runs of some arms; those whose cost is that of others come last."""
        plan = self.plan
        pairs = [(arm, seed) for arm in arms for seed in seeds]
        print(f"stage {title}: {len(pairs)} runs, {', '.join(arms)}", flush=True)
        self._run((arm, seed, None) for arm, seed in pairs if not plan.cost_of(arm))
        priced = [(arm, seed, self._epochs(arm, seed)) for arm, seed in pairs if plan.cost_of(arm)]
        self._run(each for each in priced if each[2] is not None)

    def _run(self, wanted: Iterable[tuple[str, int, int | None]]) -> None:
        runs = {run_name(arm, seed): (arm, seed, epochs) for arm, seed, epochs in wanted}
        jobs = [Job(name, self.plan.config(*run)) for name, run in runs.items()]
        if not jobs:
            return
        codes = run_many(by_seed(jobs), self.home, **self.how)
        self.codes |= codes
        for name, (arm, seed, _) in runs.items():
            if codes[name] == 0:
                found = read_figures(self.home / name, self.benchmark, self.plan.scoring)
                self.runs.setdefault(arm, {})[seed] = found

    def _epochs(self, arm: str, seed: int) -> int | None:
        """How many epochs take as long as the search of another arm, from finished runs; noted when first known."""
        name, names = run_name(arm, seed), (str(self.plan.cost_of(arm)), str(self.plan.reference(arm)))
        if name not in self.state.epochs:
            runs = [self.runs.get(each, {}).get(seed) for each in names]
            seconds = [run.seconds for run in runs if run is not None and run.seconds]
            devices = {run.device for run in runs if run is not None}
            both = " and ".join(run_name(each, seed) for each in names)
            if len(seconds) < 2 or len(devices) > 1:
                why = "are not both finished" if len(seconds) < 2 else "ran on different devices; delete one of them"
                self.unpriced[name], self.codes[name] = f"its cost is not known: {both} {why}", CnasError.exit_code
                return None
            every = self.plan.configs[arm].trainer.num_train_epochs
            self.state.epochs[name] = max(1, round(every * seconds[0] / seconds[1]))
            self.state.save()
        return self.state.epochs[name]

    def values(self) -> Figures:
        """The measures of all finished runs, by arm and seed."""
        return {arm: {seed: run.values for seed, run in seeds.items()} for arm, seeds in self.runs.items()}
