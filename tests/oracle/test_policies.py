"""What algorithms run and think, beside the equations: mixtures, uniform paths, a controller of single edges.

Legend: C cells, E edges, O operations.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from builders import build_algorithm, build_space, fits
from rounding import EXACT, within

from cnas import algorithms, spaces
from cnas.algorithms.base import SearchContext
from cnas.random import HOST, generator

NATS = build_space("nats")


@pytest.mark.parametrize("name", ["darts_v1", "darts_v2"])
def test_a_mixture_is_the_softmax_of_every_edge(name):
    algorithm = build_algorithm(NATS, name)
    rows = [[0.0, math.log(2), math.log(3), math.log(4), -math.inf]] * 6
    with torch.no_grad():
        algorithm.alphas.logits.copy_(torch.tensor(rows, dtype=torch.float64))
    routing = algorithm.route(generator(0, "route"))
    expected = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0]] * 6, dtype=torch.float64)
    torch.testing.assert_close(routing.weights[0], expected, **within(EXACT))
    assert set(routing.active[0]) == {(edge, operation) for edge in range(6) for operation in range(5)}


@pytest.mark.parametrize("name", ["setn", "spos"])
def test_a_weight_step_runs_one_uniform_path_in_all_cells(name):
    algorithm, count = build_algorithm(NATS, name), 3000
    routings = [algorithm.route(generator(step, "route")) for step in range(count)]
    for routing in routings:
        (weights_EO,), (active,) = routing.weights, routing.active
        assert routing.unit
        assert [edge for edge, _ in active] == list(range(6))
        assert float(weights_EO.sum()) == sum(float(weights_EO[pair]) for pair in active) == 6
        assert NATS.is_connected(NATS.architecture(active))
    assert uniform_operations([routing.active[0] for routing in routings])


def uniform_operations(paths):
    """Whether the last edge of paths takes every operation as often as that of all connected architectures does."""
    assert len(paths) >= 2000
    connected = Counter()
    for number in range(15_625):
        choices = [(edge, number // 5**edge % 5) for edge in range(6)]
        if NATS.is_connected(NATS.architecture(choices)):
            connected[choices[5]] += 1
    total = connected.total()
    assert total == 15_625 - 341
    seen = Counter(path[5] for path in paths)
    chi_square = sum(
        (seen[pair] - len(paths) * share / total) ** 2 / (len(paths) * share / total)
        for pair, share in connected.items()
    )
    return abs(chi_square - 4) < 4 * math.sqrt(8)


def test_rsps_draws_every_cell_of_a_weight_step_apart():
    space = replace(NATS, cells=2)
    algorithm, steps = build_algorithm(space, "rsps"), 400
    routings = [algorithm.route(generator(step, "route")) for step in range(steps)]
    for routing in routings:
        assert routing.weights.shape == (6, 6, 5)
        assert routing.unit
        for weights_EO, active in zip(routing.weights, routing.active, strict=True):
            assert sorted(active) == [tuple(pair) for pair in weights_EO.nonzero().tolist()]
            assert space.is_connected(space.architecture(active))
    cells = [active for routing in routings for active in routing.active]
    assert uniform_operations(cells)
    # Independent: two cells agree on an edge as often as five equally likely operations do.
    agree = sum(routing.active[0][0] == routing.active[5][0] for routing in routings)
    assert abs(agree - steps / 5) < 4 * math.sqrt(steps * 0.2 * 0.8)


def test_rsps_compares_and_judges_with_one_structure_for_all_cells():
    algorithm, asked = build_algorithm(NATS, "rsps", samples=5), []

    def losses(architectures, index):
        asked.extend(architectures)
        return torch.arange(len(architectures), dtype=torch.float64)

    context = SearchContext(0, 1, lambda name: generator(0, name), losses, lambda: None)
    best, _ = algorithm.derive(context)
    assert len(set(asked)) == 5
    assert best == asked[0]
    for one in [*asked, *algorithm.candidates(3, generator(0, "judges"))]:
        routing = NATS.routing(one)
        assert (len(routing.weights), routing.active) == (1, (one.choices,))


SEARCHES = [(space, name) for space in sorted(spaces.names()) for name in algorithms.names() if fits(name, space)]


@pytest.mark.parametrize(("space", "name"), [each for each in SEARCHES if each[0] != "nats"])
def test_where_all_cells_share_a_routing_it_is_of_one_cell(name, space):
    space = build_space(space)
    assert space.routed_cells == 1
    routing = build_algorithm(space, name).route(generator(0, "route"))
    assert (len(routing.weights), len(routing.active)) == (1, 1)


def lstm(x, h, c, controller):
    """One step of an LSTM without biases, gate by gate."""
    gates = controller.lstm.weight_ih.detach() @ x + controller.lstm.weight_hh.detach() @ h
    i, f, g, o = gates.chunk(4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def test_the_controller_writes_a_cell_with_one_pick_an_edge():
    """Log-probability and entropy of every pick by hand; the heads for edges have nothing to do."""
    controller = build_algorithm(NATS, "enas", init_range=0.9).controller.double()
    found = controller.sample(7, generator(0, "sample"))
    sums = found.log_probs.sum()
    for sample, choices in enumerate(found.choices):
        h = c = torch.zeros(8, dtype=torch.float64, device=HOST)
        embedding, x = controller.embedding.detach(), controller.first.detach()
        log_prob = bonus = entropy = 0.0
        for edge, (place, operation) in enumerate(choices):
            assert place == edge
            h, c = lstm(x, h, c, controller)
            logits = [2.25 * math.tanh(float(row @ h) / 5.0) for row in embedding]
            total = math.log(sum(map(math.exp, logits)))
            probs = [math.exp(logit - total) for logit in logits]
            log_prob += math.log(probs[operation])
            bonus -= probs[operation] * math.log(probs[operation])
            entropy -= sum(prob * math.log(prob) for prob in probs)
            x = embedding[operation]
        figures = [float(values[sample]) for values in (found.log_probs.detach(), found.bonus, found.entropy)]
        assert figures == pytest.approx([log_prob, bonus, entropy], abs=EXACT)
        assert bonus < entropy < 6 * math.log(5)
    sums.backward()
    idle = {name for name, parameter in controller.named_parameters() if parameter.grad is None}
    assert idle == {"key", "query", "attention"}
