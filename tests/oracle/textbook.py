"""The ENAS language model written from its equations, one operation at a time; slow and plain on purpose.

Node 0: [c, u] = [x, h·m]·W_0, s_0 = h + sigmoid(c)·(tanh(u) - h). Node i: the sum over its terms of
w·(s_j + sigmoid(c)·(f(u) - s_j)) with [c, u] = (s_j·m)·W, plus the weights of terms that are not run (their value is
zero, their gradient is not). The next state and the output are the mean of the nodes after node 0. Logits are the
outputs times the embedding, transposed.

Regularisers of a batch, with outputs h and output mask m: AR is α·mean(h²) in google-research `enas_lm` and
α·mean((m·h)²) in the AWD-LSTM and in DARTS; TAR is β·mean((h_{t+1} - h_t)²) in all three.

Legend: B sequences, T tokens, H hidden units.
"""

from __future__ import annotations

import torch

FUNCTIONS = (torch.tanh, torch.relu, torch.sigmoid, lambda values: values)


def highway(previous, projected, function):
    hidden = previous.shape[-1]
    share = 1 / (1 + torch.exp(-projected[:, :hidden]))
    return previous + share * (function(projected[:, hidden:]) - previous)


def cell(inputs_BTH, state_BH, supernet, nodes, hidden_mask):
    """``nodes``: per node, (terms, idle): terms are (source, operation, matrix, weight), idle are scalars."""
    matrix_0 = torch.cat([supernet.input_matrix, supernet.recurrent_matrix])
    outputs = []
    for step in range(inputs_BTH.shape[1]):
        masked = state_BH if hidden_mask is None else state_BH * hidden_mask
        joined = torch.cat([inputs_BTH[:, step], masked], dim=1)
        states = [highway(state_BH, joined @ matrix_0, torch.tanh)]
        for terms, idle in nodes:
            node = torch.zeros_like(state_BH)
            for source, operation, matrix, weight in terms:
                masked = states[source] if hidden_mask is None else states[source] * hidden_mask
                node = node + weight * highway(states[source], masked @ matrix, FUNCTIONS[operation])
            for scalar in idle:
                node = node + scalar
            states.append(node)
        state_BH = sum(states[1:]) / len(nodes)
        outputs.append(state_BH)
    return torch.stack(outputs, 1), state_BH


def nodes_of(space, supernet, routing):
    """What a routing runs, in the form `cell` reads."""
    nodes, active = [], set(routing.active[0])
    for decision in space.decisions():
        terms, idle = [], []
        for source, edge in enumerate(decision.edges):
            for operation in decision.operations:
                weight = routing.weights[0, edge, operation]
                if (edge, operation) in active:
                    matrix = supernet.matrices[edge * len(space.operations) + operation]
                    terms.append((source, operation, matrix, weight))
                else:
                    idle.append(weight - weight.detach())
        nodes.append((terms, idle))
    return nodes


def cross_entropy(logits_BTV, labels_BT):
    shifted = logits_BTV - logits_BTV.amax(-1, keepdim=True)
    return shifted.exp().sum(-1).log() - torch.take_along_dim(shifted, labels_BT[..., None], -1)[..., 0]


def forward(space, supernet, batch, routing, masks):
    """(losses [B, T], state [B, H], penalty) of one routing with given dropout masks."""
    nodes = nodes_of(space, supernet, routing)
    return around(
        lambda inputs, state: cell(inputs, state, supernet, nodes, masks.hidden), space, supernet, batch, masks
    )


def around(run, space, supernet, batch, masks):
    """(losses [B, T], state [B, H], penalty) of the language model around a cell, ``run(inputs, state)``."""
    shell = supernet.shell
    words = shell.embedding.weight
    inputs = words[batch.inputs]
    if masks.words is not None:
        inputs = inputs * masks.words[batch.inputs]
    for mask in (masks.embedding, masks.input):
        inputs = inputs if mask is None else inputs * mask
    state = torch.zeros_like(inputs[:, 0]) if batch.hidden_state is None else batch.hidden_state
    raw_BTH, state = run(inputs, state)
    dropped_BTH = raw_BTH if masks.output is None else raw_BTH * masks.output
    bias = 0 if shell.decoder.bias is None else shell.decoder.bias
    losses_BT = cross_entropy(dropped_BTH @ words.t() + bias, batch.labels)
    factor = 1 if masks.output is None or space.penalised_output == "raw" else masks.output
    penalty = space.activation_penalty * (factor * raw_BTH).pow(2).mean()
    if raw_BTH.shape[1] > 1:
        penalty = penalty + space.tar * ((raw_BTH[:, 1:] - raw_BTH[:, :-1]) ** 2).mean()
    return losses_BT, state, penalty
