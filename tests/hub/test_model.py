import json
import logging
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from cnas.errors import StorageError, UserError
from cnas.hub import build_tokenizer, generate_lines, save_model


@pytest.fixture
def transformers_log(caplog):
    """What `transformers` logs as a warning or worse."""
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_the_folder_holds_the_model_its_code_the_tokenizer_and_nothing_else(model_folder):
    assert {path.name for path in model_folder.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "modeling.py",
        "_causal_lm.py",
        "_cross_entropy.py",
        "_gated_cell.py",
        "_language_model.py",
        "_memory.py",
    }
    assert [path.name for path in model_folder.parent.iterdir()] == ["model"]


def test_loaded_logits_are_the_same_bits(network, model_folder):
    loaded = AutoModelForCausalLM.from_pretrained(model_folder)
    ids = torch.arange(20).view(2, 10)
    assert not loaded.training
    assert torch.equal(loaded(ids).logits[..., :-1], network(ids).logits)


def test_the_tied_matrix_is_stored_once(network, model_folder):
    with safe_open(model_folder / "model.safetensors", "pt") as file:
        keys = set(file.keys())
        stored = sum(file.get_tensor(key).numel() for key in keys)
    assert {"shell.embedding.weight", "shell.decoder.weight"} & keys == {"shell.embedding.weight"}
    pad = network.config.hidden_size
    assert stored == sum(parameter.numel() for parameter in network.parameters()) + pad
    loaded = AutoModelForCausalLM.from_pretrained(model_folder)
    assert loaded.shell.decoder.weight is loaded.shell.embedding.weight


def test_special_ids_are_written_down(model_folder):
    config = json.loads((model_folder / "config.json").read_text())
    generation = json.loads((model_folder / "generation_config.json").read_text())
    for ids in (config, generation):
        assert [ids[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [1, 1, 30]
    assert config["pad_row"] == 30
    assert generation["suppress_tokens"] == [0]
    assert not {"max_length", "max_new_tokens"} & generation.keys()


def test_generate_and_pipeline_work_without_a_warning(model_folder, transformers_log):
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    inputs = tokenizer("the w1", return_tensors="pt")
    assert model.generate(**inputs).shape[1] > 2
    assert model.generate(**inputs, do_sample=True, top_k=5, max_new_tokens=4).shape[1] <= 6
    generator = pipeline("text-generation", str(model_folder))
    (plain,) = generator("the w1")
    (short,) = generator("The w1", max_new_tokens=3, do_sample=False)
    assert plain["generated_text"].startswith("the w1 ")
    assert short["generated_text"].split()[:2] == ["The", "w1"]
    assert set(short["generated_text"].split()[2:]) <= set(tokenizer.get_vocab()) - {"<unk>"}
    assert [record.getMessage() for record in transformers_log.records if record.levelno >= logging.WARNING] == []


def test_a_padded_batch_continues_like_each_prompt_alone(model_folder):
    generator = pipeline("text-generation", str(model_folder))
    prompts = ["w1 w2 w3 the", "w5", "N w7"]
    batched = generator(prompts, batch_size=3, do_sample=False, max_new_tokens=6)
    alone = [generator(prompt, do_sample=False, max_new_tokens=6) for prompt in prompts]
    assert batched == alone


def test_training_goes_on_after_loading(network, model_folder):
    loaded = AutoModelForCausalLM.from_pretrained(model_folder).train()
    optimizer = torch.optim.SGD(loaded.parameters(), lr=0.5)
    inputs, labels = torch.arange(20).view(2, 10), torch.arange(1, 21).view(2, 10)
    losses = []
    for _ in range(3):
        loaded.eval()
        losses.append(loaded.run(inputs, labels)[0].mean().item())
        loaded.train()
        loss, _, _, penalty = loaded.run(inputs, labels)
        optimizer.zero_grad()
        (loss.mean() + penalty).backward()
        optimizer.step()
    assert losses[2] < losses[0]
    assert loaded.shell.decoder.weight is loaded.shell.embedding.weight


def test_lines_depend_on_the_seed_alone(model_folder):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    lines = generate_lines(model_folder, 4, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    loaded = AutoModelForCausalLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
    assert generate_lines(loaded, 4, seed=1) == lines
    assert generate_lines(model_folder, 4, seed=2) != lines


def test_lines_have_known_words_only_and_end_at_eos(network, words):
    with torch.no_grad():
        # <unk> and <eos> far likelier than all else.
        network.shell.embedding.weight[:2] = 3 * network.shell.embedding.weight[3]
    network.train()
    lines = generate_lines((network, build_tokenizer(words)), 12, seed=0, max_words=8, prompt="The mr.")
    assert network.training
    assert len(lines) == 12
    for line in lines:
        assert line.split()[:2] == ["the", "mr."]
        assert 3 <= len(line.split()) <= 10
        assert not {"<unk>", "<eos>"} & set(line.split())
    assert len({len(line.split()) for line in lines}) > 1


@pytest.mark.parametrize("values", [{"count": 0}, {"max_words": 0}])
def test_a_count_below_one_is_refused(network, words, values):
    (name,) = values
    with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
        generate_lines((network, build_tokenizer(words)), **{"count": 1, "seed": 0, **values})


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="model must be a folder"):
        generate_lines(tmp_path, 1, seed=0)


def test_another_number_of_words_is_refused(network, words, tmp_path):
    with pytest.raises(UserError, match="vocab_size 30, got 29"):
        save_model(network, words[:-1], tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_leaves_the_old_model(network, words, model_folder, monkeypatch):
    before = (model_folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        network.shell.embedding.weight.zero_()
    original = type(network).save_pretrained

    def full(self, folder, **options):
        original(self, folder, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(network), "save_pretrained", full)
    with pytest.raises(StorageError, match="model folder model could not be written: No space left"):
        save_model(network, words, model_folder)
    assert (model_folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in model_folder.parent.iterdir()] == ["model"]


def test_a_model_is_replaced_as_a_whole(network, words, model_folder):
    (model_folder / "left_over").write_text("")
    with torch.no_grad():
        network.shell.embedding.weight.zero_()
    save_model(network, words, model_folder)
    assert not (model_folder / "left_over").exists()
    assert AutoModelForCausalLM.from_pretrained(model_folder).shell.embedding.weight.abs().max() == 0
    assert [path.name for path in model_folder.parent.iterdir()] == ["model"]


def test_a_new_process_needs_no_network(model_folder):
    code = (
        "from cnas.hub import register; register()\n"
        "from transformers import pipeline\n"
        "print(pipeline('text-generation', 'model')('the', max_new_tokens=3)[0]['generated_text'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=model_folder.parent,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the ")
    assert "is not supported" not in done.stderr
