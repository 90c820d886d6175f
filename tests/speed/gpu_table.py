"""The lines of the benchmark on a GPU as tables in Markdown; what was not measured says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpu_rows import PRECISIONS, ROWS

MISSING = "not measured"
NUMBERS = {
    "kernels": ("kernels", "{:,.0f}"),
    "in kernels": ("kernel_share", "{:.0%}"),
    "peak GB": ("peak_gb", "{:.1f}"),
    "first step, s": ("first_step_s", "{:.0f}"),
}
"""By heading, what of a captured row is shown beside its time, and how."""


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for every row and precision that has a goal or a figure, and what shared the card or went another way."""
    found = {(line["measure"], line["row"], line["precision"]): line for line in lines if "precision" in line}
    pairs = [
        (row, kind)
        for row in ROWS
        for kind in PRECISIONS
        if kind in ROWS[row].goals or ("captured", row, kind) in found
    ]
    headings = ["row", "precision", "goal", "a graph", "products alone", "without graphs", *NUMBERS]
    times = ("captured", "products", "eager")
    cells = []
    for row, precision in pairs:
        each = [_shown(found.get((measure, row, precision), {}).get("ms"), "{:.3g}") for measure in times]
        captured = found.get(("captured", row, precision), {})
        if "ms" in captured and not _has_graphs(captured):
            each[0] += " (no graph)"
        rest = [_shown(captured.get(name), form) for name, form in NUMBERS.values()]
        cells.append([f"`{row}`", precision, _shown(ROWS[row].goals.get(precision), "{:g}", "–"), *each, *rest])
    devices = sorted({f"{line['device']}, torch {line['torch']}" for line in lines})
    return "\n\n".join(["; ".join(devices), _markdown(headings, cells), *_others(lines)])


def _has_graphs(line: Mapping[str, Any]) -> bool:
    """Whether all was captured that should be: a run goes on without a graph where that fails."""
    graphs = line.get("graphs", {})
    return bool(graphs.get("graphs")) and not graphs.get("graph_problems")


def _others(lines: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    shared = [line for line in lines if "steps_per_s" in line]
    if shared:
        rows = [[f"{line['processes']}", _shown(line["steps_per_s"], "{:.3g}")] for line in shared]
        yield _markdown(["processes on the card", "steps a second, together"], rows)
    ends = [line for line in lines if "mean_loss" in line]
    if ends:
        exact = {line["row"]: line["mean_loss"] for line in ends if line["precision"] == "fp32"}
        rows = [
            [f"`{line['row']}`", line["precision"], _shown(line["mean_loss"], "{:.4g}"), _apart(line, exact)]
            for line in ends
        ]
        yield _markdown(
            ["trajectory", "precision", f"mean loss of the last {ends[0]['last']} steps", "from fp32"], rows
        )


def _apart(line: Mapping[str, Any], exact: Mapping[str, float | None]) -> str:
    """How far the end of a trajectory is from that in float32."""
    loss, base = line["mean_loss"], exact.get(line["row"])
    return _shown(loss / base - 1 if loss and base else None, "{:+.2%}")


def _shown(value: float | None, form: str, missing: str = MISSING) -> str:
    return missing if value is None else form.format(value)


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))


def rounded(value: Any) -> Any:
    """Four digits of every number."""
    match value:
        case float():
            return float(f"{value:.4g}")
        case dict():
            return {name: rounded(each) for name, each in value.items()}
        case list():
            return [rounded(each) for each in value]
    return value
