import json
import statistics

import pytest
from run_folders import png_size, write_run

from cnas.errors import UserError
from cnas.reports.analyses import KPoint, draw_k_sweep, k_sweep, save

ACCURACIES = {None: (91.0, 92.0), 1: (92.5,), 5: (93.0, 92.0, 94.0)}

OTHERS = {"permuted": 5, "competence": 0}
"""Curricula that are not the paper's, and their K."""


@pytest.fixture
def runs(tmp_path):
    return [
        write_run(
            tmp_path / f"k{k}-s{seed}", k=k, seed=seed, benchmark={"dataset": "cifar10", "test_accuracy": accuracy}
        )
        for k, values in ACCURACIES.items()
        for seed, accuracy in enumerate(values, 1)
    ]


def test_means_and_deviations_by_k(runs):
    sweep = k_sweep(runs[::-1])
    assert (sweep.algorithm, sweep.measure) == ("gdas", "cifar10, looked up")
    assert sweep.points == (
        KPoint(0, 91.5, statistics.stdev((91.0, 92.0)), (1, 2)),
        KPoint(1, 92.5, None, (1,)),
        KPoint(5, 93.0, 1.0, (1, 2, 3)),
    )
    assert sweep.plain == sweep.points[0]


def test_it_is_drawn_with_and_without_a_plain_run(runs, tmp_path):
    for chosen, has_line in ((runs, True), (runs[2:], False), (runs[:2], True)):
        sweep = k_sweep(chosen)
        drawing = draw_k_sweep(sweep)
        numbers, png, svg = save(sweep, drawing, tmp_path / f"figures{len(chosen)}")
        assert (">plain</text>" in svg.read_text()) == has_line
        assert min(png_size(png)) > 300
        assert len(json.loads(numbers.read_text())["points"]) == len(sweep.points)
    words = "plain: 91.50 ± 0.71 % over 2 seeds; K = 1: 92.50 % over 1 seed; K = 5: 93.00 ± 1.00 % over 3 seeds."
    assert words in draw_k_sweep(k_sweep(runs)).alternative


def test_trained_networks_have_their_own_accuracy(tmp_path):
    run = write_run(tmp_path / "run", k=3, retrain={"test_accuracy": 97.5})
    assert k_sweep([run]).measure == "digits, trained"
    assert k_sweep([run]).points == (KPoint(3, 97.5, None, (1,)),)


def test_what_does_not_belong_together_is_refused(runs, tmp_path):
    record = {"dataset": "cifar10", "test_accuracy": 90.0}
    darts = write_run(tmp_path / "darts", algorithm="darts_v1", seed=9, benchmark=record)
    trained = write_run(tmp_path / "trained", seed=9, retrain={"test_accuracy": 90.0})
    permuted, competence = (write_run(tmp_path / name, k=k, seed=9, benchmark=record) for name, k in OTHERS.items())
    for folder in (permuted, competence):
        result = json.loads((folder / "result.json").read_text("utf-8"))
        result["curriculum"] |= {"name": folder.name, "num_candidates": OTHERS[folder.name]}
        (folder / "result.json").write_text(json.dumps(result), "utf-8")
    unfinished = write_run(tmp_path / "unfinished", finished=False)
    wrong = {
        "darts is darts_v1 on cifar10, looked up, and kNone-s1 gdas on": [*runs, darts],
        "trained is gdas on digits, trained": [*runs, trained],
        "must be plain or of one curriculum with candidates, got permuted, uncertainty": [*runs, permuted],
        "must be plain or of one curriculum with candidates, got competence": [runs[0], competence],
        "two have k 5 and seed 1": [*runs, write_run(tmp_path / "again", k=5, seed=1, benchmark=record)],
        "has no result.json, so it is not finished": [unfinished],
        "has no test accuracy in result.json": [write_run(tmp_path / "untested", retrain={"test_perplexity": 90.0})],
        "at least one run folder": [],
    }
    for message, chosen in wrong.items():
        with pytest.raises(UserError, match=message):
            k_sweep(chosen)
