"""The derived network of the DARTS space; what it shares with the ENAS one is tested there."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from cnas.spaces import DartsRnnSpace
from cnas.spaces.darts_rnn.modeling import CnasDartsRnnConfig, CnasDartsRnnForCausalLM


def build(concat=None):
    space = DartsRnnSpace(vocab_size=19, hidden_size=7, nodes=3, concat=concat, init_range=0.7)
    torch.manual_seed(0)
    return space.build_network(space.parse("tanh 0 relu 1 identity 1")).eval()


def test_it_is_saved_and_loaded_by_the_auto_class(tmp_path):
    network = build(concat=(1, 3))
    network.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is CnasDartsRnnForCausalLM
    assert (loaded.config.sources, loaded.config.activations) == ([0, 1, 1], ["tanh", "relu", "identity"])
    assert loaded.config.concat == [1, 3]
    tokens = torch.arange(10).view(2, 5)
    assert torch.equal(loaded(tokens).logits, network(tokens).logits)


def test_the_output_is_the_mean_of_concat():
    tokens = torch.arange(10).view(2, 5)
    outputs = {concat: build(concat)(tokens).cache for concat in (None, (1, 2, 3), (1, 3), (3,))}
    assert torch.equal(outputs[None], outputs[1, 2, 3])
    assert not torch.allclose(outputs[None], outputs[1, 3])
    assert not torch.allclose(outputs[3,], outputs[1, 3])


def test_run_is_the_cross_entropy_of_forward():
    network, tokens = build(), torch.arange(10).view(2, 5)
    losses_BT, _, hidden_state, _ = network.run(tokens, tokens.flip(1))
    output = network(tokens)
    expected = F.cross_entropy(output.logits.transpose(1, 2), tokens.flip(1), reduction="none")
    torch.testing.assert_close(losses_BT, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(hidden_state, output.cache)


def test_generation_with_and_without_the_state_is_the_same():
    network, tokens = build(concat=(2, 3)), torch.tensor([[1, 2, 3]])
    options = {"do_sample": False, "max_new_tokens": 6, "pad_token_id": 0, "attention_mask": torch.ones_like(tokens)}
    cached = network.generate(tokens, use_cache=True, **options)
    assert torch.equal(cached, network.generate(tokens, use_cache=False, **options))


def test_without_an_architecture_it_is_the_smallest_cell():
    network = CnasDartsRnnForCausalLM(CnasDartsRnnConfig(vocab_size=5, hidden_size=4))
    assert network.cell.nodes == [(0, "tanh")]
    assert CnasDartsRnnConfig().hidden_size == 850


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": [0, 2], "activations": ["tanh", "tanh"]}, r"sources\[1\] must be between 0 and 1, got 2"),
        ({"sources": [0], "activations": ["none"]}, r"activations\[0\] must be one of tanh, relu, .*'none'"),
        ({"concat": [0]}, r"concat must be nodes between 1 and 1, got \[0\]"),
        ({"concat": [2]}, r"concat must be nodes between 1 and 1, got \[2\]"),
        ({"concat": []}, r"concat must be nodes between 1 and 1, got \[\]"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CnasDartsRnnForCausalLM(CnasDartsRnnConfig(vocab_size=5, hidden_size=4, **fields))
