"""A model as a GGUF file: read back by stock transformers it is the same one, to the bit; what cannot be is refused."""

import sys

import pytest
import torch
from tokenizers import normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from cnas.cli.main import main
from cnas.data.tokenizers import train_bpe
from cnas.errors import StorageError, UserError
from cnas.hub import save_model, write_gguf
from cnas.random import generator
from cnas.spaces import GptSpace

LINES = ["the company said it 's new", "Rates of 12.5 % rose , they said", "naïve café — the end"] * 4
SAMPLES = [
    " the company said",
    " Rates rose 7.25 % ; they 've said so",
    " naïve 日本 — café's",
    " the<eos> said <eos>",
]


def run_with(folder, space, source):
    """A run's folder with a model of that space, its weights of a size at which every part matters."""
    network, draws = space.build_network(space.extremes()[1]), generator(1, "weights")
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draws) / (weight.shape[-1] ** 0.5) + (weight.dim() == 1))
    save_model(network, source, folder / "model")
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(LINES, 300)


@pytest.fixture(scope="module")
def space(tokenizer):
    sizes = {"width": (16,), "depth": (2,), "heads": (2,), "mlp": (24,), "head_dim": 4}
    return GptSpace(vocab_size=len(tokenizer), **sizes)


@pytest.fixture
def run(tmp_path, space, tokenizer):
    return run_with(tmp_path / "run", space, tokenizer)


def read_back(file):
    pair = [auto.from_pretrained(file.parent, gguf_file=file.name) for auto in (AutoModelForCausalLM, AutoTokenizer)]
    pair[0].generation_config.pad_token_id = pair[1].eos_token_id
    return pair


def test_the_network_read_back_is_the_same_to_the_bit(run):
    pytest.importorskip("gguf")
    file = write_gguf(run)
    assert file == run / "model.gguf"
    (found, its_tokenizer), model = read_back(file), AutoModelForCausalLM.from_pretrained(run / "model").eval()
    theirs, ours = found.state_dict(), model.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], weight) for name, weight in ours.items())
    ids = torch.tensor([its_tokenizer.encode(SAMPLES[1])])
    with torch.no_grad():
        assert torch.equal(found.eval()(ids).logits, model(ids).logits)
    one, other = (each.generate(ids, do_sample=False, max_new_tokens=12) for each in (found, model))
    assert torch.equal(one, other)
    names = ("hidden_size", "head_dim", "num_hidden_layers", "num_key_value_heads", "intermediate_size", "vocab_size",
             "max_position_embeddings", "rope_parameters", "tie_word_embeddings", "attention_bias")  # fmt: skip
    assert {name: getattr(found.config, name) for name in names} == {
        name: getattr(model.config, name) for name in names
    }
    assert found.config.rms_norm_eps == pytest.approx(model.config.rms_norm_eps, rel=1e-7)


def test_the_tokenizer_read_back_cuts_text_alike(run, tokenizer):
    pytest.importorskip("gguf")
    _, found = read_back(write_gguf(run))
    # The reader makes a tokenizer of GPT-2's class first, whose own end of text stays.
    assert found.get_vocab() == tokenizer.get_vocab() | {"<|endoftext|>": len(tokenizer)}
    assert (found.bos_token, found.eos_token) == ("<eos>", "<eos>")
    for text in SAMPLES:
        ids = found.encode(text)
        assert ids == [found.eos_token_id, *tokenizer.encode(text)]
        assert found.decode(ids) == tokenizer.decode(ids)


def test_what_llama_cpp_reads_is_all_there(run, space, tokenizer):
    gguf = pytest.importorskip("gguf")
    fields = gguf.GGUFReader(write_gguf(run)).fields
    known = {name: field.contents() for name, field in fields.items()}
    sizes = {
        "general.architecture": "llama",
        "general.name": "run",
        "llama.context_length": 2048,
        "llama.embedding_length": 16,
        "llama.block_count": 2,
        "llama.feed_forward_length": 24,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 4,
        "llama.attention.value_length": 4,
        "llama.rope.dimension_count": 4,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.add_bos_token": True,
    }
    assert {name: known[name] for name in sizes} == sizes
    types = known["tokenizer.ggml.token_type"]
    assert [id for id, type in enumerate(types) if type == gguf.TokenType.CONTROL] == [tokenizer.eos_token_id]
    assert len(types) == len(known["tokenizer.ggml.tokens"]) == space.vocab_size
    assert len(known["tokenizer.ggml.merges"]) == space.vocab_size - 257


def test_a_model_folder_by_itself_will_do(run, tmp_path):
    pytest.importorskip("gguf")
    out = tmp_path / "elsewhere.gguf"
    assert write_gguf(run / "model", out) == out
    assert out.read_bytes()[:4] == b"GGUF"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere.gguf", "run"]


def test_a_tokenizer_that_cuts_otherwise_is_refused(tmp_path, space, tokenizer):
    for part, kind, said in (
        ("pre_tokenizer", pre_tokenizers.Whitespace(), "a tokenizer of another kind"),
        ("normalizer", normalizers.NFKC(), "changes letters"),
    ):
        changed = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<eos>")
        setattr(changed.backend_tokenizer, part, kind)
        with pytest.raises(UserError, match=said):
            write_gguf(run_with(tmp_path / part, space, changed))


def test_a_vocabulary_of_words_is_refused(tmp_path, space):
    words = ["<unk>", "<eos>", *(f"w{index}" for index in range(space.vocab_size - 2))]
    with pytest.raises(UserError, match="a vocabulary of words"):
        write_gguf(run_with(tmp_path / "words", space, words))


def test_a_disk_that_refuses_leaves_nothing(run, tmp_path):
    pytest.importorskip("gguf")
    with pytest.raises(StorageError, match="cannot write"):
        write_gguf(run, tmp_path / "nowhere" / "model.gguf")
    assert [*run.iterdir()] == [run / "model"]


BAD = {
    "nowhere": "holds no model/; name the folder of a finished run",
    "another": "of the kind 'darts_rnn'; a GGUF file is written of a llama alone",
    "mistral": "of the kind 'mistral'",
    "there": "model.gguf is there already, and nothing is overwritten",
    "missing": "the package gguf, which comes with pip install 'cnas[gguf]'",
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_one_line_and_code_2(case, tmp_path, space, tokenizer, monkeypatch, capsys):
    folder = tmp_path / "run"
    if case in {"another", "mistral"}:
        (folder / "model").mkdir(parents=True)
        kind = "darts_rnn" if case == "another" else case
        (folder / "model" / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    elif case != "nowhere":
        run_with(folder, space, tokenizer)
    if case == "there":
        (folder / "model.gguf").write_text("mine")
    if case == "missing":
        monkeypatch.setitem(sys.modules, "gguf", None)
    assert main(["gguf", str(folder)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert BAD[case] in captured.err
    assert not (folder / "model.gguf").exists() or (folder / "model.gguf").read_text() == "mine"
