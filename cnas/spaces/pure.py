"""`PureForward`: a forward pass as a function of tensors alone, which can be compiled and captured in a CUDA graph.

A supernet's ``forward`` reads its weights, draws dropout masks and looks at a routing in Python. A pure forward gets
all that as tensors, so a function that was recorded once gives the right result for other weights, other batches and
other architectures of the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cnas.types import Batch, Output

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Gives a function back, compiled or as it is."""


@dataclass(frozen=True)
class PureForward:
    """A forward pass as a function of tensors alone.

    Args:
        key: whatever makes it another function; of equal keys and shapes, one recording serves all.
        function: from tensors by name, a way to compile parts of it, and the dtype of its products (None: that of the
            tensors, exactly), the output. It reads nothing else.
        tensors: what comes with a batch, by name, in host memory or on the device. Those that require a gradient are
            part of the algorithm's graph.
        weights: by the function's name for it, the network's name of a parameter or buffer.
        unused: those of ``weights`` that have no gradient this time, since what is run does not read them.

    Example:
        >>> forward = PureForward("twice", lambda values, compiled, dtype: values["x"] * 2, {"x": torch.ones(2)}, {})
        >>> forward.function(forward.tensors, lambda function: function, None)
        tensor([2., 2.])
    """

    key: Hashable
    function: Callable[[Mapping[str, Tensor], Compile, torch.dtype | None], Output]
    tensors: Mapping[str, Tensor]
    weights: Mapping[str, str]
    unused: frozenset[str] = frozenset()


def network_forward(network: Any, batch: Batch) -> PureForward | None:
    """The pure forward of a stand-alone network; None where it must be run as it is.

    Args:
        network: a derived network (it has ``run``).
        batch: with its hidden state and dropout seeds.
    """
    from cnas.spaces._plain import recurrent_forward

    return recurrent_forward(network, batch)


def stock_output(network: Any, batch: Batch) -> Output:
    """What a stock decoder of `transformers` gives for a batch.

    Args:
        network: it has no ``run``.
        batch: with its dropout seeds.
    """
    from cnas.spaces._stock import run_stock

    return run_stock(network, batch)


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: what `Compile` is where nothing is compiled."""
    return function
