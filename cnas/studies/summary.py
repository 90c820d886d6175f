"""What a study says in words and tables, for the terminal and for its page alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean

from cnas.hub._markdown import one_line, plain
from cnas.reports.comparison.markdown import table
from cnas.reports.tables import MISSING, Table, duration
from cnas.studies.statistics import Difference, paired_difference
from cnas.studies.study import Study
from cnas.studies.verdicts import MEASURES, NO_RANKING, TITLES, Verdict


def to_markdown(study: Study) -> str:
    """Verdicts, gate, levels and what is missing.

    Args:
        study: that is through.
    """
    tables = [each for each in (comparisons(study), levels(study), arms(study), baselines(study)) if each.rows]
    written = [
        f"{each.caption}:\n\n"
        + table(each.columns, [[one_line(cell).replace("|", "/") for cell in row] for row in each.rows])
        for each in tables
    ]
    return "\n\n".join([plain(study.plan.question), "\n".join(f"- {plain(line)}" for line in lines(study)), *written])


def lines(study: Study) -> list[str]:
    """The conclusions of a study, a sentence each, then what limits them.

    Args:
        study: that is through.
    """
    return [*_gate(study), *(conclusion(verdict) + provisional(study) for verdict in study.verdicts), *_limits(study)]


def provisional(study: Study) -> str:
    """What follows a verdict while runs have failed; they may change it.

    Args:
        study: that is through.
    """
    return " (provisional: runs are missing)" if any(study.codes.values()) else ""


def conclusion(verdict: Verdict) -> str:
    """What is concluded of one comparison, in a few words.

    Args:
        verdict: of the comparison.
    """
    controls = ", ".join(each.control for each in verdict.against)
    return f"{verdict.arm}: {verdict.verdict}" + (f" (against {controls})" if controls else "")


def _gate(study: Study) -> Iterator[str]:
    if study.gate is None or study.plan.gate is None:
        return
    state = {True: "open", False: f"closed, {NO_RANKING}", None: "not decided, since figures are missing"}
    yield f"gate: {state[study.gate.open]}; each arm needs a mean Kendall's τ of {study.plan.gate.min_tau}"
    for name, arm in study.gate.arms.items():
        seeds = ", ".join(f"{_number(tau, '.3f')}" for tau in arm.taus.values())
        error = "" if arm.error is None else f"; at most ± {arm.error:.3f} for the choice of architectures"
        about = "" if arm.low is None or arm.high is None else f", {arm.low:+.3f} to {arm.high:+.3f} over seeds{error}"
        own = "" if arm.between_seeds is None else f"; of two seeds' rankings with one another {arm.between_seeds:.3f}"
        yield f"{name}: mean Kendall's τ {_number(arm.mean, '.3f')} of {len(arm.taus)} seeds ({seeds}){about}{own}"


def _limits(study: Study) -> Iterator[str]:
    for name, why in study.missing.items():
        yield f"missing: {name}, {why}"
    alpha = 1 - study.plan.confidence
    few = {each.difference.n for verdict in study.verdicts for each in verdict.against}
    for n in sorted(n for n in few if n > 0 and 2 / 2**n > alpha):
        yield f"with {n} pairs the sign-flip test cannot go below {2 / 2**n:.4g}, whatever they are"


def comparisons(study: Study) -> Table:
    """A row for every arm and control: the paired difference of the endpoint, and what follows from it.

    Args:
        study: that is through.
    """
    rows = [
        (
            f"{verdict.arm} − {each.control}",
            str(each.difference.n),
            _number(each.difference.mean),
            interval(each.difference),
            _number(each.difference.p, ".4f") + ("" if each.difference.exact else " (drawn)"),
            MISSING if verdict.p_holm is None else f"{verdict.p_holm:.4f}",
            _number(each.power, ".2f"),
            MISSING if each.pairs_needed is None else str(each.pairs_needed),
            each.verdict,
        )
        for verdict in study.verdicts
        for each in verdict.against
    ]
    wide = f"{100 * study.plan.confidence:g} % interval"
    least = study.plan.rules.no_useful_effect_below
    heads = ("Difference", "Pairs", "Mean", wide, "Sign-flip p", "p (Holm)", f"Power for {least:g}", "Pairs for 80 %")
    caption = f"Differences of {TITLES[study.plan.endpoint]}, seed by seed"
    return Table(caption, (*heads, "On its own"), tuple(rows), tuple(range(1, 8)))


def others(study: Study) -> Table:
    """The same pairs in the other measures; nothing is concluded from them.

    Args:
        study: that is through.
    """
    rows = [
        (
            f"{verdict.arm} − {each.control}",
            TITLES[measure],
            str(one.n),
            _number(one.mean),
            interval(one),
            _number(one.p, ".4f"),
        )
        for verdict in study.verdicts
        for each in verdict.against
        for measure, one in each.others.items()
    ]
    return Table("Other measures", ("Difference", "Measure", "Pairs", "Mean", "Interval", "Sign-flip p"), tuple(rows))


def arms(study: Study) -> Table:
    """A row for every arm that was run: the means of its measures, and how long its searches took.

    Args:
        study: that is through.
    """
    rows = []
    for arm, runs in study.runs.items():
        known = {name: [value for run in runs.values() if (value := run.values[name]) is not None] for name in MEASURES}
        seconds = [run.seconds for run in runs.values() if run.seconds is not None]
        epochs = [run.epochs for run in runs.values() if run.epochs is not None]
        known = {"before training": [tau for run in runs.values() for epoch, tau in run.curve if epoch == 0]} | known
        figures = (_spread(values, "+.3f" if name == "within_size" else ".3f") for name, values in known.items())
        lengths = (
            f"{min(epochs)}" if len(set(epochs)) == 1 else f"{min(epochs)} to {max(epochs)}" if epochs else MISSING
        )
        rows.append((arm, str(len(runs)), *figures, lengths, duration(fmean(seconds)) if seconds else MISSING))
    titles = ("τ before training", *(TITLES[name] for name in MEASURES))
    heads = ("Arm", "Seeds", *titles, "Epochs", "Search")
    picks = {run.picks for runs in study.runs.values() for run in runs.values() if run.picks}
    about = f"; a pick is the best by score of {', '.join(map(str, sorted(picks)))} random ones" if picks else ""
    caption = f"Arms: mean and 95 % interval over seeds, with the same architectures{about}"
    return Table(caption, heads, tuple(rows), tuple(range(1, len(heads))))


def levels(study: Study) -> Table:
    """A row for every arm and level of the plan.

    Args:
        study: that is through.
    """
    rows = tuple(
        (
            each.arm,
            each.meaning,
            TITLES[each.measure],
            f"{each.above:g}",
            str(each.n),
            _number(each.mean, ".3f"),
            MISSING if each.reached is None else "yes" if each.reached else "no",
        )
        for each in study.levels
    )
    return Table("Levels of the plan", ("Arm", "Means", "Measure", "Level", "Seeds", "Mean", "Above"), rows, (3, 4, 5))


def baselines(study: Study) -> Table:
    """What choosing without a search is worth, where the runs' table says so.

    Args:
        study: that is through.
    """
    runs = [run for seeds in study.runs.values() for run in seeds.values()]
    found: Mapping[str, tuple[str, ...]] = {
        each["name"]: (each["name"], f"{each['value']:.2f} ± {each['deviation']:.2f}", f"{each['percentile']:.3f}")
        for run in runs
        for each in run.baselines
    }
    return Table("Without a search", ("Chosen as", "Value", "Mean percentile"), tuple(found.values()), (1, 2))


def interval(difference: Difference) -> str:
    """The limits of an interval; a dash where there is none.

    Args:
        difference: whose it is.
    """
    if difference.low is None or difference.high is None:
        return MISSING
    return f"{difference.low:+.3f} to {difference.high:+.3f}"


def _spread(values: list[float], form: str) -> str:
    """The mean of some numbers with its interval, where there are enough."""
    found = paired_difference(values)
    if found.mean is None:
        return MISSING
    about = "" if found.low is None else f" ({found.low:{form}} to {found.high:{form}})"
    return f"{found.mean:{form}}{about}"


def _number(value: float | None, form: str = "+.3f") -> str:
    return MISSING if value is None else f"{value:{form}}"
