import networkx as nx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.reports.cell_graph import cell_graph, places
from cnas.reports.collapse import IDLE, alarms
from cnas.reports.tables import operations
from cnas.spaces import EnasRnnSpace


def sample(nodes, seed):
    space = EnasRnnSpace(nodes=nodes)
    return space, space.sample(torch.Generator().manual_seed(seed))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(0, 1000))
def test_a_node_stands_below_what_it_reads_and_nowhere_else(nodes, seed):
    space, architecture = sample(nodes, seed)
    graph = cell_graph(space, architecture)
    where = places(graph)
    assert set(where) == set(range(nodes + 1))
    assert len(set(where.values())) == nodes + 1
    assert all(where[target][1] < where[source][1] for source, target in graph.edges)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(0, 1000))
def test_the_graph_holds_every_choice(nodes, seed):
    space, architecture = sample(nodes, seed)
    numbers = [int(word) for word in architecture.to_str().split()]
    expected = {
        (source, target): space.operations[operation]
        for target, (source, operation) in enumerate(zip(numbers[::2], numbers[1::2], strict=True), 1)
    }
    assert nx.get_edge_attributes(cell_graph(space, architecture), "operation") == expected


def test_a_node_that_reads_several_hangs_on_the_deepest():
    where = places(nx.DiGraph([(0, 1), (0, 3), (1, 2), (0, 2)]))
    assert where == {0: (0.5, 0.0), 1: (0.0, -1.0), 2: (0.0, -2.0), 3: (1.0, -1.0)}


def test_a_column_with_arrows_past_its_nodes_steps_aside():
    column = nx.DiGraph([(0, 1), (1, 2), (2, 3)])
    assert {x for x, _ in places(column).values()} == {0.0}
    column.add_edge(0, 2)
    assert [x for x, _ in places(column).values()] == [1.0, 0.0, 2.0, 1.0]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(0, 10_000))
def test_a_majority_of_idle_operations_is_an_alarm(nodes, seed):
    space, architecture = sample(nodes, seed)
    counts = {name: int(count) for name, count, _ in operations(space, architecture).rows}
    assert sum(counts.values()) == nodes
    idle = sum(count for operation, count in counts.items() if operation in IDLE)
    assert any("operations are" in alarm for alarm in alarms(space, architecture)) == (2 * idle > nodes)


def test_alarms_in_words():
    space = EnasRnnSpace(nodes=4)
    (mostly,) = alarms(space, space.parse("0 3 1 3 2 3 1 0"))
    assert mostly.startswith("3 of 4 operations are identity, which adds no non-linearity: most")
    shallow = alarms(space, space.parse("0 0 0 1 0 2 0 0"))
    assert shallow == ["Every node reads the input alone: the cell is as shallow as it can be."]


def test_a_cell_that_lets_nothing_through_is_an_alarm():
    class Cut(EnasRnnSpace):
        def is_connected(self, architecture):
            return False

    space = Cut(nodes=2)
    assert "No path leads from the input" in alarms(space, space.parse("0 0 1 1"))[0]
