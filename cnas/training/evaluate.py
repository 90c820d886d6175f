"""The mean loss of a derived network over ordered batches, and what a classifier gets right.

Over one stream that starts with ``<eos>`` and keeps its tail this is the exact word loss: every token is predicted
once, whatever the chunk length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction

from cnas.data.base import OrderedBatches
from cnas.errors import UserError
from cnas.metrics import perplexity
from cnas.random import HOST
from cnas.spaces.pure import network_forward
from cnas.training.batch import place, run_network, to_host
from cnas.training.step_graphs import StepGraphs
from cnas.types import Batch, Output

Compute = Callable[[EvalPrediction], Mapping[str, float]]
"""``compute_metrics`` of `transformers.Trainer`."""
Preprocess = Callable[[Tensor, Tensor], Any]
"""``preprocess_logits_for_metrics`` of `transformers.Trainer`: from logits and labels of a batch, tensors to keep."""


def evaluate_network(
    network: Any,
    batches: OrderedBatches,
    compute_metrics: Compute | None = None,
    preprocess_logits_for_metrics: Preprocess | None = None,
    graphs: StepGraphs | None = None,
) -> dict[str, float]:
    """Loss in nats, perplexity or accuracy in percent, and what ``compute_metrics`` says, without dropout.

    What is measured anyway keeps its meaning, also where ``compute_metrics`` returns something of the same name.

    Args:
        network: a derived network (it has ``run``), on its device.
        batches: read in order from the first.
        compute_metrics: gets an `EvalPrediction`, see `Predictions`.
        preprocess_logits_for_metrics: what is kept of the logits of a batch.
        graphs: record and replay what can be.

    Raises:
        UserError: ``compute_metrics`` does not return numbers by name.
    """
    kept = Predictions(preprocess_logits_for_metrics)
    seen = None if compute_metrics is None else kept.add
    if batches.batch(0, slice(0, 1)).labels.dim() > 1:
        loss = mean_loss(network, batches, seen, graphs)
        figures = {"loss": loss, "perplexity": perplexity(loss)}
    else:
        loss, correct_N = classify(network, batches, seen)
        figures = {"loss": loss, "accuracy": 100 * float(correct_N.double().mean())}
    return figures if compute_metrics is None else kept.metrics(compute_metrics) | figures


def probed(network: Any, batches: OrderedBatches, **metrics: Any) -> dict[str, float]:
    """The figures of a network after an epoch, as a row of the training has them.

    Args:
        network: that is trained.
        batches: of validation.
        metrics: what else `evaluate_network` takes.
    """
    return {f"valid_{name}": value for name, value in evaluate_network(network, batches, **metrics).items()}


class Predictions:
    """Collects what ``compute_metrics`` gets, a batch at a time, so that the logits of a split are never held.

    Text gives ``predictions`` and ``label_ids`` int64 [streams, tokens], the next word of every position each (labels
    are not shifted), unless ``preprocess`` keeps something else; images give logits [N, classes] and labels [N].

    Args:
        preprocess: what is kept of the logits of a batch: a tensor, or a tuple of them.
    """

    def __init__(self, preprocess: Preprocess | None) -> None:
        self.preprocess = preprocess
        self._kept: list[tuple[np.ndarray, ...]] = []
        self._labels: list[np.ndarray] = []
        self._single = True

    def add(self, batch: Batch, output: Output) -> None:
        """Keep what is needed of a batch.

        Args:
            batch: in any memory.
            output: of the network, with logits.
        """
        logits, labels = output.logits, batch.labels
        assert logits is not None
        if self.preprocess is not None:
            found = self.preprocess(logits, labels.to(logits.device))
        else:
            found = logits.argmax(-1) if labels.dim() > 1 else logits
        self._single = isinstance(found, Tensor)
        self._kept.append(tuple(_to_numpy(each) for each in ([found] if self._single else found)))
        self._labels.append(_to_numpy(labels))

    def metrics(self, compute_metrics: Compute) -> dict[str, float]:
        """What ``compute_metrics`` says of all batches.

        Raises:
            UserError: that is no mapping of names to numbers.
        """
        # Text goes on from batch to batch within its streams, images follow one another.
        axis = min(self._labels[0].ndim - 1, 1)
        kept = tuple(np.concatenate(parts, axis) for parts in zip(*self._kept, strict=True))
        labels = np.concatenate(self._labels, axis)
        found = compute_metrics(EvalPrediction(predictions=kept[0] if self._single else kept, label_ids=labels))
        try:
            return {str(name).removeprefix("eval_"): float(value) for name, value in found.items()}
        except (AttributeError, TypeError, ValueError):
            got = " ".join(repr(found).split())
            raise UserError(f"compute_metrics must return numbers by name, got {got:.80}") from None


def _to_numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().to(HOST)
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()  # which NumPy does not know


Seen = Callable[[Batch, Output], None]
"""Gets every batch, and what the network gives for it, with logits."""


def mean_loss(
    network: Any, batches: OrderedBatches, seen: Seen | None = None, graphs: StepGraphs | None = None
) -> float:
    """Mean negative log-likelihood per prediction, in nats, without dropout; hidden state goes from batch to batch.

    Args:
        network: a derived network (it has ``run``), on its device.
        batches: read in order from the first.
        seen: called with every batch.
        graphs: record and replay what can be.
    """
    every = [output.losses for _, output in _outputs(network, batches, seen, graphs)]
    sums = to_host(losses.sum() for losses in every)
    return reduce(add, map(float, sums), 0.0) / sum(losses.numel() for losses in every)


def classify(network: Any, batches: OrderedBatches, seen: Seen | None = None) -> tuple[float, Tensor]:
    """Mean loss in nats, and which images are classified rightly: bool [N] in host memory, by unit.

    Args:
        network: a derived classifier (it has ``run``), on its device.
        batches: every unit once.
        seen: called with every batch.
    """
    total, correct_N = 0.0, torch.zeros(batches.num_units, dtype=torch.bool, device=_device(network))
    for batch, output in _outputs(network, batches, seen):
        total += float(output.losses.double().sum())
        assert output.logits is not None
        correct_N[batch.unit_ids] = output.logits.argmax(-1) == batch.labels
    return total / batches.num_units, correct_N.to(HOST)


def _device(network: Any) -> torch.device:
    device: torch.device = next(network.parameters()).device
    return device


def _outputs(
    network: Any, batches: OrderedBatches, seen: Seen | None, graphs: StepGraphs | None = None
) -> Iterator[tuple[Batch, Output]]:
    """Every batch, on the network's device, and what the network in evaluation mode gives for it."""
    was_training, device, hidden_state = network.training, _device(network), None
    batches = batches.to(device)
    network.eval()
    try:
        for index in range(len(batches)):
            batch = place(batches.batch(index, slice(0, batches.rows(index))), device, hidden_state=hidden_state)
            with torch.no_grad():
                output = _recorded(network, batch, graphs) or run_network(network, batch)
                if seen is not None:
                    seen(batch, _with_logits(output, network, batch))
            hidden_state = output.hidden_state
            yield batch, output
    finally:
        network.train(was_training)


def _recorded(network: Any, batch: Batch, graphs: StepGraphs | None) -> Output | None:
    if graphs is None or not graphs.active:
        return None
    return graphs.losses(network_forward(network, batch), dict(network.named_parameters()), exact=True)


def _with_logits(output: Output, network: Any, batch: Batch) -> Output:
    """Language models hold no logits where only losses are wanted; asked as models of transformers they give them."""
    if output.logits is not None:
        return output
    return replace(output, logits=network(batch.inputs, cache=batch.hidden_state).logits)
