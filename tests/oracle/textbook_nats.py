"""The NATS supernet written from its definition, one operation at a time and in torch's own layers; slow on purpose.

An edge is Σ w_o·op_o(x) over the operations that are run, a node the sum of its edges. Convolutions are ReLU, a kernel
with bias, and batch normalisation; ``none`` is x·0. What is not run adds its weight, with value zero.

Legend: B images, C cells, E edges, O operations.
"""

from __future__ import annotations

from torch.nn import functional as F

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))


def batch_norm(x, norm=None, training=True):
    """With statistics of the batch, unless ``norm`` has others and this is evaluation; no buffer is changed."""
    if norm is None or norm.running_mean is None:
        return F.batch_norm(x, None, None, training=True)
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    return F.batch_norm(x, mean, variance, norm.weight, norm.bias, training)


def convolution(x, conv):
    return batch_norm(F.conv2d(F.relu(x), conv.weight, conv.bias, padding=conv.kernel_size[0] // 2))


def operation(index, x, edge):
    if index == 0:
        return x * 0
    if index == 1:
        return x
    if index == 4:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    return convolution(x, edge.conv_1x1 if index == 2 else edge.conv_3x3)


def mixed_edge(x, edge, active, weights_O):
    """Σ w·op(x) of what is run, and the weights of the rest with value zero."""
    total = x * 0
    for index in range(5):
        if index in active:
            total = total + weights_O[index] * operation(index, x, edge)
        elif weights_O.requires_grad:
            total = total + (weights_O[index] - weights_O[index].detach())
    return total


def single_edge(x, edge, active, weights_O):
    """The one operation of an edge of a path, without a product."""
    (index,) = active
    return operation(index, x, edge)


def cell(x, edges, active, weights_EO, run_edge):
    nodes = [x]
    for node in range(1, 4):
        parts = [
            run_edge(nodes[source], edges[place], [o for e, o in active if e == place], weights_EO[place])
            for place, (target, source) in enumerate(EDGES)
            if target == node
        ]
        nodes.append(sum(parts[1:], parts[0]))
    return nodes[3]


def reduction(x, block, training):
    left = batch_norm(F.conv2d(F.relu(x), block.conv_a.weight, stride=2, padding=1), block.norm_a, training)
    left = batch_norm(F.conv2d(F.relu(left), block.conv_b.weight, padding=1), block.norm_b, training)
    return left + F.conv2d(F.avg_pool2d(x, 2), block.shortcut.weight)


def forward(supernet, inputs, labels, routing, run_edge=mixed_edge):
    """(losses [B], logits [B, classes]) of one routing."""
    skeleton, training = supernet.skeleton, supernet.training
    weights_CEO = routing.weights.to(inputs.dtype)
    x = batch_norm(F.conv2d(inputs, skeleton.stem.weight, padding=1), skeleton.stem_norm, training)
    count = 0
    for stage, cells in enumerate(skeleton.stages):
        for each in cells:
            place = count if len(weights_CEO) > 1 else 0
            x, count = cell(x, each.edges, routing.active[place], weights_CEO[place], run_edge), count + 1
        if stage < 2:
            x = reduction(x, skeleton.reductions[stage], training)
    features = F.relu(batch_norm(x)).mean((2, 3))
    logits = F.linear(features, skeleton.classifier.weight, skeleton.classifier.bias)
    return F.cross_entropy(logits, labels, reduction="none"), logits
