import json
import re
import shutil
import xml.etree.ElementTree as ET
from itertools import pairwise

import made_up
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import StorageError, UserError
from cnas.reports.page import render
from cnas.reports.record import read_run
from cnas.reports.report import report_run, write_report
from cnas.runs.result import RunResult

HOSTILE = '<img src=x onerror=alert(1)>"&amp;$x^2$'


@pytest.fixture(scope="module")
def hostile(home, tmp_path_factory):
    """A run whose name, data, words and settings all try to get out of the text."""
    folder = tmp_path_factory.mktemp("hostile")
    corpus = shutil.copytree(home / "corpus", folder / "corpus")
    for file in corpus.iterdir():
        text = file.read_text("utf-8").replace("w1 ", "<script>alert(1)</script> ").replace("w2 ", "</td></table> ")
        file.write_text(text, "utf-8")
    run = made_up.write_run(folder / HOSTILE, made_up.config(folder))
    result = json.loads((run / "result.json").read_text("utf-8"))
    result["dataset"]["name"] = result["algorithm"] = HOSTILE
    made_up.change(
        run / "result.json", **result, benchmark={"dataset": HOSTILE, "test_accuracy": 1.5, "rank": 3, HOSTILE: None}
    )
    made_up.change(run / "result.json", environment={HOSTILE: HOSTILE})
    return write_report([run])


@pytest.fixture(params=["page", "both", "hostile"])
def any_page(request, outline):
    return outline(request.getfixturevalue(request.param))


def test_a_report_lies_in_its_run(judged, page):
    assert page == judged / "report.html"
    names = {path.name for path in (judged / "figures").iterdir()}
    assert {"search_curve.png", "search_curve.svg", "cell.svg", "weight_histogram.png"} <= names
    for path in (judged / "figures").glob("*.svg"):
        ET.parse(path)


def test_it_stands_alone(any_page):
    assert not {"script", "iframe", "object", "img", "base"} & {tag for tag, _ in any_page.elements}
    for _, attributes in any_page.elements:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("href", "xlink:href", "src", "action"):
            assert (attributes.get(key) or "#").startswith(("#", "data:")), attributes
    (policy,) = [each["content"] for each in any_page.named("meta") if "http-equiv" in each]
    assert "default-src 'none'" in policy


def test_it_is_well_formed(any_page):
    assert any_page.open == []
    ids = [attributes["id"] for _, attributes in any_page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for attributes in any_page.named("a")]
    assert links
    assert set(links) <= set(ids)


def test_it_is_accessible(any_page):
    levels = [int(tag[1]) for tag, _ in any_page.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    assert all(attributes.get("scope") in {"row", "col"} for attributes in any_page.named("th"))
    assert len(any_page.named("caption")) == len(any_page.named("table")) > 0
    figures = any_page.named("svg")
    assert len(figures) == len(any_page.named("figure")) > 5
    for attributes in figures:
        assert attributes["role"] == "img"
        assert int(attributes["width"]) * int(attributes["height"]) > 0
        assert len(attributes["aria-label"]) > 20


def test_what_it_says_of_one_run(page, outline):
    text = outline(page).text
    for part in (
        "Test perplexity 48.00",
        "Validation perplexity 49.00",
        "Parameters 12,345",
        "Search 1 min 15 s",
        "0 1 1 3",
        "enas on corpus · curriculum, K = 3 · seed 1 · finished",
        "Heaviest: what the subnets are least sure of",
        "No sign of a collapse",
        "Search, epochs 4",
    ):
        assert part in text
    assert "Benchmark" not in text
    assert "±" not in text


def test_what_it_says_of_several_runs(judged, both, outline):
    assert both == judged.parent / "report" / "report.html"
    text = outline(both).text
    assert "2 runs" in text
    assert "Curriculum minus plain, at equal seeds" in text
    assert "−2.00" in text
    assert "One seed is no evidence" in text
    # The plain one has collapsed.
    assert text.count("Alarm.") == 1
    assert "All 2 operations are identity" in text
    names = {path.name for path in (both.parent / "figures").iterdir()}
    assert {"all_retrain_curves.png", "run1_cell.svg", "run2_cell.svg"} <= names


def test_what_comes_from_outside_is_text(hostile, outline):
    found = outline(hostile)
    assert '<img src=x onerror=alert(1)>"&amp;$x^2$' in found.text
    assert "<script>alert(1)</script>" in found.text
    assert "Benchmark" in found.text


def test_no_folder_of_the_machine_is_told(home, page, hostile):
    for path in (page, hostile):
        text = path.read_text("utf-8")
        assert str(home) not in text
        assert str(path.parents[1]) not in text


def test_an_unfinished_run_gives_a_shorter_report(judged, tmp_path, outline):
    run = shutil.copytree(judged, tmp_path / "going on", ignore=shutil.ignore_patterns("report.html", "figures"))
    rows = (run / "metrics.jsonl").read_text("utf-8").splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(rows[:2]), "utf-8")
    for name in ("result.json", "search.json"):
        (run / name).unlink()
    found = outline(write_report([run]))
    assert "search, epoch 2" in found.text
    assert "Not finished: going on." in found.text
    assert "Operations of the cell" not in found.text
    assert len(found.named("figure")) < 10


def test_a_run_that_has_just_begun(home, tmp_path, outline):
    made_up.write(tmp_path / "config.json", made_up.config(home).to_json())
    found = outline(write_report([tmp_path]))
    assert "nothing measured yet" in found.text
    assert found.named("figure") == []


def test_a_run_reports_before_it_is_finished(home, judged, tmp_path, outline):
    from cnas.runs.task import load_task

    config = made_up.config(home)
    run = shutil.copytree(judged, tmp_path / "run", ignore=shutil.ignore_patterns("report.html", "figures"))
    result = json.loads((run / "result.json").read_text("utf-8"))
    for name in ("result.json", "metrics.jsonl"):
        (run / name).unlink()
    found = outline(report_run(run, RunResult.from_json(result), load_task(config)))
    assert "seed 1 · finished" in found.text
    assert "Heaviest" in found.text


def test_equal_folders_give_equal_reports(judged, page):
    before = page.read_bytes()
    assert write_report([judged]).read_bytes() == before


def test_mistakes_are_named(home, judged, tmp_path):
    with pytest.raises(UserError, match="at least one run folder"):
        write_report([])
    (tmp_path / "figures").touch()
    with pytest.raises(UserError, match=r"out '.*' must be a folder, got a file"):
        write_report([judged], tmp_path / "figures")
    made_up.write(tmp_path / "config.json", made_up.config(home).to_json())
    with pytest.raises(StorageError, match="cannot write the report"):
        write_report([tmp_path])


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner))
KEYS = ("space", "algorithm", "curriculum", "seed", "dataset", "architecture", "search", "retrain", "environment")


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys((*KEYS, "benchmark"), JSON)),
    st.fixed_dictionaries({}, optional=dict.fromkeys((*KEYS, "text", "data", "architecture"), JSON)),
)
def test_values_of_a_file_are_refused_or_make_a_page(judged, tmp_path_factory, result, config):
    folder = tmp_path_factory.mktemp("run")
    for name, changes in (("result.json", result), ("config.json", config)):
        shutil.copy(judged / name, folder)
        made_up.change(folder / name, **changes)
    try:
        said = render([read_run(folder)], [None]).html
    except UserError as problem:
        said = str(problem)
    assert said.endswith("</html>") or re.search(r"(result|config)\.json: \w.* (is missing|must be )[^\n]*$", said)


def test_a_real_run_has_everything(home, finished, tmp_path, outline, monkeypatch):
    monkeypatch.chdir(home)  # the run names its data as seen from there
    found = outline(write_report([finished], tmp_path / "report"))
    assert "Heaviest: what the subnets are least sure of" in found.text
    names = {path.stem for path in (tmp_path / "report" / "figures").iterdir()}
    assert names == {
        "cell",
        "effective_sample_size",
        "policy_entropy",
        "probes",
        "retrain_curve",
        "search_curve",
        "weight_histogram",
        "weights",
    }
