"""The mean loss of a derived network over ordered batches, and what a classifier gets right.

Over one stream that starts with ``<eos>`` and keeps its tail this is the exact word loss: every token is predicted
once, whatever the chunk length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.random import HOST
from cnas.training.batch import place, run_network
from cnas.types import Batch, Output


def mean_loss(network: Any, batches: OrderedBatches) -> float:
    """Mean negative log-likelihood per prediction, in nats, without dropout; hidden state goes from batch to batch.

    Args:
        network: a derived network (it has ``run``), on its device.
        batches: read in order from the first.
    """
    total, count = 0.0, 0
    for _, output in _outputs(network, batches):
        total += float(output.losses.sum())
        count += output.losses.numel()
    return total / count


def classify(network: Any, batches: OrderedBatches) -> tuple[float, Tensor]:
    """Mean loss in nats, and which images are classified rightly: bool [N] in host memory, by unit.

    Args:
        network: a derived classifier (it has ``run``), on its device.
        batches: every unit once.
    """
    total, correct_N = 0.0, torch.zeros(batches.num_units, dtype=torch.bool)
    for batch, output in _outputs(network, batches):
        total += float(output.losses.double().sum())
        assert output.logits is not None
        correct_N[batch.unit_ids] = output.logits.argmax(-1).to(HOST) == batch.labels
    return total / batches.num_units, correct_N


def _outputs(network: Any, batches: OrderedBatches) -> Iterator[tuple[Batch, Output]]:
    """Every batch, in host memory, and what the network in evaluation mode gives for it."""
    was_training, device = network.training, next(network.parameters()).device
    hidden_state = None
    network.eval()
    try:
        for index in range(len(batches)):
            batch = batches.batch(index, slice(0, batches.rows(index)))
            with torch.no_grad():
                output = run_network(network, place(batch, device, hidden_state=hidden_state))
            hidden_state = output.hidden_state
            yield batch, output
    finally:
        network.train(was_training)
