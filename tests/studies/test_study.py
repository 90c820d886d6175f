"""Studies: stages in order, as far as the rules let them; sittings, folders, costs, and what is missing."""

import json
import shutil
from dataclasses import replace

import pytest
from finished_folders import finished_copy
from forked import Forked

from cnas.benchmarks.table_files import read_columns, write_columns
from cnas.benchmarks.trained import NEEDED
from cnas.cli import main as cli
from cnas.errors import Stopped, UserError
from cnas.studies import read_plan, run_study
from cnas.studies.state import NAME, StudyState
from cnas.studies.study import check, run_name
from cnas.studies.verdicts import HELPS, NO_RANKING, UNDECIDED
from cnas.training.context import StopSignal

GATE = {"arms": ["plain"], "seeds": [1, 2], "min_tau": 0.3}
EQUAL = {"curriculum": False, "cost_of": "curriculum"}


@pytest.fixture
def done(finished, tmp_path):
    """Makes the folder of a finished run of a plan, which ranks as well as is said."""

    def make(plan, arm, seed, tau=0.4, *, seconds=10.0, epochs=None, device="cpu"):
        config = plan.config(arm, seed, epochs)
        result = json.loads((finished / "result.json").read_text("utf-8"))
        finished_copy(
            finished,
            tmp_path / "study" / run_name(arm, seed),
            config,
            seed=seed,
            algorithm="rsps",
            curriculum=None,
            retrain=None,
            search={**result["search"], "seconds": seconds, "epochs": config.trainer.num_train_epochs},
            environment={**result["environment"], "device": device},
            benchmark={"dataset": "corpus", "kendall_tau": tau, "percentile": 0.6, "baselines": []},
        )

    return make


@pytest.fixture
def begun(tmp_path):
    """Makes the folder one of a study by a plan, with the files of finished runs in it."""

    def make(plan):
        StudyState(tmp_path / "study", plan, check(plan).fingerprint).save()
        return tmp_path / "study"

    return make


def state(home):
    return json.loads((home / NAME).read_text("utf-8"))


def test_finished_runs_are_concluded_from(plan_file, done, begun, capsys):
    plan = read_plan(plan_file(seeds=[1, 2, 3]))
    home = begun(plan)
    for seed in (1, 2, 3):
        done(plan, "plain", seed, 0.2 + 0.01 * seed)
        done(plan, "curriculum", seed, 0.4 + 0.02 * seed)
    study = run_study(plan, home, resume=True)
    assert "6 of 6 runs are finished already" in capsys.readouterr().out
    (verdict,) = study.verdicts
    assert (verdict.verdict, verdict.against[0].differences) == (HELPS, pytest.approx((0.21, 0.22, 0.23)))
    found = state(home)
    assert (found["hash"], found["missing"], found["gate"]) == (plan.hash, {}, None)
    assert found["plan"]["rules"] == {"no_useful_effect_below": 0.05, "confidence": 0.95}
    assert found["verdicts"][0]["against"][0]["difference"]["n"] == 3
    assert found["runs"]["curriculum-s3"]["values"]["kendall_tau"] == 0.46
    assert found["versions"]["torch"]
    assert found["seconds"] > 0


def test_a_closed_gate_is_a_verdict_and_nothing_else_runs(plan_file, done, begun):
    plan = read_plan(plan_file(gate=GATE))
    home = begun(plan)
    for seed, tau in ((1, 0.2), (2, 0.3)):
        done(plan, "plain", seed, tau)
    study = run_study(plan, home, resume=True, executor=Forked())
    assert (study.gate.open, study.gate.arms["plain"].mean) == (False, pytest.approx(0.25))
    assert [each.verdict for each in study.verdicts] == [NO_RANKING]
    assert sorted(path.name for path in home.iterdir()) == ["plain-s1", "plain-s2", NAME]


def test_a_gate_is_open_at_its_bound(plan_file, done, begun):
    plan = read_plan(plan_file(gate={**GATE, "min_tau": 0.25}))
    home = begun(plan)
    for seed, tau in ((1, 0.2), (2, 0.3)):
        done(plan, "plain", seed, tau)
        done(plan, "curriculum", seed, tau)
    study = run_study(plan, home, resume=True)
    assert (study.gate.open, len(study.runs["curriculum"])) == (True, 2)


def test_a_gate_that_cannot_be_measured_is_not_decided(plan_file, done, begun):
    plan = read_plan(plan_file(gate=GATE))
    home = begun(plan)
    done(plan, "plain", 1, 0.5)
    done(plan, "plain", 2, None)
    study = run_study(plan, home, resume=True)
    assert (study.gate.open, study.gate.arms["plain"].mean) == (None, None)
    assert [each.verdict for each in study.verdicts] == [UNDECIDED]
    assert study.missing == {"plain-s2": "its kendall_tau could not be measured"}


EXTENSION = {"seeds": [3, 4, 5, 6], "alpha": 0.025}


@pytest.mark.parametrize(("gain", "look"), [(0.3, 1), (0.0, 2)])
def test_only_what_is_undecided_is_extended(plan_file, done, begun, gain, look):
    plan = read_plan(plan_file(extension=EXTENSION))
    home = begun(plan)
    for seed in (1, 2, *(EXTENSION["seeds"] if look == 2 else ())):
        done(plan, "plain", seed, 0.3)
        done(plan, "curriculum", seed, 0.3 + gain + (0.001 if look == 1 else 0.2) * (-1) ** seed)
    study = run_study(plan, home, resume=True, executor=Forked())
    assert study.verdicts[0].analysis == look
    assert study.verdicts[0].against[0].difference.n == (2 if look == 1 else 6)
    assert (home / "plain-s3").exists() == (look == 2)


@pytest.fixture
def equal_plan(plan_file, plan_values):
    comparisons = [{"arm": "curriculum", "against": ["equal"]}]
    return read_plan(plan_file(arms={**plan_values["arms"], "equal": EQUAL}, comparisons=comparisons))


def test_an_arm_of_equal_cost_has_the_epochs_that_the_seconds_pay_for(equal_plan, done, begun):
    home = begun(equal_plan)
    for seed, seconds in ((1, 20.0), (2, 17.0)):
        done(equal_plan, "plain", seed, seconds=10.0)
        done(equal_plan, "curriculum", seed, 0.5, seconds=seconds)
    # Two epochs cost 10 seconds, so 20 are four and 17 are 3.4.
    done(equal_plan, "equal", 1, epochs=4)
    done(equal_plan, "equal", 2, epochs=3)
    study = run_study(equal_plan, home, resume=True)
    assert study.epochs == {"equal-s1": 4, "equal-s2": 3} == state(home)["epochs"]
    assert study.verdicts[0].against[0].difference.n == 2
    assert [run.epochs for run in study.runs["equal"].values()] == [4, 3]


def test_costs_of_unlike_devices_are_not_compared(equal_plan, done, begun):
    home = begun(equal_plan)
    for seed in (1, 2):
        done(equal_plan, "plain", seed)
        done(equal_plan, "curriculum", seed, device="cuda")
    study = run_study(equal_plan, home, resume=True)
    assert study.epochs == {}
    assert study.verdicts[0].verdict == UNDECIDED
    assert study.missing["equal-s1"] == (
        "its cost is not known: curriculum-s1 and plain-s1 ran on different devices; delete one of them"
    )


def test_a_run_that_fails_is_missing_and_the_others_count(plan_file, plan_values, tmp_path, capsys):
    flags = {**plan_values["flags"], "rank_every": None}
    file = plan_file(arms={"plain": {"curriculum": False}, "curriculum": {}}, flags=flags, seeds=[1, 2])
    plan = read_plan(file)

    class Failing(Forked):
        """The runs of the second seed end at once."""

        def start(self, command, log):
            if log.parent.name.endswith("-s2"):
                log.write_text("error: the machine is on fire\n", "utf-8")
                command = [*command[:-1], str(log.parent / "nowhere")]
            return super().start(command, log)

    study = run_study(plan, tmp_path / "study", executor=Failing())
    assert {name for name, code in study.codes.items() if code} == {"plain-s2", "curriculum-s2"}
    assert {*study.missing} == {"plain-s2", "curriculum-s2"}
    (against,) = study.verdicts[0].against
    assert (against.seeds, against.missing, study.verdicts[0].verdict) == ((1,), (2,), UNDECIDED)
    assert {*state(tmp_path / "study")["missing"]} == {"plain-s2", "curriculum-s2"}


REFUSED = {
    "no table": ({"table": None, "rank_every": None, "retrain.num_train_epochs": 3}, "flags.table must name one table"),
    "another space": ({"table": "nats"}, "does not cover the space enas_rnn"),
    "cells trained unlike": (
        {"table": "unlike"},
        "training differs from that of row 0, so the cells were trained unlike",
    ),
    "no such table": ({"table": "nowhere.parquet"}, "nowhere.parquet"),
    "no such data": ({"data": "nosuch"}, "arms.plain: data"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_run_could_do_is_refused_before_anything_starts(plan_file, plan_values, cells, tmp_path, capsys, name):
    import made_up_table

    changes, words = REFUSED[name]
    if changes.get("table") == "nats":
        made_up_table.save(tmp_path / "nats.parquet", made_up_table.columns())
        changes = {"table": str(tmp_path / "nats.parquet")}
    if changes.get("table") == "unlike":
        columns = read_columns(cells, NEEDED)
        columns["training"][3] = json.dumps({"epochs": 30})
        write_columns(columns, tmp_path / "unlike.parquet")
        changes = {"table": str(tmp_path / "unlike.parquet")}
    flags = {key: value for key, value in {**plan_values["flags"], **changes}.items() if value is not None}
    file = plan_file(flags=flags)
    assert cli.main(["study", str(file), "--output-dir", str(tmp_path / "study")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "study").exists()


def test_a_scoring_that_the_supernet_does_not_know(plan_file, tmp_path):
    plan = read_plan(plan_file(scoring="batch_statistics"))
    with pytest.raises(UserError, match=r"scoring must be one of published for arms\.plain, got batch_statistics"):
        run_study(plan, tmp_path / "study")


def test_a_rule_that_has_changed_since_runs_began_is_refused(plan_file, begun, tmp_path, capsys):
    home = begun(read_plan(plan_file()))
    before = (home / NAME).read_bytes()
    file = plan_file(rules={"no_useful_effect_below": 0.01, "confidence": 0.95})
    assert cli.main(["study", str(file), "--output-dir", str(home), "--resume"]) == 2
    err = capsys.readouterr().err
    assert "a study by another plan: rules.no_useful_effect_below is 0.05 there and 0.01 here; runs have begun" in err
    assert err.count("\n") == 1
    assert (home / NAME).read_bytes() == before


def test_values_that_have_changed_since_runs_began_are_refused(plan_file, begun, cells, tmp_path):
    copy = tmp_path / "cells.parquet"
    shutil.copy(cells, copy)
    plan = read_plan(plan_file(flags={**read_plan(plan_file()).flags, "table": str(copy)}))
    home, columns = begun(plan), read_columns(copy, NEEDED)
    copy.unlink()
    write_columns(columns | {"valid_perplexity": [1.0] * len(columns["arch"])}, copy)
    assert check(plan).fingerprint == state(home)["table"]  # nothing that counts
    columns["test_perplexity"][0] += 1
    copy.unlink()
    write_columns(columns, copy)
    with pytest.raises(UserError, match="holds a study whose table said something else of the architectures"):
        run_study(plan, home, resume=True)


@pytest.mark.parametrize(
    ("other", "words"), [(None, "nobody knows"), (1.0, r"1\.000 on 4 architectures"), (-1.0, "-1.000")]
)
def test_a_table_that_cannot_measure_anything_opens_no_gate(plan_file, plan_values, cells, tmp_path, other, words):
    """Two trainings of the same architectures must agree, or nothing is run."""
    columns = read_columns(cells, NEEDED)
    for place in range(0 if other is None else 4):
        row = {name: values[place] for name, values in columns.items()}
        again = row | {"seed": 2, "test_perplexity": 200 + other * place}
        columns = {name: [*values, again[name]] for name, values in columns.items()}
    write_columns(columns, tmp_path / "two.parquet")
    flags = {**plan_values["flags"], "table": str(tmp_path / "two.parquet")}
    plan = read_plan(plan_file(flags=flags, gate={**GATE, "min_ceiling": 0.4}))
    if other == 1.0:
        assert check(plan).ceiling().tau == 1.0
        plan = replace(plan, gate=replace(plan.gate, min_ceiling=1.1))
    with pytest.raises(UserError, match=rf"gate\.min_ceiling must be at most what two trainings .*{words}"):
        check(plan)


def test_a_folder_is_used_by_one_study_alone(plan_file, begun, tmp_path):
    plan = read_plan(plan_file())
    with pytest.raises(UserError, match="already holds a study; add --resume"):
        run_study(plan, begun(plan))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for folder in (tmp_path / "other", tmp_path / "other" / "file"):
        with pytest.raises(UserError, match="holds something that is no study"):
            run_study(plan, folder, resume=True)


@pytest.mark.parametrize(
    "values", [{"version": 1}, {"table": "0"}, {"hash": "0"}, {"epochs": [1]}, {"seconds": "long"}, []]
)
def test_a_state_of_another_kind_is_refused(plan_file, begun, values):
    plan = read_plan(plan_file())
    home = begun(plan)
    known = json.loads((home / NAME).read_text("utf-8"))
    (home / NAME).write_text(json.dumps(known | values if values else values), "utf-8")
    with pytest.raises(UserError):
        run_study(plan, home, resume=True)


def test_bad_flags_of_the_command(plan_file, tmp_path, capsys):
    file = str(plan_file())
    assert cli.main(["study", file, "--jobs", "0"]) == 2
    assert capsys.readouterr().err == "error: --jobs must be at least 1, got 0\n"
    assert cli.main(["study", file, "--stop-after", "soon"]) == 2
    assert "'soon'" in capsys.readouterr().err


class UntilSaved(Forked):
    """The time is over once the run of a name has a checkpoint."""

    def __init__(self, name):
        self.name, self.signal = name, StopSignal("9h")

    def start(self, command, log):
        import time

        started = super().start(command, log)
        if log.parent.name == self.name:
            while started.code() is None and not [*log.parent.glob("checkpoints/search/step-*")]:
                time.sleep(0.02)
            self.signal.deadline = 0
        return started


def test_a_study_that_was_stopped_and_moved_has_the_same_verdict(plan_file, plan_values, tmp_path):
    flags = {**plan_values["flags"], "trainer.save_steps": 5}
    plan = read_plan(plan_file(gate={**GATE, "min_tau": -1.0}, flags=flags))
    whole = run_study(plan, tmp_path / "whole", executor=Forked())
    for place, name in enumerate(("plain-s1", "curriculum-s2")):
        until = UntilSaved(name)
        home, moved = tmp_path / f"sitting{place}", tmp_path / f"sitting{place + 1}"
        with pytest.raises(Stopped, match="go on with the same command"):
            run_study(plan, home, resume=place > 0, executor=until, stop=until.signal)
        assert "verdicts" not in state(home)
        shutil.copytree(home, moved)
    again = run_study(plan, moved, resume=True, executor=Forked())
    assert len([*moved.glob("*/result.json")]) == 4
    assert again.verdicts == whole.verdicts
    assert again.gate == whole.gate
    for arm, runs in whole.runs.items():
        for seed, run in runs.items():
            assert again.runs[arm][seed].values == run.values
            assert again.runs[arm][seed].curve == run.curve
            assert [epoch for epoch, _ in run.curve] == [0, 1, 2]
    assert again.seconds > 0
