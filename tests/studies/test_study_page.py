"""What a study says: in the terminal, on its page and in its figures."""

import re
from dataclasses import replace

import pytest

from cnas.cli import main as cli
from cnas.studies import Study, read_plan
from cnas.studies import study as study_module
from cnas.studies.figures import RunFigures
from cnas.studies.page import render, write_page
from cnas.studies.study import GateResult
from cnas.studies.summary import to_markdown
from cnas.studies.verdicts import MEASURES, NO_RANKING, conclude, levels, without_runs

BASELINE = {"name": "random architecture", "value": 88.78, "percentile": 0.5}


def run(tau, seed):
    curve = tuple((epoch, tau * epoch / 10 + 0.01 * seed) for epoch in (5, 10))
    values = dict.fromkeys(MEASURES, 0.5) | {"kendall_tau": curve[-1][1]}
    return RunFigures(values, curve, 60.0, 10, "cpu", (BASELINE,))


@pytest.fixture
def study(plan_file, tmp_path):
    """A study of two arms and three seeds, in which the curriculum helps."""
    level = {"measure": "kendall_tau", "above": 0.3, "meaning": "beats | <b>random</b> search"}
    plan = read_plan(plan_file(seeds=[1, 2, 3], levels=[level], question="Does <i>it</i> help?"))
    runs = {
        "plain": {s: run(0.2, s) for s in plan.seeds},
        "curriculum": {s: run(0.4 + 0.01 * s, s) for s in plan.seeds},
    }
    values = {arm: {seed: one.values for seed, one in seeds.items()} for arm, seeds in runs.items()}
    found = conclude(plan, values)
    return Study(
        plan,
        tmp_path / "study",
        None,
        tuple(found),
        tuple(levels(plan, values)),
        runs,
        epochs={},
        missing={},
        codes={},
        seconds=400.0,
    )


def test_the_verdict_comes_first_and_the_numbers_after_it(study):
    text = to_markdown(study)
    assert text.splitlines()[2] == "- curriculum: helps (against plain)"
    assert "| curriculum − plain | 3 | +0.220 | +0.195 to +0.245 | 0.2500 | – | 0.98 | 3 | helps |" in text
    assert "with 3 pairs the sign-flip test cannot go below 0.25, whatever they are" in text
    assert "95 % interval" in text
    assert "| curriculum | beats / <b>random</b> search | Kendall's τ | 0.3 | 0.440 | yes |" in text
    assert "| plain | beats / <b>random</b> search | Kendall's τ | 0.3 | 0.220 | no |" in text


def test_what_limits_a_verdict_is_said(study):
    text = to_markdown(replace(study, missing={"plain-s4": "error: no memory (log: x)"}))
    assert "- missing: plain-s4, error: no memory (log: x)" in text
    assert "1 figures are missing; none was put in their place." in render(replace(study, missing={"a": "b"})).html


@pytest.mark.parametrize(("state", "words"), [(True, "open"), (False, f"closed, {NO_RANKING}"), (None, "not decided")])
def test_the_gate_is_said_with_its_figures(study, plan_file, state, words):
    plan = read_plan(plan_file(gate={"arms": ["plain"], "seeds": [1, 2], "min_tau": 0.3}))
    text = to_markdown(replace(study, plan=plan, gate=GateResult(state, {"plain": 0.25})))
    assert re.search(rf"- gate: {words}.*; mean Kendall's τ plain 0\.250, needed 0\.3", text)


def test_the_page_has_verdict_figures_tables_and_plan(study):
    page = write_page(study)
    html = page.read_text("utf-8")
    assert page == study.home / "report.html"
    for words in (
        "Does &lt;i&gt;it&lt;/i&gt; help?",
        "<dd>helps</dd>",
        "Forest plot. curriculum minus plain: mean +0.220, interval +0.195 to +0.245, helps.",
        "plain from 0.12 in epoch 5 to 0.22 in epoch 10",
        "random architecture",
        study.plan.hash,
        "Made by <code>cnas study</code> from the files of the study alone",
    ):
        assert words in html, words
    assert "<i>" not in html
    assert "<b>" not in html
    assert sorted(path.name for path in (study.home / "figures").iterdir()) == [
        "differences.png",
        "differences.svg",
        "taus.png",
        "taus.svg",
    ]


def test_a_closed_gate_has_a_page_without_differences(study):
    closed = replace(study, verdicts=tuple(without_runs(study.plan, NO_RANKING)), runs={}, levels=())
    page = render(closed)
    assert f"<dd>{NO_RANKING}</dd>" in page.html
    assert page.drawings == ()


def test_the_command_prints_writes_and_ends_with_the_code_of_the_runs(study, plan_file, monkeypatch, capsys):
    import cnas.studies

    given = {}
    monkeypatch.setattr(cnas.studies, "run_study", lambda plan, home, **how: given.update(how, home=home) or study)
    assert study_module.run_study is not cnas.studies.run_study
    file = str(plan_file())
    assert cli.main(["study", file, "--jobs", "2", "--resume", "--output-dir", "here"]) == 0
    assert (given["at_once"], given["resume"], str(given["home"])) == (2, True, "here")
    assert capsys.readouterr().out.endswith(f"written to {study.home / 'report.html'}\n")
    monkeypatch.setattr(cnas.studies, "run_study", lambda *_, **how: replace(study, codes={"plain-s1": 0, "x-s1": 4}))
    assert cli.main(["study", file]) == 4
    captured = capsys.readouterr()
    assert "curriculum: helps" in captured.out
    assert captured.err == "error: 1 of 2 runs are not finished: x-s1\n"
