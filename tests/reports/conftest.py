from html.parser import HTMLParser
from pathlib import Path

import made_up
import pytest
from tiny_recipe import write_corpus

from cnas.reports.report import write_report

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """What a page consists of: (name, attributes) of every element, and whether they are nested properly."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def outline():
    return lambda path: Outline(path.read_text("utf-8"))


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """One for all files of this folder, since their reports take seconds to draw."""
    folder = tmp_path_factory.mktemp("home")
    write_corpus(folder / "corpus")
    return folder


@pytest.fixture(scope="session")
def judged(home) -> Path:
    """A finished run with a curriculum, a table of weights and a checkpoint."""
    return made_up.write_run(home / "made-up" / "judged", made_up.config(home), test_perplexity=48.0)


@pytest.fixture(scope="session")
def plain(home) -> Path:
    """The same without a curriculum."""
    config = made_up.config(home, curriculum=False)
    return made_up.write_run(home / "made-up" / "plain", config, cell="0 3 1 3", test_perplexity=50.0)


@pytest.fixture(scope="session")
def page(judged) -> Path:
    """The report on one run."""
    return write_report([judged])


@pytest.fixture(scope="session")
def both(judged, plain) -> Path:
    """The report on two."""
    return write_report([judged, plain])
