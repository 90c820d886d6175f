"""What a run leaves behind, and what its flags change."""

import json
import re

import pytest
from launching import NOBODY, SAVING, launch
from transformers import AutoModelForCausalLM, AutoTokenizer

import cnas
from cnas.data.streams import TextStreams
from cnas.data.text import load_text
from cnas.metrics import perplexity
from cnas.runs.config import RunConfig
from cnas.training.evaluate import mean_loss
from cnas.training.metrics_log import read, stable

FILES = ("config.json", "metrics.jsonl", "result.json", "README.md", "cell.txt", "samples.txt")
FOLDERS = ("checkpoints/search", "checkpoints/retrain", "model", "figures")
ENVIRONMENT = {"python", "cnas", "torch", "transformers", "datasets", "accelerate", "device", "processes", "threads"}


def run(home, name, *argv):
    ended = launch(home, "--output-dir", name, *argv).wait()
    assert (ended.code, ended.err) == (0, ""), ended
    return home / name, ended.out


def result(folder):
    return json.loads((folder / "result.json").read_text("utf-8"))


def essence(folder):
    """What equal runs share and different ones do not."""
    found = result(folder)
    rows = [stable(row) for row in read(folder / "metrics.jsonl")]
    model = (folder / "model" / "model.safetensors").read_bytes()
    return found["architecture"], found["retrain"]["test_perplexity"], rows, model


@pytest.fixture(scope="module")
def plain(home):
    return run(home, "plain", "--no-curriculum")[0]


def test_a_run_leaves_all_its_files(finished):
    for name in FILES:
        assert (finished / name).stat().st_size > 0, name
    for name in FOLDERS:
        assert any((finished / name).iterdir()), name
    assert [*finished.glob("figures/*.png")]
    assert not [path for path in finished.rglob("*") if path.name.endswith((".tmp", ".partial", ".pkl", ".bin"))]


def test_the_result_has_the_promised_keys(finished):
    found = result(finished)
    assert {"recipe": "tiny_recipe", "space": "enas_rnn", "algorithm": "enas", "seed": 1}.items() <= found.items()
    promised = {"name": "uncertainty", "k": 3, "refresh": "epoch", "unit": "sequence"}
    assert found["curriculum"] == promised | {"num_candidates": 3, "sharpness": 1.0, "every": 1, "source": "candidates"}
    assert found["dataset"]["name"] == "corpus"
    assert found["dataset"]["splits"]["train"] == {"sentences": 130, "tokens": 130 * 9}
    assert re.fullmatch(r"[0-9a-f]{16}", found["dataset"]["fingerprint"])
    assert found["architecture"].keys() == {"space", "string"}
    counts = {"bad_steps", "recoveries", "left_out"}
    assert found["search"].keys() == {"epochs", "steps", "seconds", "valid"} | counts
    assert counts <= found["retrain"].keys()
    assert (found["search"]["epochs"], found["search"]["steps"]) == (3, 33)
    assert found["retrain"]["epochs"] == 3
    assert found["retrain"]["parameters"] > 0
    assert 1 < found["retrain"]["test_perplexity"] < 45
    assert found["environment"].keys() >= ENVIRONMENT


def test_every_epoch_has_its_row(finished):
    rows = read(finished / "metrics.jsonl")
    assert [(row["phase"], row["epoch"], row["step"]) for row in rows] == [
        *[("search", epoch, 11 * epoch) for epoch in (1, 2, 3)],
        *[("retrain", epoch, 16 * epoch) for epoch in (1, 2, 3)],
    ]
    assert all(row["train_loss"] > 0 and row["valid_loss"] > 0 for row in rows)
    searched = rows[:3]
    assert (searched[0]["weight_min"], searched[0]["weight_max"]) == (1, 1)
    assert all(row["weight_min"] < 1 < row["weight_max"] for row in searched[1:])


def test_the_model_loads_by_itself_and_has_the_perplexity_of_the_result(home, finished):
    assert cnas.__name__ == "cnas"
    network = AutoModelForCausalLM.from_pretrained(finished / "model")
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    config = RunConfig.from_json(json.loads((finished / "config.json").read_text("utf-8")))
    text = load_text(str(home / "corpus"), config.text)
    for split, tokens in (("valid", text.validation), ("test", text.test)):
        streams = TextStreams(tokens, 1, config.text.length, start=tokenizer.eos_token_id, tail="keep")
        found = perplexity(mean_loss(network, streams))
        assert found == pytest.approx(result(finished)["retrain"][f"{split}_perplexity"], rel=1e-6)
    lines = (home / "corpus" / "test.txt").read_text("utf-8").replace("\n", " <eos> ")
    assert tokenizer.encode(lines) == text.test.tolist()


def test_nothing_tells_whose_machine_it_was(home, finished):
    paths = [finished / "result.json", finished / "README.md", *(finished / "model").iterdir(), finished / "cell.txt"]
    for path in paths:
        content = path.read_bytes()
        assert str(home).encode() not in content, path
        assert not re.search(rb"(?<![\w.])/(tmp|home|root|Users)/", content), path
        assert NOBODY.encode() not in content, path


def test_the_output_is_quiet_where_nobody_watches(home, finished):
    _, out = run(home, "quiet", "--retrain.num-train-epochs", "1", "--trainer.num-train-epochs", "1")
    assert out.splitlines()[0] == "preset tiny · data corpus · output quiet"
    assert "\r" not in out
    assert "\x1b" not in out
    assert "%|" not in out
    assert out.splitlines()[-1].endswith("quiet/README.md")
    assert f"perplexity  valid {result(home / 'quiet')['retrain']['valid_perplexity']:.2f}" in out


def test_another_seed_is_another_run(home, finished):
    other, _ = run(home, "other-seed", "--seed", "2")
    assert essence(other)[1] != essence(finished)[1]
    assert result(other)["seed"] == 2


def test_no_curriculum_is_the_plain_algorithm(plain, finished):
    assert result(plain)["curriculum"] is None
    rows = read(plain / "metrics.jsonl")
    assert not [key for row in rows for key in row if key.startswith("weight_") or key == "effective_sample_size"]
    assert essence(plain)[2][1]["train_loss"] != essence(finished)[2][1]["train_loss"]
    # Until the judges have spoken for the first time nothing differs.
    first, curriculum = essence(plain)[2][0], essence(finished)[2][0]
    assert first == {key: curriculum[key] for key in first}


def test_nobody_judging_is_no_curriculum(home, plain):
    nobody, _ = run(home, "nobody", "--curriculum.k", "0")
    assert result(nobody)["curriculum"] is None
    assert essence(nobody) == essence(plain)


def test_an_architecture_that_is_given_is_not_searched(home):
    folder, out = run(home, "given", "--architecture", "0 1 1 2")
    assert result(folder)["architecture"] == {"space": "enas_rnn", "string": "0 1 1 2"}
    assert result(folder)["search"] is None
    assert {row["phase"] for row in read(folder / "metrics.jsonl")} == {"retrain"}
    assert not (folder / "checkpoints" / "search").exists()
    assert "search 1/3" not in out


def test_the_configuration_that_a_run_leaves_makes_it_again(home, finished):
    folder, out = run(home, "rerun", "--config", "finished/config.json")
    assert out.startswith("preset tiny · data corpus · output rerun\n")
    assert essence(folder) == essence(finished)
    assert (folder / "config.json").read_bytes() == (finished / "config.json").read_bytes()
    changed, _ = run(home, "changed", "--config", "finished/config.json", "--architecture", "0 1 1 2")
    assert result(changed)["architecture"]["string"] == "0 1 1 2"
    assert json.loads((changed / "config.json").read_text("utf-8"))["trainer"]["save_steps"] == int(SAVING[1])
