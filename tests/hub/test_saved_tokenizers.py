"""A model that was trained on tokens of another kind than words: its folder has that tokenizer, and says so."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_recipe import tiny, write_corpus
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, pipeline

from cnas.data import TextConfig, TextStreams, load_text
from cnas.hub import save_model
from cnas.hub.artifacts import summary
from cnas.spaces import EnasRnnSpace
from cnas.trainer import CurriculumTrainer
from cnas.training.evaluate import mean_loss

TEXT = TextConfig(length=10, search_tokens=600, tokenizer="bpe:280")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return str(write_corpus(tmp_path_factory.mktemp("text") / "corpus"))


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "bpe"
    CurriculumTrainer.from_config(replace(tiny(), text=TEXT, data=corpus), folder).train()
    return folder


def test_the_tokenizer_of_the_folder_is_that_of_the_training(finished, corpus):
    trained = load_text(corpus, TEXT).vocabulary
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.padding_side) == (trained.eos_id, 280, "right")
    vocabulary = tokenizer.get_vocab()
    assert vocabulary.pop("<pad>") == 280
    assert vocabulary == trained.source.get_vocab()
    lines = "w1 w22 W3\n  w4 é"
    assert tokenizer.encode(lines) == trained.source.encode(lines)


def test_the_folder_has_the_perplexity_of_the_result(finished, corpus):
    result = json.loads((finished / "result.json").read_text("utf-8"))
    assert result["dataset"]["tokenizer"] == "bpe:280"
    text = load_text(corpus, TEXT)
    network = AutoModelForCausalLM.from_pretrained(finished / "model").eval()
    streams = TextStreams(text.test, 1, 10, start=text.vocabulary.eos_id, tail="keep")
    found = torch.tensor(mean_loss(network, streams)).exp().item()
    assert found == pytest.approx(result["retrain"]["test_perplexity"], rel=1e-4)
    assert result["retrain"]["test_word_perplexity"] > result["retrain"]["test_perplexity"]


def test_it_generates(finished):
    network = AutoModelForCausalLM.from_pretrained(finished / "model")
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    batch = tokenizer(["w1", "w2 w3 w4"], padding=True, return_tensors="pt")
    assert batch["attention_mask"].tolist()[0][-1] == 0
    assert network.generate(**batch, max_new_tokens=5, do_sample=False).shape[0] == 2
    generator = pipeline("text-generation", model=str(finished / "model"))
    (found,) = generator("w1 w2", max_new_tokens=8, do_sample=False)
    assert found["generated_text"].startswith("w1 w2")
    assert len((finished / "samples.txt").read_text("utf-8").splitlines()) == 3


def test_card_report_and_summary_say_per_token(finished):
    card = (finished / "README.md").read_text("utf-8")
    assert "perplexity (per token)" in card
    assert "word_perplexity (per word)" in card
    assert "A word-level" not in card
    assert "Test word_perplexity" in (finished / "report.html").read_text("utf-8")
    assert "perplexity" in summary(finished)


def fast(words, **special):
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=words[0]))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, padding_side="left", **special)


@pytest.mark.parametrize("pad", ["<fill>", "<end>", None])
def test_a_token_for_padding_is_kept_or_added(pad, tmp_path):
    words = ["<u>", "<end>", "<fill>", "a", "b"]
    own = fast(words, unk_token="<u>", eos_token="<end>", pad_token=pad)
    space = EnasRnnSpace(vocab_size=5, hidden_size=8, nodes=2)
    network = space.build_network(space.parse("0 0 1 1")).eval()
    folder = save_model(network, own, tmp_path / "model")
    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert (own.pad_token, own.padding_side, tokenizer.padding_side) == (pad, "left", "right")
    assert tokenizer.pad_token == (pad or "<pad>")
    assert loaded.config.vocab_size == len(tokenizer) == 5 + (pad is None)
    assert loaded.config.pad_row == (5 if pad is None else None)
    assert loaded.generation_config.suppress_tokens == ([0, 2] if pad == "<fill>" else [0])
    ids = torch.tensor([[3, 4, 1, 3]])
    torch.testing.assert_close(loaded(ids).logits.log_softmax(-1)[..., :5], network(ids).logits.log_softmax(-1))
    again = AutoModelForCausalLM.from_pretrained(save_model(loaded, tokenizer, tmp_path / "again"))
    assert torch.equal(again(ids).logits, loaded(ids).logits)
    with pytest.raises(ValueError, match="as many as the network's vocab_size 5, got 6"):
        save_model(network, fast([*words, "c"], eos_token="<end>"), tmp_path / "other")
