"""A run on the space of transformers: what it leaves is a stock model with the perplexity that was measured."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from outcome import outcome
from tiny_gpt import TEXT, tiny
from tiny_recipe import write_corpus
from transformers import AutoTokenizer, TrainerCallback

from cnas.errors import Stopped, UserError
from cnas.hub import save_model
from cnas.hub.model_folder import generate_lines, load_network
from cnas.runs.config import RunConfig
from cnas.runs.task import load_task
from cnas.trainer import CurriculumTrainer

MEASURED = """
import json, math, sys
sys.modules["cnas"] = None
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = (auto.from_pretrained(sys.argv[1]) for auto in (AutoModelForCausalLM, AutoTokenizer))
lines = open(sys.argv[2], encoding="utf-8").read().splitlines()
ids = [tokenizer.eos_token_id]
for line in lines:
    ids += [*tokenizer(line, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
nats, length = 0.0, 8
for start in range(0, len(ids) - 1, length):
    first = max(0, start - length // 2)
    inputs, labels = ids[first : start + length][: len(ids) - 1 - first], ids[start + 1 : start + length + 1]
    with torch.no_grad():
        scores = model.eval()(torch.tensor([inputs])).logits[0, -len(labels):].log_softmax(-1)
    nats -= float(scores.gather(1, torch.tensor(labels)[:, None]).sum())
batch = tokenizer(["w1 w2", "w3"], padding=True, return_tensors="pt")
found = model.generate(**batch, max_new_tokens=4, do_sample=False)
print(json.dumps({"nats": nats, "tokens": len(ids) - 1, "kind": type(model).__name__, "pad": tokenizer.pad_token,
                  "rows": len(tokenizer), "generated": len(found)}))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("text") / "corpus")


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "gpt"
    CurriculumTrainer.from_config(tiny(data=str(corpus)), folder).train()
    return folder


def test_its_model_has_the_measured_perplexity_where_this_package_is_not(finished, corpus, tmp_path):
    result = json.loads((finished / "result.json").read_text("utf-8"))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(finished / "model"), str(corpus / "test.txt")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    sizes, trained = result["dataset"]["splits"]["test"], result["retrain"]
    assert (found["kind"], found["pad"], found["generated"]) == ("LlamaForCausalLM", "<eos>", 2)
    assert (found["tokens"], found["rows"]) == (sizes["tokens"], 280)
    assert found["nats"] / sizes["bytes"] == pytest.approx(trained["test_nats_per_byte"], rel=1e-4)
    assert sizes["bytes"] == len((corpus / "test.txt").read_bytes())
    space = replace(tiny().space, vocab_size=280)
    assert trained["parameters"] == space.costs(space.parse(result["architecture"]["string"]))["parameters"]


def test_the_folder_has_no_code_and_the_card_says_so(finished):
    assert not [*(finished / "model").glob("*.py")]
    config = json.loads((finished / "model" / "config.json").read_text("utf-8"))
    assert config["model_type"] == "llama"
    assert "auto_map" not in config
    card = (finished / "README.md").read_text("utf-8")
    assert "trust_remote_code" not in card
    assert "import cnas" not in card
    assert "the sizes of a transformer" in card
    assert "NT-ASGD" not in card
    assert "cell" not in card
    assert "![Loss against parameters of " in card
    found = json.loads((finished / "result.json").read_text("utf-8"))
    assert {"front.svg", "front.png"} <= {each.name for each in (finished / "figures").iterdir()}
    assert f"| {found['architecture']['string']} | chosen" in card
    shown = (finished / "cell.txt").read_text("utf-8").split()
    assert shown[::2] == ["width", "depth", "heads", "mlp"]


def test_it_keeps_the_losses_of_what_was_scored_with_those_of_both_ends(finished):
    result = json.loads((finished / "result.json").read_text("utf-8"))
    scored, space = result["search"]["scored"], replace(tiny().space, vocab_size=280)
    losses = {each["architecture"]: each["loss"] for each in scored}
    assert {one.to_str() for one in space.extremes()} <= losses.keys()
    assert len(losses) == len(scored) >= result["search"]["valid"]["scored"]
    assert losses[result["architecture"]["string"]] == result["search"]["valid"]["valid_loss"]
    assert result["architecture"]["costs"] == space.costs(space.parse(result["architecture"]["string"]))
    config = RunConfig.from_json(json.loads((finished / "config.json").read_text("utf-8")))
    found = CurriculumTrainer.from_config(config, finished).search(resume_from_checkpoint=True)
    best = found.top(2)
    assert [each.loss for each in best] == pytest.approx(sorted(losses.values())[:2], rel=1e-6)


def test_a_finished_run_is_measured_again_in_a_new_process(finished):
    result = json.loads((finished / "result.json").read_text("utf-8"))
    config = RunConfig.from_json(json.loads((finished / "config.json").read_text("utf-8")))
    found = CurriculumTrainer.from_config(config, finished).evaluate()
    assert found["eval_perplexity"] == pytest.approx(result["retrain"]["valid_perplexity"], rel=1e-5)


class Signal(TrainerCallback):
    """A signal to this process after so many steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_step_end(self, args, state, control, **kwargs):
        self.steps -= 1
        if not self.steps:
            signal.raise_signal(signal.SIGTERM)


def test_a_run_that_was_stopped_twice_goes_on_exactly(finished, corpus, tmp_path):
    config, folder, stopped = tiny(data=str(corpus)), tmp_path / "stopped", []
    for steps in (13, 17):
        with pytest.raises(Stopped) as caught:
            CurriculumTrainer.from_config(config, folder, callbacks=[Signal(steps)]).train(resume_from_checkpoint=True)
        stopped.append(str(caught.value))
    CurriculumTrainer.from_config(config, folder).train(resume_from_checkpoint=True)
    assert ["search" in line for line in stopped] == [True, False]
    assert outcome(folder) == outcome(finished)


@pytest.mark.parametrize("algorithm", ["darts_v1", "darts_v2", "gdas", "setn"])
def test_algorithms_that_mix_are_refused_by_a_line_with_those_that_fit(corpus, algorithm):
    config = replace(RunConfig.from_preset("gpt_cl/smoke", algorithm), data=str(corpus), text=TEXT)
    with pytest.raises(
        UserError, match=rf"^search\.name {algorithm} needs mixtures, .* space gpt .*; use .*rsps.*spos$"
    ):
        load_task(config).check(1)


def test_chunks_of_drawn_lengths_are_refused(corpus):
    config = tiny(data=str(corpus))
    with pytest.raises(UserError, match=r"text\.variable_length must be off with space gpt"):
        load_task(replace(config, text=replace(TEXT, variable_length=True), curriculum=None)).check(1)


def test_a_vocabulary_of_words_has_no_row_for_padding_either(tmp_path):
    space = replace(tiny().space, vocab_size=6)
    network = space.build_network(space.extremes()[0])
    folder = save_model(network, ["<unk>", "<eos>", "the", "cat", "sat", "N"], tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id) == (6, 1, 1)
    assert tokenizer.encode("The cat\nN dogs") == [2, 3, 1, 5, 0]
    loaded = load_network(folder)
    assert loaded.get_input_embeddings().weight.shape[0] == 6
    assert loaded.generation_config.suppress_tokens == [0]
    assert generate_lines(folder, 2, seed=1)
