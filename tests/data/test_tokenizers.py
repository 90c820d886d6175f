"""Tokenizers of a text: the word vocabulary, a BPE that is trained on it, and those that are brought along."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_recipe import tiny, write_corpus
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from cnas.data import FastCodec, TextConfig, Vocabulary, load_text
from cnas.data.tokenizers import train_bpe
from cnas.errors import UserError
from cnas.metrics import perplexity
from cnas.runs.task import load_task

PRINTED = """
import sys
from cnas.data import TextConfig, load_text
text = load_text(sys.argv[1], TextConfig(tokenizer="bpe:280"))
print(text.vocabulary.fingerprint)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return str(write_corpus(tmp_path_factory.mktemp("text") / "corpus"))


def words(*, eos="<end>", pad=None):
    names = ["<unk>", eos or "x", *(f"w{index}" for index in range(40)), *([pad] if pad else [])]
    backend = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token=eos, pad_token=pad)


def refused(corpus, name="word", tokenizer=None):
    with pytest.raises(UserError) as caught:
        load_text(corpus, TextConfig(tokenizer=name), tokenizer=tokenizer)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_are_the_default(corpus):
    text = load_text(corpus, TextConfig())
    assert isinstance(text.vocabulary, Vocabulary)
    assert (text.tokenizer, set(text.splits["train"])) == ("word", {"sentences", "tokens"})


def test_a_bpe_is_the_same_in_every_process_and_with_every_number_of_threads(corpus):
    found = {load_text(corpus, TextConfig(tokenizer="bpe:280")).vocabulary.fingerprint for _ in range(2)}
    for threads in ("1", "3"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        command = [sys.executable, "-c", PRINTED, corpus]
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert len(found) == 1


def test_a_bpe_cuts_lines_and_gives_them_back(corpus):
    text, by_words = (load_text(corpus, TextConfig(tokenizer=name)) for name in ("bpe:280", "word"))
    codec = text.vocabulary
    assert (len(codec), text.tokenizer, text.fingerprint) == (280, "bpe:280", by_words.fingerprint)
    assert (
        codec.decode(text.validation).replace("<eos>", " <eos>").split()
        == by_words.vocabulary.decode(by_words.validation).split()
    )
    sizes = text.splits["validation"]
    assert sizes["words"] == by_words.splits["validation"]["tokens"] < sizes["tokens"] == len(text.validation)
    assert (text.validation == codec.eos_id).sum() == sizes["sentences"]
    lines = "w1 w2\n\n  w3\tü€ \r\nw4"
    cut = codec.source(lines)["input_ids"]
    assert codec.decode(cut) == "w1 w2<eos> w3 ü€<eos> w4"
    assert torch.equal(torch.tensor([*cut, codec.eos_id]), codec.encode(["w1 w2", "w3 ü€", "w4"]))


def test_a_bpe_of_a_short_text_has_the_tokens_that_there_are():
    assert 257 < len(FastCodec(train_bpe(["a b a b"], 5000))) < 270


def test_a_tokenizer_of_words_gives_the_tokens_of_the_vocabulary(corpus):
    own = words()
    before = own.backend_tokenizer.to_str()
    text, by_words = load_text(corpus, TextConfig(), tokenizer=own), load_text(corpus, TextConfig())
    assert text.splits["train"]["tokens"] == text.splits["train"]["words"] == len(by_words.train)
    assert text.vocabulary.decode(text.test).replace("<end>", "<eos>") == by_words.vocabulary.decode(by_words.test)
    assert text.tokenizer == f"fast:{hashlib.sha256(before.encode()).hexdigest()[:16]}"
    assert own.backend_tokenizer.to_str() == before


def test_a_saved_tokenizer_is_found_by_its_folder_or_file(corpus, tmp_path):
    trained = load_text(corpus, TextConfig(tokenizer="bpe:300"))
    trained.vocabulary.source.save_pretrained(tmp_path / "saved")
    trained.vocabulary.source.backend_tokenizer.save(str(tmp_path / "mine.json"))
    for name in ("saved", "saved/tokenizer.json", "mine.json"):
        text = load_text(corpus, TextConfig(tokenizer=str(tmp_path / name)))
        assert torch.equal(text.train, trained.train), name
        assert text.tokenizer.startswith("fast:")


def test_a_tokenizer_that_cannot_be_used_is_refused(corpus, tmp_path):
    for name in ("bpe", "bpe:", "bpe:256", "bpe:-5", "bpe:4k", "bpe:9999999", "bpe:99999999999999999999"):
        assert "text.tokenizer must be bpe: and a size from 257 to 1,000,000" in refused(corpus, name)
    assert "text.tokenizer must be word, bpe:SIZE, or a folder or file" in refused(corpus, "no/such/place")
    assert "holds no fast tokenizer: there is no tokenizer.json" in refused(corpus, str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "cannot be read" in refused(corpus, str(tmp_path))
    assert "was one of a Python script: give it there, as processing_class" in refused(corpus, "fast:0123")
    assert "must have an eos_token" in refused(corpus, tokenizer=words(eos=None))

    class Slow:
        eos_token_id = 1

    assert "must be a fast tokenizer (PreTrainedTokenizerFast), got Slow" in refused(corpus, tokenizer=Slow())
    gaps = Tokenizer(models.WordLevel({"<unk>": 0, "<end>": 5}, unk_token="<unk>"))
    holes = PreTrainedTokenizerFast(tokenizer_object=gaps, eos_token="<end>")
    assert "ids from 0 without gaps" in refused(corpus, tokenizer=holes)


def test_perplexity_per_word_is_that_of_all_nats(corpus):
    config = tiny()
    figures = {}
    for name, limits in (("bpe:300", {}), ("bpe:300", {"valid_tokens": 200}), ("word", {})):
        text = TextConfig(length=10, search_tokens=600, tokenizer=name, **limits)
        task = load_task(config.__class__(**{**vars(config), "text": text}), data=corpus)
        torch.manual_seed(0)
        network = task.config.space.build_network(task.config.space.parse("0 0 0 1"), init_range=0.5)
        figures[name, *limits] = task.measure(network).figures
        sizes = task.data.splits["test"]
    assert set(figures["word",]) == {"valid_perplexity", "test_perplexity"}
    found = figures["bpe:300",]
    names = ("perplexity", "word_perplexity", "nats_per_byte")
    assert list(found) == [f"{split}_{name}" for split in ("valid", "test") for name in names]
    whole = {"valid_word_perplexity", "valid_nats_per_byte"}
    assert set(figures["bpe:300", "valid_tokens"]) == set(found) - whole
    sizes = load_text(corpus, TextConfig(tokenizer="bpe:300")).splits["test"]
    nats = torch.tensor(found["test_perplexity"]).double().log().item() * sizes["tokens"]
    assert found["test_word_perplexity"] == pytest.approx(perplexity(nats, sizes["words"]), rel=1e-4)
    assert found["test_nats_per_byte"] == pytest.approx(nats / sizes["bytes"], rel=1e-4)


@pytest.mark.parametrize("unit", ["sequence", "token"])
def test_units_of_training_text_are_shown_as_text(corpus, unit):
    config = tiny()
    changes = {"text": TextConfig(length=10, tokenizer="bpe:300")}
    curriculum = replace(config.curriculum, unit=unit)
    task = load_task(replace(config, curriculum=curriculum, **changes), data=corpus)
    (shown,) = task.sample_views({3}).values()
    assert "w" in shown.text
    assert "Ġ" not in f"{shown.text}{shown.marked}"
