"""The built site: strictly made, every link inside it leads somewhere, and nothing is fetched from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import chromium
import pytest

ROOT = Path(__file__).parents[1]
FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("object", "data"),
    ("use", "href"),
    ("form", "action"),
}
"""Attributes whose address a browser asks for by itself; of ``link`` elements, all are."""


class Page(HTMLParser):
    """The addresses and the anchors of an HTML file."""

    def __init__(self, text):
        super().__init__()
        self.links, self.fetched, self.anchors, self.unnamed_images = [], [], set(), 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.unnamed_images += tag == "img" and not given.get("alt")
        for key, value in given.items():
            if value and ((tag, key) == ("link", "href") or (tag, key) in FETCHED):
                self.fetched.append(value)
            elif value and key == "href":
                self.links.append(value)


def build(folder, config=ROOT / "mkdocs.yml"):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        [*command, "--site-dir", str(folder)], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {file: Page(file.read_text("utf-8")) for file in site.rglob("*.html")}


def test_every_page_is_built_and_has_no_path_of_this_machine(site, pages):
    sources = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")]
    expected = {site / (path.with_name("index.html") if path.stem == "README" else path) for path in sources}
    assert expected | {site / "404.html"} == set(pages)
    assert not [page for page in pages if str(ROOT) in page.read_text("utf-8")]
    assert not list(site.rglob("*.py"))


def test_links_within_the_site_lead_somewhere(site, pages):
    dead = []
    for file, page in pages.items():
        # The page for wrong addresses is read at any depth, so its addresses start at the root of a server.
        for address in [] if file.name == "404.html" else [*page.links, *page.fetched]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{file.relative_to(site)}: {address}")
    assert dead == []


def test_a_browser_asks_nobody_else(site, pages):
    asked = [address for page in pages.values() for address in page.fetched]
    assert len(asked) > len(pages)
    assert [address for address in asked if urlsplit(address).scheme or urlsplit(address).netloc] == []
    for sheet in site.rglob("*.css"):
        addresses = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)", sheet.read_text("utf-8"))
        assert [address for address in addresses if re.match(r"(?!data:)[a-z]*:?//", address)] == [], sheet.name


def test_every_picture_has_a_text(pages):
    assert sum(page.unnamed_images for page in pages.values()) == 0


def test_the_search_index_is_there_for_a_server_and_for_a_folder(site):
    index = (site / "search" / "search_index.json").read_text("utf-8")
    assert "api/curricula.html#cnas.curricula.normalized_weights" in index
    assert (site / "search" / "search_index.js").read_text("utf-8") == f"var __index = {index}"


@pytest.mark.skipif(chromium.PROGRAM is None, reason=chromium.MISSING)
def test_search_works_in_a_browser_without_server_or_network(site, tmp_path):
    browser = [chromium.PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    alone = ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--virtual-time-budget=10000"]
    address = f"{(site / 'index.html').as_uri()}?q=normalized_weights"
    done = subprocess.run(
        [*browser, *alone, "--dump-dom", address], capture_output=True, text=True, check=True, timeout=300
    )
    assert re.search(r"md-search-result__meta\">\d+ matching document", done.stdout)
    assert "CONSOLE" not in done.stderr


def documented(site):
    """The Python names that have an anchor on the site, from the inventory that other sites link by."""
    head, _, body = (site / "objects.inv").read_bytes().partition(b"using zlib.\n")
    assert head
    return {line.split(" ")[0] for line in zlib.decompress(body).decode().splitlines() if " py:" in line}


def test_members_are_described_as_well(site):
    assert documented(site) >= {
        "cnas.algorithms.enas.ENAS.Config.updates",
        "cnas.curricula.Curriculum.update",
        "cnas.errors.Stopped",
        "cnas.trainer.CurriculumTrainer.train",
        "cnas.spaces.SearchSpace.decisions",
        "cnas.training.SearchLoop",
        "cnas.types.Routing.path",
    }


def test_doctests_are_shown_as_code(site):
    text = (site / "api" / "curricula.html").read_text("utf-8")
    assert 'class="gp">&gt;&gt;&gt; </span>' in text
    assert "<blockquote>" not in text


BROKEN = {
    "[there](missing.md)": "'missing.md'",
    "[there](#missing)": "no such anchor",
    "::: cnas.curricula.no_such_name": "no_such_name",
    "[`there`][cnas.no_such_name]": "'cnas.no_such_name'",
}
"""What a page must not hold, and what the refusal names."""


@pytest.mark.parametrize(("text", "refusal"), [("", None), *BROKEN.items()])
def test_the_strict_build_refuses_dead_ends(text, refusal, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Title\n\n{text}\n", "utf-8")
    shutil.copy(ROOT / "docs" / "griffe_docstrings.py", tmp_path / "docs")
    settings = f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nnav: [index.md]\nextra_css: []\n"
    (tmp_path / "mkdocs.yml").write_text(settings, "utf-8")
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode == (0 if refusal is None else 1)
    assert refusal is None or refusal in done.stderr
