"""The derived network of the ENAS space. Legend: B sequences, T tokens, H hidden units, V words."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cnas.random import DropoutSeeds
from cnas.spaces import EnasRnnSpace
from cnas.spaces.enas_rnn.modeling import CnasRnnConfig, CnasRnnForCausalLM
from cnas.types import Batch

SETTINGS = settings(derandomize=True, deadline=None, max_examples=12)
PLAIN = {f"dropout_{name}": 0.0 for name in ("words", "embedding", "input", "hidden", "output")} | {"tar": 0.0}


def build(seed=0, nodes=3, **changes):
    space = EnasRnnSpace(vocab_size=19, hidden_size=7, nodes=nodes, init_range=0.7)
    torch.manual_seed(seed)
    return space.build_network(space.sample(torch.Generator().manual_seed(seed)), **changes).eval()


def text(seed=0, rows=2, length=9):
    tokens = torch.randint(19, (rows, length + 1), generator=torch.Generator().manual_seed(seed))
    return tokens[:, :-1], tokens[:, 1:]


@SETTINGS
@given(st.integers(0, 99), st.integers(1, 8), st.booleans())
def test_run_is_the_cross_entropy_of_forward(seed, nodes, bias):
    network = build(seed, nodes, decoder_bias=bias)
    inputs_BT, labels_BT = text(seed)
    losses_BT, logits, hidden_state, penalty = network.run(inputs_BT, labels_BT)
    output = network(inputs_BT)
    expected = F.cross_entropy(output.logits.transpose(1, 2), labels_BT, reduction="none")
    torch.testing.assert_close(losses_BT, expected, rtol=1e-6, atol=1e-6)
    assert losses_BT.dtype is torch.float32
    assert logits is None
    assert torch.equal(hidden_state, output.cache)
    assert penalty == 0


def test_labels_are_shifted_inside_forward():
    network = build()
    inputs_BT, _ = text()
    output = network(inputs_BT, labels=inputs_BT)
    expected = F.cross_entropy(output.logits[:, :-1].flatten(0, 1), inputs_BT[:, 1:].flatten())
    torch.testing.assert_close(output.loss, expected)
    assert network(inputs_BT).loss is None


def test_labels_of_minus_100_are_left_out():
    network = build()
    inputs_BT, _ = text(rows=1)
    labels_BT = inputs_BT.clone()
    labels_BT[:, 5:] = -100
    torch.testing.assert_close(
        network(inputs_BT, labels=labels_BT).loss, network(inputs_BT[:, :5], labels=inputs_BT[:, :5]).loss
    )


@SETTINGS
@given(st.integers(0, 99), st.integers(1, 8))
def test_a_text_in_two_parts_is_the_text(seed, cut):
    network = build(seed)
    inputs_BT, labels_BT = text(seed)
    whole, first = network(inputs_BT), network(inputs_BT[:, :cut])
    second = network(inputs_BT[:, cut:], cache=first.cache)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole.logits)
    torch.testing.assert_close(second.cache, whole.cache)
    losses, _, hidden_state, _ = network.run(inputs_BT[:, :cut], labels_BT[:, :cut])
    rest, _, _, _ = network.run(inputs_BT[:, cut:], labels_BT[:, cut:], hidden_state)
    torch.testing.assert_close(torch.cat([losses, rest], 1), network.run(inputs_BT, labels_BT)[0])


def test_the_network_is_the_supernet_s_path_with_its_weights():
    space = EnasRnnSpace(vocab_size=19, hidden_size=7, nodes=4, init_range=0.7)
    supernet = space.build_supernet().eval()
    architecture = space.parse("0 1 1 3 0 0 2 2")
    network = space.build_network(architecture).eval()
    with torch.no_grad():
        network.shell.load_state_dict(supernet.shell.state_dict())
        network.cell.input_matrix.copy_(supernet.input_matrix)
        network.cell.recurrent_matrix.copy_(supernet.recurrent_matrix)
        for matrix, (edge, operation) in zip(network.cell.matrices, architecture.choices, strict=True):
            matrix.copy_(supernet.matrix(edge, operation))
    inputs_BT, labels_BT = text()
    expected = supernet(Batch(inputs_BT, labels_BT, torch.zeros_like(labels_BT)), space.routing(architecture))
    losses_BT, _, hidden_state, _ = network.run(inputs_BT, labels_BT)
    assert torch.equal(losses_BT, expected.losses)
    assert torch.equal(hidden_state, expected.hidden_state)


@SETTINGS
@given(st.integers(0, 99), st.sampled_from([1, 3]))
def test_generation_with_and_without_the_state_is_the_same(seed, beams):
    network = build(seed)
    inputs_BT, _ = text(seed, length=3)
    options = {"do_sample": False, "num_beams": beams, "max_new_tokens": 8, "pad_token_id": 0}
    mask = torch.ones_like(inputs_BT)
    cached = network.generate(inputs_BT, attention_mask=mask, use_cache=True, **options)
    assert torch.equal(cached, network.generate(inputs_BT, attention_mask=mask, use_cache=False, **options))
    assert cached.shape == (2, 11)


def test_greedy_generation_takes_the_likeliest_word():
    network = build()
    inputs_BT, _ = text(rows=1, length=3)
    found = network.generate(inputs_BT, attention_mask=torch.ones_like(inputs_BT), max_new_tokens=5, pad_token_id=0)
    for length in range(3, 8):
        assert found[0, length] == network(found[:, :length]).logits[0, -1].argmax()


def test_only_the_last_word_is_run_once_there_is_a_state(monkeypatch):
    network, lengths = build(), []
    original = type(network).forward

    def counting(self, input_ids, **options):
        lengths.append(input_ids.shape[1])
        return original(self, input_ids, **options)

    monkeypatch.setattr(type(network), "forward", counting)
    inputs_BT, _ = text(rows=1, length=4)
    network.generate(inputs_BT, attention_mask=torch.ones_like(inputs_BT), max_new_tokens=3, pad_token_id=0)
    assert lengths == [4, 1, 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_leaves_no_trace(side):
    network = build()
    inputs_BT, _ = text(rows=2, length=5)
    mask_BT = torch.ones_like(inputs_BT)
    padding = slice(0, 2) if side == "left" else slice(3, 5)
    words = slice(2, 5) if side == "left" else slice(0, 3)
    mask_BT[1, padding] = 0
    output = network(inputs_BT, attention_mask=mask_BT)
    alone = network(inputs_BT[1:, words])
    torch.testing.assert_close(output.logits[1:, words], alone.logits)
    torch.testing.assert_close(output.cache[1:], alone.cache)
    torch.testing.assert_close(output.logits[:1], network(inputs_BT[:1]).logits)


def test_dropout_draws_from_the_noise_it_is_given():
    network = build().train()
    inputs_BT, labels_BT = text(rows=4)
    run = lambda rows, step=0: network.run(  # noqa: E731
        inputs_BT[rows], labels_BT[rows], dropout_seeds=DropoutSeeds(1, "train", step, rows, 4)
    )[0]
    whole = run(slice(0, 4))
    assert torch.equal(run(slice(0, 4)), whole)
    assert not torch.equal(run(slice(0, 4), step=1), whole)
    torch.testing.assert_close(torch.cat([run(slice(0, 1)), run(slice(1, 4))]), whole)


def test_the_penalty_is_the_networks_own_and_for_training_only():
    network = build(**{**PLAIN, "tar": 2.0, "activation_penalty": 3.0})
    inputs_BT, labels_BT = text()
    assert network.run(inputs_BT, labels_BT)[3] == 0
    raw_BTH = network.cell(network.shell.embedding(inputs_BT), torch.zeros(2, 7), None)[0]
    expected = 3 * raw_BTH.square().mean() + 2 * (raw_BTH[:, 1:] - raw_BTH[:, :-1]).square().mean()
    torch.testing.assert_close(network.train().run(inputs_BT, labels_BT)[3], expected)


def test_gradients_of_run_are_those_of_the_logits():
    network = build(**PLAIN).double().train()
    inputs_BT, labels_BT = text()
    network.run(inputs_BT, labels_BT)[0].mean().backward()
    found = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    F.cross_entropy(network(inputs_BT).logits.flatten(0, 1), labels_BT.flatten()).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_embedding_and_decoder_are_one_matrix():
    network = build()
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    network.resize_token_embeddings(23)
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert network(text()[0]).logits.shape[-1] == 23


def test_fresh_weights_are_in_range_and_the_bias_is_zero():
    network = CnasRnnForCausalLM(CnasRnnConfig(vocab_size=30, hidden_size=8, init_range=0.1, decoder_bias=True))
    weights = torch.cat([parameter.flatten() for name, parameter in network.named_parameters() if "bias" not in name])
    assert 0.09 < weights.abs().max() <= 0.1
    assert network.shell.decoder.bias.abs().max() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": [0, 2], "activations": ["tanh", "tanh"]}, r"sources\[1\] must be between 0 and 1, got 2"),
        ({"sources": [0], "activations": ["gelu"]}, r"activations\[0\] must be one of tanh, relu, .*'gelu'"),
        ({"sources": [0, 0], "activations": ["tanh"]}, r"sources \(2\) and activations \(1\)"),
        ({"dropout_hidden": 1.5}, "dropout_hidden"),
        ({"hidden_size": 0}, "hidden_size"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CnasRnnForCausalLM(CnasRnnConfig(**fields))
