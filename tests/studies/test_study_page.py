"""What a study says: in the terminal, on its page and in its figures."""

from dataclasses import replace

import pytest

from cnas.cli import main as cli
from cnas.studies import Study, read_plan
from cnas.studies import study as study_module
from cnas.studies.figures import RunFigures
from cnas.studies.gate import decide
from cnas.studies.page import render, write_page
from cnas.studies.summary import to_markdown
from cnas.studies.verdicts import MEASURES, NO_RANKING, conclude, levels, without_runs

BASELINE = {"name": "random architecture", "value": 88.78, "deviation": 5.97, "percentile": 0.5}


def run(tau, seed):
    curve = tuple((epoch, tau * epoch / 10 + 0.01 * seed) for epoch in (0, 5, 10))
    values = dict.fromkeys(MEASURES, 0.5) | {"kendall_tau": curve[-1][1]}
    losses = dict(zip("abcd", (1.0, 2.0, 3.0 + seed % 2, 3.5), strict=True))
    return RunFigures(values, 0.08, 10, curve, 60.0, 10, "cpu", (BASELINE,), losses)


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
    assert "| curriculum | beats / <b>random</b> search | Kendall's τ | 0.3 | 3 | 0.440 | yes |" in text
    assert "| plain | beats / <b>random</b> search | Kendall's τ | 0.3 | 3 | 0.220 | no |" in text


def test_the_means_of_the_arms_have_their_intervals(study):
    text = to_markdown(study)
    # Of 0.21, 0.22 and 0.23: Student's factor is 4.3027, the standard error 0.01 / √3.
    half = 4.30265 * 0.01 / 3**0.5
    assert f"| plain | 3 | 0.020 (-0.005 to 0.045) | 0.220 ({0.22 - half:.3f} to {0.22 + half:.3f}) | +0.500" in text
    assert (
        "Arms: mean and 95 % interval over seeds, with the same architectures; a pick is the best by score of 10"
        in text
    )
    assert "| random architecture | 88.78 ± 5.97 | 0.500 |" in text


def test_a_level_is_not_decided_while_runs_are_missing(study):
    plan, runs = study.plan, {"plain": {1: study.runs["plain"][1], 2: study.runs["plain"][2]}}
    values = {arm: {seed: one.values for seed, one in seeds.items()} for arm, seeds in runs.items()}
    (found,) = levels(plan, values)
    assert (found.n, found.mean, found.complete, found.reached) == (2, pytest.approx(0.215), False, None)
    text = to_markdown(replace(study, runs=runs, levels=(found,), codes={"plain-s3": 4}))
    assert "Kendall's τ | 0.3 | 2 | 0.215 | – |" in text
    assert "- curriculum: helps (against plain) (provisional: runs are missing)\n" in text


def test_what_limits_a_verdict_is_said(study):
    text = to_markdown(replace(study, missing={"plain-s4": "error: no memory (log: x)"}))
    assert "- missing: plain-s4, error: no memory (log: x)" in text
    assert "1 figures are missing; none was put in their place." in render(replace(study, missing={"a": "b"})).html


@pytest.mark.parametrize(
    ("seeds", "least", "words"),
    [
        ([1, 2], 0.2, "open"),
        ([1, 2], 0.3, f"closed, {NO_RANKING}"),
        ([1, 4], 0.3, "not decided, since figures are missing"),
    ],
)
def test_the_gate_is_said_with_its_figures(study, plan_file, seeds, least, words):
    plan = read_plan(plan_file(gate={"arms": ["plain"], "seeds": seeds, "min_tau": least}))
    text = to_markdown(replace(study, plan=plan, gate=decide(plan.gate, study.runs)))
    assert f"- gate: {words}; each arm needs a mean Kendall's τ of {least}\n" in text
    if 4 in seeds:
        assert "- plain: mean Kendall's τ – of 2 seeds (0.210, –)\n" in text
        return
    # Student's factor for two is 12.706, and half of their distance its standard error.
    low, high = 0.215 - 12.7062 * 0.005, 0.215 + 12.7062 * 0.005
    assert (
        f"- plain: mean Kendall's τ 0.215 of 2 seeds (0.210, 0.220), {low:+.3f} to {high:+.3f} over seeds; "
        "at most ± 0.080 for the choice of architectures; of two seeds' rankings with one another 0.667\n" in text
    )


def test_the_page_has_verdict_figures_tables_and_plan(study):
    page = write_page(study)
    html = page.read_text("utf-8")
    assert page == study.home / "report.html"
    for words in (
        "Does &lt;i&gt;it&lt;/i&gt; help?",
        "<dd>helps</dd>",
        "Forest plot. curriculum minus plain: mean +0.220, interval +0.195 to +0.245, helps.",
        "plain from 0.02 in epoch 0 to 0.22 in epoch 10",
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


@pytest.mark.parametrize("comparisons", [None, []])
def test_a_closed_gate_has_a_page_with_its_figures_and_no_differences(study, plan_file, comparisons):
    plan = read_plan(plan_file(gate={"arms": ["plain"], "seeds": [1, 2, 3], "min_tau": 0.3}, comparisons=comparisons))
    runs, verdicts = {"plain": study.runs["plain"]}, tuple(without_runs(plan, NO_RANKING))
    gate = decide(plan.gate, runs)
    page = render(replace(study, plan=plan, gate=gate, verdicts=verdicts, runs=runs, levels=()))
    assert ("<dd>closed</dd>" if verdicts == () else f"<dd>{NO_RANKING}</dd>") in page.html
    for words in ("mean Kendall&#39;s τ 0.220 of 3 seeds", "τ before training", "random architecture"):
        assert words in page.html, words
    assert [name for name, _ in page.drawings] == ["taus"]


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
