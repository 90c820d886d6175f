"""Facts of the DARTS recurrent space: its size, notation, configuration and cost. Legend: B rows, H hidden units."""

import argparse
import json
import math

import pytest
import torch
from builders import WORDS, build_space
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import UserError
from cnas.fields import from_dict, to_dict
from cnas.runs.flags import OneLineParser, add_flags, apply_flags
from cnas.spaces import DartsRnnSpace
from cnas.spaces.darts_rnn import tape
from cnas.types import Batch, Routing

DARTS_V1 = "relu 0 relu 1 tanh 2 relu 3 relu 4 identity 1 relu 5 relu 1"
DARTS_V2 = "sigmoid 0 relu 1 relu 1 identity 1 tanh 2 sigmoid 5 tanh 3 relu 5"
ENAS = "tanh 0 tanh 1 relu 1 tanh 3 tanh 3 relu 3 relu 4 relu 7 relu 8 relu 8 relu 8"
ENAS_CONCAT = (2, 5, 6, 9, 10, 11)


def printed(text, concat):
    """As the authors' code prints it."""
    words = text.split()
    pairs = [(name, int(source)) for name, source in zip(words[::2], words[1::2], strict=True)]
    return f"Genotype(recurrent={pairs}, concat={concat})"


def published():
    """(fields of the space, words, what the authors' code prints)."""
    return [
        ({}, DARTS_V1, printed(DARTS_V1, range(1, 9))),
        ({}, DARTS_V2, printed(DARTS_V2, range(1, 9))),
        ({"nodes": 11, "concat": ENAS_CONCAT}, ENAS, printed(ENAS, list(ENAS_CONCAT))),
    ]


def test_the_published_space_has_its_size():
    space = DartsRnnSpace()
    assert space.size == 4**8 * math.factorial(8)
    assert space.shape == (36, 5)
    assert [decision.sources for decision in space.decisions()] == [tuple(range(node)) for node in range(1, 9)]
    assert {decision.operations for decision in space.decisions()} == {(1, 2, 3, 4)}
    assert space.operations == ("none", "tanh", "relu", "sigmoid", "identity")
    assert space.mixtures() == tuple(tuple((edge, operation) for operation in range(5)) for edge in range(36))


@pytest.mark.parametrize(("fields", "words", "genotype"), published())
def test_published_cells_are_read_printed_built_and_run(fields, words, genotype):
    space = DartsRnnSpace(vocab_size=WORDS, hidden_size=4, **fields)
    architecture = space.parse(genotype)
    assert architecture.to_str() == words
    assert space.parse(words) == architecture == space.parse(genotype.replace(" ", "").replace("'", '"'))
    network = space.build_network(architecture)
    assert [f"{name} {source}" for source, name in network.config.nodes()] == [
        " ".join(pair) for pair in zip(words.split()[::2], words.split()[1::2], strict=True)
    ]
    assert network.cell.concat == (fields.get("concat"))
    tokens = torch.arange(12).view(2, 6)
    losses, _, _, _ = network.run(tokens, tokens)
    assert bool(losses.isfinite().all())
    output = space.build_supernet()(Batch(tokens, tokens, tokens), space.routing(architecture))
    assert bool(output.losses.isfinite().all())


def test_numbers_of_parameters_are_those_of_the_publication():
    space = DartsRnnSpace()
    assert sum(parameter.numel() for parameter in space.build_supernet().parameters()) == 4_810_000
    with torch.device("meta"):
        network = space.build_network(space.parse(DARTS_V2), hidden_size=850)
    assert sum(parameter.numel() for parameter in network.parameters()) == 22_960_000
    assert (space.hidden_size, space.vocab_size) == (300, 10_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be 2 pairs"),
        ("tanh 0", "must be 2 pairs"),
        ("tanh 0 relu", "must be 2 pairs"),
        ("tanh 0 relu -1", "must be 2 pairs"),
        ("tanh 0 relu ١", "must be 2 pairs"),
        ("0 tanh 1 relu", "must be 2 pairs"),
        ("tanh 0 relu 1 " * 400, "must be 2 pairs"),
        ("tanh 1 relu 0", "node 1 says 'tanh 1', allowed are tanh, relu, sigmoid, identity and predecessor 0 to 0"),
        ("tanh 0 relu 2", "node 2 says 'relu 2', .* predecessor 0 to 1"),
        ("tanh 0 none 1", "node 2 says 'none 1'"),
        ("tanh 0 gelu 1", "node 2 says 'gelu 1'"),
        ("tanh 0 relu " + "9" * 500, "must be 2 pairs"),
        (printed("tanh 0", range(1, 2)), "must be 2 pairs"),
        (printed("tanh 0 relu 1", range(1, 4)), r"averages the nodes \[1, 2, 3\], this space \[1, 2\]; build Darts"),
        (printed("tanh 0 relu 1", range(0, 999_999)), r"averages the nodes \[0, 1, 2, .*; build DartsRnnSpace\(nodes="),
        (printed("tanh 0 relu 1", [2]), r"averages the nodes \[2\]"),
        (printed("tanh 0 relu 1", []), r"averages the nodes \[\]"),
        (printed("tanh 0 relu 1", [2, 1]), r"averages the nodes \[2, 1\]"),
        (printed("tanh 0 relu 1", "[" + "1" * 3000 + "]"), "must be 2 pairs"),
        ("Genotype(recurrent=[__import__('os')], concat=range(1, 3))", "must be 2 pairs"),
        ("Genotype(recurrent=[" + "('tanh', 0), " * 300 + "x", "must be 2 pairs"),
    ],
)
def test_a_wrong_string_says_what_is_allowed(text, message):
    with pytest.raises(UserError, match=message) as caught:
        build_space("darts_rnn").parse(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("concat", [(), (0, 2), (2, 1), (1, 1, 2), (3,), (1,), (-1, 2)])
def test_a_wrong_concat_is_named(concat):
    with pytest.raises(ValueError, match="concat must be ascending nodes from 1 to 2, 2 among them, got"):
        DartsRnnSpace(nodes=2, concat=concat)
    with pytest.raises(ValueError, match="nodes must be between 1 and 64, got 0"):
        DartsRnnSpace(nodes=0)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.none() | st.sets(st.integers(1, 4)).map(lambda found: (*sorted(found), 5)))
def test_a_configuration_is_read_back_from_json_and_from_flags(concat):
    space = DartsRnnSpace(nodes=5, concat=concat)
    assert from_dict(DartsRnnSpace, json.loads(json.dumps(to_dict(space)))) == space
    parser = OneLineParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser, DartsRnnSpace(), prefix="space")
    text = "none" if concat is None else ",".join(map(str, concat))
    given = parser.parse_args(["--space.nodes", "5", "--space.concat", text])
    assert apply_flags(DartsRnnSpace(), given, prefix="space") == space


def test_a_partial_output_is_the_mean_of_those_nodes():
    space = build_space("darts_rnn", nodes=3, concat=(1, 3))
    supernet = space.build_supernet().eval()
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.uniform_(-1, 1)
    tokens = torch.arange(12).view(4, 3)
    with_two, others = (
        supernet(Batch(tokens, tokens, tokens), space.routing(space.parse(f"tanh 0 {second} 1 relu 1"))).hidden_state
        for second in ("relu", "tanh")
    )
    assert torch.equal(with_two, others), "node 2 is read by nobody"
    assert not torch.equal(
        others, supernet(Batch(tokens, tokens, tokens), space.routing(space.parse("tanh 0 relu 1 relu 0"))).hidden_state
    )


@pytest.mark.parametrize("nodes", [1, 2, 8])
def test_a_path_costs_one_product_a_node_and_a_mixture_one_row_block_an_edge(nodes, monkeypatch):
    rows, multiply = [], tape.multiply

    def counted(left, matrix, out):
        rows.append(len(left))
        return multiply(left, matrix, out)

    monkeypatch.setattr(tape, "multiply", counted)
    space = build_space("darts_rnn", nodes=nodes)
    supernet, tokens = space.build_supernet(), torch.arange(12).view(4, 3)
    batch = Batch(tokens, tokens, tokens)
    supernet(batch, space.routing(space.sample(torch.Generator().manual_seed(0))))
    assert rows == [4] * (1 + nodes) * 3
    rows.clear()
    every = tuple(pair for group in space.mixtures() for pair in group)
    supernet(batch, Routing(torch.full((1, *space.shape), 0.2), (every,)))
    assert rows == [4, *range(4, 4 * nodes + 1, 4)] * 3


def test_a_deleted_graph_gives_its_memory_back_and_a_kept_one_does_not():
    space = build_space("darts_rnn")
    supernet, tokens = space.build_supernet(), torch.arange(12).view(4, 3)
    batch = Batch(tokens, tokens, tokens)
    routing = space.routing(space.sample(torch.Generator().manual_seed(0)))
    first = supernet(batch, routing)
    expected = torch.autograd.grad(first.losses.sum(), supernet.recurrent_matrix, retain_graph=True)[0]
    second = supernet(batch, routing)
    assert supernet.memory._kept is None
    again = torch.autograd.grad(first.losses.sum(), supernet.recurrent_matrix)[0]
    assert torch.equal(again, expected), "a way back leaves the tape as it was"
    del first, second
    kept = supernet.memory._kept.data_ptr()
    third = supernet(batch, routing)
    assert supernet.memory._kept is None
    del third
    assert supernet.memory._kept.data_ptr() == kept
