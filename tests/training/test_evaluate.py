"""The exact word loss. Legend: N tokens, T tokens of a chunk."""

import math

import pytest
import torch
from builders import WORDS, build_space, tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT

from cnas.data.streams import TextStreams
from cnas.metrics import perplexity
from cnas.training.evaluate import mean_loss

EOS, COUNT = 4, 47


@pytest.fixture(scope="module")
def network():
    space = build_space(init_range=0.8, dropout_output=0.5)
    torch.manual_seed(1)
    return space.build_network(space.parse("0 1 1 3")).double()


@pytest.fixture(scope="module")
def word_by_word(network):
    """The loss of every token, read one by one through the transformers face."""
    text, state, losses = tokens(COUNT).tolist(), None, []
    network.eval()
    with torch.no_grad():
        for word, following in zip([EOS, *text], text, strict=False):
            output = network(torch.tensor([[word]]), cache=state)
            state = output.cache
            losses.append(-float(output.logits[0, 0].log_softmax(0)[following]))
    network.train()
    return losses


@settings(derandomize=True, deadline=None, max_examples=40)
@given(length=st.integers(1, 40))
def test_the_exact_loss_does_not_depend_on_the_chunk_length(network, word_by_word, length):
    streams = TextStreams(tokens(COUNT), 1, length, start=EOS, tail="keep")
    labels = torch.cat([streams.batch(index, slice(0, 1)).labels.flatten() for index in range(len(streams))])
    assert torch.equal(labels, tokens(COUNT))
    assert len(word_by_word) == COUNT
    assert mean_loss(network, streams) == pytest.approx(math.fsum(word_by_word) / COUNT, rel=EXACT)


def test_every_token_counts_the_same_also_in_a_shorter_last_chunk(network):
    streams = TextStreams(tokens(COUNT), 3, 4, start=EOS, tail="keep")
    network.eval()
    with torch.no_grad():
        rows = [
            network(torch.cat([torch.tensor([EOS]), row[:-1]])[None]).logits[0].log_softmax(1).gather(1, row[:, None])
            for row in tokens(COUNT)[:45].view(3, 15)
        ]
    network.train()
    assert mean_loss(network, streams) == pytest.approx(-float(torch.cat(rows).mean()), rel=EXACT)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_no_trace(network, training):
    network.train(training)
    state = torch.get_rng_state()
    mean_loss(network, TextStreams(tokens(COUNT), 1, 5))
    assert network.training is training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())
    network.train()


def test_a_uniform_network_has_the_perplexity_of_its_vocabulary(network):
    space = build_space(init_range=0.0)
    uniform = space.build_network(space.parse("0 1 1 3"))
    loss = mean_loss(uniform, TextStreams(tokens(COUNT), 1, 5, start=EOS, tail="keep"))
    assert perplexity(loss) == pytest.approx(WORDS, rel=1e-6)


def test_a_perplexity_beyond_floats_is_infinite():
    assert perplexity(800.0) == math.inf
    assert perplexity(math.inf) == math.inf
    assert perplexity(math.log(50)) == pytest.approx(50)
