"""The DARTS search cell and its derived cell written from their equations, one operation at a time; slow on purpose.

Search cell: [c, u] = [x, h·m]·W_0, s_0 = N(h + sigmoid(c)·(tanh(u) - h)). Node i: for every earlier node j and every
operation f that is run, [c, u] = (s_j·m)·W_i and the node is N(Σ p_jf·(s_j + sigmoid(c)·(f(u) - s_j))), N being the
normalisation of every hidden unit over the rows. What is not run adds its weight, with value zero, behind N. The
derived cell has one (j, f) a node, of weight 1, and no N. Output and next state are the mean of the nodes in
``concat``.

Legend: B rows, T tokens, H hidden units.
"""

from __future__ import annotations

import torch
from textbook import around, highway

FUNCTIONS = {
    "tanh": torch.tanh,
    "relu": lambda values: values * (values > 0),
    "sigmoid": lambda values: 1 / (1 + torch.exp(-values)),
    "identity": lambda values: values,
}


def normalised(state_BH):
    mean_H = state_BH.sum(0) / len(state_BH)
    variance_H = ((state_BH - mean_H) ** 2).sum(0) / len(state_BH)
    return (state_BH - mean_H) / (variance_H + 1e-5) ** 0.5


def cell(inputs_BTH, state_BH, matrices, nodes, concat, mask, normalise):
    """``nodes``: per node, (terms, idle): terms are (source, activation, weight), idle are scalars of value zero."""
    drop = (lambda values: values) if mask is None else (lambda values: values * mask)
    first, *others = matrices
    outputs = []
    for step in range(inputs_BTH.shape[1]):
        joined = torch.cat([inputs_BTH[:, step], drop(state_BH)], dim=1)
        states = [normalise(highway(state_BH, joined @ first, torch.tanh))]
        for matrix, (terms, idle) in zip(others, nodes, strict=True):
            node = torch.zeros_like(state_BH)
            for source, name, weight in terms:
                node = node + weight * highway(states[source], drop(states[source]) @ matrix, FUNCTIONS[name])
            states.append(normalise(node) + sum(idle))
        state_BH = sum(states[node] for node in concat) / len(concat)
        outputs.append(state_BH)
    return torch.stack(outputs, 1), state_BH


def nodes_of(space, routing):
    """What a routing runs, in the form `cell` reads."""
    nodes, active = [], set(routing.active[0])
    for decision in space.decisions():
        pairs = [(edge, operation) for edge in decision.edges for operation in (1, 2, 3, 4)]
        weights = {pair: routing.weights[(0, *pair)] for pair in pairs}
        terms = [
            (decision.sources[decision.edges.index(edge)], space.operations[operation], weights[edge, operation])
            for edge, operation in pairs
            if (edge, operation) in active
        ]
        idle = [weights[pair] - weights[pair].detach() for pair in pairs if pair not in active]
        nodes.append((terms, idle))
    return nodes


def forward(space, supernet, batch, routing, masks):
    """(losses [B, T], state [B, H], penalty) of one routing with given dropout masks."""
    matrices = [torch.cat([supernet.input_matrix, supernet.recurrent_matrix]), *supernet.matrices]
    concat = space.concat or range(1, space.nodes + 1)

    def run(inputs, state):
        return cell(inputs, state, matrices, nodes_of(space, routing), concat, masks.hidden, normalised)

    return around(run, space, supernet, batch, masks)


def derived(space, network, batch, architecture, masks):
    """The same of a stand-alone network."""
    matrices = [torch.cat([network.cell.input_matrix, network.cell.recurrent_matrix]), *network.cell.matrices]
    concat = space.concat or range(1, space.nodes + 1)
    nodes = nodes_of(space, space.routing(architecture))

    def run(inputs, state):
        return cell(inputs, state, matrices, nodes, concat, masks.hidden, lambda values: values)

    return around(run, space, network, batch, masks)
