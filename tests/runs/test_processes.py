"""One process or two: the same batches, the same weights, the same result."""

import json
import re
import shutil
import signal
import subprocess
import sys

import process_cases
import pytest
import tiny_recipe
import torch
from launching import SECONDS, Fault, launch, launch_ranks, recipe
from process_cases import CASES, EXTRA
from rounding import TRAINED, TRAINED_COARSELY, TRAINED_SINGLE

pytestmark = pytest.mark.distributed
LIMITS = {"float64": TRAINED, "float32": TRAINED_SINGLE}
UNROLLED_LIMIT = TRAINED_COARSELY
LIMIT = 600.0
"""Seconds for all cases in one launch, against hanging: on an idle machine they take half a minute."""


def run_world(home, name, world, cases, halves=None):
    out = home / name
    out.mkdir()
    ranks = launch_ranks(out, world, process_cases.run_cases, home, out, world, cases, halves)
    for ended in [rank.wait(LIMIT) for rank in ranks]:
        assert ended.code == 0, ended.err
    return torch.load(out / "results.pt")


@pytest.fixture(scope="module")
def results(home, request):
    """The numbers of one process, of two, and of one that goes on with what the two have left."""
    cases = CASES if request.config.getoption("--long") else [case for case in CASES if case not in process_cases.SLOW]
    alone = run_world(home, "alone", 1, cases)
    shutil.copytree(home / "alone" / "half", home / "alone-half")
    pair = run_world(home, "pair", 2, cases, home / "alone-half")
    shutil.copytree(home / "pair" / "half", home / "pair-half")
    again = run_world(home, "again", 1, [], home / "pair-half")
    return {"alone": alone, "pair": pair, "again": again}


def limit(case, dtype):
    return UNROLLED_LIMIT if case in process_cases.UNROLLED else LIMITS[dtype]


def distance(one, other):
    assert one.keys() == other.keys()
    assert len(one) > 10
    # A maximum of torch, unlike one of Python, is NaN where anything is.
    return float(torch.stack([(one[name] - other[name]).abs().max().double() for name in one]).max())


def some(case, *more):
    """A case, which is one of the long tests where it is slow."""
    return pytest.param(case, *more, marks=[pytest.mark.cross] if case in process_cases.SLOW else [])


@pytest.mark.parametrize(
    ("case", "dtype"), [some(case, dtype) for case in CASES for dtype in LIMITS if (case, dtype) not in EXTRA]
)
def test_two_processes_compute_what_one_does(results, case, dtype):
    assert distance(results["alone"][case, dtype], results["pair"][case, dtype]) <= limit(case, dtype)


def test_the_cases_are_not_all_the_same(results):
    own = [*process_cases.CURRICULA, "accumulated"]
    numbers = results["alone"]
    weights = {case: numbers[case, "float64"]["weights/input_matrix"] for case in own if (case, "float64") in numbers}
    assert len(weights) > 3
    plain = weights.pop("none")
    assert float((weights.pop("accumulated") - plain).abs().max()) < TRAINED
    for case, value in weights.items():
        assert float((value - plain).abs().max()) > 1e-6, case


def test_the_processes_hold_the_same_weights(results):
    assert results["pair"]["differ"] == 0.0


@pytest.mark.parametrize("case", [some(case) for case in process_cases.OTHERS if "darts_v" in case])
def test_an_architecture_that_is_learned_beside_the_weights_moves_on_both(results, case):
    alphas = results["alone"][case, "float64"]["algorithm//alphas.logits"]
    assert float(alphas.abs().max()) > 0.02


@pytest.mark.parametrize("case", process_cases.HALVES)
@pytest.mark.parametrize("who", ["pair", "again"])
def test_another_number_of_processes_goes_on_with_a_checkpoint(results, who, case):
    whole = results["alone"][case, "float64"]
    assert distance(whole, results[who]["resumed", case]) <= limit(case, "float64")


def figures(run):
    result = json.loads((run / "result.json").read_text("utf-8"))
    perplexities = [result["retrain"]["valid_perplexity"], result["retrain"]["test_perplexity"]]
    return result["architecture"]["string"], result["environment"]["processes"], perplexities


def command(home, *words):
    """A program of the environment with the tiny recipe, the way a user starts it."""
    program = [sys.executable, "-m", *words, tiny_recipe.__file__, "--output-dir", words[0]]
    return subprocess.Popen(program, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def communicate(program):
    try:
        return program.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        program.terminate()
        return program.communicate()


def test_the_launchers_that_users_know(home, finished):
    programs = {
        2: command(home, "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
        1: command(home, "accelerate.commands.launch"),
    }
    name, _, perplexities = figures(finished)
    near = pytest.approx(perplexities, rel=1e-4)
    outputs = {world: communicate(program) for world, program in programs.items()}
    for world, program in programs.items():
        out, err = outputs[world]
        assert program.returncode == 0, err
        assert figures(home / program.args[-1]) == (name, world, near)
        for start in ("preset tiny", "search 1/3", "found", "retrain 3/3", "perplexity", "model card"):
            assert sum(line.startswith(start) for line in out.splitlines()) == 1, out


def test_a_signal_to_one_process_stops_both_and_one_goes_on(home, finished):
    argv, fault = ("--output-dir", "two-then-one"), Fault("step", 14, signal.SIGTERM, rank="1")
    ranks = [rank.wait() for rank in launch_ranks(home / "two", 2, recipe, argv, home, fault)]
    assert [rank.code for rank in ranks] == [75, 75]
    assert re.fullmatch(r"error: stopped by .* at step 14 of the search; go on with --resume\n", ranks[0].err)
    assert (ranks[1].out, ranks[1].err) == ("", "")
    ended = launch(home, *argv, "--resume").wait()
    assert ended.code == 0, ended
    assert "resumed from step 14 of the search" in ended.out
    name, _, perplexities = figures(finished)
    near = pytest.approx(perplexities, rel=1e-4)
    assert figures(home / "two-then-one") == (name, 1, near)


def test_two_processes_leave_a_mistake_with_one_line(home):
    argv = ("--output-dir", "no-such", "--data", "nowhere")
    ranks = [rank.wait() for rank in launch_ranks(home / "mistake", 2, recipe, argv, home)]
    assert [rank.code for rank in ranks] == [2, 2]
    assert re.fullmatch(r"error: data .*\n", ranks[0].err)
    assert ranks[1].err == ""
    assert not (home / "no-such").exists()
