"""The mean loss of a derived network over ordered batches, and what a classifier gets right.

Over one stream that starts with ``<eos>`` and keeps its tail this is the exact word loss: every token is predicted
once, whatever the chunk length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.random import HOST


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
    total, count, hidden_state = 0.0, 0, None
    try:
        for index in range(len(batches)):
            batch = batches.batch(index, slice(0, batches.batch_size))
            losses, _, hidden_state, _ = network.run(batch.inputs.to(device), batch.labels.to(device), hidden_state)
            total += float(losses.sum())
            count += losses.numel()
    finally:
        network.train(was_training)
    return total / count


@torch.no_grad()
def classify(network: Any, batches: OrderedBatches) -> tuple[float, Tensor]:
    """Mean loss in nats, and which images are classified rightly: bool [N] in host memory, by unit.

    Args:
        network: a derived classifier (it has ``run``), on its device.
        batches: every unit once.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    total, correct_N = 0.0, torch.zeros(batches.num_units, dtype=torch.bool)
    try:
        for index in range(len(batches)):
            batch = batches.batch(index, slice(0, batches.rows(index)))
            losses, logits, *_ = network.run(batch.inputs.to(device), batch.labels.to(device))
            total += float(losses.double().sum())
            correct_N[batch.unit_ids] = logits.argmax(-1).to(HOST) == batch.labels
    finally:
        network.train(was_training)
    return total / batches.num_units, correct_N
