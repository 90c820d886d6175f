"""`--stop-after`: what it may say, since when it counts, and that it is a stop like that of a signal."""

import math
import time
from dataclasses import replace

import pytest
import tiny_recipe

from cnas import CurriculumTrainer
from cnas.errors import UserError
from cnas.training import SearchArguments
from cnas.training.context import StopSignal
from cnas.training.time_limit import process_started, seconds


@pytest.mark.parametrize(
    ("text", "found"), [("90s", 90), ("9m", 540), ("2h", 7200), ("1.5h", 5400), ("0.25m", 15), ("09m", 540)]
)
def test_a_time_is_a_number_with_its_unit(text, found):
    assert seconds(text) == found


WRONG = [
    "0",
    "0m",
    "0.0h",
    "9",
    "",
    "m",
    "-9m",
    "+9m",
    "9 m",
    "9M",
    "9min",
    "1h30m",
    "inf",
    "infm",
    "nan",
    "1e3s",
    ".5h",
]
WRONG += ["٩m", "9" * 400 + "h"]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_anything_else_is_refused_by_name(text):
    for name, refused in {
        "stop_after": lambda: SearchArguments(stop_after=text),
        "--stop-after": lambda: StopSignal(text),
    }.items():
        with pytest.raises(UserError, match=f"^{name} must be a time above 0, such as 90s, 9m or 1.5h, got ") as caught:
            refused()
        assert repr(text)[:70] in str(caught.value)


def test_it_asks_for_a_stop_once_its_time_is_over():
    begin = time.monotonic()
    early, late = StopSignal("1h", begin - 3599), StopSignal("1h", begin - 3600)
    assert (early.reason, late.reason) == (None, "--stop-after 1h")
    assert early.deadline - late.deadline == pytest.approx(1)
    assert StopSignal().deadline == math.inf
    assert StopSignal("1h").deadline >= begin + 3600


def test_the_first_reason_is_kept():
    stop = StopSignal("1h")
    stop.request("SIGTERM")
    stop.deadline = -math.inf
    assert stop.reason == "SIGTERM"


def test_a_command_counts_from_the_start_of_its_process(tmp_path, monkeypatch):
    begin = process_started()
    assert begin < time.monotonic() - 0.1, "what was imported since then counts"
    started = []
    monkeypatch.setattr(CurriculumTrainer, "train", lambda self, resume: started.append(self.started))
    monkeypatch.setattr("cnas.cli.launch.summary", lambda folder: "")
    assert tiny_recipe.main(["--output-dir", str(tmp_path / "run"), "--stop-after", "9m"]) == 0
    assert started == [pytest.approx(begin, abs=0.5)]


def test_it_belongs_to_a_start_and_not_to_the_run():
    plain, *_ = tiny_recipe.parse([])
    for flag in ("--stop-after", "--trainer.stop_after"):
        config, *_ = tiny_recipe.parse([flag, "9m"])
        assert config.trainer.stop_after == "9m"
        assert (config, config.hash, config.to_json()) == (plain, plain.hash, plain.to_json())
    started_otherwise = replace(plain.trainer, ddp_timeout=30.0, check_ranks=7)
    assert replace(plain, trainer=started_otherwise) == plain
