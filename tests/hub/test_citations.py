"""The papers that cards cite are those of the page of papers, and BibTeX can read them."""

from pathlib import Path

import pytest

import cnas.spaces
from cnas.hub.card import bibtex, web_address
from cnas.hub.metadata import known_data
from cnas.hub.model_kind import IMAGE_CLASSIFIER, LANGUAGE_MODEL
from cnas.types import Paper

PAGE = (Path(cnas.__file__).parents[1] / "docs" / "papers.md").read_text("utf-8")
CITED = {
    *LANGUAGE_MODEL.papers.values(),
    *IMAGE_CLASSIFIER.papers.values(),
    *(known_data(name).paper for name in ("ptb_text_only", "cifar10", "uoft-cs/cifar100", "digits")),
    cnas.spaces.EnasRnnSpace.paper,
    cnas.spaces.DartsRnnSpace.paper,
}


@pytest.mark.parametrize("paper", sorted(CITED, key=lambda paper: paper.url), ids=lambda paper: paper.url)
def test_a_paper_of_a_card_is_on_the_page(paper):
    assert f"| [{paper.title}]({paper.url}) | {paper.authors} | {paper.year} |" in PAGE


def test_a_bibtex_entry():
    paper = Paper("A {search}, described", "Ada King, Charles Babbage", 1843, "https://example.org")
    assert bibtex(paper) == (
        "@misc{king1843a,\n  title = {A search, described},\n  author = {Ada King and Charles Babbage},\n"
        "  year = {1843},\n  url = {https://example.org},\n}"
    )
    assert bibtex(Paper("", "", 1, "")).startswith("@misc{unknown1,")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "", "file:///etc/passwd"])
def test_what_is_no_web_address_is_no_link(url):
    assert web_address(url) == ""
