"""The mean loss of a derived network over ordered batches.

Over one stream that starts with ``<eos>`` and keeps its tail this is the exact word loss: every token is predicted
once, whatever the chunk length.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from cnas.data.base import OrderedBatches


@torch.no_grad()
def mean_loss(network: Any, batches: OrderedBatches) -> float:
    """Mean negative log-likelihood per prediction, in nats, without dropout; the state is carried from batch to batch.

    Args:
        network: a derived network (it has ``run``), on its device.
        batches: read in order from the first.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    total, count, carry = 0.0, 0, None
    try:
        for index in range(len(batches)):
            batch = batches.batch(index, slice(0, batches.batch_size))
            losses, _, carry, _ = network.run(batch.inputs.to(device), batch.labels.to(device), carry)
            total += float(losses.sum())
            count += losses.numel()
    finally:
        network.train(was_training)
    return total / count


def word_perplexity(loss: float) -> float:
    """``exp(loss)``, infinite where that overflows.

    Example:
        >>> word_perplexity(0.0)
        1.0
    """
    return math.exp(loss) if loss < 700 else math.inf
