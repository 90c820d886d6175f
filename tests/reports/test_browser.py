"""The report in a real browser: headless Chromium, as Debian packages it."""

import chromium
import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.PROGRAM is None, reason=chromium.MISSING),
]

SIZES = """[...document.querySelectorAll("figure svg")].map(svg => {
  const box = svg.getBoundingClientRect();
  return [box.width, box.height, svg.getAttribute("aria-label").length];
})"""
COLOURS = "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
SMALLEST = """Math.min(...[...document.querySelectorAll("figure svg text")].map(text => {
  const svg = text.ownerSVGElement;
  return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
}))"""


@pytest.fixture(scope="module")
def tab():
    with chromium.browser() as found:
        yield found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("name", ["page", "both"])
def test_the_page_is_shown_as_it_should_be(tab, request, name, width, dark):
    page = request.getfixturevalue(name)
    tab.open(page, width, dark=dark)
    assert tab.reports("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded") == []
    requested = {report["request"]["url"] for report in tab.reports("Network.requestWillBeSent")}
    assert {url for url in requested if not url.startswith("data:")} == {page.resolve().as_uri()}
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    figures = tab.evaluate(SIZES)
    assert len(figures) > 8
    assert all(box_width > 250 and height > 40 and words > 20 for box_width, height, words in figures)
    # Letters that can be read without spreading two fingers.
    assert tab.evaluate(SMALLEST) > 8.5
    ink, paper = tab.evaluate(COLOURS)
    assert (brightness(ink) > brightness(paper)) == dark


def brightness(colour):
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


def test_figures_follow_the_mode(tab, page):
    seen = []
    for dark in (False, True):
        tab.open(page, 1200, dark=dark)
        seen.append(tab.evaluate('getComputedStyle(document.querySelector("figure svg text")).fill'))
    assert seen[0] != seen[1]


def test_the_checks_would_notice(tab, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<body style='width: 900px'><img src='http://127.0.0.1:9/x.png'><script>nothing()</script>", "utf-8")
    tab.open(bad, 400)
    assert tab.reports("Runtime.exceptionThrown")
    assert any("127.0.0.1" in report["request"]["url"] for report in tab.reports("Network.requestWillBeSent"))
    assert tab.evaluate("document.documentElement.scrollWidth") > 400
