"""The page of a study: verdicts, figures and tables in one HTML file that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path

from cnas.fields import to_dict
from cnas.hub._markdown import one_line
from cnas.reports.drawing import style
from cnas.reports.page import Block, Page, Section, compose
from cnas.reports.tables import Table, duration
from cnas.runs.folder import scalars
from cnas.studies import summary
from cnas.studies.drawings import draw_forest, draw_taus
from cnas.studies.study import Study

_ABOUT = {
    "verdicts": "By the rules of the plan. An arm helps if the interval of its differences, seed by seed, is above 0 "
    "against every control; one that ends below the smallest useful difference shows that there is no useful effect.",
    "taus": "How the losses of subnets with shared weights rank the architectures of a fixed set, against what these "
    "are worth once trained.",
    "plan": "Written down before the first run; the hash covers what stands here.",
}


def write_page(study: Study) -> Path:
    """Write ``report.html`` and the figures into the folder of a study; returns the path of the page.

    Args:
        study: that is through.

    Raises:
        StorageError: the disk refuses.
    """
    return render(study).save(study.home)


def render(study: Study) -> Page:
    """The page of a study.

    Args:
        study: that is through.
    """
    with style():
        forest, taus = draw_forest(study), draw_taus(study)
    alarms = [] if not study.missing else [f"{len(study.missing)} figures are missing; none was put in their place."]
    verdicts = Block(
        drawings=[forest] if forest else [],
        tables=_filled(summary.comparisons(study), summary.others(study)),
        notes=summary.lines(study),
        alarms=alarms,
    )
    ranking = Block(
        drawings=[taus] if taus else [],
        tables=_filled(summary.arms(study), summary.levels(study), summary.baselines(study)),
    )
    sections = [
        Section("verdicts", "Verdicts", _ABOUT["verdicts"], [verdicts]),
        Section("taus", "Arms", _ABOUT["taus"], [ranking]),
        Section("plan", "Plan", _ABOUT["plan"], [Block(tables=[_plan(study)])], folded=True),
    ]
    gate = {} if study.gate is None else {"Gate": {True: "open", False: "closed", None: "not decided"}[study.gate.open]}
    first = {"Verdict": study.verdicts[0].verdict + summary.provisional(study)} if study.verdicts else gate
    return compose(
        sections,
        made_by="cnas study",
        source="the study",
        title=one_line(study.plan.question),
        subtitle=f"{study.plan.preset} · {sum(map(len, study.runs.values()))} runs · plan {study.plan.hash[:12]}",
        headlines=[*first.items(), ("Wall-clock", duration(study.seconds))],
        unfinished=[],
        notation="",
    )


def _filled(*tables: Table) -> list[Table]:
    return [table for table in tables if table.rows]


def _plan(study: Study) -> Table:
    values = scalars(to_dict(study.plan)) | {"hash": study.plan.hash}
    rows = tuple((one_line(name), one_line(value)) for name, value in values.items())
    return Table("The whole plan", ("Entry", "Value"), rows, wide=True)
