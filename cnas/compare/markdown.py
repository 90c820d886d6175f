"""A comparison as Markdown: groups, paired differences, random cells, and what may not be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from cnas.compare.comparable import incomparable, unequal_searches
from cnas.compare.groups import Group, identity, without_curriculum
from cnas.compare.reference import ENOUGH, AgainstRandom, against_random
from cnas.compare.statistics import Summary, paired
from cnas.export._markdown import plain

NONE = "–"
"""Stands where there is nothing to say."""


@dataclass(frozen=True)
class Pair:
    """Two groups whose difference is asked for.

    Args:
        label: what the difference is called.
        left: it is taken from ``right``, seed by seed.
        right: lower perplexities here make the difference negative.
    """

    label: str
    left: Group
    right: Group


def render(groups: Sequence[Group]) -> str:
    """The whole comparison of groups of runs.

    Args:
        groups: as `group_runs` returns them.
    """
    parts = [notes(groups), groups_table(groups), pairs_table(find_pairs(groups)), random_section(groups)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the cells are Markdown already.

    Example:
        >>> print(table(["a", "b"], [["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, *rows]).replace(
        "\n", f"\n|{'---|' * len(header)}\n", 1
    )


def figure(summary: Summary, sign: str = "") -> str:
    """``mean ± std``, or the number alone where there is one.

    Args:
        summary: of the numbers.
        sign: ``"+"`` shows it always.

    Example:
        >>> figure(Summary(58.375, 0.25, 3)), figure(Summary(-1.0, None, 1), "+")
        ('58.38 ± 0.25', '-1.00')
    """
    spread = "" if summary.std is None else f" ± {summary.std:.2f}"
    return f"{summary.mean:{sign}.2f}{spread}"


def duration(seconds: Sequence[float]) -> str:
    """The mean of some times in minutes, or in seconds where it is short.

    Example:
        >>> duration([840.0]), duration([12.0, 14.0]), duration([])
        ('14 min', '13 s', '–')
    """
    if not seconds:
        return NONE
    mean = fmean(seconds)
    return f"{mean / 60:.0f} min" if mean >= 120 else f"{mean:.0f} s"


def notes(groups: Sequence[Group]) -> str:
    """What keeps the groups from being compared; empty where nothing does."""
    found = [f"**not comparable:** {plain(line)}" for line in incomparable(groups)]
    found += [f"**searches of unequal budget:** {plain(line)}" for line in unequal_searches(groups)]
    return "\n\n".join(found)


def groups_table(groups: Sequence[Group]) -> str:
    """One row per group: perplexities (mean ± sample standard deviation), sizes and wall-clock."""
    header = ["runs", "n", "seeds", "valid", "test", "parameters", "search", "training"]
    return table(header, [_group_row(group) for group in groups])


def _group_row(group: Group) -> list[str]:
    runs = group.runs
    searches = [run.search_seconds for run in runs if run.search_seconds is not None]
    sizes = sorted({run.parameters for run in runs})
    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    return [
        plain(group.label),
        str(len(runs)),
        seeds,
        figure(group.valid),
        figure(group.test),
        f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}",
        duration(searches),
        duration([run.training_seconds for run in runs]),
    ]


def find_pairs(groups: Sequence[Group]) -> list[Pair]:
    """Each searched group with a curriculum beside the one that differs from it in the curriculum alone."""
    searched = [(group, identity(group.runs[0])) for group in groups if group.searched]
    bare = [(group, own) for group, own in searched if group.runs[0].curriculum is None]
    return [
        Pair(f"{right.label} − plain", left, right)
        for right, own in searched
        if right.runs[0].curriculum is not None
        for left, without in bare
        if without == without_curriculum(own)
    ]


def pairs_table(pairs: Sequence[Pair]) -> str:
    """The differences over the seeds both have, with the standard error of their mean from two seeds on."""
    rows = [row for pair in pairs for row in [pair_row(pair)]]
    if not rows:
        return ""
    text = "Paired differences: seed by seed, then their mean and, from two seeds on, its standard error."
    return f"{text}\n\n{table(['difference', 'seeds', 'valid', 'test'], rows)}"


def pair_row(pair: Pair) -> list[str]:
    """Label, common seeds, difference of validation and of test perplexity."""
    found = [paired(pair.left.by_seed(split), pair.right.by_seed(split)) for split in ("valid", "test")]
    seeds = ", ".join(map(str, found[0][0])) or "none in common"
    return [plain(pair.label), seeds, *(_difference(summary) for _, summary in found)]


def _difference(summary: Summary | None) -> str:
    if summary is None:
        return NONE
    error = summary.standard_error
    return f"{summary.mean:+.2f}" + ("" if error is None else f" (s. e. {error:.2f})")


def random_section(groups: Sequence[Group]) -> str:
    """Whether the found cells beat random ones; says so too where it is not known."""
    found = against_random(groups)
    if not found:
        return ""
    lines = [f"- {sentence(each)}" for each in found]
    counts = [each for each in found if each.random is not None and len(each.random.runs) < ENOUGH]
    if counts:
        lines.append(f"- Fewer than {ENOUGH} random cells say little.")
    text = "Against random cells of the same space and training (test perplexity; *best* is best on validation):"
    return "\n".join([text, "", *lines])


def sentence(each: AgainstRandom) -> str:
    """One line: does the search beat the mean of the random cells, does it beat the best of them?"""
    label = plain(each.found.label)
    if each.random is None:
        return f"{label}: **not known**, there are no random cells of {plain(each.found.space)}"
    if each.obstacles:
        return f"{label}: **not comparable:** {plain('; '.join(each.obstacles))}"
    mean, best = each.mean, each.best
    words = [_beats(each.beats_mean, "the mean"), _beats(each.beats_best, "the best")]
    return (
        f"{label}: {each.found.test.mean:.2f} {words[0]} of {mean.n} random "
        f"{'cell' if mean.n == 1 else 'cells'} ({figure(mean)}) and {words[1]} ({best.test:.2f})"
    )


def _beats(holds: bool, what: str) -> str:
    return f"**beats** {what}" if holds else f"**does not beat** {what}"
