"""The matrix of docs/reliability.md: every row names a test there is, and says what the long run has measured."""

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "results" / "reliability.jsonl"


def matrix() -> list[list[str]]:
    """fault, injected how, expected, measured, test."""
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    rows = re.findall(r"^\|.*`test_\w+\.py::test_\w+` \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def names_of_tests() -> set[str]:
    return {
        f"{path.name}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def recorded() -> dict[str, str]:
    """By test, what the last whole `make test-long` counted."""
    return {row["test"]: row["measured"] for row in map(json.loads, FIGURES.read_text("utf-8").splitlines())}


def test_there_are_thirty_rows_of_five_cells():
    assert len(matrix()) >= 30
    assert {len(row) for row in matrix()} == {5}


def test_every_row_names_a_test():
    named, known = [row[-1].strip("`") for row in matrix()], names_of_tests()
    assert not [name for name in named if name not in known]
    assert len(set(named)) == len(named)


def test_the_figures_are_those_of_the_long_run():
    known = recorded()
    for *_, measured, name in matrix():
        test = name.strip("`")
        assert measured == known.get(test, "in `make test`"), test


def test_what_the_long_run_measured_is_in_the_matrix():
    assert recorded().keys() <= {row[-1].strip("`") for row in matrix()}


def test_the_inputs_of_the_fuzz_tests_are_as_many_as_the_page_says():
    counts = [found[1] for text in recorded().values() if (found := re.match(r"([\d,]+) inputs:", text))]
    inputs = sum(int(count.replace(",", "")) for count in counts)
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    assert inputs >= 100_000
    assert f"{inputs:,} inputs" in page
