"""CUDA graphs, which record the steps of `cnas.training.step_graphs`: the only file that knows CUDA."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cnas.errors import UserError
from cnas.training.step_graphs import Function, Recording, Results, StepGraphs

CUDA = "cuda"
RECOMPILES = 64


def step_graphs(mode: str, device: torch.device, precision: str, log: Callable[[str], None]) -> StepGraphs:
    """The graphs of a run.

    Args:
        mode: ``auto`` (on CUDA), ``on`` or ``off``.
        device: of the run.
        precision: ``no``, ``bf16``, ``fp16`` or ``tf32``.
        log: prints a line.

    Raises:
        UserError: graphs are asked for where there is no CUDA.
    """
    if mode == "on" and device.type != CUDA:
        raise UserError(f"torch_compile must be auto or off on {device}, got on: it records CUDA graphs")
    if mode == "off" or device.type != CUDA:
        return StepGraphs(device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32}.get(precision)
    triton = importlib.util.find_spec("triton") is not None
    return StepGraphs(device, dtype, partial(CudaRecord, device), compiles=triton, log=log)


FAILED: list[Any] = []
"""Graphs whose capture failed; the allocator may still ask them."""


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that a device can only imitate, which takes longer than float32.

    Args:
        precision: ``no``, ``bf16`` or ``fp16``.
        device: of the run.

    Raises:
        UserError: it cannot multiply in it.
    """
    if precision == "bf16" and device.type == CUDA and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"mixed_precision must be no or fp16 on {torch.cuda.get_device_name(device)}, got 'bf16'")


class CudaRecord:
    """Records CUDA graphs, which share their spare memory: one is replayed at a time.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool: Any = None
        self._stream: Any = None

    def __call__(self, function: Function, memory: Mapping[str, Tensor]) -> Recording:
        """Run ``function`` until everything is compiled and chosen, then once more for the record."""
        import torch._dynamo

        # A time step is compiled once for every kind of pass and number of rows.
        with torch._dynamo.config.patch(recompile_limit=RECOMPILES), torch.cuda.device(self.device):
            # One stream for all, so that no node of autograd remembers another one.
            self._stream, current = self._stream or torch.cuda.Stream(), torch.cuda.current_stream()
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                for _ in range(2):
                    function(memory)
            current.wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            try:
                # A capture that fails leaves its stream behind, but for the first of the two.
                with torch.cuda.stream(current), torch.cuda.graph(graph, self._pool, self._stream):
                    results = function(memory)
            except Exception:
                # Before torch 2.12 it also stays open for the allocator, which then gives nothing back to the device.
                FAILED.append(graph)
                with suppress(RuntimeError):
                    torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._pool)
                raise

        def replay() -> Results:
            graph.replay()
            return results

        return replay
