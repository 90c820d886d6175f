"""One cell under one routing as a single step of the graph, its derivative written out.

What is kept for the way back, and what is scratch, lies in memory that is lent and used again: first touching new
memory would cost as much as the products.

Legend: B images, C channels, P pixels of this process, E edges, O operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cnas.spaces._memory import Loan, SpareMemory
from cnas.spaces.nats.fan import FanRun, Rooms, Wanted
from cnas.spaces.nats.norm import Pixels, exactly, images, pixels
from cnas.spaces.nats.plan import Plan
from cnas.spaces.nats.topology import OUTPUT
from cnas.spaces.nats.total import Total


def run_cell(
    x_BCHW: Tensor, weights_EO: Tensor | None, kernels: list[Tensor], plan: Plan, over: Pixels, memory: SpareMemory
) -> Tensor:
    """The output [B, C, height, width] of a cell.

    Args:
        x_BCHW: its input.
        weights_EO: of the routing; None where every weight is 1.
        kernels: as ``plan.kernels`` lists them.
        plan: what is run.
        over: the pixels to normalise over.
        memory: where to work.
    """
    last = x_BCHW.contiguous(memory_format=torch.channels_last)
    with exactly(last):
        found: Tensor = _RunCell.apply(last, weights_EO, plan, over, memory, *kernels)
    return found


class Bench:
    """The memory of one cell, in pieces of [P, C].

    Args:
        loan: `PIECES` pieces.
    """

    PIECES = 3 + 2 * OUTPUT + 2 * (OUTPUT - 1)

    def __init__(self, loan: Loan) -> None:
        self.loan = loan  # alive as long as this is
        (pieces,) = loan.parts
        self.spare = pieces[:3]
        self.bent, self.pooled, inner = pieces[3 : 3 + OUTPUT], pieces[3 + OUTPUT : 3 + 2 * OUTPUT], 3 + 2 * OUTPUT
        # Of the nodes between the input and the output, by their number.
        self.nodes = dict(enumerate(pieces[inner : inner + OUTPUT - 1], 1))
        self.grads = dict(enumerate(pieces[inner + OUTPUT - 1 :], 1))

    def rooms(self, node: int) -> Rooms:
        """For what leaves a node."""
        return Rooms(self.bent[node], self.pooled[node], self.spare)


class _RunCell(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights_EO: Tensor | None, plan: Plan, over: Pixels, memory: SpareMemory, *kernels: Tensor
    ) -> Tensor:
        flat_PC = pixels(x)
        bench = Bench(memory.lend([(Bench.PIECES, *flat_PC.shape)], flat_PC))
        totals = [Total(), *(Total(bench.nodes[node]) for node in range(1, OUTPUT)), Total()]
        totals[0].add(flat_PC)
        runs, left = {}, list(kernels)
        for node, fan in enumerate(plan.fans):
            value = totals[node].result()
            if fan is None:
                continue
            if value is None:
                value = bench.nodes[node].zero_()
            own, left = left[: len(fan.kernels)], left[len(fan.kernels) :]
            weights_MO = None if weights_EO is None else weights_EO[list(fan.edges)]
            runs[node] = FanRun(value, x.shape, fan, own, weights_MO, over, bench.rooms(node))
            for place, target in enumerate(fan.targets):
                for operation in fan.operations(place):
                    runs[node].add_to(totals[target], place, operation)
        ctx.save_for_backward(weights_EO)
        ctx.runs, ctx.plan, ctx.over, ctx.bench, ctx.shape = runs, plan, over, bench, x.shape
        output = totals[OUTPUT].result()
        if output is None:
            return torch.zeros_like(x)
        return images(output if totals[OUTPUT].own else output.clone(), x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weights_EO,) = ctx.saved_tensors
        need_x, need_weights, _, _, _, *need_kernels = ctx.needs_input_grad
        by_weight = torch.zeros_like(weights_EO) if need_weights else None
        grad_PC = pixels(grads[0].contiguous(memory_format=torch.channels_last))
        into: dict[int, tuple[Tensor, Tensor]] = {OUTPUT: (grad_PC, ctx.over.ones @ grad_PC)}
        kernels: list[Tensor | None] = []
        for node, run in sorted(ctx.runs.items(), reverse=True):
            edges = list(run.fan.edges)
            found = run.differentiate(
                [into[target] for target in run.fan.targets],
                Wanted(need_x or node > 0, need_weights, any(need_kernels)),
                ctx.bench.rooms(node),
                ctx.bench.grads.get(node),
            )
            kernels = [*found.kernels, *kernels]
            if by_weight is not None:
                by_weight[edges] = found.weights
            if found.node is not None:
                into[node] = found.node, ctx.over.ones @ found.node
        if by_weight is not None:
            for node, pairs in enumerate(ctx.plan.idle):
                for pair in pairs:
                    by_weight[pair] = into[node][1].sum()
        into_x = images(into[0][0], ctx.shape) if need_x and 0 in into else None
        return into_x, by_weight, None, None, None, *kernels
