"""The matrix products and convolutions of a step: recorded while it is done, and done again with nothing between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from gpu_steps import Plan, Steps
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward"}


@dataclass(frozen=True)
class Operand:
    """A tensor of which its form alone is kept."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        """The form of a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    def build(self, device: torch.device) -> Tensor:
        """Small random numbers of this form."""
        # Where a stride is 0 there is one number for all places.
        places = [1 if stride == 0 else size for size, stride in zip(self.shape, self.stride, strict=True)]
        made = torch.empty_strided(places, self.stride, dtype=self.dtype, device=device)
        return made.normal_(std=0.01).expand(self.shape)


class Products(TorchDispatchMode):
    """Records matrix products and convolutions, backward passes included, to run them again and nothing else.

    Attributes:
        device: what is computed elsewhere, as routings are in host memory, is left out.
        times: so many of what is measured were recorded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device("cpu")
        self.times = 1
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the call where it is one of a product."""
        kwargs = kwargs or {}
        if function.overloadpacket.__name__ in PRODUCTS and args[0].device.type == self.device.type:
            self.calls.append((function, *tree_map_only(Tensor, Operand.of, (args, kwargs))))
        return function(*args, **kwargs)

    def again(self) -> Callable[[], None]:
        """Runs all of them one after the other; on a GPU as one graph, since else it would wait for their starts.

        Operands of one form are the same ones every time, as results are written to the same place.
        """
        built: dict[tuple[Any, ...], Tensor] = {}
        ready = []
        for function, args, kwargs in self.calls:
            places = iter(range(len(args) + len(kwargs)))

            def operand(form: Operand, function: Any = function, places: Iterator[int] = places) -> Tensor:
                key = (function, next(places), form)
                if key not in built:
                    built[key] = form.build(self.device)
                return built[key]

            ready.append((function, *tree_map_only(Operand, operand, (args, kwargs))))

        def run() -> None:
            for function, args, kwargs in ready:
                function(*args, **kwargs)

        if self.device.type != "cuda" or not ready:
            return run
        run()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay


def recording(products: Products) -> Callable[[Steps], Plan]:
    """The products of the second step, of which the first may have done something else."""

    def plan(steps: Steps) -> Plan:
        yield
        products.device = steps.device
        with products:
            yield
        products.times = steps.times

    return plan
