"""``<pad>``: a row that is added when a model is written, and counts nowhere. Legend: V words."""

import json

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling

from cnas.hub import build_tokenizer, save_model
from cnas.spaces import DartsRnnSpace, EnasRnnSpace

TEXT = ["\nthe n't w3\n", "\nmr. w7 w8 w9 w1\n"]
PAD = 30


@pytest.fixture
def loaded(model_folder):
    return AutoModelForCausalLM.from_pretrained(model_folder)


@pytest.fixture
def tokenizer(model_folder):
    return AutoTokenizer.from_pretrained(model_folder)


def sampled(space, **changes):
    built = space(vocab_size=30, hidden_size=12, nodes=3, init_range=0.8)
    torch.manual_seed(0)
    return built.build_network(built.sample(torch.Generator().manual_seed(0)), **changes).eval()


@pytest.mark.parametrize("space", [EnasRnnSpace, DartsRnnSpace])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_the_probabilities_of_the_words_are_those_that_were_measured(space, bias, scale, words, tmp_path):
    network = sampled(space, decoder_bias=bias)
    with torch.no_grad():
        network.shell.embedding.weight.mul_(scale)  # logits far apart, as after a long training
        if bias:
            network.shell.decoder.bias.uniform_(-scale, scale)
    loaded = AutoModelForCausalLM.from_pretrained(save_model(network, words, tmp_path / "model"))
    ids = torch.arange(30).view(2, 15)
    measured, found = network(ids).logits.log_softmax(-1), loaded(ids).logits.log_softmax(-1)
    torch.testing.assert_close(found[..., :PAD], measured, rtol=1e-6, atol=1e-6)
    assert found[..., PAD].exp().max() == 0
    assert found.isfinite().all()
    labels = ids.roll(-1, 1)
    torch.testing.assert_close(loaded.run(ids, labels)[0], network.run(ids, labels)[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(loaded(ids, labels=ids).loss, network(ids, labels=ids).loss, rtol=1e-6, atol=1e-6)


def test_the_network_that_is_written_is_left_as_it_is(network, words, tmp_path):
    before = network.config.to_dict(), {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    save_model(network, words, tmp_path / "model")
    assert network.config.to_dict() == before[0]
    assert network.state_dict().keys() == before[1].keys()
    assert all(torch.equal(value, before[1][name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loaded_model_is_written_again_without_a_second_pad(loaded, words, tmp_path):
    again = AutoModelForCausalLM.from_pretrained(save_model(loaded, words, tmp_path / "again"))
    assert again.config.vocab_size == PAD + 1
    assert torch.equal(again(torch.arange(10)[None]).logits, loaded(torch.arange(10)[None]).logits)


def test_the_collator_masks_what_fills_up_and_nothing_else(tokenizer):
    rows = [{"input_ids": tokenizer.encode(line)} for line in TEXT]
    batch = DataCollatorForLanguageModeling(tokenizer, mlm=False)(rows)
    filled = batch["input_ids"] == PAD
    assert filled.sum() == 2
    assert torch.equal(batch["labels"] == -100, filled)
    assert torch.equal(batch["attention_mask"] == 0, filled)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("told", ["mask and labels", "labels", "neither"])
def test_what_fills_up_a_batch_changes_no_loss_and_no_gradient(loaded, tokenizer, side, told):
    """Whether or not the mask is passed on, and -100 put into the labels."""
    tokenizer.padding_side = side
    loaded.zero_grad()
    batch = tokenizer(TEXT, padding=True, return_tensors="pt")
    ids, labels = batch["input_ids"], batch["input_ids"].clone()
    if told != "neither":
        labels[labels == PAD] = -100
    mask = batch["attention_mask"] if told == "mask and labels" else None
    found = loaded(ids, labels=labels, attention_mask=mask).loss
    found.backward()
    slopes = {name: weight.grad.clone() for name, weight in loaded.named_parameters()}
    loaded.zero_grad()
    rows = [torch.tensor([tokenizer.encode(line)]) for line in TEXT]
    words = sum(row.shape[1] - 1 for row in rows)
    alone = sum(loaded(row, labels=row).loss * (row.shape[1] - 1) for row in rows) / words
    alone.backward()
    torch.testing.assert_close(found, alone)
    for name, weight in loaded.named_parameters():
        torch.testing.assert_close(slopes[name], weight.grad)
    assert slopes["shell.embedding.weight"][PAD].abs().max() == 0


def test_training_keeps_the_ends_of_lines(loaded, tokenizer):
    """What is trained on lines predicts their ends better, not worse."""
    rows = [{"input_ids": tokenizer.encode(line)} for line in TEXT]
    batch = DataCollatorForLanguageModeling(tokenizer, mlm=False)(rows)
    ends = batch["labels"][:, 1:] == tokenizer.eos_token_id
    optimizer = torch.optim.AdamW(loaded.parameters(), lr=0.02, weight_decay=0.1)
    shares = []
    for _ in range(20):
        output = loaded(**batch)
        shares.append(output.logits[:, :-1].softmax(-1)[..., tokenizer.eos_token_id][ends].mean().item())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert shares[-1] > 2 * shares[0]
    assert loaded.shell.embedding.weight[PAD].abs().max() == 0
    assert loaded(**batch).logits.softmax(-1)[..., PAD].max() == 0


def test_pad_is_never_drawn(loaded):
    ids = torch.ones(64, 1, dtype=torch.long)
    drawn = loaded.generate(ids, attention_mask=ids, do_sample=True, top_k=0, max_new_tokens=10, eos_token_id=None)
    assert PAD not in drawn
    greedy = loaded.generate(ids[:1], attention_mask=ids[:1], num_beams=3, max_new_tokens=10, repetition_penalty=1.5)
    assert PAD not in greedy


@pytest.mark.parametrize("rows", [40, PAD])
def test_words_may_be_added_and_the_pad_taken_away(loaded, rows, tmp_path):
    loaded.resize_token_embeddings(rows)
    loaded.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    logits = again(torch.arange(10)[None]).logits
    assert torch.equal(logits, loaded(torch.arange(10)[None]).logits)
    shares = logits.softmax(-1)
    assert shares.shape[-1] == rows
    assert shares[..., PAD:][..., :1].sum() == 0
    assert (shares[..., PAD + 1 :] > 0).all()


def test_a_network_of_the_same_kind_with_new_weights_knows_its_pad(model_folder):
    fresh = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_folder))
    assert fresh(torch.arange(10)[None]).logits.softmax(-1)[..., PAD].max() == 0


def test_a_vocabulary_with_that_word_gets_another_pad(words):
    taken = build_tokenizer([*words, "<pad>", "<padd>"])
    assert (taken.pad_token, taken.pad_token_id) == ("<paddd>", 32)
    assert taken.encode("<pad> the") == [30, 3]


def test_a_folder_of_the_release_before_loads_as_it_is(network, model_folder):
    """It has no such row: ``<eos>`` fills up there."""
    network.config.update({"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1})
    network.save_pretrained(model_folder)
    config = json.loads((model_folder / "config.json").read_text())
    config.pop("pad_row", None)
    (model_folder / "config.json").write_text(json.dumps(config))
    old = AutoModelForCausalLM.from_pretrained(model_folder)
    ids = torch.arange(20).view(2, 10)
    assert torch.equal(old(ids).logits, network(ids).logits)
    # Its labels are not those of a collator, which would leave out every <eos>; the mask is enough.
    padded, mask = torch.tensor([[3, 4, 1, 1], [5, 6, 7, 1]]), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    logits = old(padded, attention_mask=mask).logits
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), padded[:, 1:], reduction="none") * mask[:, 1:]
    torch.testing.assert_close(old(padded, attention_mask=mask, labels=padded).loss, losses.sum() / 5)
