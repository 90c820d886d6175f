import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.hub import draw_cell
from cnas.spaces import DartsRnnSpace, EnasRnnSpace
from cnas.spaces.base import Decision

PUBLISHED = """\
node 1 = sigmoid(input)
node 2 = sigmoid(input)
node 3 = relu(input)
node 4 = sigmoid(node 2)
node 5 = tanh(node 4)
node 6 = tanh(node 5)
node 7 = sigmoid(node 3)
node 8 = sigmoid(node 6)

input
├─ sigmoid → node 1
├─ sigmoid → node 2
│  └─ sigmoid → node 4
│     └─ tanh → node 5
│        └─ tanh → node 6
│           └─ sigmoid → node 8
└─ relu → node 3
   └─ sigmoid → node 7"""

FOUR_NODES = """\
node 1 = identity(input)
node 2 = relu(node 1)
node 3 = tanh(node 1)
node 4 = relu(node 3)

input
└─ identity → node 1
   ├─ relu → node 2
   └─ tanh → node 3
      └─ relu → node 4"""

THREE_NODES_OF_DARTS = """\
node 1 = tanh(input)
node 2 = sigmoid(node 1)
node 3 = identity(node 1)
output = mean of node 1, node 3

input
└─ tanh → node 1
   ├─ sigmoid → node 2
   └─ identity → node 3"""

SUMS = """\
node 1 = skip(input)
node 2 = skip(input) + conv(node 1)

input
├─ skip → node 1
│  └─ conv → node 2
└─ skip → node 2"""


class TwoReads:
    """A space where node 2 adds up what it reads from two others."""

    operations = ("skip", "conv")
    outputs = None

    def decisions(self):
        return (Decision(1, (0,), (0,), (0, 1)), Decision(2, (1,), (0,), (0, 1)), Decision(2, (2,), (1,), (0, 1)))


class Choices:
    choices = ((0, 0), (1, 0), (2, 1))


def test_eight_nodes():
    space = EnasRnnSpace()
    assert draw_cell(space, space.parse("0 2 0 2 0 1 2 2 4 0 5 0 3 2 6 2")) == PUBLISHED


def test_four_nodes():
    space = EnasRnnSpace(nodes=4)
    assert draw_cell(space, space.parse("0 3 1 1 1 0 3 1")) == FOUR_NODES


def test_a_partial_output_is_told():
    space = DartsRnnSpace(nodes=3, concat=(1, 3))
    assert draw_cell(space, space.parse("tanh 0 sigmoid 1 identity 1")) == THREE_NODES_OF_DARTS
    every = DartsRnnSpace(nodes=3)
    drawn = draw_cell(every, every.parse("tanh 0 sigmoid 1 identity 1"))
    assert drawn == THREE_NODES_OF_DARTS.replace("node 1, node 3\n", "node 1, node 2, node 3\n")


def test_nodes_with_several_reads_are_sums():
    assert draw_cell(TwoReads(), Choices()) == SUMS


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(1, 64), st.integers(0, 99), st.booleans())
def test_every_node_is_reached_once_in_80_columns(nodes, seed, chain):
    space = EnasRnnSpace(nodes=nodes)
    architecture = space.sample(torch.Generator().manual_seed(seed))
    if chain:
        architecture = space.parse(" ".join(f"{node} 3" for node in range(nodes)))
    formulas, tree = draw_cell(space, architecture).split("\n\n", maxsplit=1)
    lines = (formulas + "\n" + tree).split("\n")
    assert max(len(line) for line in lines) <= 80
    assert [line.split(" = ")[0] for line in formulas.split("\n")] == [f"node {node}" for node in range(1, nodes + 1)]
    read = [line.split(" → ")[1].removesuffix(" …") for line in tree.split("\n") if " → " in line]
    assert sorted(read) == sorted(f"node {node}" for node in range(1, nodes + 1))


def test_a_branch_too_deep_goes_on_below():
    space = EnasRnnSpace(nodes=40)
    trees = draw_cell(space, space.parse(" ".join(f"{node} 3" for node in range(40)))).split("\n\n")[1:]
    assert len(trees) > 1
    assert trees[0].split("\n")[-1].endswith(f"→ {trees[1].splitlines()[0]} …")
