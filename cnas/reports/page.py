"""The report as one page of HTML that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnas.durable import replace_file, storage_errors
from cnas.hub._markdown import environment, one_line
from cnas.reports import tables
from cnas.reports.cell_graph import draw_architecture
from cnas.reports.collapse import alarms
from cnas.reports.curves import PHASES, draw_accuracy, draw_comparison, draw_learning_curve
from cnas.reports.drawing import Drawing, style
from cnas.reports.policy import draw_policy
from cnas.reports.probes import draw_probes
from cnas.reports.record import RunRecord
from cnas.reports.sizes import draw_fronts, has_sizes, limits_of, sizes_table
from cnas.reports.tables import Table
from cnas.reports.weights import SampleWeights, draw_histogram, draw_weights
from cnas.runs.latency import read_latency
from cnas.spaces.base import SearchSpace


@dataclass
class Block:
    """The part of a section that is about one run, or about all.

    Args:
        heading: which run; empty where there is one only.
        drawings: its figures.
        tables: its tables.
        notes: sentences.
        alarms: sentences that must not be overlooked.
    """

    heading: str = ""
    drawings: list[Drawing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.drawings or self.tables or self.notes or self.alarms)


@dataclass
class Section:
    """A heading, what it is about, and its blocks; ``folded`` until the reader asks for them."""

    key: str
    title: str
    about: str
    blocks: list[Block]
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """A finished report.

    Args:
        html: the page.
        drawings: (name of the files, figure) of all figures in it.
    """

    html: str
    drawings: tuple[tuple[str, Drawing], ...]

    def save(self, folder: Path) -> Path:
        """Write ``report.html``, and each figure as PNG and SVG into ``figures/``; returns the former.

        Raises:
            StorageError: the disk refuses.
        """
        with storage_errors(f"the report to {folder}"):
            (folder / "figures").mkdir(parents=True, exist_ok=True)
            for name, drawing in self.drawings:
                drawing.save(folder / "figures", name)
        replace_file(folder / "report.html", self.html.encode())
        return folder / "report.html"


def render(
    records: Sequence[RunRecord], weights: Sequence[SampleWeights | None], comparison: Block | None = None
) -> Page:
    """The report on one or several runs.

    Args:
        records: what the run folders say.
        weights: of each run, what its last checkpoint knows of the training data; None where there is nothing.
        comparison: what the runs say of each other.
    """
    with style():
        every = _sections(records, weights, comparison or Block())
    single = len(records) == 1
    return compose(
        every,
        numbered=not single,
        made_by="cnas report",
        source="the run" if single else "the runs",
        title=records[0].title if single else f"{len(records)} runs",
        subtitle=_subtitle(records),
        headlines=tables.headlines(records[0]) if single else [],
        unfinished=[one_line(record.title) for record in records if not record.result],
        notation=records[0].notation if single else "",
        part=records[0].part,
    )


def compose(sections: Sequence[Section], *, numbered: bool = False, **about: Any) -> Page:
    """The page of some sections; those without anything in them are left out.

    Args:
        sections: in their order.
        numbered: whether their blocks are about one of several runs each, whose number is in the names of its figures.
        about: what the head and the foot of the page say: ``made_by``, ``source``, ``title``, ``subtitle``,
            ``headlines``, ``unfinished``, ``notation`` and ``part``.
    """
    kept = [section for section in sections if any(section.blocks)]
    html = environment("cnas.reports", autoescape=True).get_template("report.html.jinja").render(sections=kept, **about)
    return Page(html, _named(kept, numbered))


def _subtitle(records: Sequence[RunRecord]) -> str:
    def joined(values: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(values))

    searched = [record.algorithm for record in records if not record.variant.startswith("given ")]
    parts = [joined(searched) or "no search", f"on {joined([record.dataset for record in records])}"]
    if len(records) == 1:
        parts += [records[0].variant, f"seed {records[0].seed}", tables.state(records[0])]
    return " · ".join([" ".join(parts[:2]), *parts[2:]])


def _sections(
    records: Sequence[RunRecord], weights: Sequence[SampleWeights | None], comparison: Block
) -> list[Section]:
    each = [
        (record, f"Run {index}: {record.title}" if len(records) > 1 else "") for index, record in enumerate(records, 1)
    ]
    pairs, part = list(zip(each, weights, strict=True)), records[0].part
    machine = [*tables.times(records), *tables.environment(records)]
    return [
        *([_overview(records, comparison)] if len(records) > 1 else []),
        Section("curves", "Learning curves", _ABOUT["curves"], [_curves(*one) for one in each]),
        Section("cell", f"The {part}", _ABOUT.get(part, _ABOUT["cell"]), [_cell(*one) for one in each]),
        Section("policy", "The policy", _ABOUT["policy"], [Block(h, draw_policy(record)) for record, h in each]),
        Section("weights", "Sample weights", _ABOUT["weights"], [_weights(*one, found) for one, found in pairs]),
        Section("benchmark", "Benchmark", _ABOUT["benchmark"], [Block(tables=tables.benchmark(records))]),
        Section("machine", "Time and environment", "", [Block(tables=machine)]),
        Section("settings", "Configuration", "", [Block(tables=tables.settings(records))], folded=len(records) == 1),
    ]


_ABOUT = {
    "curves": "Numbers of the search are those of shared weights and compare only among themselves; those of the "
    "training are probes. What was measured in the end stands at the top.",
    "cell": "What the search chose, and what it would have chosen earlier.",
    "architecture": "What the search chose, and what other sizes are worth with the shared weights, before any "
    "training of their own.",
    "policy": "How decided the algorithm is, and for what.",
    "weights": "The curriculum gives each unit of the training data a weight v, by how uncertain K subnets are of it: "
    "v has mean 1, and a larger v means more influence on the shared weights.",
    "benchmark": "What training from scratch gives, looked up in a table.",
}

_UNITS = {"sequence": "chunks", "token": "tokens", "sample": "samples"}
_UNREAD = "The {} is not drawn: this version of cnas does not read its notation with the settings of the run."
_SOUND = "No sign of a collapse: operations that do no work of their own are no majority."
_COLLAPSED = (
    "Shared weights favour what needs no training, so a search can end in such a cell although better ones were in "
    "reach. Train a random cell with the same settings before believing in this one."
)


def _overview(records: Sequence[RunRecord], comparison: Block) -> Section:
    drawings = [drawing for phase in PHASES if (drawing := draw_comparison(records, phase))]
    numbers = Block(tables=[tables.overview(records), *comparison.tables], notes=comparison.notes)
    return Section("overview", "Side by side", "", [numbers, Block(drawings=drawings)])


def _curves(record: RunRecord, heading: str) -> Block:
    drawings = [draw(record, phase) for draw in (draw_learning_curve, draw_accuracy) for phase in PHASES]
    return Block(heading, [drawing for drawing in drawings if drawing])


def _cell(record: RunRecord, heading: str) -> Block:
    if record.space is not None and has_sizes(record.space) and (record.architecture or not record.notation):
        return _sizes(record, record.space, heading)
    probes = [drawing for drawing in [draw_probes(record)] if drawing]
    if record.space is None or record.architecture is None:
        return Block(heading, probes, notes=[_UNREAD.format(record.part)] if record.notation else [])
    drawings = [draw_architecture(record.space, record.architecture), *probes]
    used, found = tables.operations(record.space, record.architecture), alarms(record.space, record.architecture)
    return Block(heading, drawings, [used], [_COLLAPSED if found else _SOUND], found)


def _sizes(record: RunRecord, space: SearchSpace, heading: str) -> Block:
    """What was decided, where it is no graph."""
    probes = draw_probes(record)
    drawings = draw_fronts(record.notation, record.found, limits_of(record.known.search))
    drawings += [probes] if probes else []
    costs = record.result.architecture.costs if record.result else {}
    table = sizes_table(space, record.notation, costs, record.found)
    measured = read_latency(record.path)
    notes = [f"Milliseconds are those of {one_line(measured.setting)}."] if measured else []
    return Block(heading, drawings, [table] if table.rows else [], notes)


def _weights(record: RunRecord, heading: str, found: SampleWeights | None) -> Block:
    block = Block(heading, draw_weights(record))
    if found is None:
        return block
    if len(found.values):
        unit = record.curriculum.unit if record.curriculum else None
        block.drawings.append(draw_histogram(found, _UNITS.get(unit or "", "units")))
    if found.heaviest:
        block.tables.append(tables.texts(found.heaviest, found, "Heaviest: what the subnets are least sure of"))
        block.tables.append(tables.texts(found.lightest, found, "Lightest: what they know already"))
    block.notes += [found.note] if found.note else []
    return block


def _named(sections: Sequence[Section], numbered: bool) -> tuple[tuple[str, Drawing], ...]:
    """Each figure with the name of its files: its own, and the run's number where there are several."""
    found = []
    for section in sections:
        for index, block in enumerate(section.blocks, 1):
            shared = not numbered or section.key == "overview"
            found += [(d.name if shared else f"run{index}_{d.name}", d) for d in block.drawings]
    return tuple(found)
