"""The figures of a study: a forest plot of the paired differences, and Kendall's τ over the epochs."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from cnas.reports import drawing
from cnas.reports.drawing import BLUE, INK, MUTED, SERIES, Curve, Drawing, Points
from cnas.studies.figures import RunFigures
from cnas.studies.study import Study
from cnas.studies.summary import interval
from cnas.studies.verdicts import TITLES


def draw_forest(study: Study) -> Drawing | None:
    """Every difference with its pairs and its interval; None where there are no pairs.

    Args:
        study: that is through.
    """
    rows = [(verdict.arm, each) for verdict in study.verdicts for each in verdict.against if each.difference.n]
    if not rows:
        return None
    figure, axes = drawing.new_figure(0.7 + 0.55 * len(rows))
    least = study.plan.rules.no_useful_effect_below
    for value, style in ((0.0, "-"), (least, ":")):
        axes.axvline(value, color=MUTED, linestyle=style, linewidth=1.2)
    for place, (arm, each) in enumerate(rows):
        found = each.difference
        assert found.mean is not None
        axes.plot(each.differences, [place] * found.n, "|", color=MUTED, markersize=7, markeredgewidth=1)
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [place, place], color=BLUE, solid_capstyle="butt")
        axes.plot([found.mean], [place], "o", color=BLUE, markersize=5)
        label = f"{arm} − {each.control}: {each.verdict}"
        axes.annotate(label, (0.01, place), (0, 9), ("axes fraction", "data"), "offset points", color=INK, fontsize=8)
    axes.set_ylim(len(rows) - 0.6, -0.85)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"difference of {TITLES[study.plan.endpoint]}")
    figure.subplots_adjust(left=0.12 / drawing.WIDTH)
    words = "; ".join(
        f"{arm} minus {each.control}: mean {each.difference.mean:+.3f}, interval {interval(each.difference)}, "
        f"{each.verdict}"
        for arm, each in rows
    )
    caption = (
        f"Point and line: mean and {100 * study.plan.confidence:g} % interval; ticks: the pairs; dotted: the smallest "
        "useful difference."
    )
    return drawing.finish(figure, "differences", "Paired differences", f"Forest plot. {words}.", caption)


def draw_taus(study: Study) -> Drawing | None:
    """Kendall's τ over the epochs, the mean of each arm over its seeds; None where no run ranked anything.

    Args:
        study: that is through.
    """
    curves = [
        Curve(arm, points, SERIES[place % len(SERIES)])
        for place, (arm, runs) in enumerate(study.runs.items())
        if (points := _mean(runs))
    ]
    if not curves:
        return None
    figure, axes = drawing.plot(curves, "Kendall's τ", height=2.8)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    # Numbers with a sign need more room beside the name of the axis.
    figure.subplots_adjust(left=0.85 / drawing.WIDTH)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.2f}"))
    for curve in curves:
        for run in study.runs[curve.label].values():
            if len(run.curve) > 1:
                axes.plot(*zip(*run.curve, strict=True), color=curve.colour, alpha=0.3, linewidth=0.8)
    words = f"Kendall's τ of the supernets' ranking over epochs, mean over seeds: {drawing.in_words(curves, 3)}."
    return drawing.finish(figure, "taus", "How well the supernets rank", words, "Thin lines are single seeds.")


def _mean(runs: Mapping[int, RunFigures]) -> Points:
    """The mean at every epoch that all runs have."""
    curves = [dict(run.curve) for run in runs.values()]
    shared = set.intersection(*map(set, curves)) if curves else set()
    return [(epoch, fmean(curve[epoch] for curve in curves)) for epoch in sorted(shared)]
