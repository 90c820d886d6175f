"""Every space's derived language model, saved, loaded and trained further by `transformers`' own means."""

from dataclasses import fields

import pytest
import torch
from fine_tuning import tuning
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, pipeline

from cnas.hub import save_model
from cnas.random import generator
from cnas.spaces import names, space_class

WORDS = ("<unk>", "<eos>", "the", "mr.", *(f"w{index}" for index in range(20)))
SPACES = [
    name
    for name in names()
    if not space_class(name).stock_networks and "vocab_size" in {field.name for field in fields(space_class(name))}
]
"""Those whose networks read words."""
TEXT = torch.arange(40).view(4, 10) % len(WORDS)


@pytest.fixture(params=SPACES)
def derived(request):
    space = space_class(request.param)(vocab_size=len(WORDS), hidden_size=8, nodes=4, init_range=0.6)
    torch.manual_seed(0)
    return space.build_network(space.sample(generator(0, request.param))).eval()


@pytest.fixture
def folder(derived, tmp_path):
    return save_model(derived, WORDS, tmp_path / "model")


def test_there_are_such_spaces():
    assert {"darts_rnn", "enas_rnn"} <= set(SPACES)


def test_loaded_logits_are_the_same_bits_again_and_again(derived, folder, tmp_path):
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(save_model(loaded, WORDS, tmp_path / "again"))
    for model in (loaded, again):
        assert type(model) is type(derived)
        assert torch.equal(model(TEXT).logits[..., :-1], derived(TEXT).logits)  # the last is that of <pad>
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()
    }


def test_a_pipeline_continues_as_generate_does(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("the w1 mr.", return_tensors="pt")
    tokens = AutoModelForCausalLM.from_pretrained(folder).generate(**inputs, do_sample=False, max_new_tokens=5)[0, 3:]
    (told,) = pipeline("text-generation", str(folder))("the w1 mr.", do_sample=False, max_new_tokens=5)
    expected = tokenizer.decode(tokens, skip_special_tokens=True)
    assert told["generated_text"].split() == ["the", "w1", "mr.", *expected.split()]


def test_a_trainer_fine_tunes_for_two_steps(folder, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folder)
    before = {name: value.clone() for name, value in model.named_parameters()}
    rows = [{"input_ids": row, "labels": row} for row in TEXT]
    arguments = tuning(
        tmp_path / "tuned",
        max_steps=2,
        per_device_train_batch_size=4,
        learning_rate=0.05,
        logging_steps=1,
    )
    with torch.no_grad():
        first = model.eval()(TEXT, labels=TEXT).loss
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    assert trainer.train().global_step == 2
    with torch.no_grad():
        assert model.eval()(TEXT, labels=TEXT).loss < first
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert model.shell.decoder.weight is model.shell.embedding.weight
    assert [row["step"] for row in trainer.state.log_history if "loss" in row] == [1, 2]

    # What the trainer writes is as good as what was saved first.
    trainer.save_model(str(tmp_path / "tuned"))
    tuned = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned")
    assert torch.equal(tuned(TEXT).logits, model(TEXT).logits)
