"""Who is cited: the page of papers, the software's own citation, and the papers that the code names."""

import re
from pathlib import Path

import pytest
import yaml

from cnas import algorithms, curricula
from cnas.hub.card import CURRICULUM_NAS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "papers.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if "](http" in line]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


def cited():
    """The paper behind every algorithm, and that of the method."""
    classes = {type(algorithms.default_config(name)).__qualname__.split(".")[0] for name in algorithms.names()}
    papers = [CURRICULUM_NAS, *(getattr(algorithms, name).paper for name in sorted(classes))]
    papers += [paper for name in curricula.names() if (paper := curricula.curriculum_class(name).paper)]
    return {paper.url: paper for paper in papers}


@pytest.mark.parametrize("paper", cited().values(), ids=lambda paper: paper.url)
def test_a_paper_that_the_code_names_has_a_row(paper):
    rows = [row for row in ROWS if row[1:4] == [f"[{paper.title}]({paper.url})", paper.authors, str(paper.year)]]
    assert len(rows) == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_is_complete_and_says_where_the_code_is(row):
    assert len(row) == 6
    assert all(row)
    assert re.fullmatch(r"(19|20)\d\d", row[3])
    places = re.findall(r"`([^`]+)`", row[4])
    assert places
    assert [place for place in places if not (ROOT / "cnas" / place).exists()] == []


def test_no_row_is_there_twice():
    assert len(ROWS) >= 12
    assert len({row[1] for row in ROWS}) == len(ROWS)


def test_the_citation_file_has_what_its_format_wants_and_names_the_paper():
    assert CITATION["cff-version"] == "1.2.0"
    assert all(CITATION[key] for key in ("message", "title", "authors", "version", "license"))
    (paper,) = CITATION["references"]
    people = ", ".join(f"{person['given-names']} {person['family-names']}" for person in paper["authors"])
    told = (paper["title"], people, paper["year"], f"https://doi.org/{paper['doi']}")
    assert told == (CURRICULUM_NAS.title, CURRICULUM_NAS.authors, CURRICULUM_NAS.year, CURRICULUM_NAS.url)
    assert paper["type"] == "conference-paper"
    assert paper["conference"]["name"]
