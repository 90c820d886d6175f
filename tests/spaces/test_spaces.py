"""Laws of every search space, and facts of the ENAS one."""

import itertools
import math
from collections import Counter

import pytest
import torch
from builders import WORDS, build_space
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas import spaces
from cnas.errors import UserError
from cnas.spaces import EnasRnnSpace
from cnas.types import Batch

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)
PUBLISHED = "0 2 1 0 2 1 2 2 4 0 5 0 3 2 6 2"


def draws(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=spaces.names(), scope="module")
def space(request):
    return build_space(request.param)


@SETTINGS
@given(seed=st.integers(0, 2**31))
def test_an_architecture_is_read_back_from_its_string(space, seed):
    architecture = space.sample(draws(seed))
    again = space.parse(architecture.to_str())
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.to_str() == str(architecture)
    assert again.to_json() == {"space": space.name, "string": str(architecture)}


@SETTINGS
@given(text=st.one_of(st.text(), st.text("0123456789 -+.|~e\t", max_size=20), st.lists(st.integers()).map(str)))
def test_any_other_text_is_a_user_error(space, text):
    message = "architecture"
    try:
        found = space.parse(text)
    except UserError as problem:
        message = str(problem)
    else:
        assert space.parse(found.to_str()) == found
    assert message.startswith("architecture")
    assert "\n" not in message


def everything(space):
    return [space.architecture(choices) for choices in itertools.product(*(d.options for d in space.decisions()))]


def test_the_size_is_how_many_architectures_there_are(space):
    found = everything(space)
    assert space.size == len(found) == len(set(found)) == len({str(one) for one in found})


def test_samples_are_uniform(space):
    connected = [one for one in everything(space) if space.is_connected(one)]
    generator, expected = draws(0), 40 if len(connected) < 1000 else 5
    counts = Counter(space.sample(generator) for _ in range(expected * len(connected)))
    assert set(counts) <= set(connected)
    # χ² with len - 1 degrees of freedom: mean len - 1, variance twice that. Missing ones would add to it.
    chi = sum((counts[one] - expected) ** 2 / expected for one in connected)
    assert chi < len(connected) - 1 + 4 * math.sqrt(2 * len(connected))


def test_a_routing_runs_what_the_architecture_chose(space):
    architecture = space.sample(draws(3))
    routing = space.routing(architecture)
    assert routing.active == (architecture.choices,)
    assert routing.weights.shape == (1, *space.shape)
    assert routing.weights.sum() == len(architecture.choices)
    assert all(routing.weights[0, edge, operation] == 1 for edge, operation in architecture.choices)


@pytest.mark.parametrize("name", spaces.names())
def test_a_space_is_found_by_its_name(name):
    cls = spaces.space_class(name)
    assert cls.name == name
    assert issubclass(cls, spaces.SearchSpace)


def test_an_unknown_space_is_named():
    with pytest.raises(UserError, match=r"space must be one of .*enas_rnn.*, got 'nowhere'"):
        spaces.space_class("nowhere")


def test_a_space_has_sizes_or_says_in_a_line_that_it_has_none(space):
    net, architecture = space.build_supernet(), space.sample(draws(0))
    costs = space.costs(architecture)
    if costs:
        smallest, largest = space.extremes()
        every = [space.costs(one)["parameters"] for one in everything(space)]
        assert space.costs(smallest)["parameters"] == min(every) < max(every) == space.costs(largest)["parameters"]
        assert {*costs} == {"parameters", "flops"}
        network = space.inherited(net, architecture)
        assert sum(parameter.numel() for parameter in network.parameters()) == costs["parameters"]
        return
    for ask in (space.extremes, lambda: space.inherited(net, architecture)):
        with pytest.raises(UserError, match=f"space {space.name}") as caught:
            ask()
        assert "\n" not in str(caught.value)


# The ENAS space ---------------------------------------------------------------------------------------------------


def test_the_published_enas_space_has_its_size_and_cell():
    space = EnasRnnSpace()
    assert space.size == 4**8 * math.factorial(8)
    assert space.shape == (36, 4)
    assert [len(decision.edges) for decision in space.decisions()] == list(range(1, 9))
    assert [decision.sources for decision in space.decisions()] == [tuple(range(node)) for node in range(1, 9)]
    assert space.parse(PUBLISHED).to_str() == PUBLISHED


def test_the_published_network_has_20_8_million_parameters():
    space = EnasRnnSpace()
    with torch.device("meta"):
        network = space.build_network(space.parse(PUBLISHED), hidden_size=800, vocab_size=10000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 20_800_000
    assert network.config.sources == [0, 1, 2, 2, 4, 5, 3, 6]
    assert [space.operations.index(name) for name in network.config.activations] == [2, 0, 1, 2, 0, 0, 2, 2]


@pytest.mark.parametrize("nodes", [1, 2, 8, 9])
def test_the_supernet_has_one_matrix_per_edge_and_operation(nodes):
    space = build_space(nodes=nodes, hidden_size=3)
    supernet = space.build_supernet()
    edges = nodes * (nodes + 1) // 2
    assert sum(parameter.numel() for parameter in supernet.parameters()) == 3 * WORDS + (4 * edges + 2) * 3 * 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be 2 pairs"),
        ("0 0", "must be 2 pairs"),
        ("0 0 0 0 0", "must be 2 pairs"),
        ("0 0 -1 0", "must be 2 pairs"),
        ("0 0 1.0 0", "must be 2 pairs"),
        ("0 0 ١ 0", "must be 2 pairs"),
        ("1 0 0 0", "node 1 says '1 0', allowed are previous 0 to 0 and function 0 to 3"),
        ("0 0 2 0", "node 2 says '2 0', allowed are previous 0 to 1"),
        ("0 0 0 4", "node 2 says '0 4', .* function 0 to 3"),
        ("0 0 0 0000004", "node 2 says '0 4'"),
        (f"0 0 0 {10**500}", "allowed are previous 0 to 1"),
        ("0 " * 3000, "must be 2 pairs"),
    ],
)
def test_a_wrong_enas_string_says_what_is_allowed(text, message):
    with pytest.raises(UserError, match=message) as caught:
        build_space().parse(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nodes": 0}, "nodes must be between 1 and 64, got 0"),
        ({"nodes": 65}, "nodes must be between 1 and 64, got 65"),
        ({"vocab_size": 0}, "vocab_size must be at least 1"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"dropout_words": 1.0}, r"dropout_words must be in \[0, 1\), got 1.0"),
        ({"dropout_hidden": -0.1}, r"dropout_hidden must be in"),
        ({"tar": -1.0}, "tar must be at least 0"),
        ({"init_range": math.inf}, "init_range must be at least 0 and finite"),
    ],
)
def test_a_wrong_enas_field_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        EnasRnnSpace(**fields)


def test_fresh_weights_are_uniform_in_their_range():
    supernet = build_space(init_range=0.25, decoder_bias=True).build_supernet()
    weights = torch.cat([value.flatten() for name, value in supernet.named_parameters() if "bias" not in name])
    assert 0.24 < weights.abs().max() <= 0.25
    assert abs(weights.mean()) < 0.02
    assert supernet.shell.decoder.bias.abs().max() == 0


def test_the_state_starts_at_zero_and_is_carried():
    space = build_space(dropout_words=0.0)
    supernet = space.build_supernet().eval()
    routing = space.routing(space.sample(draws(1)))
    text = torch.randint(WORDS, (2, 9), generator=draws(2))
    whole = supernet(Batch(text[:, :8], text[:, 1:], text[:, 1:]), routing)
    first = supernet(Batch(text[:, :3], text[:, 1:4], text[:, 1:4], supernet.zero_hidden_state(2)), routing)
    second = supernet(Batch(text[:, 3:8], text[:, 4:], text[:, 4:], first.hidden_state), routing)
    torch.testing.assert_close(torch.cat([first.losses, second.losses], 1), whole.losses)
    torch.testing.assert_close(second.hidden_state, whole.hidden_state)
