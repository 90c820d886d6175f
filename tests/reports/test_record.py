import json

import made_up
import pytest

from cnas.errors import UserError
from cnas.reports.record import RunRecord, read_run
from cnas.runs.earlier import by_new_names


def test_a_finished_run_is_read_whole(judged):
    record = read_run(judged)
    assert record.result is not None
    assert (record.title, record.variant, record.seed) == ("judged", "curriculum, K = 3", "1")
    assert (record.algorithm, record.dataset) == ("enas", "corpus")
    assert [len(record.phase(phase)) for phase in ("search", "retrain")] == [4, 3]
    assert record.space is not None
    assert record.architecture == record.space.parse("0 1 1 3")


def test_a_run_that_goes_on_gives_what_there_is(home, tmp_path):
    config = made_up.config(home)
    made_up.write(tmp_path / "config.json", config.to_json())
    assert not read_run(tmp_path).rows
    (tmp_path / "metrics.jsonl").write_text('{"phase": "search", "epoch": 1}\n{"phase": "sea', "utf-8")
    record = read_run(tmp_path)
    assert (record.rows, record.result, record.architecture) == ([{"phase": "search", "epoch": 1}], None, None)


def test_results_without_a_configuration_are_enough(judged, tmp_path):
    made_up.write(tmp_path / "result.json", json.loads((judged / "result.json").read_text("utf-8")))
    record = read_run(tmp_path)
    # The default cell has another number of nodes, so this one cannot be read.
    assert (record.variant, record.architecture) == ("curriculum, K = 3", None)


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("config.json", "{", "config.json is not JSON"),
        ("result.json", "[1]", "result.json must hold a JSON object"),
        ("search.json", "no", "search.json is not JSON"),
        ("metrics.jsonl", '{"epoch": 1}\n{"epo\n{"epoch": 3}\n', "metrics.jsonl, line 2: must be"),
    ],
)
def test_a_broken_file_is_named(home, tmp_path, name, text, named):
    made_up.write(tmp_path / "config.json", made_up.config(home).to_json())
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(UserError, match=named):
        read_run(tmp_path)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"config\.json is not JSON: 'utf-8' codec can't decode"):
        read_run(tmp_path)


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"neither config\.json nor result\.json"):
        read_run(tmp_path)
    with pytest.raises(UserError, match="must be a folder"):
        read_run(tmp_path / "nowhere")


def test_a_space_of_a_later_version_is_left_out(home, tmp_path):
    values = made_up.config(home).to_json()
    values["space"]["later"] = 1
    made_up.write(tmp_path / "config.json", values)
    assert read_run(tmp_path).space is None


def test_a_space_of_an_earlier_version_has_the_defaults_of_later_fields(home, tmp_path):
    config = made_up.config(home)
    values = config.to_json()
    del values["space"]["penalised_output"]
    made_up.write(tmp_path / "config.json", values)
    assert read_run(tmp_path).space == config.space


def of_0_1_0(values):
    """What ``config.json`` of that version said: other names, and what belongs to the run beside the sections."""
    older = {"num_train_epochs": "epochs", "global_batch_size": "batch_size", "max_grad_norm": "clip_norm"}
    older |= {"eval_batch_size": "valid_batch_size", "save_steps": "checkpoint_steps", "lr_scheduler_type": "schedule"}
    later = {"seed", "bf16", "fp16", "tf32", "report_to", "logging_dir", "save_total_limit", "micro_batch_size"}
    loops = {
        loop: {older.get(name, name): value for name, value in values[loop].items() if name not in later}
        | {"accumulation_steps": 1}
        for loop in ("trainer", "retrain")
    }
    head = {"version": 2, "seed": values["trainer"]["seed"], "mixed_precision": "no", "log_with": None}
    judged = {("k" if name == "num_candidates" else name): value for name, value in values["curriculum"].items()}
    return values | loops | head | {"curriculum": judged}


def test_a_configuration_of_0_1_0_says_the_same_by_other_names(home):
    values = made_up.config(home, seed=4).to_json()
    found = by_new_names(of_0_1_0(values))
    unknown = {"save_total_limit", "logging_dir"}
    for loop in ("trainer", "retrain"):
        values[loop] = {name: value for name, value in values[loop].items() if name not in unknown}
    assert found == values | {"version": 2}
    assert by_new_names(values) == values


def test_an_unfinished_run_of_0_1_0_is_read(home, tmp_path):
    made_up.write(tmp_path / "config.json", of_0_1_0(made_up.config(home, seed=4).to_json()))
    assert (read_run(tmp_path).seed, read_run(tmp_path).variant) == ("4", "curriculum, K = 3")


def test_accumulated_parts_are_rows_at_once_and_a_cosine_went_by_epoch():
    loop = {"schedule": "cosine", "batch_size": 10, "accumulation_steps": 4}
    found = by_new_names({"version": 2, "retrain": loop})["retrain"]
    assert found == {"lr_scheduler_type": "cosine_by_epoch", "global_batch_size": 10, "micro_batch_size": 3}


def test_variants(home, tmp_path):
    config = made_up.config(home).to_json()
    assert RunRecord(tmp_path, config).variant == "curriculum, K = 3"
    assert RunRecord(tmp_path, {**config, "curriculum": None}).variant == "plain"
    assert (
        RunRecord(tmp_path, {**config, "curriculum": {**config["curriculum"], "num_candidates": 0}}).variant == "plain"
    )
    given_cell = RunRecord(tmp_path, {**config, "architecture": "0 1 1 3"})
    assert (given_cell.variant, given_cell.curriculum) == ("given cell", None)
    assert given_cell.architecture is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("space", "nats"),
        ("curriculum", {"k": "3"}),
        ("curriculum", {"num_candidates": "3"}),
        ("curriculum", [1]),
        ("trainer", {"seed": 1.5}),
        ("search", [0]),
        ("data", 7),
    ],
)
def test_a_configuration_of_the_wrong_type_is_named(home, tmp_path, name, value):
    made_up.write(tmp_path / "config.json", made_up.config(home).to_json() | {name: value})
    with pytest.raises(UserError, match=rf"config\.json: {name}\S* must be a valid "):
        print(read_run(tmp_path).variant)
