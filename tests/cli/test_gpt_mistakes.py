"""Mistakes that the space of transformers invites: one line and code 2 before any work, and nothing is written."""

import pytest
from tiny_recipe import write_corpus
from tokenizers import Tokenizer, models

from cnas.cli import main as cli

DATA = ["--data", "corpus", "--output-dir", "run"]
TINY = [
    *("search", "--preset", "gpt_cl/smoke", *DATA, "--text.tokenizer", "bpe:280", "--text.length", "8"),
    *("--trainer.num-train-epochs", "1", "--retrain.num-train-epochs", "1"),
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working folder, with a text, and with a tokenizer that has no token for the end of a text."""
    write_corpus(tmp_path / "corpus")
    endless = Tokenizer(models.WordLevel({"<unk>": 0, "w1": 1}, unk_token="<unk>"))
    endless.save(str(tmp_path / "endless.json"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


MISTAKES = {
    "--space.head-dim 31": "head_dim must be even and at least 2, got 31",
    "--space.width 96,64": "width must be ascending sizes of 1 or more, got 96,64",
    "--space.depth 0,1": "depth must be ascending sizes of 1 or more, got 0,1",
    "--space.heads 2,2": "heads must be ascending sizes of 1 or more, got 2,2",
    "--space.mlp 64.5": "--space.mlp",
    "--space.dropout-hidden 1": "space.dropout_hidden must be in [0, 1), got 1.0",
    "--text.tokenizer bpe:256": "text.tokenizer must be bpe: and a size from 257 to 1,000,000, got 'bpe:256'",
    "--text.tokenizer word --text.vocab-size 2": "text.vocab_size must be at least 3, got 2",
    "--text.tokenizer endless.json": "tokenizer must have an eos_token, which ends every line",
    "--text.length 1": "text.length must be at least 2, got 1",
    "--text.length 5000": "tokens are too few for batch_size 8 and text.length 5000",
    "--text.variable-length --no-curriculum": "text.variable_length must be off with space gpt",
    "--text.search-tokens 60": "60 tokens are too few for batch_size 8 and text.length 8",
    "--search.limit parameters<=5": "search.limit is parameters<=5, which no architecture of gpt meets: the",
    "--search.limit miles<=5": "search.limit names 'miles', but space gpt has parameters, flops",
    "--search.limit parameters": "search.limit is 'parameters'; allowed: costs with their largest values",
    "--algorithm sandwich --search.limit flops<=5": "which no architecture of gpt meets",
    "--algorithm pareto --search.costs miles": "search.costs names 'miles', but space gpt has parameters, flops",
    "--algorithm pareto --search.pick w1": "architecture 'w1' must be width, depth, heads and MLP",
    "--algorithm darts_v1": "search.name darts_v1 needs mixtures",
    "--algorithm darts_v2": "search.name darts_v2 needs mixtures",
    "--algorithm gdas": "search.name gdas needs mixtures",
    "--algorithm setn": "search.name setn needs mixtures",
    "--curriculum.every 0": "curriculum.every must be at least 1, got 0",
    "--curriculum.every -2": "curriculum.every must be at least 1, got -2",
    "--algorithm rsps --curriculum.k 73": "curriculum.num_candidates must be at most 72, the number of arch",
    "--algorithm sandwich --curriculum.source trained --curriculum.refresh epoch": "curriculum.refresh must be step",
    "--algorithm sandwich --curriculum.source trained --curriculum.refresh step --trainer.micro-batch-size 2": (
        "trainer.micro_batch_size must be none where curriculum.source is trained, got 2"
    ),
    "--architecture w97_d1_h1_m64": "architecture 'w97 d1 h1 m64': width must be one of 32, 64, 96",
    "--architecture w32_d1": "architecture 'w32 d1' must be width, depth, heads and MLP, e.g. 'w96 d3 h2 m256'",
}
STEPWISE = "--curriculum.source trained --curriculum.refresh step"
MISTAKES |= {
    f"--algorithm {name} {STEPWISE}": f"curriculum.source must be candidates with {name}, which trains a single path"
    for name in ("rsps", "spos", "enas")
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_code_2_before_any_work(words, place, capsys):
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    code = cli.main([*TINY, *(word.replace("_", " ") if word[0] == "w" else word for word in words.split())])
    out, err = capsys.readouterr()
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith("error: ")
    assert MISTAKES[words] in err
    assert len(out.splitlines()) <= 1, out
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert not (place / "run").exists()


@pytest.mark.parametrize(("preset", "space"), [("ptb_cl_darts/smoke", "darts_rnn"), ("nats_cl/smoke", "nats")])
@pytest.mark.parametrize("algorithm", ["sandwich", "pareto"])
def test_algorithms_of_sizes_refuse_spaces_without(preset, space, algorithm, place, capsys):
    assert cli.main(["search", "--preset", preset, "--algorithm", algorithm, "--output-dir", "run"]) == 2
    assert f"space {space} has no smallest and no largest architecture" in capsys.readouterr().err
    assert not (place / "run").exists()
